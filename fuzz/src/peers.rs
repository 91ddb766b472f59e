//! Keys of peers, for miri.

use tower_offer_dedup::PeerKey;

#[test]
fn peers_are_told_apart_by_their_parts() {
    let keys = [
        PeerKey::from("ab"),
        PeerKey::from(("a", "b")),
        PeerKey::from(("", "ab")),
        PeerKey::from(7),
        PeerKey::from("7"),
        PeerKey::from(("a", 7)),
        PeerKey::of_parts([PeerKey::from("ab")]),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[at + 1..].contains(key), "{at}");
    }
    assert_eq!(PeerKey::of_parts(["a", "b"]), keys[1]);
}
