//! Errors: a stable code, a sentence, and the fields at fault.

use serde::{Deserialize, Serialize};

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ProtocolError {
    /// Stable; act on this.
    pub code: ErrorCode,
    /// Names the field and the fix, for people.
    pub message: String,
    /// The fields at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Try again after this many milliseconds, where that may help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// One field at fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The field, as a dotted path.
    pub path: String,
    /// Stable.
    pub code: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// Stable error codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// Not a JSON object of the documented shape.
    MalformedMessage,
    /// A version that is not spoken here.
    UnsupportedVersion,
    /// A request type that is not known.
    UnknownType,
    /// A frame above [`crate::MAX_FRAME_BYTES`]; the connection is closed.
    MessageTooLarge,
    /// The first request must be `join`.
    NotJoined,
    /// `join` may be sent once.
    AlreadyJoined,
    /// No token, or one that is not a room token of this cluster.
    InvalidToken,
    /// The token's time is over.
    TokenExpired,
    /// The token is for another meeting.
    TokenMeetingMismatch,
    /// No such meeting.
    MeetingNotFound,
    /// The meeting is over.
    MeetingEnded,
    /// The meeting has not begun.
    MeetingNotLive,
    /// `max_participants` are connected.
    MeetingFull,
    /// The participant was removed.
    ParticipantNotFound,
    /// The session was replaced by a newer one.
    SessionReplaced,
    /// The session description can't be used.
    MalformedSdp,
    /// The candidate can't be used.
    MalformedCandidate,
    /// A field has a value that is not allowed.
    InvalidField,
    /// The meeting or the role does not allow it.
    AccessDenied,
    /// No quorum answered; try again.
    NoQuorum,
    /// A node's disk is nearly full; what changes nothing goes on.
    InsufficientStorage,
    /// Too many requests.
    RateLimitExceeded,
    /// This node takes no more sessions.
    NodeFull,
    /// Our fault.
    Internal,
}
