//! The shard's side of the relay: what it pulls, and what others pull from it.

use plenary_cluster::model::{MediaKind, TrackId};

use super::track::{Downstream, Upstream};
use super::{Hub, Shard};
use crate::capture::RemoteClock;
use crate::io::Peer;
use crate::keyframe::KeyframeReason;
use crate::packet::Packet;
use crate::relay::{Arrival, Frame, Gaps, upstream};

impl Shard {
    /// Pulls a track that somebody wants, from where it should come; lets one that nobody wants linger.
    pub(super) fn reconcile_pull(&mut self, hub: &mut Hub<'_>, id: TrackId, audible: bool) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        let source = upstream(track.origin, hub.place, hub.workers, self.room);
        let wanted = track.live && (audible || track.is_pulled() || !track.watchers.is_empty());
        match (&mut track.upstream, source) {
            (Some(pulled), Some(peer)) if pulled.peer == peer => {
                pulled.idle_since = if wanted { None } else { pulled.idle_since.or(Some(hub.now)) };
                if let Some(since) = pulled.idle_since {
                    self.arm(since + hub.linger);
                }
            }
            (Some(_), _) => {
                self.release(hub, id);
                self.reconcile_pull(hub, id, audible);
            }
            (None, Some(peer)) if wanted => {
                let handle = hub.handles.open(self.room, id);
                track.upstream = Some(Upstream { peer, handle, gaps: Gaps::default(), idle_since: None });
                hub.effects.relay(peer, Frame::Pull { room: self.room, track: id, handle });
            }
            (None, _) => {}
        }
    }

    /// Gives up a pull whose linger is over.
    pub(super) fn poll_linger(&mut self, hub: &mut Hub<'_>, id: TrackId) {
        let since = self.tracks.get(&id).and_then(|track| track.upstream.as_ref()?.idle_since);
        let Some(over) = since.map(|since| since + hub.linger) else { return };
        if over <= hub.now {
            self.release(hub, id);
        } else {
            self.arm(over);
        }
    }

    /// Gives up a pull, if there is one.
    pub(super) fn release(&mut self, hub: &mut Hub<'_>, id: TrackId) {
        let Some(pulled) = self.tracks.get_mut(&id).and_then(|track| track.upstream.take()) else { return };
        hub.handles.close(pulled.handle);
        hub.effects.relay(pulled.peer, Frame::Release { room: self.room, track: id, handle: pulled.handle });
    }

    /// A neighbour wants a track.
    pub(crate) fn handle_pull(&mut self, hub: &mut Hub<'_>, from: Peer, id: TrackId, handle: u32) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        if track.upstream.as_ref().is_some_and(|pulled| pulled.peer == from) {
            // Its view of the room and ours disagree about where the track is; serving it would make a loop.
            return;
        }
        track.downstream.retain(|downstream| downstream.peer != from);
        track.downstream.push(Downstream { peer: from, handle });
        self.rewatch = true;
        let audible = false;
        self.reconcile_pull(hub, id, audible);
        self.request_keyframe(hub, id, KeyframeReason::Relay);
    }

    /// A neighbour does not want a track any more.
    pub(crate) fn handle_release(&mut self, id: TrackId, from: Peer, handle: u32) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        track.downstream.retain(|downstream| *downstream != Downstream { peer: from, handle });
        if !track.is_pulled() {
            track.ring.clear();
        }
        self.rewatch = true;
    }

    /// A neighbour wants a keyframe.
    pub(crate) fn handle_relay_keyframe(&mut self, hub: &mut Hub<'_>, from: Peer, id: TrackId) {
        let pulls = |peer| move |downstream: &Downstream| downstream.peer == peer;
        if self.tracks.get(&id).is_some_and(|track| track.downstream.iter().any(pulls(from))) {
            self.request_keyframe(hub, id, KeyframeReason::Relay);
        }
    }

    /// A neighbour missed packets.
    pub(crate) fn handle_nack(&mut self, hub: &mut Hub<'_>, from: Peer, (id, handle): (TrackId, u32), nacked: &[u64]) {
        let Some(track) = self.tracks.get(&id) else { return };
        if !track.downstream.contains(&Downstream { peer: from, handle }) {
            return;
        }
        for packet in nacked.iter().filter_map(|sequence| track.ring.find(hub.now, *sequence)) {
            hub.effects.stats.relay_resent += 1;
            hub.effects.relay(from, Frame::Media { handle, packet: packet.clone() });
        }
    }

    /// A packet of a track that we pulled.
    pub(crate) fn handle_media(
        &mut self,
        hub: &mut Hub<'_>,
        from: Peer,
        (id, handle): (TrackId, u32),
        mut packet: Packet,
    ) {
        let pulled = self.tracks.get_mut(&id).and_then(|track| track.upstream.as_mut());
        let Some(pulled) = pulled.filter(|pulled| pulled.peer == from && pulled.handle == handle) else {
            hub.effects.stats.relay_dropped += 1;
            return;
        };
        match pulled.gaps.handle_packet(hub.now, packet.sequence) {
            Arrival::New => {}
            Arrival::Recovered => hub.effects.stats.relay_recovered += 1,
            Arrival::Duplicate => {
                hub.effects.stats.relay_dropped += 1;
                return;
            }
        }
        let nack_at = pulled.gaps.poll_timeout();
        if let Some(at) = nack_at {
            self.arm(at);
        }
        match from {
            // Workers of a node share its clock.
            Peer::Worker(_) => {}
            Peer::Node(_) => {
                let clock = self.clocks.entry(id.session).or_insert_with(|| RemoteClock::new(hub.now));
                packet.capture = clock.handle_packet(hub.now, packet.origin_capture);
            }
        }
        self.forward(hub, id, Some(from), &packet);
    }

    /// Asks again for what is missing of a track.
    pub(super) fn poll_nack(&mut self, hub: &mut Hub<'_>, id: TrackId) {
        let Some(pulled) = self.tracks.get_mut(&id).and_then(|track| track.upstream.as_mut()) else { return };
        let sequences = pulled.gaps.poll_nack(hub.now);
        let next = pulled.gaps.poll_timeout();
        if !sequences.is_empty() {
            hub.effects.stats.relay_nacked += sequences.len() as u64;
            let frame = Frame::Nack { room: self.room, track: id, handle: pulled.handle, sequences };
            hub.effects.relay(pulled.peer, frame);
        }
        if let Some(at) = next {
            self.arm(at);
        }
    }

    /// A neighbour can be reached again and has forgotten what we asked for.
    pub(crate) fn handle_peer_up(&mut self, hub: &mut Hub<'_>, peer: Peer) {
        let mut again = Vec::new();
        for (id, track) in &mut self.tracks {
            let Some(pulled) = track.upstream.as_mut().filter(|pulled| pulled.peer == peer) else { continue };
            pulled.gaps = Gaps::default();
            let frame = Frame::Pull { room: self.room, track: *id, handle: pulled.handle };
            hub.effects.relay(peer, frame);
            if id.source.kind() == MediaKind::Video {
                again.push(*id);
            }
        }
        for id in again {
            self.request_keyframe(hub, id, KeyframeReason::Relay);
        }
    }

    /// A neighbour can't be reached: it pulls nothing from us any more.
    pub(crate) fn handle_peer_down(&mut self, peer: Peer) {
        for track in self.tracks.values_mut() {
            track.downstream.retain(|downstream| downstream.peer != peer);
            if !track.is_pulled() {
                track.ring.clear();
            }
        }
        self.rewatch = true;
    }
}
