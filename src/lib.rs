//! Tower middleware that processes each WebRTC offer once.
//!
//! When a user rejoins a room, the same offer arrives several times: the network retransmits, a WebSocket layer repeats
//! unacknowledged messages, a browser repeats its `POST`. A signaling server that creates a peer connection for each
//! copy breaks the session. [`OfferDedupLayer`] wraps the service that handles offers and makes sure that
//!
//! - a **duplicate** is refused, or gets the answer of the first copy, from a memory of processed offers;
//! - **two offers of one peer** are never processed at once: each peer has one lock, released however processing ends.
//!
//! # Examples
//!
//! A WHIP server on axum needs one more line. A duplicate gets the answer of the first `POST`, until a `DELETE` ends
//! the session:
//!
#![cfg_attr(feature = "http", doc = "```")]
#![cfg_attr(not(feature = "http"), doc = "```text")]
//! use axum::{Router, http::StatusCode, routing::{delete, post}};
//! use tower_offer_dedup::OfferDedupLayer;
//!
//! # async fn publish() -> StatusCode { StatusCode::CREATED }
//! # async fn end() -> StatusCode { StatusCode::OK }
//! let app: Router = Router::new()
//!     .route("/whip/{stream}", post(publish))
//!     .route("/session/{id}", delete(end))
//!     .layer(OfferDedupLayer::whip().build());
//! # assert!(app.has_routes());
//! ```
//!
//! For a room, the layer wraps the service that handles one message. The peer is one direction of one connection:
//!
//! ```
//! use std::convert::Infallible;
//! use tower::{Layer, service_fn};
//! use tower_offer_dedup::{
//!     Fingerprint, Offer, OfferDedupLayer, Reason, Refuse,
//! };
//!
//! #[derive(Clone)]
//! struct Message { from: u64, to: u64, sdp: String }
//!
//! #[derive(Debug, PartialEq)]
//! enum Reply { PassedOn, Ignored(Reason) }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Infallible> {
//! let layer = OfferDedupLayer::room()
//!     .offers(|message: &Message| {
//!         let peer = ("lobby", message.from, message.to);
//!         Some(Offer::new(peer, Fingerprint::sdp(&message.sdp)))
//!     })
//!     .answer(Refuse::with(|refusal| Reply::Ignored(refusal.reason())))
//!     .build();
//! let handle = layer.handle();
//!
//! let room = layer.layer(service_fn(|_: Message| async {
//!     Ok::<_, Infallible>(Reply::PassedOn)
//! }));
//!
//! let sdp = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\n".to_owned();
//! let offer = Message { from: 1, to: 2, sdp };
//!
//! let reply = room.clone().oneshot(offer.clone()).await?;
//! assert_eq!(reply, Reply::PassedOn);
//!
//! let reply = room.clone().oneshot(offer.clone()).await?;
//! assert_eq!(reply, Reply::Ignored(Reason::Processed));
//!
//! // Once the peer is forgotten, its offer is processed again.
//! handle.forget(("lobby", 1, 2));
//! let reply = room.oneshot(offer).await?;
//! assert_eq!(reply, Reply::PassedOn);
//! # Ok(())
//! # }
//! ```
//!
//! # Behaviour
//!
//! | the peer | verdict | with [`Refuse`] | with [`Replay`] |
//! |---|---|---|---|
//! | sent this offer, and it was processed | duplicate | refused | the recorded answer |
//! | sent this offer, and it is in flight or queued | duplicate | refused at once | waits, then gets the same answer |
//! | sent this offer, and a newer one displaced it | superseded | refused | refused |
//! | has another offer in flight | busy | by [`WhenBusy`] | by [`WhenBusy`] |
//! | has another offer in flight whose client is gone | takes over | processed | processed |
//! | had another offer processed a moment ago | cooling | by [`WhenBusy`] | by [`WhenBusy`] |
//! | is free | admitted | processed | processed |
//!
//! Only success is remembered: a failed offer may be retried at once. Requests that are not offers pass through
//! unchanged.
//!
//! # Where to go from here
//!
//! - [`guide::presets`]: three questions that lead to a configuration. [`OfferDedupBuilder`]: all settings.
//! - [`JsonOffers`], [`extract`]: how offers are found. [`PeerKey`]: what to serialise by.
//! - [`Fingerprint`]: when two offers are the same.
//! - [`Refuse`], [`Replay`], [`answer`]: what the sender of a duplicate gets.
//! - [`OfferDedupHandle`]: forget peers, drain before an exit, read the counters. [`OfferSession`]: end one session.
//! - [`http`]: WHIP, WHEP and JSON over HTTP, on axum, hyper or any server with `http` types.
//! - [`guide::nodes`], [`store`]: several nodes behind a load balancer.
//! - [`guide`]: placement among other layers, answers, limits, operation, compile errors, and a glossary.
//!
//! # Runtime
//!
//! Time is tokio's. A request that waits and [`finish_abandoned`](OfferDedupBuilder::finish_abandoned) need a tokio
//! runtime with its timer enabled. So does each new offer with a [`store`]. Everything else that is decided at once needs
//! none.
//!
//! While any layer remembers something, one thread of the process, named `offer-dedup`, removes expired memories. It
//! ends when nothing is left to collect.
//!
//! A panic of the inner service or of a closure releases the peer and goes on to the caller.
//!
//! # Features
//!
//! | feature | default | what it adds | what it pulls in |
//! |---|---|---|---|
//! | `http` | yes | [`http`]: `HttpOffers`, `HttpAnswer`, `OfferDedupLayer::whip()` and `whep()` | `http`, `http-body`, `bytes` |
//! | `json` | yes | [`JsonOffers`], and [`Stats`] serializes | `serde`, `serde_json` |
//! | `axum` | no | [`OfferSession`] as an extractor; peer keys and sessions by `OriginalUri`, inside `nest` too | `http`, `axum` without its default features |
//! | `metrics` | no | counters, histograms and gauges, named by the builder's `name`, see [`guide::metrics`] | `metrics` |
//! | `redis` | no | [`store::RedisStore`]: nodes that share Redis or Valkey | `redis`, `rustls`, `chacha20poly1305`, `getrandom` |
//!
//! Features only add. One of them affects existing behaviour: `axum` makes the default peer keys inside `nest` finer.
#![cfg_attr(docsrs, feature(doc_cfg))]
// The pages link to items of all features.
#![cfg_attr(
    not(all(feature = "http", feature = "json", feature = "redis")),
    allow(rustdoc::broken_intra_doc_links)
)]

pub mod answer;
pub mod builder;
pub mod extract;
mod fence;
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
mod resume;
mod service;
mod session;
mod sessions;
mod settings;
mod state;
mod stats;
pub mod store;
mod striped;

#[cfg(feature = "json")]
pub use self::json::JsonOffers;
#[cfg(feature = "metrics")]
pub use self::metrics::SECONDS_BUCKETS;
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

/// Runs the README's examples as tests.
#[cfg(all(doctest, feature = "http", feature = "json"))]
#[doc = include_str!("../README.md")]
struct Readme;
