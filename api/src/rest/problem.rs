//! Errors as clients see them: a status, a stable code, and sentences that name the field and the fix.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use plenary_cluster::directory::{ProposeError, ReadError};
use plenary_cluster::state::Rejection;
use plenary_protocol::FieldError;

use crate::auth::{PasswordError, TokenError};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $text:literal, $title:literal;)*) => {
        /// Stable error codes, each with its status.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// The status that goes with it.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// As clients match on it.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// A short summary, the same for every occurrence (RFC 9457 §3.1.4).
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// Not JSON, or not an object.
    MalformedJson = BAD_REQUEST, "MALFORMED_JSON", "The body is not a JSON object";
    /// Fields are missing or have values that are not allowed.
    ValidationFailed = BAD_REQUEST, "VALIDATION_FAILED", "Some fields can't be used";
    /// No user token.
    AuthenticationRequired = UNAUTHORIZED, "AUTHENTICATION_REQUIRED", "A user token is needed";
    /// A user token that nobody we trust vouches for.
    InvalidToken = UNAUTHORIZED, "INVALID_TOKEN", "The user token is not valid here";
    /// A user token whose time is over.
    TokenExpired = UNAUTHORIZED, "TOKEN_EXPIRED", "The user token has expired";
    /// Wrong or missing meeting password.
    InvalidMeetingPassword = UNAUTHORIZED, "INVALID_MEETING_PASSWORD", "The meeting password is wrong";
    /// Belongs to the meeting and lacks the right.
    AccessDenied = FORBIDDEN, "ACCESS_DENIED", "Not allowed";
    /// A host would have to let them in.
    AdmissionRequired = FORBIDDEN, "ADMISSION_REQUIRED", "A host has to admit you";
    /// No such meeting, or none of the caller's.
    MeetingNotFound = NOT_FOUND, "MEETING_NOT_FOUND", "There is no such meeting";
    /// No such participant.
    ParticipantNotFound = NOT_FOUND, "PARTICIPANT_NOT_FOUND", "There is no such participant";
    /// No such route.
    NotFound = NOT_FOUND, "NOT_FOUND", "There is nothing here";
    /// The route has other methods.
    MethodNotAllowed = METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", "Not a method of this route";
    /// The meeting has not begun.
    MeetingNotLive = CONFLICT, "MEETING_NOT_LIVE", "The meeting is not live";
    /// The meeting runs.
    MeetingLive = CONFLICT, "MEETING_LIVE", "The meeting is live";
    /// `max_participants` are connected.
    MeetingFull = CONFLICT, "MEETING_FULL", "The meeting is full";
    /// Something changed meanwhile.
    Conflict = CONFLICT, "CONFLICT", "The request met a change made meanwhile";
    /// The meeting is over.
    MeetingEnded = GONE, "MEETING_ENDED", "The meeting has ended";
    /// Body above the limit.
    PayloadTooLarge = PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", "The body is too large";
    /// Not JSON by its content type.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", "The body must be JSON";
    /// A node's disk is nearly full.
    InsufficientStorage = INSUFFICIENT_STORAGE, "INSUFFICIENT_STORAGE", "The cluster has no room to keep this";
    /// No quorum answered.
    NoQuorum = SERVICE_UNAVAILABLE, "NO_QUORUM", "The cluster can't agree right now";
    /// The node has not applied what the caller wants to see.
    RevisionNotReached = SERVICE_UNAVAILABLE, "REVISION_NOT_REACHED", "This node has not come to that revision";
    /// Our fault.
    Internal = INTERNAL_SERVER_ERROR, "INTERNAL", "The server made a mistake";
}

/// An error on its way to a client.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    /// What happened this time, and how to mend it.
    pub(crate) message: String,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with no field at fault.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), errors: Vec::new(), retry_after: None }
    }

    /// A problem with one field at fault; `fault` is that field's own stable code.
    pub(crate) fn of_field(code: Code, path: &str, fault: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let field = FieldError { path: path.to_owned(), code: fault.to_owned(), message: message.clone() };
        Self { code, message, errors: vec![field], retry_after: None }
    }

    /// Nothing, if no field is at fault.
    pub(crate) fn of_fields(errors: Vec<FieldError>) -> Result<(), Self> {
        let Some(first) = errors.first() else { return Ok(()) };
        let message = match errors.len() {
            1 => first.message.clone(),
            all => format!("{} ({} more in `errors`)", first.message, all - 1),
        };
        Err(Self { code: Code::ValidationFailed, message, errors, retry_after: None })
    }

    /// The same for an unknown meeting and for one that is none of the caller's business.
    pub(crate) fn meeting_not_found() -> Self {
        let message = "there is no meeting with this id: check `meeting_id` in the path";
        Self::of_field(Code::MeetingNotFound, "meeting_id", "not_found", message)
    }

    /// Our fault.
    pub(crate) fn internal() -> Self {
        Self::new(Code::Internal, "the server made a mistake: try again, then report the `request_id`")
    }

    /// Too few nodes answer.
    pub(crate) fn no_quorum(retry_after: Duration) -> Self {
        let message = "too few nodes of the cluster answer: try again after the time in Retry-After";
        Self { retry_after: Some(retry_after), ..Self::new(Code::NoQuorum, message) }
    }
}

impl IntoResponse for Problem {
    /// Leaves the body to `envelope::seal`, which knows the request.
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let (code, message) = match rejection {
            Rejection::MeetingNotFound => return Self::meeting_not_found(),
            Rejection::MeetingEnded => (Code::MeetingEnded, "the meeting is over: create a new one"),
            Rejection::MeetingNotLive => {
                (Code::MeetingNotLive, "the meeting has not begun: a host starts it with POST /api/meeting/:id/start")
            }
            Rejection::MeetingLive => {
                (Code::MeetingLive, "the meeting is live: end it first with POST /api/meeting/:id/end")
            }
            Rejection::MeetingFull => {
                (Code::MeetingFull, "`max_participants` people are connected: try again when someone has left")
            }
            Rejection::ParticipantNotFound => {
                (Code::ParticipantNotFound, "there is no such participant in this meeting: join again")
            }
            Rejection::TooLarge => {
                (Code::PayloadTooLarge, "the texts of this record are too long together: shorten them")
            }
            Rejection::SourceNotAllowed => (Code::AccessDenied, "the meeting's `features` do not allow this source"),
            Rejection::AlreadyExists
            | Rejection::SessionNotCurrent
            | Rejection::NodeNotCurrent
            | Rejection::TokenSpent
            | Rejection::NodeNotFound
            | Rejection::NodeUp
            | Rejection::LastNode
            | Rejection::QuorumNeedsNode
            | Rejection::ProposalExpired => {
                return Self::new(Code::Conflict, format!("{rejection}: try again"));
            }
        };
        Self::new(code, message)
    }
}

impl From<ProposeError> for Problem {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Rejected(rejection) => rejection.into(),
            ProposeError::Unavailable { retry_after } => Self::no_quorum(retry_after),
            full @ ProposeError::StorageFull { .. } => Self::new(Code::InsufficientStorage, full.to_string()),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let ReadError::Unavailable { retry_after } = error;
        Self::no_quorum(retry_after)
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let (code, fault, message) = match error {
            TokenError::Expired => {
                (Code::TokenExpired, "expired", "the user token in `Authorization` has expired: sign in again")
            }
            TokenError::Invalid => (
                Code::InvalidToken,
                "invalid",
                "the token in `Authorization` is not a user token that this cluster trusts: sign in again",
            ),
        };
        Self::of_field(code, "Authorization", fault, message)
    }
}

impl From<PasswordError> for Problem {
    fn from(_: PasswordError) -> Self {
        Self::internal()
    }
}

#[cfg(test)]
mod tests {
    use plenary_cluster::model::NodeId;

    use super::*;

    #[test]
    fn a_full_disk_is_named_with_its_folder() {
        let full = ProposeError::StorageFull { node: NodeId::new(2), folder: "/var/lib/plenary/raft".to_owned() };
        let problem = Problem::from(full);
        assert_eq!((problem.code.status().as_u16(), problem.code.as_str()), (507, "INSUFFICIENT_STORAGE"));
        assert!(problem.message.contains("node 2") && problem.message.contains("/var/lib/plenary/raft"));
    }
}
