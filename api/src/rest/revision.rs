//! Which state an answer speaks of, and which one the caller wants.
//!
//! Every answer that comes from the directory names its revision (the Raft log index) in `Plenary-Revision`: a write's
//! own, or that of the state that a read saw. A read is answered from this node's applied state, which may lag; a caller
//! who wants more says so: `Plenary-Consistency: linearizable` sees every write acknowledged before the request came,
//! `Plenary-At-Least: <revision>` sees a state no older than that.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use plenary_cluster::state::State;
use serde_json::Value;

use super::problem::{Code, Problem};
use crate::app::App;

const REVISION: HeaderName = HeaderName::from_static("plenary-revision");
const CONSISTENCY: HeaderName = HeaderName::from_static("plenary-consistency");
const AT_LEAST: HeaderName = HeaderName::from_static("plenary-at-least");

/// What a read has to promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// Never ahead of the truth, possibly behind it.
    Local,
    /// No older than this revision.
    AtLeast(u64),
    /// Holds everything acknowledged before the request came.
    Linearizable,
}

impl Promise {
    /// A state that keeps the promise.
    pub(super) async fn state(self, app: &App) -> Result<Arc<State>, Problem> {
        match self {
            Self::Local => Ok(app.directory().read_local()),
            Self::AtLeast(revision) => Ok(app.directory().read_at_least(revision).await?),
            Self::Linearizable => Ok(app.directory().read_linearizable().await?),
        }
    }

    fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
        match (text(&CONSISTENCY), text(&AT_LEAST)) {
            (None | Some("local"), None) => Ok(Self::Local),
            (Some("linearizable"), _) => Ok(Self::Linearizable),
            (None | Some("local"), Some(number)) => number.parse().map(Self::AtLeast).map_err(|_| {
                let message = "`Plenary-At-Least` must be a revision: the number in `Plenary-Revision` of an answer";
                Problem::of_field(Code::ValidationFailed, "Plenary-At-Least", "not_a_number", message)
            }),
            (Some(_), _) => {
                let message = "`Plenary-Consistency` must be `local` or `linearizable`";
                Err(Problem::of_field(Code::ValidationFailed, "Plenary-Consistency", "unknown_value", message))
            }
        }
    }
}

impl FromRequestParts<App> for Promise {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        Self::read(&parts.headers)
    }
}

/// A body and the revision it speaks of.
#[derive(Debug)]
pub(super) struct Revised {
    pub(super) revision: u64,
    pub(super) body: Value,
}

impl IntoResponse for Revised {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        response.headers_mut().insert(REVISION, HeaderValue::from(self.revision));
        response
    }
}
