//! Tower middleware that processes each WebRTC offer once.
//!
//! When a user rejoins a room, the same offer arrives several times: the network retransmits, a WebSocket layer repeats
//! what it is unsure of, a browser sends a POST again on its own. A signaling server that makes a peer connection for
//! each breaks the session. [`OfferDedupLayer`] goes around the service that handles offers, and sees to it that
//!
//! - a **repeated offer** is refused, or gets the answer of the first, from a memory of what was processed;
//! - **two offers of one peer** are never processed at once: one lock a peer, released on every way out.
//!
//! # Examples
//!
//! A service that handles the messages of a room. The peer is who must be serialised: a sender towards one target.
//!
//! ```
//! use std::convert::Infallible;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_offer_dedup::{Fingerprint, Offer, OfferDedupLayer, Reason, Refusal, Refuse};
//!
//! #[derive(Clone)]
//! struct Message { from: &'static str, to: &'static str, sdp: String }
//!
//! #[derive(Debug, PartialEq)]
//! enum Reply { Answer(String), Ignored(Reason) }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Infallible> {
//! let layer = OfferDedupLayer::builder()
//!     .offers(|message: &Message| {
//!         Some(Offer::new((message.from, message.to), Fingerprint::sdp(&message.sdp)).label(message.from))
//!     })
//!     .answer(Refuse::with(|refusal: &Refusal| Reply::Ignored(refusal.reason())))
//!     .build();
//! let handle = layer.handle();
//!
//! let mut room = ServiceBuilder::new().layer(layer).service_fn(|message: Message| async move {
//!     Ok::<_, Infallible>(Reply::Answer(format!("an answer to {}", message.from)))
//! });
//!
//! let offer = Message { from: "alice", to: "bob", sdp: "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n".into() };
//! assert_eq!(room.ready().await?.call(offer.clone()).await?, Reply::Answer("an answer to alice".into()));
//! assert_eq!(room.ready().await?.call(offer.clone()).await?, Reply::Ignored(Reason::Processed));
//!
//! // alice leaves, and joins again
//! handle.forget(("alice", "bob"));
//! assert_eq!(room.ready().await?.call(offer).await?, Reply::Answer("an answer to alice".into()));
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of an offer
//!
//! | its peer | verdict | with [`Refuse`] | with [`Replay`] |
//! |---|---|---|---|
//! | sent it before, and it was processed | duplicate | refused | the recorded answer |
//! | sent it before, and it is processed or queued | duplicate | refused at once | waits, then the same answer |
//! | has another offer processed | busy | by [`WhenBusy`] | by [`WhenBusy`] |
//! | had one processed a moment ago | cooling | by [`WhenBusy`] | by [`WhenBusy`] |
//! | is free | admitted | the inner service is called | the inner service is called |
//!
//! Only success is remembered: what failed may be retried at once. What is no offer passes untouched.
//!
//! # Where to go from here
//!
//! - [`OfferDedupBuilder`]: all settings.
//! - [`ExtractOffer`], [`JsonOffers`]: how offers are found. [`PeerKey`]: what to serialise by.
//! - [`Fingerprint`]: when two offers are the same.
//! - [`Answer`], [`Refuse`], [`Replay`]: what a duplicate's sender gets.
//! - [`OfferDedupHandle`]: forget a peer that leaves, wait for the end, read the counters.
//! - [`http`]: WHIP, WHEP and JSON over HTTP, on axum, hyper and whatever else speaks `http` types.
//! - [`guide`]: where to put the layer, what a duplicate's sender gets, and what the layer does not do.
//!
//! # Runtime
//!
//! Time is tokio's: a request that waits, and [`finish_abandoned`](OfferDedupBuilder::finish_abandoned), need a tokio
//! runtime with its timer enabled; whatever is decided at once needs none. A panic of the inner service, or of a closure
//! given to the layer, releases the peer and goes on to the caller.
//!
//! As long as a layer remembers anything, a thread named `offer-dedup` removes what is past its window, off the path of
//! the requests. It ends with the layer.
//!
//! # Features
//!
//! | feature | default | what it adds | what it pulls in |
//! |---|---|---|---|
//! | `http` | yes | [`http`]: `HttpOffers`, `HttpAnswer`, `OfferDedupLayer::whip()` and `whep()` | `http`, `http-body`, `bytes` |
//! | `json` | yes | [`JsonOffers`] | `serde`, `serde_json` |
//! | `axum` | no | axum's `OriginalUri` in peers, `OfferSession` as an extractor | `axum` without its defaults |
//! | `metrics` | no | counters, histograms and gauges, see [`guide::metrics`] | `metrics` |
//!
//! Features add, and change nothing that is there without them. One exception: `axum` makes default peer keys finer.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The pages name what all features have.
#![cfg_attr(not(all(feature = "http", feature = "json")), allow(rustdoc::broken_intra_doc_links))]

pub mod answer;
pub mod builder;
pub mod extract;
mod fingerprint;
mod future;
mod gate;
pub mod guide;
mod handle;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "json")]
mod json;
mod layer;
mod metrics;
mod observe;
mod offer;
mod outcome;
mod peer;
mod process;
mod quiet;
mod service;
mod session;
mod settings;
mod stats;

#[cfg(feature = "json")]
pub use self::json::JsonOffers;
pub use self::{
    answer::{
        refusal::{Reason, Refusal},
        refuse::Refuse,
        replay::Replay,
    },
    builder::options::OfferDedupBuilder,
    fingerprint::Fingerprint,
    future::ResponseFuture,
    handle::OfferDedupHandle,
    layer::OfferDedupLayer,
    offer::Offer,
    peer::PeerKey,
    service::OfferDedup,
    session::OfferSession,
    settings::WhenBusy,
    stats::Stats,
};

/// The README's examples are tests.
#[cfg(all(doctest, feature = "http", feature = "json"))]
#[doc = include_str!("../README.md")]
struct Readme;
