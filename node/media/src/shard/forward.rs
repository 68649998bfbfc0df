//! The way of a packet through the shard, and of keyframe requests against the stream.

use plenary_cluster::model::{MediaKind, TrackId};

use super::track::Track;
use super::{Hub, Shard};
use crate::io::Peer;
use crate::keyframe::KeyframeReason;
use crate::packet::Packet;
use crate::relay::Frame;
use crate::session::{Delivery, SessionKey};

/// Packets of a keyframe that may have overtaken its first one.
const OVERTAKEN: u64 = 128;

impl Shard {
    /// A local session published a packet.
    pub(crate) fn handle_published(&mut self, hub: &mut Hub<'_>, id: TrackId, packet: &Packet) {
        if self.tracks.get(&id).is_some_and(|track| track.live) {
            self.forward(hub, id, None, packet);
        } else {
            hub.effects.stats.silenced_packets += 1;
        }
    }

    /// Hands a packet to everybody here who wants it, but never back to where it came from.
    pub(super) fn forward(&mut self, hub: &mut Hub<'_>, id: TrackId, from: Option<Peer>, packet: &Packet) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        if let (Some(level), true) = (packet.audio_level, track.live) {
            self.speakers.handle_level(hub.now, id, level, packet.voice);
        }
        if packet.keyframe && id.source.kind() == MediaKind::Video {
            track.arbiter.handle_keyframe();
        }
        if track.is_pulled() {
            track.ring.keep(hub.now, packet);
            for downstream in track.downstream.iter().filter(|downstream| Some(downstream.peer) != from) {
                let frame = Frame::Media { handle: downstream.handle, packet: packet.clone() };
                hub.effects.relay(downstream.peer, frame);
            }
        }
        let mut waiting = false;
        let mut begun = Vec::new();
        for (key, index) in &track.watchers {
            match deliver(hub, track, id, (*key, *index), packet) {
                Delivery::Sent | Delivery::Dropped => {}
                Delivery::Switched => begun.push((*key, *index)),
                Delivery::NeedsKeyframe => waiting = true,
            }
        }
        if waiting && !track.is_pulled() {
            track.ring.keep(hub.now, packet);
        }
        self.rewatch |= !begun.is_empty();
        for watcher in begun {
            catch_up(hub, track, id, watcher, packet.sequence);
        }
        track.highest = track.highest.max(packet.sequence);
        // A request that is on its way is repeated by the arbiter.
        if waiting && track.arbiter.poll_timeout().is_none() {
            self.request_keyframe(hub, id, KeyframeReason::Switch);
        }
    }

    /// The client of a session lost a picture in one of its slots. A slot that shows nothing has nothing to ask for.
    pub(crate) fn handle_slot_keyframe(
        &mut self,
        hub: &mut Hub<'_>,
        key: SessionKey,
        index: usize,
        reason: KeyframeReason,
    ) {
        let slot = hub.sessions.get(key).and_then(|session| session.slots.get(index));
        let Some(slot) = slot.filter(|slot| slot.kind == MediaKind::Video) else { return };
        if let Some(track) = slot.forwarder.pending().or_else(|| slot.forwarder.current()) {
            self.request_keyframe(hub, track, reason);
        }
    }

    /// A keyframe of a track is wanted: asked for at its publisher or further up, unless that was done just now.
    pub(super) fn request_keyframe(&mut self, hub: &mut Hub<'_>, id: TrackId, reason: KeyframeReason) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        if id.source.kind() == MediaKind::Audio || !track.live {
            return;
        }
        hub.effects.stats.keyframes_asked += 1;
        track.arbiter.request(reason);
        if !self.poll_keyframe(hub, id) {
            hub.effects.stats.keyframes_coalesced += 1;
        }
    }

    /// Sends the track's keyframe request if one is due.
    pub(super) fn poll_keyframe(&mut self, hub: &mut Hub<'_>, id: TrackId) -> bool {
        let Some(track) = self.tracks.get_mut(&id) else { return false };
        let asked = track.arbiter.poll_request(hub.now).is_some();
        if asked {
            if let Some(upstream) = &track.upstream {
                hub.effects.relay(upstream.peer, Frame::Keyframe { room: self.room, track: id });
            } else if let Some(key) = hub.sessions.key(id.session)
                && let Some(session) = hub.sessions.get_mut(key)
                && session.request_keyframe(id.source)
            {
                hub.effects.stats.keyframes_requested += 1;
                hub.effects.touch(key, session);
            }
        }
        if let Some(at) = track.arbiter.poll_timeout() {
            self.arm(at);
        }
        asked
    }
}

/// Hands a packet to one slot.
fn deliver(
    hub: &mut Hub<'_>,
    track: &Track,
    id: TrackId,
    (key, index): (SessionKey, usize),
    packet: &Packet,
) -> Delivery {
    let Some(session) = hub.sessions.get_mut(key) else { return Delivery::Dropped };
    let delivery = session.deliver(hub.now, index, (track.participant, id), packet);
    match delivery {
        Delivery::Sent | Delivery::Switched => {
            hub.effects.stats.packets_forwarded += 1;
            hub.effects.stats.payload_forwarded += packet.payload.len() as u64;
            hub.effects.touch(key, session);
        }
        Delivery::NeedsKeyframe | Delivery::Dropped => {}
    }
    delivery
}

/// A slot began with a keyframe's first packet after others of it had come: these follow now. They were overtaken on
/// the way, or the first one was lost on a relay and sent again.
fn catch_up(hub: &mut Hub<'_>, track: &Track, id: TrackId, watcher: (SessionKey, usize), first: u64) {
    for sequence in first + 1..=track.highest.min(first + OVERTAKEN) {
        if let Some(packet) = track.ring.find(hub.now, sequence) {
            deliver(hub, track, id, watcher, packet);
        }
    }
}
