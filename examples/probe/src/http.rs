//! One HTTP/1.1 request on a connection of its own.

use std::error::Error;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use url::{Position, Url};

use crate::{
    reply::Lost,
    stream::{Connector, HungUp, Stream},
};

/// Limit for the body of a response.
const MAX_BODY: usize = 256 * 1024;

/// Limit for the head of a response.
const MAX_HEAD: usize = 64 * 1024;

pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a Url,
    pub(crate) bearer: Option<&'a str>,
    /// Media type and body.
    pub(crate) body: Option<(&'static str, Vec<u8>)>,
    /// Ends the client's side once the request is sent.
    pub(crate) hangs_up: bool,
}

pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
}

/// Sends a request and reads the response. The caller limits the time.
pub(crate) async fn exchange(connector: &Connector, call: Call<'_>) -> Result<Response, Lost> {
    let stream = connector.connect(call.url).await?;
    let stream: Box<dyn Stream> = if call.hangs_up {
        Box::new(HungUp::new(stream))
    } else {
        stream
    };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) = builder
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| lost(&error))?;
    // Ends when the response has been read, or when this future is dropped.
    tokio::spawn(connection);

    let response = sender
        .send_request(request(call)?)
        .await
        .map_err(|error| lost(&error))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Lost::TooLarge
        } else {
            error.downcast().map_or(Lost::Closed, |error| lost(&error))
        }
    })?;
    Ok(Response {
        status: head.status,
        fields: head.headers,
        body: body.to_bytes(),
    })
}

fn request(call: Call<'_>) -> Result<Request<Full<Bytes>>, Lost> {
    let invalid = |error: &dyn Error| Lost::Unreachable(error.to_string());
    let mut request = Request::builder()
        .method(call.method)
        .uri(&call.url[Position::BeforePath..Position::AfterQuery])
        .header(header::HOST, &call.url[Position::BeforeHost..Position::AfterPort])
        .header(header::USER_AGENT, "offer-probe");
    if let Some(token) = call.bearer {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| invalid(&error))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let (media_type, body) = call.body.unzip();
    if let Some(media_type) = media_type {
        request = request.header(header::CONTENT_TYPE, media_type);
    }
    let body = Full::from(body.unwrap_or_default());
    request.body(body).map_err(|error| invalid(&error))
}

fn lost(error: &hyper::Error) -> Lost {
    if error.is_parse() {
        Lost::Invalid(error.to_string())
    } else {
        Lost::Closed
    }
}
