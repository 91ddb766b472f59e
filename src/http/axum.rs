//! [`OfferSession`] as an extractor of axum.

use std::{convert::Infallible, fmt};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};

use super::rules::Passed;
use crate::OfferSession;

/// Takes the session from the request's extensions.
///
/// A request that may be an offer but could not be checked gets a session that does nothing. `Option<OfferSession>` is
/// `None` for it, and for everything that is not an admitted offer.
///
/// # Errors
///
/// See [`OfferSessionRejection`].
impl<S: Sync> FromRequestParts<S> for OfferSession {
    type Rejection = OfferSessionRejection;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, OfferSessionRejection> {
        if let Some(session) = head.extensions.get::<Self>() {
            return Ok(session.clone());
        }
        match head.extensions.get() {
            Some(Passed::Unchecked) => Ok(Self::none()),
            Some(Passed::NoOffer) => Err(OfferSessionRejection(Kind::NoOffer)),
            None => Err(OfferSessionRejection(Kind::NoLayer)),
        }
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for OfferSession {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(head.extensions.get().cloned())
    }
}

/// The rejection of [`OfferSession`] as an extractor of axum.
///
/// Its response is 415 for a `POST` that is not an offer, and 500 if the layer is not applied to the route.
#[derive(Debug)]
pub struct OfferSessionRejection(Kind);

#[derive(Debug)]
enum Kind {
    NoOffer,
    NoLayer,
}

impl OfferSessionRejection {
    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        match self.0 {
            Kind::NoOffer => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::NoLayer => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for OfferSessionRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::NoOffer => "the request is not an offer",
            Kind::NoLayer => "OfferDedupLayer is not applied to this route",
        })
    }
}

impl std::error::Error for OfferSessionRejection {}

impl IntoResponse for OfferSessionRejection {
    fn into_response(self) -> Response {
        (self.status(), self.to_string()).into_response()
    }
}
