//! Other targets, renegotiation and ICE restarts are not held up.

mod support;

use std::time::Duration;

use support::{End, ManualService, Message, Reply, at_once, offer, pending, reason, refuse, through};
use tokio_test::assert_ready_ok;
use tower::Layer;
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Reason, Refuse};

#[tokio::test(start_paused = true)]
async fn targets_run_in_parallel() {
    let manual = ManualService::default();
    let by_target = |message: &Message| {
        let text = message.offer.as_ref()?;
        Some(Offer::new(
            ("room", "alice", message.peer),
            Fingerprint::exact(text.as_bytes()),
        ))
    };
    let mut service = OfferDedupLayer::builder()
        .offers(by_target)
        .answer(Refuse::with(refuse))
        .build()
        .layer(manual.clone());
    let mut three = ["bob", "carol", "dave"].map(|target| pending(&mut service, offer(target, "f")));
    assert_eq!(manual.calls(), 3);
    for call in &mut three {
        manual.end(End::Answer);
        assert_ready_ok!(call.poll());
    }
}

const SDP: &str = "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
    a=ice-ufrag:7h6h\r\na=ice-pwd:lF1Q6I2sAcQC21gBAS7eiHIh\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\n";

/// Chromium increases the version. str0m keeps it on an ICE restart.
#[tokio::test(start_paused = true)]
async fn zero_cooldown_lets_ice_restart_pass() {
    let manual = ManualService::default();
    let by_sdp = |message: &Message| Some(Offer::new(message.peer, Fingerprint::sdp(message.offer.as_ref()?)));
    let mut service = OfferDedupLayer::builder()
        .offers(by_sdp)
        .answer(Refuse::with(refuse))
        .cooldown(Duration::ZERO)
        .build()
        .layer(manual.clone());
    let renegotiated = SDP.replace("46117 2", "46117 3");
    let restarted = SDP.replace("7h6h", "Q7uz");
    for (n, sdp) in [SDP, &renegotiated, &restarted].into_iter().enumerate() {
        assert_eq!(
            through(&mut service, &manual, offer("p", sdp), End::Answer),
            Ok(Reply::Answer(n))
        );
    }
    assert_eq!(reason(at_once(&mut service, offer("p", SDP))), Reason::Processed);
}
