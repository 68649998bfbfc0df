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
use plenary_cluster::directory::{ReadError, Written};
use plenary_cluster::model::MeetingId;
use plenary_cluster::state::{Command, Proposal, ProposalId, State};
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
            Self::AtLeast(revision) => app.directory().read_at_least(revision).await.map_err(|error| {
                let status = app.directory().status();
                if status.quorum { not_reached(revision, status.applied, error) } else { error.into() }
            }),
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

/// The cluster agrees, and yet not on so many entries.
fn not_reached(wanted: u64, applied: u64, ReadError::Unavailable { retry_after }: ReadError) -> Problem {
    let message = format!(
        "revision {wanted} was not reached in time, this node is at {applied}: try again after the time in Retry-After, or \
         name a revision that an answer of this cluster gave in `Plenary-Revision`"
    );
    let problem = Problem::of_field(Code::RevisionNotReached, "Plenary-At-Least", "not_reached", message);
    Problem { retry_after: Some(retry_after), ..problem }
}

impl FromRequestParts<App> for Promise {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        Self::read(&parts.headers)
    }
}

/// Carries out a command about a meeting that `before` knows or the command makes; gives the state to answer from.
///
/// Someone else may delete the meeting before this node looks at it again, be it that both entries were applied
/// together. The write happened all the same, and others may have seen it, so it must not be answered as refused: it is
/// done to the state from before then.
pub(super) async fn write(
    app: &App,
    before: &State,
    meeting: MeetingId,
    command: Command,
) -> Result<(Arc<State>, Written), Problem> {
    let written = app.directory().propose(Some(meeting), command.clone()).await?;
    let state = app.directory().read_local();
    if state.meeting(meeting).is_some() {
        return Ok((state, written));
    }
    let mut shown = State::clone(before);
    let id = ProposalId { proposer: app.directory().status().node, epoch: 0, sequence: 0 };
    // What others did in between is missing here: should it be refused for that, the record stays as it was.
    let _ = shown.apply(written.revision, &Proposal { id, time: app.services.clock.now(), command });
    Ok((Arc::new(shown), written))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_revision_that_is_not_reached_names_both_and_the_header() {
        let problem = not_reached(900, 17, ReadError::Unavailable { retry_after: Duration::from_secs(1) });
        assert_eq!((problem.code, problem.retry_after), (Code::RevisionNotReached, Some(Duration::from_secs(1))));
        assert_eq!(
            (problem.errors[0].path.as_str(), problem.errors[0].code.as_str()),
            ("Plenary-At-Least", "not_reached")
        );
        assert!(problem.message.contains("900") && problem.message.contains("17"), "{}", problem.message);
    }
}
