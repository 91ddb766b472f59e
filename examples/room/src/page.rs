//! The pages, built into the binary.

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

/// The routes of the pages and their parts. The browser is instructed to load nothing from elsewhere.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    macro_rules! file {
        ($name:literal, $media_type:literal) => {
            get(|| async { file($media_type, include_str!(concat!("page/", $name))) })
        };
    }
    Router::new()
        .route("/", file!("index.html", "text/html; charset=utf-8"))
        .route("/compare", file!("compare.html", "text/html; charset=utf-8"))
        .route("/style.css", file!("style.css", "text/css; charset=utf-8"))
        .route("/panel.css", file!("panel.css", "text/css; charset=utf-8"))
        .route("/compare.css", file!("compare.css", "text/css; charset=utf-8"))
        .route("/app.js", file!("app.js", "text/javascript; charset=utf-8"))
        .route("/chart.js", file!("chart.js", "text/javascript; charset=utf-8"))
        .route("/compare.js", file!("compare.js", "text/javascript; charset=utf-8"))
        .route(
            "/conditions.js",
            file!("conditions.js", "text/javascript; charset=utf-8"),
        )
        .route("/mesh.js", file!("mesh.js", "text/javascript; charset=utf-8"))
        .route("/side.js", file!("side.js", "text/javascript; charset=utf-8"))
        .route("/signaling.js", file!("signaling.js", "text/javascript; charset=utf-8"))
        .route("/view.js", file!("view.js", "text/javascript; charset=utf-8"))
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
