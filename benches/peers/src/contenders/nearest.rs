//! tower-http's nearest.
//!
//! It has nothing that tells a repeated request from a first. What it has for a handler that is hit too often is a count
//! of the requests in flight, and a cap on their bodies: the one watches what ours prevents, the other does what ours
//! does too. (A limit on how many run at once is tower's, and would let the same offer run twice just as well.)

use axum::Router;
use tower::ServiceBuilder;
use tower_http::{limit::RequestBodyLimitLayer, metrics::InFlightRequestsLayer};

use super::{Contender, Kind, Settings};
use crate::endpoint::Endpoint;

pub(super) const CONTENDER: Contender = Contender {
    name: "tower-http",
    label: "tower-http's nearest",
    package: Some("tower-http"),
    set_up: "`InFlightRequestsLayer` counts, `RequestBodyLimitLayer` caps bodies at 64 KiB",
    lacks: "deduplication: it tells no repeated request from a first, remembers nothing, and holds no peer",
    sessions: false,
    bounded: false,
    kind: Kind::App(app),
};

fn app(endpoint: Endpoint, _: Settings) -> Router {
    let (in_flight, _count) = InFlightRequestsLayer::pair();
    endpoint.app().layer(
        ServiceBuilder::new()
            .layer(in_flight)
            .layer(RequestBodyLimitLayer::new(64 * 1024)),
    )
}
