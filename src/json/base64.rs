//! Base64 (RFC 4648) as senders write it: in either alphabet, padded or not, in one line or several.
//!
//! The receivers of such messages (`atob`, Node, Python, Go, Android) differ in what they accept. A receiver that reads
//! the offer decides what an offer is, so this decoder accepts what any of them does: it mixes the alphabets, ignores
//! blanks and line breaks, and ignores the bits left over at the end.

const BLANK: u8 = 64;
const OTHER: u8 = 65;

/// The value of each byte as a digit, `BLANK`, or `OTHER`.
const VALUES: [u8; 256] = {
    let mut values = [OTHER; 256];
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < digits.len() {
        values[digits[value] as usize] = value as u8;
        value += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values[b' ' as usize] = BLANK;
    values[b'\t' as usize] = BLANK;
    values[b'\n' as usize] = BLANK;
    values[b'\r' as usize] = BLANK;
    values
};

/// Returns the bytes that `text` encodes, or `None` if it is not base64. They take at most 3/4 of the room of `text`.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_ascii_end().trim_end_matches('=').as_bytes();
    // Most other texts fail within a few bytes. They must not cost an allocation: a description has `=` second.
    if digits.iter().any(|byte| VALUES[usize::from(*byte)] == OTHER) {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in digits {
        let value = VALUES[usize::from(*byte)];
        if value == BLANK {
            continue;
        }
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    // A last digit on its own has too few bits for a byte.
    (count < 6).then_some(bytes)
}

// The models of loom are built without `base64` and `proptest`. `cfg(test)` stands alone for cargo-mutants.
#[cfg(test)]
#[cfg(not(offer_dedup_loom))]
mod tests {
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
    };
    use proptest::prelude::*;

    use super::decode;

    proptest! {
        #[test]
        fn decodes_every_variant(bytes in any::<Vec<u8>>()) {
            for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                let text = engine.encode(&bytes);
                prop_assert_eq!(decode(&text), Some(bytes.clone()));
                let lines: Vec<_> = text.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
                prop_assert_eq!(decode(&(lines.join("\r\n") + "\n")), Some(bytes.clone()));
            }
        }
    }

    #[test]
    fn rejects_other_text() {
        for text in [
            "v=0",
            "=",
            "A",
            "AAAAA",
            "e30=e30",
            "e30,",
            "e30\0",
            "ü",
            "{}",
            "e3\u{a0}0",
            "call-7!",
        ] {
            let expected = (text == "=").then(Vec::new);
            assert_eq!(decode(text), expected, "{text}");
        }
    }

    #[test]
    fn decoded_text_never_grows() {
        for len in 0..200 {
            let decoded = decode(&"e".repeat(len)).unwrap_or_default();
            assert!(decoded.len() <= len * 3 / 4, "{len}");
            assert!(decoded.capacity() <= len * 3 / 4 + 3, "{len}");
        }
    }
}
