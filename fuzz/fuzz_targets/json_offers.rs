//! Fuzzes `tower_offer_dedup_fuzz::json_offers`, which says what is checked.
#![no_main]

use tower_offer_dedup_fuzz::json_offers;

libfuzzer_sys::fuzz_target!(|input: &[u8]| json_offers::check(input));
