//! The closest that tower-http offers.
//!
//! tower-http does not recognise repeated requests. For a handler that is called too often, it offers a count of the
//! requests in flight and a limit on their bodies. The count shows what our layer prevents. The limit is something our
//! layer does too. A limit on concurrency is tower's, and would let the same offer run twice just as well.

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
    lacks: "deduplication: it recognises no repeated request, remembers nothing, and locks no peer",
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
