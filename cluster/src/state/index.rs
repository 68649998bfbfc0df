//! What follows from the records, kept at hand so that no command walks the whole state.
//!
//! Never stored and never sent: rebuilt from the records when they are loaded, and checked against them by
//! [`super::invariant`].

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::State;
use crate::model::{
    Meeting, MeetingId, MeetingStatus, NodeId, Participant, ParticipantId, ParticipantStatus, Room, RoomId, Timestamp,
    UserId,
};

/// The derived maps. A key with nothing to say is absent, so that equal records give equal indices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Index {
    /// The record of a signed-in user in a meeting.
    pub(super) users: OrdMap<(MeetingId, UserId), ParticipantId>,
    /// Sessions by the node that serves them.
    pub(super) sessions: OrdSet<(NodeId, MeetingId, ParticipantId)>,
    /// Number of sessions by meeting.
    pub(super) connected: OrdMap<MeetingId, u32>,
    /// Participants who miss their session, by since when.
    pub(super) lost: OrdSet<(Timestamp, MeetingId, ParticipantId)>,
    /// Rooms of live meetings by their home; `None` first: rooms that want one.
    pub(super) homes: OrdSet<(Option<NodeId>, RoomId)>,
}

impl Index {
    fn add_participant(&mut self, participant: &Participant) {
        let (meeting, id) = (participant.meeting, participant.id);
        if let Some(user) = &participant.user {
            self.users.insert((meeting, user.clone()), id);
        }
        if let Some(session) = &participant.session {
            self.sessions.insert((session.node, meeting, id));
            *self.connected.entry(meeting).or_insert(0) += 1;
        }
        if let (Some(lost), ParticipantStatus::Reconnecting) = (participant.lost, participant.status) {
            self.lost.insert((lost.at, meeting, id));
        }
    }

    fn remove_participant(&mut self, participant: &Participant) {
        let (meeting, id) = (participant.meeting, participant.id);
        if let Some(user) = &participant.user {
            self.users.remove(&(meeting, user.clone()));
        }
        if let Some(session) = &participant.session {
            self.sessions.remove(&(session.node, meeting, id));
            let left = self.connected.get(&meeting).map_or(0, |count| count.saturating_sub(1));
            if left == 0 {
                self.connected.remove(&meeting);
            } else {
                self.connected.insert(meeting, left);
            }
        }
        if let Some(lost) = participant.lost {
            self.lost.remove(&(lost.at, meeting, id));
        }
    }

    fn add_room(&mut self, room: &Room, live: bool) {
        if live {
            self.homes.insert((room.home, room.id));
        }
    }
}

impl State {
    /// Writes a participant's record.
    pub(super) fn put_participant(&mut self, mut participant: Participant) {
        participant.revision = self.revision;
        let key = (participant.meeting, participant.id);
        self.index.add_participant_over(self.participants.get(&key).map(|old| &**old), &participant);
        self.participants.insert(key, Arc::new(participant));
    }

    /// Removes a participant's record.
    pub(super) fn remove_participant(&mut self, meeting: MeetingId, id: ParticipantId) {
        if let Some(participant) = self.participants.remove(&(meeting, id)) {
            self.index.remove_participant(&participant);
        }
    }

    /// Writes the record of a room; `live` says whether its meeting is.
    pub(super) fn put_room(&mut self, room: Room, live: bool) {
        if let Some(old) = self.rooms.get(&room.id) {
            self.index.homes.remove(&(old.home, old.id));
        }
        self.index.add_room(&room, live);
        self.rooms.insert(room.id, room);
    }

    /// Removes a room.
    pub(super) fn remove_room(&mut self, id: RoomId) {
        if let Some(room) = self.rooms.remove(&id) {
            self.index.homes.remove(&(room.home, room.id));
        }
    }

    /// The index as the records alone say it should be.
    pub(super) fn rebuilt_index(&self) -> Index {
        let mut index = Index::default();
        for participant in self.participants.values() {
            index.add_participant(participant);
        }
        for room in self.rooms.values() {
            let live = self.meetings.get(&room.meeting).is_some_and(|meeting| is_live(meeting));
            index.add_room(room, live);
        }
        index
    }
}

impl Index {
    fn add_participant_over(&mut self, old: Option<&Participant>, new: &Participant) {
        if let Some(old) = old {
            self.remove_participant(old);
        }
        self.add_participant(new);
    }
}

/// Whether a meeting is running.
pub(super) fn is_live(meeting: &Meeting) -> bool {
    match meeting.status {
        MeetingStatus::Live => true,
        MeetingStatus::Scheduled | MeetingStatus::Ended => false,
    }
}
