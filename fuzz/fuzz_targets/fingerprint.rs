//! Runs the checks of `tower_offer_dedup_fuzz::fingerprint` on fuzzed input.
#![no_main]

use tower_offer_dedup_fuzz::fingerprint;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fingerprint::check(input));
