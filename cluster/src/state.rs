//! The replicated state machine. Pure: `apply` is total and deterministic.
//!
//! The maps are persistent ([`imbl`]): a clone is cheap, so readers hold snapshots while `apply` goes on.

mod command;
mod event;

use std::cmp::Ordering;

use imbl::{OrdMap, Vector};
use serde::{Deserialize, Serialize};

pub use command::{Applied, Command, MeetingPatch, NewMeeting, Proposal, ProposalId, Rejection, RosterEntry};
pub use event::{Event, EventKind};

use crate::model::{Meeting, MeetingId, Node, NodeId, Participant, ParticipantId, Room, RoomId, Timestamp};

/// Everything the cluster agrees on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    /// Log index of the last applied entry.
    revision: u64,
    /// The latest time any command carried: time here never runs backwards.
    now: Timestamp,
    nodes: OrdMap<NodeId, Node>,
    meetings: OrdMap<MeetingId, Meeting>,
    rooms: OrdMap<RoomId, Room>,
    participants: OrdMap<(MeetingId, ParticipantId), Participant>,
    /// Events of entries up to this revision are no longer in the outbox.
    trimmed: u64,
    /// Oldest first; see [`State::events_since`].
    outbox: Vector<Event>,
}

/// Events were trimmed past the asked-for revision, or a snapshot was installed: read the whole state anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resync {
    /// The revision to read from.
    pub revision: u64,
}

impl State {
    /// Log index of the last applied entry.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The latest time any command carried.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// A node by id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// All nodes that ever registered, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// A meeting by id.
    #[must_use]
    pub fn meeting(&self, id: MeetingId) -> Option<&Meeting> {
        self.meetings.get(&id)
    }

    /// All meetings, by id and so by age.
    pub fn meetings(&self) -> impl DoubleEndedIterator<Item = &Meeting> {
        self.meetings.values()
    }

    /// A room by id.
    #[must_use]
    pub fn room(&self, id: RoomId) -> Option<&Room> {
        self.rooms.get(&id)
    }

    /// A participant of a meeting.
    #[must_use]
    pub fn participant(&self, meeting: MeetingId, id: ParticipantId) -> Option<&Participant> {
        self.participants.get(&(meeting, id))
    }

    /// All participants of a meeting, by id and so by age.
    pub fn participants(&self, meeting: MeetingId) -> impl Iterator<Item = &Participant> {
        let first = (meeting, ParticipantId::from_uuid(uuid::Uuid::nil()));
        let last = (meeting, ParticipantId::from_uuid(uuid::Uuid::max()));
        self.participants.range(first..=last).map(|(_, participant)| participant)
    }

    /// Participants of a meeting who have a session.
    pub fn connected(&self, meeting: MeetingId) -> impl Iterator<Item = &Participant> {
        self.participants(meeting).filter(|participant| participant.session.is_some())
    }

    /// Events of entries after `revision`, oldest first.
    ///
    /// # Errors
    /// [`Resync`] when some of them are gone.
    pub fn events_since(&self, revision: u64) -> Result<impl Iterator<Item = &Event>, Resync> {
        if revision < self.trimmed {
            return Err(Resync { revision: self.revision });
        }
        let start = self
            .outbox
            .binary_search_by(|event| if event.revision <= revision { Ordering::Less } else { Ordering::Greater })
            .unwrap_or_else(|position| position);
        Ok(self.outbox.iter().skip(start))
    }
}
