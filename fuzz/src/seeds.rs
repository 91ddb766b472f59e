//! Every seed passes its check, and earlier findings stay fixed. Under miri, only small seeds run.

use std::{fs, path::Path};

use crate::{fingerprint, http_offers, json_offers};

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = fs::read_dir(corpus).expect("the corpus should exist");
    let mut seeds: Vec<_> = files
        .map(|file| fs::read(file.expect("the seed should be a file").path()).expect("the seed should be readable"))
        .collect();
    seeds.sort_by_key(Vec::len);
    assert!(seeds.len() > 40, "{} seeds", seeds.len());
    if cfg!(miri) {
        seeds.retain(|seed| seed.len() <= 300);
        // Picks seeds of all sizes up to that.
        let step = seeds.len().div_ceil(12);
        seeds = seeds.into_iter().step_by(step).collect();
    }
    seeds
}

#[test]
fn fingerprint_seeds_pass() {
    seeds("fingerprint").iter().for_each(|seed| fingerprint::check(seed));
}

#[test]
fn json_offer_seeds_pass() {
    seeds("json_offers").iter().for_each(|seed| json_offers::check(seed));
}

#[test]
fn http_offer_seeds_pass() {
    // Only the fuzz target counts allocations, because nothing runs next to it.
    seeds("http_offers")
        .iter()
        .for_each(|seed| http_offers::check(seed, || 0));
}
