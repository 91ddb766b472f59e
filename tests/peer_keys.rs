//! Peer keys: equal for equal parts, whatever their type, and different for different parts.

use std::{collections::HashSet, sync::Arc};

use tower_offer_dedup::{PeerKey, extract::PeerParts};

/// Servers of several versions share a store, so a change of these values is a breaking change.
///
/// The values were computed with another implementation of BLAKE3. Each part is its kind, the length of its bytes in
/// 64 bits, and its bytes, least significant first.
#[test]
fn digests_never_change() {
    let nested = PeerKey::from("alice");
    for (key, hex) in [
        (PeerKey::from("alice"), "1e29f31145926c9593932398f5e6316b"),
        (PeerKey::from(""), "7273bfcf01fe9d98c9efdeabfbdb8454"),
        (PeerKey::from(("lobby", "alice", 7)), "c0115a67fd7e06ab6a028eaa6e830ebd"),
        (PeerKey::from((nested, "bob")), "2c6b0558ccf8aaae62924a77e63b9590"),
        (PeerKey::from(7), "f2b4007c75495f77c3715f477c56384b"),
        (PeerKey::from(u64::MAX), "1efb271adb7c195bd1913f2286ac62a4"),
        (PeerKey::from(1_u128 << 64), "db9a9c4c8ac8c543284abafaf3325277"),
        (PeerKey::from(u128::MAX), "15eb1bff65e37718042a9a885e32f7f2"),
        (PeerKey::from(-7), "decc26cb54694aa8f0c1b6f177dc72f5"),
        (PeerKey::from(i64::MIN), "44356fd5ad308033ab82ad8321058e36"),
        (
            PeerKey::from(i128::from(i64::MIN) - 1),
            "7f498d27df5e5f6a7c116e9d45e852b2",
        ),
        (PeerKey::from(i128::MIN), "ad2b3d8e9554711d4df64f470423c6fa"),
    ] {
        assert_eq!(format!("{:032x}", u128::from_be_bytes(key.to_bytes())), hex);
        assert_eq!(PeerKey::from_bytes(key.to_bytes()), key);
        assert_eq!(format!("{key:?}"), format!("PeerKey({}…)", &hex[..8]));
    }
}

#[test]
fn integers_are_keyed_by_value() {
    macro_rules! equal {
        ($value:literal: $($integer:ty),*) => {$(
            assert_eq!(PeerKey::from($value as $integer), PeerKey::from($value), stringify!($integer));
            assert_eq!(PeerKey::from(($value as $integer, "x")), PeerKey::from(($value, "x")));
        )*};
    }
    equal!(0: u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);
    equal!(127: u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);
    equal!(-1: i8, i16, i32, i64, i128, isize);
    equal!(-128: i8, i16, i32, i64, i128, isize);

    assert_eq!(PeerKey::from(u64::MAX), PeerKey::from(u128::from(u64::MAX)));
    assert_eq!(PeerKey::from(u64::MAX), PeerKey::from(i128::from(u64::MAX)));
    assert_eq!(PeerKey::from(i128::MAX), PeerKey::from(i128::MAX as u128));
    assert_eq!(PeerKey::from(i64::MIN), PeerKey::from(i128::from(i64::MIN)));
}

#[test]
fn different_parts_make_different_keys() {
    let seven = 7_u64.to_le_bytes();
    let keys = [
        PeerKey::from(""),
        PeerKey::from("ab"),
        PeerKey::from(("a", "b")),
        PeerKey::from(("", "ab")),
        PeerKey::from(("ab", "")),
        PeerKey::from((PeerKey::from("ab"),)),
        PeerKey::from((PeerKey::from(("a", "b")),)),
        PeerKey::from(&PeerKey::from("ab").to_bytes()),
        PeerKey::from(7),
        PeerKey::from(-7),
        PeerKey::from("7"),
        PeerKey::from("-7"),
        PeerKey::from(&seven),
        PeerKey::from(u64::MAX),
        PeerKey::from(u128::MAX),
        PeerKey::from(i128::MIN),
        PeerKey::from(i64::MIN),
        PeerKey::from(i64::MAX),
        PeerKey::from(i64::MIN as u64),
        PeerKey::from(("a", 7)),
        PeerKey::from((7, "a")),
    ];
    let different: HashSet<_> = keys.iter().copied().collect();
    assert_eq!(different.len(), keys.len());
}

#[test]
fn text_is_keyed_by_its_bytes() {
    let alice = PeerKey::from("alice");
    for key in [
        PeerKey::from(&"alice".to_owned()),
        PeerKey::from("alice".to_owned()),
        PeerKey::from(Box::<str>::from("alice")),
        PeerKey::from(Arc::<str>::from("alice")),
        PeerKey::from(b"alice"),
        PeerKey::from(b"alice".as_slice()),
        PeerKey::from(b"alice".to_vec()),
        PeerKey::from(&b"alice".to_vec()),
        PeerKey::from((*b"alice",)),
        PeerKey::from((&&"alice",)),
        PeerKey::of_parts(["alice"]),
    ] {
        assert_eq!(key, alice);
    }
}

#[test]
fn nested_tuples_are_flat() {
    let flat = PeerKey::from(("lobby", "alice", "bob", 7));
    assert_eq!(PeerKey::from((("lobby", "alice"), ("bob", 7))), flat);
    assert_eq!(PeerKey::from(("lobby", (("alice",), "bob"), 7)), flat);
    assert_eq!(PeerKey::from((&("lobby", "alice"), "bob", &7)), flat);

    let pairs = PeerKey::of_parts([("a", 1), ("b", 2)]);
    assert_eq!(pairs, PeerKey::from(("a", 1, "b", 2)));
    assert_eq!(
        PeerKey::from((1, 2, 3, 4, 5, 6, 7, 8)),
        PeerKey::of_parts([1, 2, 3, 4, 5, 6, 7, 8])
    );
}

#[test]
fn keys_are_single_parts() {
    let key = PeerKey::from(("lobby", "alice"));
    assert_ne!(PeerKey::from((key, "bob")), PeerKey::from(("lobby", "alice", "bob")));
    assert_ne!(PeerKey::from((key,)), key);
    assert_eq!(PeerKey::of_parts([key]), PeerKey::from((key,)));
}

#[test]
fn every_source_of_a_key_is_parts() {
    fn is_parts(_: &(impl PeerParts + Into<PeerKey>)) {}
    is_parts(&"");
    is_parts(&String::new());
    is_parts(&&String::new());
    is_parts(&Box::<str>::from(""));
    is_parts(&Arc::<str>::from(""));
    is_parts(&b"".as_slice());
    is_parts(&&b""[..]);
    is_parts(&Vec::new());
    is_parts(&&Vec::new());
    is_parts(&7_u8);
    is_parts(&7_i128);
    is_parts(&PeerKey::from(""));
    is_parts(&("", 7, PeerKey::from(""), Vec::new(), [0; 4]));
}
