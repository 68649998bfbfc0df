//! What always holds. Debug builds check it after each apply.

use super::index::is_live;
use super::participants::allows;
use super::{OUTBOX_CAP, Proposal, REPEATS_CAP, State};
use crate::model::{Meeting, Participant, ParticipantStatus};

/// Records up to which debug builds check after each apply: the check walks them all.
const CHECKED_UP_TO: usize = 2000;

impl State {
    /// Panics when something does not hold after `proposal`: a bug of ours, found where it happened.
    pub(super) fn check_after(&self, proposal: &Proposal) {
        if self.participants.len() + self.meetings.len() > CHECKED_UP_TO {
            return;
        }
        if let Err(broken) = self.check() {
            panic!("{broken} after {proposal:?} at {}", self.revision);
        }
    }

    /// Says which invariant is broken.
    ///
    /// # Errors
    /// The sentence that no longer holds.
    pub fn check(&self) -> Result<(), String> {
        self.meetings.values().try_for_each(|meeting| self.check_meeting(meeting))?;
        self.participants.values().try_for_each(|participant| self.check_participant(participant))?;
        self.check_rooms()?;
        holds(!self.removed.keys().any(|id| self.is_member(*id)), || "a removed node is no member".to_owned())?;
        self.check_bounds()?;
        holds(self.index == self.rebuilt_index(), || "the index follows from the records".to_owned())
    }

    fn check_meeting(&self, meeting: &Meeting) -> Result<(), String> {
        let id = meeting.id;
        let connected = u32::try_from(self.connected(id).count()).unwrap_or(u32::MAX);
        holds(self.rooms.get(&meeting.room).is_some_and(|room| room.meeting == id), || format!("{id} has its room"))?;
        holds(connected <= meeting.peak_participants, || format!("{id} never had more people than its peak"))?;
        holds(is_live(meeting) || connected == 0, || format!("{id} is live or has nobody connected"))?;
        holds(meeting.updated_at <= self.now, || format!("{id} was not changed in the future"))?;
        holds(meeting.revision <= self.revision, || format!("{id} was changed by an applied entry"))
    }

    fn check_participant(&self, participant: &Participant) -> Result<(), String> {
        let id = participant.id;
        let connected = participant.status == ParticipantStatus::Connected;
        let reconnecting = participant.status == ParticipantStatus::Reconnecting;
        holds(participant.session.is_some() == connected, || {
            format!("{id} is connected just while they have a session")
        })?;
        holds(participant.lost.is_some() == reconnecting, || format!("{id} misses a session just while reconnecting"))?;
        let meeting = self.meetings.get(&participant.meeting).ok_or_else(|| format!("{id} belongs to a meeting"))?;
        let Some(session) = &participant.session else { return Ok(()) };
        holds(self.is_current(session.node, session.node_epoch), || format!("{id} is served by a current node epoch"))?;
        holds(session.tracks.iter().all(|track| allows(meeting.features, track.source)), || {
            format!("{id} publishes what the meeting allows")
        })
    }

    fn check_rooms(&self) -> Result<(), String> {
        for room in self.rooms.values() {
            let id = room.id;
            let meeting = self.meetings.get(&room.meeting).ok_or_else(|| format!("{id} belongs to a meeting"))?;
            let home = if is_live(meeting) { self.home_for_check(room.home) } else { room.home.is_none() };
            holds(home, || format!("{id} has an up node as its home just while it is live and there is one"))?;
        }
        Ok(())
    }

    fn home_for_check(&self, home: Option<crate::model::NodeId>) -> bool {
        let up = |id| self.nodes.get(&id).is_some_and(|node| self.is_current(id, node.epoch));
        match home {
            Some(home) => up(home),
            None => !self.nodes.keys().any(|id| up(*id)),
        }
    }

    fn check_bounds(&self) -> Result<(), String> {
        holds(self.outbox.len() <= OUTBOX_CAP, || "the outbox is within its cap".to_owned())?;
        let after = self.outbox.get_min().is_none_or(|((first, _), _)| *first > self.trimmed);
        holds(after, || "the outbox begins after what was trimmed".to_owned())?;
        for (id, proposer) in &self.proposers {
            let held = u32::try_from(self.sequences(*id).count()).unwrap_or(u32::MAX);
            holds(held == proposer.held && held <= REPEATS_CAP, || format!("{id}'s outcomes are counted and capped"))?;
        }
        Ok(())
    }
}

fn holds(condition: bool, sentence: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(format!("broken invariant: {}", sentence())) }
}
