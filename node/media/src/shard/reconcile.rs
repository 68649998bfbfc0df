//! Derives what is shown where and what is pulled from the shard's inputs.

use plenary_cluster::model::{MediaKind, ParticipantId, TrackId};

use super::{Hub, Shard};
use crate::io::SessionEvent;
use crate::keyframe::KeyframeReason;
use crate::session::SessionKey;
use crate::slots::{self, AUDIO_SLOTS};

impl Shard {
    /// Makes everything as the inputs want it. Does nothing where it is so already.
    pub(crate) fn reconcile(&mut self, hub: &mut Hub<'_>) {
        let mut awaited = Vec::new();
        if std::mem::take(&mut self.stale) {
            for key in self.sessions.clone() {
                self.assign(hub, key, &mut awaited);
            }
        }
        self.rewatch(hub);
        self.reconcile_pulls(hub);
        awaited.sort_unstable();
        awaited.dedup();
        for track in awaited {
            self.request_keyframe(hub, track, KeyframeReason::Switch);
        }
    }

    /// Gives a session's slots what it wants most. Video tracks that are new in a slot join `awaited`.
    fn assign(&self, hub: &mut Hub<'_>, key: SessionKey, awaited: &mut Vec<TrackId>) {
        let Some(session) = hub.sessions.get_mut(key) else { return };
        if !session.is_connected() {
            // A keyframe that comes before the client can be sent to is lost, and the next one is half a second away.
            return;
        }
        let audio = self.desired_audio(session.participant, &session.interest, hub.loudest);
        let video = self.desired_video(session.participant, &session.interest);
        let moves = session.table.assign(&audio, &video);
        for change in &moves {
            let Some(index) = session.slot_index(change.slot.kind, change.slot.index) else { continue };
            session.switch(hub.now, index, change.to);
            awaited.extend(change.to.filter(|track| track.source.kind() == MediaKind::Video));
        }
        let slots = session.table.len(MediaKind::Video);
        if let Some(pool) = slots::wanted_pool(video.len(), slots)
            && !session.slots.is_empty()
            && pool > session.asked_pool
            && let (Ok(audio), Ok(video)) = (u16::try_from(AUDIO_SLOTS), u16::try_from(pool))
        {
            session.asked_pool = pool;
            hub.effects.tell(session.id, SessionEvent::Pool { audio, video });
        }
        if !moves.is_empty() {
            hub.effects.touch(key, session);
        }
    }

    /// Writes down for each track which slots show it or wait for it.
    fn rewatch(&mut self, hub: &mut Hub<'_>) {
        self.rewatch = false;
        for track in self.tracks.values_mut() {
            track.watchers.clear();
        }
        for key in &self.sessions {
            let Some(session) = hub.sessions.get(*key) else { continue };
            for (index, slot) in session.slots.iter().enumerate() {
                let (current, pending) = (slot.forwarder.current(), slot.forwarder.pending());
                for id in current.into_iter().chain(pending.filter(|pending| Some(*pending) != current)) {
                    if let Some(track) = self.tracks.get_mut(&id) {
                        track.watchers.push((*key, index));
                    }
                }
            }
        }
        for track in self.tracks.values_mut().filter(|track| !track.is_pulled()) {
            if track.watchers.is_empty() {
                track.arbiter.cancel();
            }
            let awaited = track.arbiter.poll_timeout().is_some();
            if !awaited {
                track.ring.clear();
            }
        }
    }

    /// Pulls what somebody wants and lets the rest linger.
    fn reconcile_pulls(&mut self, hub: &mut Hub<'_>) {
        let listeners: Vec<ParticipantId> = self
            .sessions
            .iter()
            .filter_map(|key| hub.sessions.get(*key))
            .filter(|session| session.interest.audio)
            .map(|session| session.participant)
            .collect();
        let ids: Vec<TrackId> = self.tracks.keys().copied().collect();
        for id in ids {
            // Every live microphone is pulled where anybody listens: the ranking needs all levels, and a first
            // syllable must not wait for a round trip. Rooms are small so far; large ones need levels on a bus.
            let audible = self.is_audible(id, &listeners);
            self.reconcile_pull(hub, id, audible);
        }
    }
}
