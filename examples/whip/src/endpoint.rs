//! The endpoint's HTTP interface: WHIP for publishers (RFC 9725), and WHEP for viewers, which mirrors it.

use axum::{
    Extension, Router,
    extract::{OriginalUri, Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{patch, post},
};
use tokio::{sync::oneshot, time::sleep};
use tower_offer_dedup::{
    Fingerprint, OfferDedupLayer, OfferSession,
    builder::Detached,
    http::{HttpAnswer, HttpOffers},
};

use crate::{
    App,
    connection::{Connection, Part, Refused},
    fragment::{self, Fragment},
    patch::{IfMatch, Patch, Patched},
    progress::End,
    sessions::{Client, Role, SessionId},
};

const SDP: &str = "application/sdp";

/// The layer that [`OfferDedupLayer::whip`] and [`OfferDedupLayer::whep`] build.
pub(crate) type Dedup = OfferDedupLayer<HttpOffers, HttpAnswer, Detached>;

/// Status and message of a refused request.
type Refusal = (StatusCode, String);

/// The routes. Each layer wraps the one that takes offers and the one whose `DELETE` ends a session.
pub(crate) fn router(app: &App, whip: Dedup, whep: Dedup) -> Router<App> {
    let mut publishing = Router::new()
        .route("/whip/{stream}", post(create).layer(Extension(Role::Publisher)))
        .route("/whip/{stream}/{session}", patch(change).delete(end));
    let mut watching = Router::new()
        .route("/whep/{stream}", post(create).layer(Extension(Role::Viewer)))
        .route("/whep/{stream}/{session}", patch(change).delete(end));
    if app.settings.dedup {
        publishing = publishing.layer(whip);
        watching = watching.layer(whep);
    }
    publishing
        .merge(watching)
        .layer(middleware::from_fn_with_state(app.clone(), count_repeats))
        .layer(middleware::from_fn_with_state(app.clone(), authorize))
        .layer(middleware::from_fn(share))
}

/// Creates a session for an offer (RFC 9725 §4.2).
async fn create(
    State(app): State<App>,
    Extension(role): Extension<Role>,
    Path(stream): Path<String>,
    OriginalUri(uri): OriginalUri,
    session: Option<Extension<OfferSession>>,
    headers: HeaderMap,
    offer: String,
) -> Result<Response, Refusal> {
    expect_type(&headers, SDP)?;
    tokio::select! {
        () = sleep(app.settings.answer_delay) => {}
        () = app.ending() => return Err((StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down".to_owned())),
    }
    let part = match role {
        Role::Publisher => Part::Publisher(app.streams.publish(&stream)),
        Role::Viewer => Part::Viewer(app.streams.watch(&stream)),
    };
    let (connection, answer) = Connection::accept(&offer, part, app.media_ip)
        .await
        .map_err(|refused| {
            let status = match refused {
                Refused::Malformed(_) => StatusCode::BAD_REQUEST,
                Refused::NoMedia => StatusCode::NOT_ACCEPTABLE,
                Refused::NoSocket(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, refused.to_string())
        })?;
    let etag = connection.etag();
    // A connection may also end without a `DELETE`. The offer is then forgotten with the guard.
    let guard = session.map(|Extension(session)| session.forget_on_drop());
    let client = Client {
        role,
        stream,
        agent: text(&headers, header::USER_AGENT).unwrap_or_default().to_owned(),
        fingerprint: Fingerprint::sdp(&offer),
        guard,
    };
    let id = app.sessions.start(connection, client);
    let node = app.settings.node.iter().map(|node| format!("{node}-"));
    let location = format!("{}/{}{id}", uri.path(), node.collect::<String>());
    let headers = [
        (header::CONTENT_TYPE, SDP),
        (header::LOCATION, &location),
        (header::ETAG, &etag),
    ];
    Ok((StatusCode::CREATED, headers, answer).into_response())
}

/// Adds candidates or restarts ICE (RFC 9725 §4.3).
async fn change(
    State(app): State<App>,
    Path((_, session)): Path<(String, String)>,
    headers: HeaderMap,
    fragment: String,
) -> Result<Response, Refusal> {
    let patches = SessionId::parse(&session)
        .and_then(|id| app.sessions.patches(id))
        .ok_or_else(no_session)?;
    expect_type(&headers, fragment::MEDIA_TYPE)?;
    let if_match = text(&headers, header::IF_MATCH).map(IfMatch::parse);
    let if_match = if_match.ok_or_else(|| (StatusCode::PRECONDITION_REQUIRED, "If-Match is missing".to_owned()))?;
    let fragment = Fragment::parse(&fragment).map_err(|malformed| (StatusCode::BAD_REQUEST, malformed.to_string()))?;

    let (done, patched) = oneshot::channel();
    let patch = Patch {
        fragment,
        if_match,
        done,
    };
    patches.send(patch).await.map_err(|_ended| no_session())?;
    match patched.await.map_err(|_ended| no_session())? {
        Patched::Trickled => Ok(StatusCode::NO_CONTENT.into_response()),
        Patched::Restarted { etag, fragment } => {
            let headers = [(header::CONTENT_TYPE, fragment::MEDIA_TYPE), (header::ETAG, &etag)];
            Ok((headers, fragment).into_response())
        }
        Patched::OtherIceSession => Err((
            StatusCode::PRECONDITION_FAILED,
            "If-Match names another ICE session".into(),
        )),
        Patched::Failed(error) => Err((
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("the ICE restart failed: {error}"),
        )),
    }
}

/// Ends a session (RFC 9725 §4.2).
async fn end(State(app): State<App>, Path((_, session)): Path<(String, String)>) -> Result<StatusCode, Refusal> {
    let was_live = SessionId::parse(&session).is_some_and(|id| app.sessions.end(id, End::Deleted));
    if was_live {
        Ok(StatusCode::OK)
    } else {
        Err(no_session())
    }
}

/// Counts the answers that the layer gives again, for the status page.
async fn count_repeats(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.headers().contains_key("offer-replayed")
        && let Some(location) = text(response.headers(), header::LOCATION)
        && let Some(id) = location.rsplit('/').next().and_then(SessionId::parse)
    {
        app.sessions.repeated(id);
    }
    response
}

/// Requires the bearer token, if one is set (RFC 6750).
async fn authorize(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(expected) = &app.settings.token else {
        return next.run(request).await;
    };
    let credentials = text(request.headers(), header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    let is_allowed = credentials.is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer") && is_same(token.trim().as_bytes(), expected.as_bytes())
    });
    if is_allowed {
        return next.run(request).await;
    }
    let headers = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, headers, "a valid bearer token is required").into_response()
}

/// Lets pages of other origins publish. A preflight carries no token.
async fn share(request: Request, next: Next) -> Response {
    const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
    let mut response = if request.method() == Method::OPTIONS {
        let headers = [
            (ACCEPT_POST, SDP),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "OPTIONS, POST, PATCH, DELETE"),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "Authorization, Content-Type, ETag, If-Match",
            ),
            (header::ACCESS_CONTROL_MAX_AGE, "600"),
        ];
        headers.into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Location, Link, ETag, Retry-After, Offer-Replayed"),
    );
    response
}

fn expect_type(headers: &HeaderMap, expected: &str) -> Result<(), Refusal> {
    let given = text(headers, header::CONTENT_TYPE).unwrap_or_default();
    let media_type = given.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("expected {expected}, got {given:?}"),
        ))
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Compares in constant time, so that timing does not reveal the first difference.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .fold(0, |differences, (one, other)| differences | (one ^ other))
            == 0
}

fn no_session() -> Refusal {
    (StatusCode::NOT_FOUND, "no such session".into())
}
