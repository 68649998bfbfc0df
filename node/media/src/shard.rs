//! One room on one worker: its local subscribers, the tracks they could see and hear, and the relays that bring and
//! take tracks.
//!
//! ```text
//!  local session ─┐                       ┌─▶ slots of local sessions
//!                 ├─▶ track ─▶ forward ───┤
//!  upstream peer ─┘                       └─▶ downstream peers
//! ```
//!
//! What a shard does follows from four things that are replaced, never patched: the room's view, the sessions here,
//! their interests, and who pulls from us. Each change marks the shard stale and [`Shard::reconcile`] derives the rest.
//!
//! **Invariants:** nobody is shown their own track; nothing of a muted or absent track leaves its origin.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use plenary_cluster::model::{MediaKind, ParticipantId, RoomId, SessionId, TrackId};

use crate::capture::RemoteClock;
use crate::effects::{Effects, Handles};
use crate::io::{RoomView, SessionEvent};
use crate::keyframe::KeyframeReason;
use crate::relay::Place;
use crate::session::{SessionKey, Sessions};
use crate::speakers::Speakers;

mod desire;
mod forward;
mod reconcile;
mod relay;
mod track;

use track::Track;

/// Least time between two speaker events: 5 Hz is as fast as a frame around a tile should jump.
const SPEAKERS_INTERVAL: Duration = Duration::from_millis(200);

/// What a shard works with beside itself.
pub(crate) struct Hub<'a> {
    pub(crate) now: Instant,
    pub(crate) place: Place,
    pub(crate) workers: u16,
    pub(crate) loudest: usize,
    pub(crate) linger: Duration,
    pub(crate) sessions: &'a mut Sessions,
    pub(crate) effects: &'a mut Effects,
    pub(crate) handles: &'a mut Handles,
}

/// One room on one worker.
#[derive(Debug)]
pub(crate) struct Shard {
    room: RoomId,
    /// Whether the directory's view has come; it is kept until the room is closed.
    viewed: bool,
    /// Everyone in the room, wherever.
    members: BTreeMap<SessionId, ParticipantId>,
    tracks: BTreeMap<TrackId, Track>,
    sessions: Vec<SessionKey>,
    speakers: Speakers,
    /// Clocks of publishers on other nodes.
    clocks: BTreeMap<SessionId, RemoteClock>,
    /// Has to be reconciled.
    stale: bool,
    /// A slot switched: who watches what has to be written down again.
    rewatch: bool,
    /// No later than the next timer.
    due: Option<Instant>,
    told: Vec<ParticipantId>,
    told_at: Option<Instant>,
}

impl Shard {
    pub(crate) fn new(room: RoomId) -> Self {
        Self {
            room,
            viewed: false,
            members: BTreeMap::new(),
            tracks: BTreeMap::new(),
            sessions: Vec::new(),
            speakers: Speakers::new(),
            clocks: BTreeMap::new(),
            stale: false,
            rewatch: false,
            due: None,
            told: Vec::new(),
            told_at: None,
        }
    }

    /// Whether [`Shard::reconcile`] has something to do.
    pub(crate) const fn is_stale(&self) -> bool {
        self.stale || self.rewatch
    }

    /// Whether nothing is lost when it is dropped.
    pub(crate) const fn is_empty(&self) -> bool {
        !self.viewed && self.sessions.is_empty()
    }

    /// Whether a track is known here.
    pub(crate) fn knows(&self, track: TrackId) -> bool {
        self.tracks.contains_key(&track)
    }

    pub(crate) fn insert_session(&mut self, hub: &mut Hub<'_>, key: SessionKey) {
        self.sessions.push(key);
        self.stale = true;
        self.arm(hub.now);
    }

    pub(crate) fn remove_session(&mut self, key: SessionKey) {
        self.sessions.retain(|session| *session != key);
        // The key may soon be another session's.
        for track in self.tracks.values_mut() {
            track.watchers.retain(|(watcher, _)| *watcher != key);
        }
        self.stale = true;
    }

    /// A session's slots or interest changed.
    pub(crate) const fn session_changed(&mut self) {
        self.stale = true;
    }

    /// Takes over the directory's view.
    pub(crate) fn handle_view(&mut self, hub: &mut Hub<'_>, view: &RoomView) {
        self.viewed = true;
        self.members = view.members.iter().map(|member| (member.session, member.participant)).collect();
        self.clocks.retain(|session, _| self.members.contains_key(session));
        let mut live: Vec<TrackId> = Vec::new();
        for member in &view.members {
            for published in &member.tracks {
                let id = TrackId { session: member.session, source: published.source };
                let origin = Place { node: member.node, worker: member.worker };
                let track = self.tracks.entry(id).or_insert_with(|| Track::new(member.participant, origin));
                track.participant = member.participant;
                track.origin = origin;
                if !published.muted {
                    live.push(id);
                }
            }
        }
        self.enliven(hub, &live);
        self.stale = true;
        self.arm(hub.now);
    }

    /// Makes exactly these tracks live, and drops those whose publisher is gone.
    fn enliven(&mut self, hub: &mut Hub<'_>, live: &[TrackId]) {
        let mut woken = Vec::new();
        let mut gone = Vec::new();
        for (id, track) in &mut self.tracks {
            let is_live = live.contains(id);
            if is_live && !track.live && id.source.kind() == MediaKind::Video {
                woken.push(*id);
            }
            if is_live != track.live && id.source.kind() == MediaKind::Audio {
                if is_live { self.speakers.insert(*id) } else { self.speakers.remove(*id) }
            }
            track.live = is_live;
            if !self.members.contains_key(&id.session) {
                gone.push(*id);
            }
        }
        for id in gone {
            self.release(hub, id);
            self.speakers.remove(id);
            self.tracks.remove(&id);
        }
        for id in woken {
            let wanted = self.tracks.get(&id).is_some_and(|track| !track.watchers.is_empty() || track.is_pulled());
            if wanted {
                self.request_keyframe(hub, id, KeyframeReason::Switch);
            }
        }
    }

    /// Drops everything that others still hold of this room.
    pub(crate) fn close(&mut self, hub: &mut Hub<'_>) {
        let ids: Vec<TrackId> = self.tracks.keys().copied().collect();
        for id in ids {
            self.release(hub, id);
        }
        self.tracks.clear();
        self.members.clear();
        self.viewed = false;
        self.stale = true;
    }

    /// When [`Shard::handle_timeout`] is due.
    pub(crate) const fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Makes sure that the shard wakes no later than `at`.
    fn arm(&mut self, at: Instant) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, hub: &mut Hub<'_>) {
        self.due = None;
        let ids: Vec<TrackId> = self.tracks.keys().copied().collect();
        for id in ids {
            self.handle_track_timeout(hub, id);
        }
        self.tick_speakers(hub);
    }

    fn handle_track_timeout(&mut self, hub: &mut Hub<'_>, id: TrackId) {
        self.poll_keyframe(hub, id);
        self.poll_nack(hub, id);
        self.poll_linger(hub, id);
    }

    /// Ranks who speaks. A shard without sessions has nobody to tell.
    fn tick_speakers(&mut self, hub: &mut Hub<'_>) {
        if self.sessions.is_empty() {
            return;
        }
        if self.speakers.poll_timeout().is_none_or(|at| at <= hub.now) && self.speakers.tick(hub.now).is_some() {
            self.stale = true;
        }
        if self.told_at.is_none_or(|at| hub.now >= at + SPEAKERS_INTERVAL) {
            self.tell_speakers(hub);
        }
        if let Some(at) = self.speakers.poll_timeout() {
            self.arm(at);
        }
    }

    fn tell_speakers(&mut self, hub: &mut Hub<'_>) {
        let mut speaking: Vec<ParticipantId> = Vec::new();
        for track in self.speakers.speaking() {
            let Some(participant) = self.members.get(&track.session) else { continue };
            if !speaking.contains(participant) {
                speaking.push(*participant);
            }
        }
        if speaking == self.told {
            return;
        }
        for key in &self.sessions {
            if let Some(session) = hub.sessions.get(*key) {
                hub.effects.tell(session.id, SessionEvent::Speakers(speaking.clone()));
            }
        }
        self.told = speaking;
        self.told_at = Some(hub.now);
    }
}
