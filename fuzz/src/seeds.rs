//! Every seed passes its check, and what fuzzing once found stays fixed. Under miri, the smallest of each target do.

use std::{fs, path::Path};

use crate::{fingerprint, http_offers, json_offers};

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = fs::read_dir(corpus).expect("seeds");
    let mut seeds: Vec<_> = files
        .map(|file| fs::read(file.expect("a file").path()).expect("a seed"))
        .collect();
    seeds.sort_by_key(Vec::len);
    assert!(seeds.len() > 40, "{} seeds", seeds.len());
    if cfg!(miri) {
        seeds.retain(|seed| seed.len() <= 300);
        // Of all sizes up to that.
        let step = seeds.len().div_ceil(12);
        seeds = seeds.into_iter().step_by(step).collect();
    }
    seeds
}

#[test]
fn of_fingerprints() {
    seeds("fingerprint").iter().for_each(|seed| fingerprint::check(seed));
}

#[test]
fn of_json_offers() {
    seeds("json_offers").iter().for_each(|seed| json_offers::check(seed));
}

#[test]
fn of_http_offers() {
    // What is allocated is for the fuzz target to see, where nothing runs beside it.
    seeds("http_offers")
        .iter()
        .for_each(|seed| http_offers::check(seed, || 0));
}
