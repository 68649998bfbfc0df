//! The web client, embedded in the binary, and the headers that keep it to itself.

use axum::Router;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::app::App;
use crate::rest::{Code, Problem};

/// Built by `npm run build` in `api/web`.
#[derive(RustEmbed)]
#[folder = "web/dist"]
struct Dist;

/// Only from this node, nothing inline, in nobody's frame. A page's own origin covers its WebSocket (CSP 3 §6.7.2.8).
const POLICY: &str = "default-src 'self'; connect-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; \
     worker-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Camera, microphone and screen for ourselves, and nothing else.
const PERMISSIONS: &str = "camera=(self), microphone=(self), display-capture=(self), geolocation=(), usb=()";

/// Names under `/assets` carry a hash of their content.
const FOREVER: &str = "public, max-age=31536000, immutable";

/// Pages are looked at anew each time, so that a new build is seen at once.
const REVALIDATE: &str = "no-cache";

/// The client's pages and files.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(async || page()))
        .route("/m/{meeting_id}", get(async || page()))
        .route("/favicon.svg", get(async || file("favicon.svg", REVALIDATE)))
        .route("/assets/{*path}", get(async |Path(path): Path<String>| file(&format!("assets/{path}"), FOREVER)))
}

fn page() -> Result<Response, Problem> {
    let mut response = file("index.html", REVALIDATE)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(HeaderName::from_static("permissions-policy"), HeaderValue::from_static(PERMISSIONS));
    Ok(response)
}

fn file(path: &str, caching: &'static str) -> Result<Response, Problem> {
    let missing = || Problem::new(Code::NotFound, format!("the web client has no file {path}: reload the page"));
    let EmbeddedFile { data, metadata } = Dist::get(path).ok_or_else(missing)?;
    let kind = HeaderValue::from_str(metadata.mimetype()).map_err(|_| missing())?;
    let mut response = data.into_response();
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    Ok(response)
}

/// Headers on every answer.
pub(crate) fn secure(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}
