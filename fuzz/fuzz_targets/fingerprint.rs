//! Fuzzes `tower_offer_dedup_fuzz::fingerprint`, which says what is checked.
#![no_main]

use tower_offer_dedup_fuzz::fingerprint;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fingerprint::check(input));
