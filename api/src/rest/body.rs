//! Request bodies: one JSON object, or nothing.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Map, Value};

use super::MAX_BODY_BYTES;
use super::problem::{Code, Problem};
use crate::fields::Fields;

/// A JSON object; empty when there was no body.
#[derive(Debug)]
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// Reads the object; every field at fault is named in one problem.
    pub(super) fn read<T>(&self, read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Result<T, Problem> {
        let mut fields = Fields::new(&self.0);
        let value = read(&mut fields);
        Problem::of_fields(fields.finish())?;
        value.ok_or_else(Problem::internal)
    }
}

impl<S: Send + Sync> FromRequest<S> for Object {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = says_json(&request);
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejection| unreadable(rejection.into_response().status()))?;
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        if !is_json {
            let message = "the body must be JSON: send `Content-Type: application/json`";
            return Err(Problem::of_field(Code::UnsupportedMediaType, "Content-Type", "unsupported", message));
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(malformed("the body must be a JSON object: begin it with `{`")),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                Err(malformed(&format!("the body is not JSON, at line {line} column {column}: mend it there")))
            }
        }
    }
}

fn malformed(message: &str) -> Problem {
    Problem::of_field(Code::MalformedJson, "body", "malformed", message)
}

fn unreadable(status: StatusCode) -> Problem {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let message = format!("the body may be at most {MAX_BODY_BYTES} bytes: shorten it");
        return Problem::of_field(Code::PayloadTooLarge, "body", "too_large", message);
    }
    malformed("the body ended early: send all of it")
}

/// A missing content type passes: a client that sends none means JSON here.
fn says_json(request: &Request) -> bool {
    let Some(value) = request.headers().get(CONTENT_TYPE) else { return true };
    let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json") || essence.to_ascii_lowercase().ends_with("+json")
}
