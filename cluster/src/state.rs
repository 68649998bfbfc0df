//! The replicated state machine. Pure: `apply` is total and deterministic.
//!
//! The maps are persistent ([`imbl`]): a clone is cheap, so readers hold snapshots while `apply` goes on. A change copies
//! the part of the map around it, so records with texts are shared between the copies ([`Arc`]).
//! One file per noun carries the commands out: `nodes`, `meetings`, `participants`; `repeats` tells a repeated
//! proposal from a new one, `invariant` says what always holds.

mod apply;
mod command;
mod digest;
mod event;
mod index;
mod invariant;
mod meetings;
mod nodes;
mod outbox;
mod participants;
mod repeats;
mod rows;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use imbl::OrdMap;

pub use command::{Applied, Command, MeetingPatch, NewMeeting, Proposal, ProposalId, Rejection, RosterEntry};
pub use digest::Digest;
pub use event::{Event, EventKind};
pub use outbox::OUTBOX_CAP;
pub use repeats::{Outcome, REPEATS_CAP};
pub use rows::RowError;
pub(crate) use rows::{Change, Row};

use crate::model::{Meeting, MeetingId, Node, NodeId, Participant, ParticipantId, Room, RoomId, Timestamp, UserId};
use index::Index;
use repeats::Proposer;

/// Everything the cluster agrees on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Log index of the last applied entry.
    revision: u64,
    /// The latest time any command carried: time here never runs backwards.
    now: Timestamp,
    nodes: OrdMap<NodeId, Node>,
    meetings: OrdMap<MeetingId, Arc<Meeting>>,
    rooms: OrdMap<RoomId, Room>,
    participants: OrdMap<(MeetingId, ParticipantId), Arc<Participant>>,
    /// Events of entries up to this revision are no longer in the outbox.
    trimmed: u64,
    /// By revision and ordinal; see [`State::events_since`].
    outbox: OrdMap<(u64, u32), Arc<Event>>,
    /// Join tokens that were used, and until when they must be remembered.
    spent: OrdMap<u128, Timestamp>,
    /// Every node id that was handed out, and where its newcomer said it is to be dialled.
    admitted: OrdMap<NodeId, SocketAddr>,
    /// The nodes that were removed, and when.
    removed: OrdMap<NodeId, Timestamp>,
    /// What is remembered of each proposer.
    proposers: OrdMap<NodeId, Proposer>,
    /// What came of the latest proposals of each proposer, by sequence.
    outcomes: OrdMap<(NodeId, u64), Outcome>,
    /// What follows from the maps above, kept at hand.
    index: Index,
}

/// How a node that claims to be of the cluster stands with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It belongs to the cluster.
    Member,
    /// It did once.
    Removed,
    /// Ids are log indices, and the log up to this one is not applied here: it may have been admitted.
    NotKnownYet,
    /// It was never admitted.
    Stranger,
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

    /// How many records there are: meetings, rooms and participants.
    pub(crate) fn records(&self) -> usize {
        self.meetings.len() + self.rooms.len() + self.participants.len()
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

    /// All nodes that ever registered and were not removed, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Where a node's control endpoint is to be dialled: as it registered, else as it was admitted.
    #[must_use]
    pub fn control_address(&self, id: NodeId) -> Option<SocketAddr> {
        self.nodes.get(&id).map(|node| node.addresses.control).or_else(|| self.admitted.get(&id).copied())
    }

    /// Whether a node belongs to the cluster: it registered or was admitted, and was not removed.
    #[must_use]
    pub fn is_member(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id) || self.admitted.contains_key(&id)
    }

    /// Whether a node was removed.
    #[must_use]
    pub fn is_removed(&self, id: NodeId) -> bool {
        self.removed.contains_key(&id)
    }

    /// The nodes that were removed, by id.
    pub fn removed(&self) -> impl Iterator<Item = NodeId> {
        self.removed.keys().copied()
    }

    /// How a node that claims to be of this cluster stands with it.
    #[must_use]
    pub fn standing(&self, id: NodeId) -> Standing {
        if self.is_member(id) {
            Standing::Member
        } else if self.is_removed(id) {
            Standing::Removed
        } else if id.number() > self.revision || self.nodes.is_empty() {
            Standing::NotKnownYet
        } else {
            Standing::Stranger
        }
    }

    /// Every node id that was handed out to a newcomer and not removed, with the control address it came with.
    pub fn admitted(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        self.admitted.iter().map(|(id, control)| (*id, *control))
    }

    /// A meeting by id.
    #[must_use]
    pub fn meeting(&self, id: MeetingId) -> Option<&Meeting> {
        self.meetings.get(&id).map(|meeting| &**meeting)
    }

    /// All meetings, by id and so by age.
    pub fn meetings(&self) -> impl DoubleEndedIterator<Item = &Meeting> {
        self.meetings.values().map(|meeting| &**meeting)
    }

    /// A room by id.
    #[must_use]
    pub fn room(&self, id: RoomId) -> Option<&Room> {
        self.rooms.get(&id)
    }

    /// A participant of a meeting.
    #[must_use]
    pub fn participant(&self, meeting: MeetingId, id: ParticipantId) -> Option<&Participant> {
        self.participants.get(&(meeting, id)).map(|participant| &**participant)
    }

    /// The record of a signed-in user in a meeting.
    #[must_use]
    pub fn participant_of(&self, meeting: MeetingId, user: &UserId) -> Option<&Participant> {
        let id = self.index.users.get(&(meeting, user.clone()))?;
        self.participant(meeting, *id)
    }

    /// All participants of a meeting, by id and so by age.
    pub fn participants(&self, meeting: MeetingId) -> impl Iterator<Item = &Participant> {
        let first = (meeting, ParticipantId::from_uuid(uuid::Uuid::nil()));
        let last = (meeting, ParticipantId::from_uuid(uuid::Uuid::max()));
        self.participants.range(first..=last).map(|(_, participant)| &**participant)
    }

    /// Participants of a meeting who have a session.
    pub fn connected(&self, meeting: MeetingId) -> impl Iterator<Item = &Participant> {
        self.participants(meeting).filter(|participant| participant.session.is_some())
    }

    /// How many participants of a meeting have a session, without looking at each.
    #[must_use]
    pub fn connected_count(&self, meeting: MeetingId) -> u32 {
        self.index.connected.get(&meeting).copied().unwrap_or(0)
    }

    /// Those who lost their session before `time` and did not come back, longest missed first.
    pub fn missed_since(&self, time: Timestamp) -> impl Iterator<Item = &Participant> {
        self.index
            .lost
            .iter()
            .take_while(move |(at, _, _)| *at < time)
            .filter_map(|(_, meeting, id)| self.participant(*meeting, *id))
    }
}
