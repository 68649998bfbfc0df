//! Participants and their sessions.

use super::index::is_live;
use super::{Applied, EventKind, Rejection, RosterEntry, State};
use crate::model::{
    Device, Features, LostSession, Meeting, MeetingId, MeetingStatus, MeetingType, NodeId, Participant, ParticipantId,
    ParticipantStatus, PublishedTrack, Role, Session, SessionId, Source, UserId,
};

/// Bytes of a participant's texts, together.
const PARTICIPANT_TEXT_MAX: usize = 4 * 1024;

impl State {
    pub(super) fn join_meeting(
        &mut self,
        meeting: MeetingId,
        id: ParticipantId,
        user: Option<&UserId>,
        name: &str,
        role: Role,
        device: &Device,
    ) -> Result<Applied, Rejection> {
        let record = self.unended(meeting)?;
        if name.len() + device.platform.len() + device.browser.len() > PARTICIPANT_TEXT_MAX {
            return Err(Rejection::TooLarge);
        }
        let host = user == Some(&record.creator);
        let instant = record.meeting_type == MeetingType::Instant && !is_live(record);
        let known = user.and_then(|user| self.participant_of(meeting, user)).cloned();
        let mut participant = match known {
            Some(participant) => participant,
            None if self.participants.contains_key(&(meeting, id)) => return Err(Rejection::AlreadyExists),
            None => newcomer(meeting, id, user, role),
        };
        if host {
            participant.role = Role::Host;
        }
        name.clone_into(&mut participant.name);
        participant.device = device.clone();
        match participant.status {
            ParticipantStatus::Invited | ParticipantStatus::Left => participant.status = ParticipantStatus::Joining,
            ParticipantStatus::Joining | ParticipantStatus::Connected | ParticipantStatus::Reconnecting => {}
        }
        let joined = Applied::Joined { participant: participant.id, role: participant.role };
        let starts = instant && participant.role == Role::Host;
        self.put_and_tell(participant);
        if starts {
            self.start_meeting(meeting)?;
        }
        Ok(joined)
    }

    pub(super) fn open_session(
        &mut self,
        meeting: MeetingId,
        id: ParticipantId,
        session: SessionId,
        (node, node_epoch): (NodeId, u64),
        worker: u16,
    ) -> Result<Applied, Rejection> {
        let record = self.unended(meeting)?;
        if !is_live(record) {
            return Err(Rejection::MeetingNotLive);
        }
        let full = self.connected_count(meeting) >= record.max_participants;
        let participant = self.participants.get(&(meeting, id)).ok_or(Rejection::ParticipantNotFound)?;
        if !self.is_current(node, node_epoch) {
            return Err(Rejection::NodeNotCurrent);
        }
        match &participant.session {
            Some(open) if open.id == session => {
                let same = (open.node, open.node_epoch, open.worker) == (node, node_epoch, worker);
                return if same { Ok(Applied::Done) } else { Err(Rejection::AlreadyExists) };
            }
            Some(_) => {}
            None if full && !planted!(CapOutsideApply) => return Err(Rejection::MeetingFull),
            None => {}
        }
        let mut participant = Participant::clone(participant);
        participant.session =
            Some(Session { id: session, node, node_epoch, worker, tracks: Vec::new(), opened_at: self.now });
        participant.status = ParticipantStatus::Connected;
        participant.lost = None;
        participant.left_at = None;
        participant.joined_at.get_or_insert(self.now);
        self.put_and_tell(participant);
        self.raise_peak(meeting);
        Ok(Applied::Done)
    }

    pub(super) fn close_session(
        &mut self,
        meeting: MeetingId,
        id: ParticipantId,
        session: SessionId,
        left: bool,
    ) -> Result<Applied, Rejection> {
        if !self.meetings.contains_key(&meeting) {
            return Err(Rejection::MeetingNotFound);
        }
        let participant = self.participants.get(&(meeting, id)).ok_or(Rejection::ParticipantNotFound)?;
        let open = participant.session.as_ref().is_some_and(|open| open.id == session);
        let missed = participant.lost.is_some_and(|lost| lost.id == session);
        if !open && !missed {
            return Err(Rejection::SessionNotCurrent);
        }
        let participant = Participant::clone(participant);
        if left {
            self.dismiss(participant);
        } else if open {
            self.lose_session(participant);
        }
        Ok(Applied::Done)
    }

    pub(super) fn publish_tracks(
        &mut self,
        meeting: MeetingId,
        id: ParticipantId,
        session: SessionId,
        tracks: &[PublishedTrack],
    ) -> Result<Applied, Rejection> {
        let features = self.meetings.get(&meeting).ok_or(Rejection::MeetingNotFound)?.features;
        let mut participant = self.participant(meeting, id).cloned().ok_or(Rejection::ParticipantNotFound)?;
        let open =
            participant.session.as_mut().filter(|open| open.id == session).ok_or(Rejection::SessionNotCurrent)?;
        if !self.is_current(open.node, open.node_epoch) {
            return Err(Rejection::NodeNotCurrent);
        }
        if tracks.iter().any(|track| !allows(features, track.source)) {
            return Err(Rejection::SourceNotAllowed);
        }
        let published = by_source(tracks);
        if published == open.tracks {
            return Ok(Applied::Done);
        }
        open.tracks = published;
        self.put_and_tell(participant);
        Ok(Applied::Done)
    }

    /// Takes back what a meeting's features no longer allow to be published.
    pub(super) fn withdraw_disallowed(&mut self, meeting: MeetingId) {
        let Some(features) = self.meetings.get(&meeting).map(|record| record.features) else { return };
        let connected: Vec<Participant> = self.connected(meeting).cloned().collect();
        for mut participant in connected {
            let Some(session) = &mut participant.session else { continue };
            let before = session.tracks.len();
            session.tracks.retain(|track| allows(features, track.source));
            if session.tracks.len() != before {
                self.put_and_tell(participant);
            }
        }
    }

    /// Sends everyone away: the meeting is over.
    pub(super) fn dismiss_all(&mut self, meeting: MeetingId) {
        let here: Vec<Participant> = self.participants(meeting).cloned().collect();
        for participant in here {
            match participant.status {
                ParticipantStatus::Joining | ParticipantStatus::Connected | ParticipantStatus::Reconnecting => {
                    self.dismiss(participant);
                }
                ParticipantStatus::Invited | ParticipantStatus::Left => {}
            }
        }
    }

    /// Every session that `node` serves is lost.
    pub(super) fn lose_sessions_of(&mut self, node: NodeId) {
        let first = (node, MeetingId::from_uuid(uuid::Uuid::nil()), ParticipantId::from_uuid(uuid::Uuid::nil()));
        let last = (node, MeetingId::from_uuid(uuid::Uuid::max()), ParticipantId::from_uuid(uuid::Uuid::max()));
        let served: Vec<(MeetingId, ParticipantId)> =
            self.index.sessions.range(first..=last).map(|(_, meeting, id)| (*meeting, *id)).collect();
        for key in served {
            if let Some(participant) = self.participant(key.0, key.1).cloned() {
                self.lose_session(participant);
            }
        }
    }

    fn lose_session(&mut self, mut participant: Participant) {
        if let Some(session) = participant.session.take() {
            participant.lost = Some(LostSession { id: session.id, at: self.now });
        }
        participant.status = ParticipantStatus::Reconnecting;
        self.put_and_tell(participant);
    }

    fn dismiss(&mut self, mut participant: Participant) {
        let seen = seen(&participant);
        let (meeting, id) = (participant.meeting, participant.id);
        participant.status = ParticipantStatus::Left;
        participant.session = None;
        participant.lost = None;
        participant.left_at = Some(self.now);
        self.put_participant(participant);
        if seen {
            self.emit(EventKind::ParticipantLeft { meeting, participant: id });
        }
    }

    /// Writes the record, and tells of it if others see this participant.
    fn put_and_tell(&mut self, participant: Participant) {
        let told = seen(&participant).then(|| EventKind::ParticipantChanged {
            meeting: participant.meeting,
            entry: RosterEntry::of(&participant),
        });
        self.put_participant(participant);
        if let Some(told) = told {
            self.emit(told);
        }
    }

    fn unended(&self, meeting: MeetingId) -> Result<&Meeting, Rejection> {
        let record = self.meetings.get(&meeting).ok_or(Rejection::MeetingNotFound)?;
        match record.status {
            MeetingStatus::Ended => Err(Rejection::MeetingEnded),
            MeetingStatus::Scheduled | MeetingStatus::Live => Ok(record),
        }
    }

    /// Those whom others in the meeting see, by id and so by age.
    pub fn roster(&self, meeting: MeetingId) -> impl Iterator<Item = RosterEntry> {
        self.participants(meeting).filter(|participant| seen(participant)).map(RosterEntry::of)
    }
}

impl RosterEntry {
    /// A participant as others see them now.
    #[must_use]
    pub fn of(participant: &Participant) -> Self {
        Self {
            participant: participant.id,
            name: participant.name.clone(),
            role: participant.role,
            session: participant.session.as_ref().map(|session| session.id),
            tracks: participant.session.as_ref().map_or_else(Vec::new, |session| session.tracks.clone()),
            reconnecting: participant.status == ParticipantStatus::Reconnecting,
        }
    }
}

fn newcomer(meeting: MeetingId, id: ParticipantId, user: Option<&UserId>, role: Role) -> Participant {
    Participant {
        id,
        meeting,
        user: user.cloned(),
        name: String::new(),
        role,
        status: ParticipantStatus::Joining,
        device: Device::default(),
        joined_at: None,
        left_at: None,
        session: None,
        lost: None,
        revision: 0,
    }
}

/// Whether others in the meeting see this participant.
fn seen(participant: &Participant) -> bool {
    match participant.status {
        ParticipantStatus::Connected | ParticipantStatus::Reconnecting => true,
        ParticipantStatus::Invited | ParticipantStatus::Joining | ParticipantStatus::Left => false,
    }
}

/// Whether a meeting's features let a source be published.
pub(super) fn allows(features: Features, source: Source) -> bool {
    match source {
        Source::Microphone => features.audio_enabled,
        Source::Camera => features.video_enabled,
        Source::Screen | Source::ScreenAudio => features.screen_sharing_enabled,
    }
}

/// In the order of the sources, one a source: the last word counts.
fn by_source(tracks: &[PublishedTrack]) -> Vec<PublishedTrack> {
    Source::ALL
        .into_iter()
        .filter_map(|source| tracks.iter().rev().find(|track| track.source == source).copied())
        .collect()
}
