//! Keys of peers, for miri.

use tower_offer_dedup::{
    JsonOffers, PeerKey,
    extract::{ExtractOffer, Found},
};

#[test]
fn different_parts_make_different_keys() {
    let keys = [
        PeerKey::from("ab"),
        PeerKey::from(("a", "b")),
        PeerKey::from(("", "ab")),
        PeerKey::from(7),
        PeerKey::from(-7),
        PeerKey::from(u128::MAX),
        PeerKey::from(i128::MIN),
        PeerKey::from("7"),
        PeerKey::from(("a", 7)),
        PeerKey::of_parts([PeerKey::from("ab")]),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[at + 1..].contains(key), "{at}");
        assert_eq!(PeerKey::from_bytes(key.to_bytes()), *key);
    }
    assert_eq!(PeerKey::of_parts(["a", "b"]), keys[1]);
    assert_eq!(PeerKey::from(7_i128), keys[3]);
}

#[test]
fn bound_parts_come_first() {
    let offers = JsonOffers::new().sdp("/sdp").peer("/to").for_peer(("lobby", 7));
    let message = r#"{"sdp":"v=0","to":"bob"}"#;
    let Found::Offer(_, offer) = offers.extract(message) else {
        panic!("an offer");
    };
    assert_eq!(offer.peer(), PeerKey::from(("lobby", 7, "bob")));
}
