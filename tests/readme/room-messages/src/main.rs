use std::{convert::Infallible, time::Duration};
use tower::{Layer, service_fn};
use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Refuse};

struct Message {
    room: String,
    from: u64, // connection ids, new for each join
    to: u64,
    offer: Option<String>,
}

#[derive(Debug, PartialEq)]
enum Reply {
    PassedOn,
    Ignored(&'static str, Option<Duration>),
}

#[tokio::main]
async fn main() -> Result<(), Infallible> {
    let dedup = OfferDedupLayer::room()
        .offers(|message: &Message| {
            // Messages without an offer pass through unchanged.
            let sdp = message.offer.as_ref()?;
            let peer = (&message.room, message.from, message.to);
            Some(Offer::new(peer, Fingerprint::sdp(sdp)))
        })
        .answer(Refuse::with(|refusal| {
            let reason = refusal.reason().as_str();
            Reply::Ignored(reason, refusal.retry_after())
        }))
        .build();
    let handle = dedup.handle();
    let room = dedup.layer(service_fn(|_message: Message| async {
        Ok::<_, Infallible>(Reply::PassedOn)
    }));

    let message = |from| Message {
        room: "lobby".to_owned(),
        from,
        to: 2,
        offer: Some("v=0\r\no=- 20518 2 IN IP4 127.0.0.1\r\n".to_owned()),
    };
    let reply = room.clone().oneshot(message(1)).await?;
    assert_eq!(reply, Reply::PassedOn);

    let reply = room.clone().oneshot(message(1)).await?;
    assert_eq!(reply, Reply::Ignored("processed", None));

    // The sender rejoins as connection 3.
    let reply = room.oneshot(message(3)).await?;
    assert_eq!(reply, Reply::PassedOn);
    assert_eq!(handle.stats().admitted, 2);
    Ok(())
}

#[cfg(test)]
mod tests;
