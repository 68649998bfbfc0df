//! Meetings: created, changed, started, ended, deleted.

use std::sync::Arc;

use super::index::is_live;
use super::{Applied, EventKind, MeetingPatch, NewMeeting, Rejection, State};
use crate::model::{Meeting, MeetingId, MeetingStatus, Room};

/// Bytes of a meeting's texts, together. The record has to fit one value of the store (32 KiB), with room for the rest.
const MEETING_TEXT_MAX: usize = 28 * 1024;

impl State {
    pub(super) fn create_meeting(&mut self, new: &NewMeeting) -> Result<Applied, Rejection> {
        if self.meetings.contains_key(&new.id) || self.rooms.contains_key(&new.room) {
            return Err(Rejection::AlreadyExists);
        }
        let meeting = self.new_meeting(new.clone());
        if text_size(&meeting) > MEETING_TEXT_MAX {
            return Err(Rejection::TooLarge);
        }
        self.put_room(Room { id: new.room, meeting: new.id, home: None, home_epoch: 0 }, false);
        self.put_meeting(meeting);
        Ok(Applied::Done)
    }

    fn new_meeting(&self, new: NewMeeting) -> Meeting {
        Meeting {
            id: new.id,
            tenant: new.tenant,
            creator: new.creator,
            name: new.name,
            description: new.description,
            start_time: new.start_time,
            end_time: new.end_time,
            location: new.location,
            invited: new.invited,
            meta_data: new.meta_data,
            meeting_type: new.meeting_type,
            max_participants: new.max_participants,
            password_hash: new.password_hash,
            waiting_room_enabled: new.waiting_room_enabled,
            require_host_approval: new.require_host_approval,
            guests_allowed: new.guests_allowed,
            features: new.features,
            recording: new.recording,
            status: MeetingStatus::Scheduled,
            room: new.room,
            created_at: self.now,
            updated_at: self.now,
            started_at: None,
            ended_at: None,
            peak_participants: 0,
            revision: self.revision,
        }
    }

    pub(super) fn update_meeting(&mut self, id: MeetingId, patch: &MeetingPatch) -> Result<Applied, Rejection> {
        let old = self.meetings.get(&id).ok_or(Rejection::MeetingNotFound)?;
        let meeting = patched(Meeting::clone(old), patch.clone());
        if text_size(&meeting) > MEETING_TEXT_MAX {
            return Err(Rejection::TooLarge);
        }
        if meeting == **old {
            return Ok(Applied::Done);
        }
        let narrowed = meeting.features != old.features;
        self.put_meeting(meeting);
        if narrowed {
            self.withdraw_disallowed(id);
        }
        Ok(Applied::Done)
    }

    pub(super) fn delete_meeting(&mut self, id: MeetingId) -> Result<Applied, Rejection> {
        let meeting = self.meetings.get(&id).ok_or(Rejection::MeetingNotFound)?;
        if is_live(meeting) {
            return Err(Rejection::MeetingLive);
        }
        let room = meeting.room;
        let members: Vec<_> = self.participants(id).map(|participant| participant.id).collect();
        for participant in members {
            self.remove_participant(id, participant);
        }
        self.remove_room(room);
        self.meetings.remove(&id);
        self.emit(EventKind::MeetingChanged { meeting: id, status: None });
        Ok(Applied::Done)
    }

    pub(super) fn start_meeting(&mut self, id: MeetingId) -> Result<Applied, Rejection> {
        let meeting = self.meetings.get(&id).ok_or(Rejection::MeetingNotFound)?;
        match meeting.status {
            MeetingStatus::Live => return Ok(Applied::Done),
            MeetingStatus::Ended => return Err(Rejection::MeetingEnded),
            MeetingStatus::Scheduled => {}
        }
        let room = meeting.room;
        let meeting = Meeting { status: MeetingStatus::Live, started_at: Some(self.now), ..Meeting::clone(meeting) };
        self.put_meeting(meeting);
        let home = self.home_for(room);
        self.put_room(Room { id: room, meeting: id, home, home_epoch: self.revision }, true);
        Ok(Applied::Done)
    }

    pub(super) fn end_meeting(&mut self, id: MeetingId) -> Result<Applied, Rejection> {
        let meeting = self.meetings.get(&id).ok_or(Rejection::MeetingNotFound)?;
        match meeting.status {
            MeetingStatus::Ended => return Ok(Applied::Done),
            MeetingStatus::Scheduled => return Err(Rejection::MeetingNotLive),
            MeetingStatus::Live => {}
        }
        let room = meeting.room;
        let meeting = Meeting { status: MeetingStatus::Ended, ended_at: Some(self.now), ..Meeting::clone(meeting) };
        self.dismiss_all(id);
        self.put_meeting(meeting);
        self.put_room(Room { id: room, meeting: id, home: None, home_epoch: self.revision }, false);
        Ok(Applied::Done)
    }

    /// Writes a meeting's record as changed now, and tells of it.
    fn put_meeting(&mut self, mut meeting: Meeting) {
        meeting.updated_at = self.now;
        meeting.revision = self.revision;
        let (id, status) = (meeting.id, meeting.status);
        self.meetings.insert(id, Arc::new(meeting));
        self.emit(EventKind::MeetingChanged { meeting: id, status: Some(status) });
    }

    /// Raises the meeting's peak to the number connected now. Not a change to the record as its readers know it:
    /// revision and `updated_at` stay, so that a join never breaks someone's conditional update.
    pub(super) fn raise_peak(&mut self, id: MeetingId) {
        let connected = self.connected_count(id);
        if let Some(meeting) = self.meetings.get(&id).filter(|meeting| meeting.peak_participants < connected) {
            let meeting = Meeting { peak_participants: connected, ..Meeting::clone(meeting) };
            self.meetings.insert(id, Arc::new(meeting));
        }
    }
}

fn patched(mut meeting: Meeting, patch: MeetingPatch) -> Meeting {
    let MeetingPatch {
        name,
        description,
        start_time,
        end_time,
        location,
        invited,
        meta_data,
        max_participants,
        password_hash,
        waiting_room_enabled,
        require_host_approval,
        features,
        recording,
    } = patch;
    set(&mut meeting.name, name);
    set(&mut meeting.description, description);
    set(&mut meeting.start_time, start_time.map(Some));
    set(&mut meeting.end_time, end_time.map(Some));
    set(&mut meeting.location, location);
    set(&mut meeting.invited, invited);
    set(&mut meeting.meta_data, meta_data);
    set(&mut meeting.max_participants, max_participants);
    set(&mut meeting.password_hash, password_hash);
    set(&mut meeting.waiting_room_enabled, waiting_room_enabled);
    set(&mut meeting.require_host_approval, require_host_approval);
    set(&mut meeting.features, features);
    set(&mut meeting.recording, recording);
    meeting
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Bytes of the texts in a record, each invitation with its length.
fn text_size(meeting: &Meeting) -> usize {
    let texts = [&meeting.name, &meeting.description, &meeting.location, &meeting.meta_data];
    texts.iter().map(|text| text.len()).sum::<usize>()
        + meeting.invited.iter().map(|one| one.len() + 4).sum::<usize>()
        + meeting.password_hash.as_ref().map_or(0, String::len)
        + meeting.recording.storage_location.len()
}
