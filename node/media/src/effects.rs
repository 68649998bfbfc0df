//! What a turn leaves behind: outputs to carry out, sessions to flush, counters.

use std::collections::{BTreeMap, VecDeque};

use plenary_cluster::model::{RoomId, SessionId, TrackId};

use crate::io::{Output, Peer, SessionEvent};
use crate::relay::Frame;
use crate::session::{Session, SessionKey};
use crate::stats::{FrameCounts, Stats};

/// Collected while inputs are handled, drained by `poll_output`.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) outputs: VecDeque<Output>,
    /// Sessions that were written to, each once.
    pub(crate) dirty: Vec<SessionKey>,
    pub(crate) stats: Stats,
}

impl Effects {
    /// A session was changed: it is flushed before the turn ends.
    pub(crate) fn touch(&mut self, key: SessionKey, session: &mut Session) {
        if !session.dirty {
            session.dirty = true;
            self.dirty.push(key);
        }
    }

    pub(crate) fn tell(&mut self, session: SessionId, event: SessionEvent) {
        self.outputs.push_back(Output::Session { session, event });
    }

    pub(crate) fn relay(&mut self, to: Peer, frame: Frame) {
        count(&mut self.stats.frames_sent, &frame);
        self.outputs.push_back(Output::Relay { to, frame });
    }
}

/// Counts a relay frame by kind.
pub(crate) fn count(counts: &mut FrameCounts, frame: &Frame) {
    match frame {
        Frame::Pull { .. } => counts.pull += 1,
        Frame::Release { .. } => counts.release += 1,
        Frame::Keyframe { .. } => counts.keyframe += 1,
        Frame::Media { packet, .. } => {
            counts.media += 1;
            counts.media_bytes += packet.payload.len() as u64;
        }
        Frame::Nack { .. } => counts.nack += 1,
    }
}

/// The handles under which this worker has pulled tracks. The top byte of each is the worker, so a node has at most
/// 256 of them.
#[derive(Debug)]
pub(crate) struct Handles {
    worker: u32,
    next: u32,
    tracks: BTreeMap<u32, (RoomId, TrackId)>,
}

/// Handles of one worker before they repeat.
const HANDLES: u32 = 1 << 24;

impl Handles {
    pub(crate) fn new(worker: u16) -> Self {
        Self { worker: u32::from(worker) << 24, next: 0, tracks: BTreeMap::new() }
    }

    pub(crate) fn open(&mut self, room: RoomId, track: TrackId) -> u32 {
        loop {
            let handle = self.worker | self.next;
            self.next = (self.next + 1) % HANDLES;
            if let std::collections::btree_map::Entry::Vacant(entry) = self.tracks.entry(handle) {
                entry.insert((room, track));
                return handle;
            }
        }
    }

    pub(crate) fn close(&mut self, handle: u32) {
        self.tracks.remove(&handle);
    }

    pub(crate) fn find(&self, handle: u32) -> Option<(RoomId, TrackId)> {
        self.tracks.get(&handle).copied()
    }
}
