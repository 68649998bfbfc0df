//! Between the directory's words and the protocol's. Pure.

use plenary_cluster::directory::ProposeError;
use plenary_cluster::model::{MeetingStatus, PublishedTrack, Role};
use plenary_cluster::state::{Rejection, RosterEntry};
use plenary_protocol::{ErrorCode, FieldError, MeetingState, Member, ProtocolError, TrackInfo};

use crate::port::source_name;

/// An error without a field.
pub(super) fn error(code: ErrorCode, message: impl Into<String>) -> ProtocolError {
    ProtocolError { code, message: message.into(), errors: Vec::new(), retry_after_ms: None }
}

/// An error that one field causes.
pub(super) fn field_error(code: ErrorCode, path: &str, fault: &str, message: impl Into<String>) -> ProtocolError {
    let message = message.into();
    let field = FieldError { path: path.to_owned(), code: fault.to_owned(), message: message.clone() };
    ProtocolError { code, message, errors: vec![field], retry_after_ms: None }
}

/// What a client is told when the directory does not carry out what it asked for.
pub(super) fn propose_error(fault: &ProposeError) -> ProtocolError {
    match fault {
        ProposeError::Unavailable { retry_after } => ProtocolError {
            retry_after_ms: Some(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX)),
            ..error(ErrorCode::NoQuorum, "no quorum of nodes answers; try again")
        },
        ProposeError::Rejected(rejection) => rejected(*rejection),
        full @ ProposeError::StorageFull { .. } => error(ErrorCode::InsufficientStorage, full.to_string()),
    }
}

fn rejected(rejection: Rejection) -> ProtocolError {
    let (code, message) = match rejection {
        Rejection::MeetingNotFound => (ErrorCode::MeetingNotFound, "no such meeting"),
        Rejection::MeetingEnded => (ErrorCode::MeetingEnded, "the meeting has ended; it can't be joined any more"),
        Rejection::MeetingNotLive => {
            (ErrorCode::MeetingNotLive, "the meeting has not begun; join again when its host has started it")
        }
        Rejection::MeetingFull => (ErrorCode::MeetingFull, "the meeting is full; join again when someone has left"),
        Rejection::ParticipantNotFound => {
            (ErrorCode::ParticipantNotFound, "no longer a participant; get a new token with POST /api/meeting/:id/join")
        }
        Rejection::SessionNotCurrent => (ErrorCode::SessionReplaced, "this session was replaced by a newer one"),
        Rejection::SourceNotAllowed => {
            (ErrorCode::AccessDenied, "`tracks` names a source that this meeting does not allow; leave it out")
        }
        Rejection::TooLarge => (ErrorCode::InvalidField, "the request is too large to be kept; send less"),
        Rejection::ProposalExpired => (ErrorCode::NoQuorum, "the cluster was too slow to decide; try again"),
        Rejection::AlreadyExists
        | Rejection::MeetingLive
        | Rejection::NodeNotCurrent
        | Rejection::TokenSpent
        | Rejection::NodeNotFound
        | Rejection::NodeUp
        | Rejection::LastNode
        | Rejection::QuorumNeedsNode => (ErrorCode::Internal, "the node could not carry this out; try again"),
    };
    error(code, message)
}

/// A role, on the wire.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Host => "host",
        Role::CoHost => "co_host",
        Role::Presenter => "presenter",
        Role::Attendee => "attendee",
    }
}

fn tracks(published: &[PublishedTrack]) -> Vec<TrackInfo> {
    published.iter().map(|track| TrackInfo { source: source_name(track.source), muted: track.muted }).collect()
}

/// A participant, as others see them.
pub(super) fn member_of(entry: &RosterEntry) -> Member {
    Member {
        id: entry.participant.to_string(),
        name: entry.name.clone(),
        role: role_name(entry.role).to_owned(),
        tracks: tracks(&entry.tracks),
        reconnecting: entry.reconnecting,
    }
}

/// A meeting's status, on the wire.
pub(super) const fn meeting_state(status: MeetingStatus) -> MeetingState {
    match status {
        MeetingStatus::Scheduled => MeetingState::Scheduled,
        MeetingStatus::Live => MeetingState::Live,
        MeetingStatus::Ended => MeetingState::Ended,
    }
}
