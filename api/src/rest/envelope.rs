//! What every answer has: a request id, and, for errors, one shape.

use axum::Json;
use axum::extract::Request;
use axum::http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use uuid::Uuid;

use super::problem::{Code, Problem};
use crate::assets;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A longer id of the client's own is not taken over.
const MAX_REQUEST_ID: usize = 64;

/// Gives an answer its request id and security headers, and a problem its body.
pub(super) async fn seal(request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let uri = request.uri().clone();
    let mut response = next.run(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let allow = response.headers().get(ALLOW).cloned();
        response = render(&problem, &uri, &id);
        if let Some(allow) = allow {
            response.headers_mut().insert(ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    assets::secure(headers);
    response
}

fn render(problem: &Problem, uri: &Uri, id: &str) -> Response {
    let (status, code) = (problem.code.status(), problem.code.as_str());
    if status.is_server_error() {
        tracing::warn!(request_id = id, code, "request not carried out");
    } else {
        tracing::debug!(request_id = id, code, "request refused");
    }
    let body = json!({
        "success": false,
        "message": problem.message,
        "code": code,
        "request_id": id,
        "errors": problem.errors,
        // RFC 9457 §3.1
        "type": format!("urn:plenary:problem:{code}"),
        "title": problem.code.title(),
        "status": status.as_u16(),
        "detail": problem.message,
        "instance": uri.path(),
    });
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    if let Some(after) = problem.retry_after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// The client's own id if it is a sound one, else a new one.
fn request_id(request: &Request) -> String {
    let sound = |id: &&str| {
        !id.is_empty()
            && id.len() <= MAX_REQUEST_ID
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sound);
    given.map_or_else(|| format!("req_{}", Uuid::now_v7().as_simple()), str::to_owned)
}

/// Answers where there is no route.
pub(super) fn no_route(uri: &Uri) -> Problem {
    Problem::new(Code::NotFound, format!("there is nothing at {}: check the path", uri.path()))
}

/// Answers where the route has other methods.
pub(super) fn no_method(request: &Request) -> Problem {
    let message = format!("{} is not a method of {}: see the Allow header", request.method(), request.uri().path());
    Problem::new(Code::MethodNotAllowed, message)
}
