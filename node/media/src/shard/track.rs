//! A track as one shard has it.

use std::time::Instant;

use plenary_cluster::model::ParticipantId;

use crate::io::Peer;
use crate::keyframe::KeyframeArbiter;
use crate::relay::{Gaps, Place, Ring};
use crate::session::SessionKey;

/// A neighbour that pulls a track from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Downstream {
    pub(super) peer: Peer,
    pub(super) handle: u32,
}

/// The neighbour that we pull a track from.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) peer: Peer,
    pub(super) handle: u32,
    pub(super) gaps: Gaps,
    /// Since when nobody wants the track.
    pub(super) idle_since: Option<Instant>,
}

/// A published source, here or elsewhere.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) participant: ParticipantId,
    pub(super) origin: Place,
    /// Published and not muted.
    pub(super) live: bool,
    /// Slots that show it or wait for it.
    pub(super) watchers: Vec<(SessionKey, usize)>,
    pub(super) downstream: Vec<Downstream>,
    pub(super) upstream: Option<Upstream>,
    pub(super) arbiter: KeyframeArbiter,
    /// Kept while a neighbour may ask again or a slot waits for a keyframe.
    pub(super) ring: Ring,
    /// The highest sequence number that came.
    pub(super) highest: u64,
}

impl Track {
    pub(super) fn new(participant: ParticipantId, origin: Place) -> Self {
        Self {
            participant,
            origin,
            live: false,
            watchers: Vec::new(),
            downstream: Vec::new(),
            upstream: None,
            arbiter: KeyframeArbiter::new(),
            ring: Ring::default(),
            highest: 0,
        }
    }

    /// Whether a neighbour pulls it from us.
    pub(super) const fn is_pulled(&self) -> bool {
        !self.downstream.is_empty()
    }
}
