//! Where a source hangs on its slot's timeline.
//!
//! Set at the switch and kept: inside a source the exact differences of its RTP times are kept, since mapping each
//! packet through clocks would make them uneven. What the source's clock drifts from ours meanwhile goes into the
//! wallclock, slowly, so that sender reports tell the truth without steps.

use std::time::Instant;

use crate::timeline::{SlotTimeline, nanos_between, offset};

/// A source whose RTP time and capture time part by more than this at once paused or was restarted; it is anchored
/// again. Larger than any correction that a capture clock makes.
const DISCONTINUITY: i128 = 500_000_000;

/// How fast the drift is followed: this share of the rest for each second …
const DRIFT_SHARE: i128 = 4;

/// … and this many nanoseconds for each second besides: ten times what crystals drift.
const DRIFT_SLEW: i128 = 1_000_000;

/// A late keyframe's successors advance by at least one part in this many of their own steps until the line has caught
/// up with them.
const CATCH_UP: u64 = 16;

const SECOND: i128 = 1_000_000_000;

/// A source's place on the line.
#[derive(Debug)]
pub(crate) struct Anchor {
    /// RTP time and sequence of the first packet.
    rtp: u64,
    sequence: u64,
    /// What the first packet's timestamp would be on the line.
    timestamp: u64,
    /// The least that it may be.
    floor: u64,
    /// How far the anchor was put off the line to be on the grid.
    residual: i128,
    /// How far the source has drifted from the line since.
    drift: i128,
    newest_rtp: u64,
    checked: Instant,
}

impl Anchor {
    /// Hangs the packet captured at `capture` at `timestamp`, or at `floor` when that is later.
    pub(crate) fn new(line: &SlotTimeline, first: Mark, timestamp: u64, floor: u64) -> Self {
        Self {
            rtp: first.rtp,
            sequence: first.sequence,
            timestamp,
            floor,
            residual: nanos_between(first.capture, line.instant_at(timestamp)),
            drift: 0,
            newest_rtp: first.rtp,
            checked: first.now,
        }
    }

    /// Whether a packet that is newer than all before it goes on where they were. If so, its drift is taken in.
    pub(crate) fn follow(&mut self, line: &SlotTimeline, mark: Mark) -> bool {
        if mark.rtp < self.newest_rtp {
            return false;
        }
        let here = line.instant_at(self.unclamped(mark.rtp));
        let apart = nanos_between(mark.capture, here) - self.residual - self.drift;
        if apart.abs() > DISCONTINUITY {
            return false;
        }
        let elapsed = nanos_between(self.checked, mark.now).clamp(0, SECOND);
        let most = (apart.abs() / DRIFT_SHARE + DRIFT_SLEW) * elapsed / SECOND;
        self.drift += apart.clamp(-most, most);
        self.checked = mark.now;
        self.newest_rtp = mark.rtp;
        true
    }

    /// Whether a late packet belongs between the first and the newest.
    pub(crate) const fn covers(&self, sequence: u64, rtp: u64) -> bool {
        self.sequence <= sequence && self.rtp <= rtp && rtp <= self.newest_rtp
    }

    /// The timestamp of a packet that is not older than the first.
    pub(crate) fn timestamp(&self, rtp: u64) -> u64 {
        let since = rtp.saturating_sub(self.rtp);
        self.unclamped(rtp).max(self.floor.saturating_add(since / CATCH_UP))
    }

    /// The wallclock of a packet with this timestamp.
    pub(crate) fn wallclock(&self, line: &SlotTimeline, now: Instant, timestamp: u64) -> Instant {
        line.wallclock(now, offset(line.instant_at(timestamp), -self.drift))
    }

    const fn unclamped(&self, rtp: u64) -> u64 {
        self.timestamp.saturating_add(rtp.saturating_sub(self.rtp))
    }
}

/// When and where a packet is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// Our time.
    pub now: Instant,
    /// Its sequence number at the origin.
    pub sequence: u64,
    /// Its RTP time at the origin.
    pub rtp: u64,
    /// When it was captured, not after `now`.
    pub capture: Instant,
}
