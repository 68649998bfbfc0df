//! What happened, as others are told.

use serde::{Deserialize, Serialize};

use super::RosterEntry;
use crate::model::{MeetingId, MeetingStatus, NodeId, ParticipantId};

/// One entry of the outbox: written by `apply`, kept in the replicated state until trimmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Log index of the entry that caused it.
    pub revision: u64,
    /// Position among the events of that entry.
    pub ordinal: u32,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EventKind {
    /// A node came up, changed or went down.
    NodeChanged {
        /// Which.
        node: NodeId,
    },
    /// A meeting was created, changed, started, ended or deleted.
    MeetingChanged {
        /// Which.
        meeting: MeetingId,
        /// Its status now; `None` when deleted.
        status: Option<MeetingStatus>,
    },
    /// Someone connected, changed what they publish, or lost their session.
    ParticipantChanged {
        /// Which meeting.
        meeting: MeetingId,
        /// As others see them now.
        entry: RosterEntry,
    },
    /// Someone left.
    ParticipantLeft {
        /// Which meeting.
        meeting: MeetingId,
        /// Who.
        participant: ParticipantId,
    },
}
