//! Random delays, reproducible from a seed.

#[path = "../src/chance.rs"]
mod chance;

use std::collections::BTreeSet;

use chance::Chance;

#[test]
fn seed_determines_the_numbers() {
    let draw = |seed| {
        let chance = Chance::new(seed);
        let other = chance.clone();
        let numbers = (0..20).map(|_| (chance.within(&(0..=u32::MAX)), other.within(&(0..=u32::MAX))));
        numbers.collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    let all: BTreeSet<u32> = draw(1).into_iter().flat_map(|(one, other)| [one, other]).collect();
    assert_eq!(all.len(), 40);
    assert_ne!(Chance::random_seed(), Chance::random_seed());
}

#[test]
fn numbers_cover_their_whole_range() {
    let chance = Chance::new(0);
    let drawn: BTreeSet<u32> = (0..1_000).map(|_| chance.within(&(50..=60))).collect();
    assert_eq!(drawn, (50..=60).collect());
    assert_eq!(chance.within(&(7..=7)), 7);
}
