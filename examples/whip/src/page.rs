//! The pages, built into the binary: all sessions, a publisher and a viewer.

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::App;

/// The routes of the pages and their parts. Clients choose the stream names, so the browser is instructed to load and
/// run nothing from elsewhere.
pub(crate) fn router() -> Router<App> {
    macro_rules! file {
        ($name:literal, $media_type:literal) => {
            get(|| async { file($media_type, include_str!(concat!("page/", $name))) })
        };
    }
    Router::new()
        .route("/", file!("status.html", "text/html; charset=utf-8"))
        .route("/publish", file!("publish.html", "text/html; charset=utf-8"))
        .route("/watch", file!("watch.html", "text/html; charset=utf-8"))
        .route("/style.css", file!("style.css", "text/css; charset=utf-8"))
        .route("/client.css", file!("client.css", "text/css; charset=utf-8"))
        .route("/status.css", file!("status.css", "text/css; charset=utf-8"))
        .route("/client.js", file!("client.js", "text/javascript; charset=utf-8"))
        .route("/publish.js", file!("publish.js", "text/javascript; charset=utf-8"))
        .route("/status.js", file!("status.js", "text/javascript; charset=utf-8"))
        .route("/watch.js", file!("watch.js", "text/javascript; charset=utf-8"))
}

fn file(media_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
        ),
    ];
    (headers, text).into_response()
}
