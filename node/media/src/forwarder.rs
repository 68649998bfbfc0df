//! One slot's forwarder: takes packets of whatever sources the slot is given, one after the other, and makes them one
//! RTP stream with continuous sequence numbers, timestamps on the slot's line, and continuous VP8 counters.
//!
//! ```text
//!  switch(B)            B's first keyframe
//!      │ pending: B            │ current: B
//!  A A A A A A A A A A A A A A B B B B B        sequence  … 41 42 43 44 …
//! ```
//!
//! **Invariants:** no sequence number is sent twice; the timestamps of a source are all after those of the source
//! before it; audio starts on the grid; a wallclock is never after `now`.

use std::time::Instant;

use plenary_cluster::model::TrackId;

use crate::anchor::{Anchor, Mark};
use crate::opus;
use crate::packet::Packet;
use crate::sequence::{Place, SequenceMap};
use crate::timeline::{SlotKind, SlotTimeline};
use crate::vp8::{Counters, Description, WIDE_PICTURE_ID};

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forwarded {
    /// It goes out like this.
    Send(Rewritten),
    /// It does not go out.
    Drop(DropReason),
}

/// The header that a packet gets in its slot; the payload stays, but for the VP8 counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewritten {
    /// Extended sequence number; a slot's first is below 65536, as str0m wants it.
    pub sequence: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// What a sender report may say about `timestamp`.
    pub wallclock: Instant,
    /// RTP marker.
    pub marker: bool,
    /// The slot shows this packet's source from here on: announce it with this timestamp.
    pub first_of_source: bool,
    /// VP8 counters to write into the payload descriptor.
    pub vp8: Option<Counters>,
}

/// Why a packet does not go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The slot does not show its track, or not any more.
    NotShown,
    /// The slot waits for a keyframe of its track.
    AwaitingKeyframe,
    /// Its place on the line is taken by the source before it; the next one fits.
    BehindTimeline,
    /// It was sent before.
    Duplicate,
    /// It comes too late to be of use, or is from before the switch.
    TooLate,
    /// It carries nothing.
    Empty,
    /// It is of a codec with another clock than the slot's.
    WrongCodec,
}

/// A slot's forwarder.
#[derive(Debug)]
pub struct Forwarder {
    timeline: SlotTimeline,
    current: Option<Segment>,
    pending: Option<(TrackId, Instant)>,
    next_sequence: u64,
    /// The least timestamp that the next source may begin with.
    floor: u64,
    pictures: Pictures,
}

/// What the slot shows.
#[derive(Debug)]
struct Segment {
    track: TrackId,
    sequences: SequenceMap,
    anchor: Anchor,
}

impl Forwarder {
    /// An idle slot on `timeline` whose first packet has sequence number `first_sequence`.
    #[must_use]
    pub fn new(timeline: SlotTimeline, first_sequence: u16) -> Self {
        Self {
            timeline,
            current: None,
            pending: None,
            next_sequence: u64::from(first_sequence),
            floor: 0,
            pictures: Pictures::default(),
        }
    }

    /// The header of an empty packet, to be sent once when the slot is connected and before anything else: without it,
    /// str0m's sender reports say RTP time 0.
    pub fn prime(&mut self, now: Instant) -> Rewritten {
        debug_assert!(self.floor == 0, "a slot is primed once, first");
        let (timestamp, wallclock) = self.timeline.priming(now);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.floor = self.floor.max(timestamp + 1);
        Rewritten {
            sequence,
            timestamp: SlotTimeline::wire(timestamp),
            wallclock,
            marker: false,
            first_of_source: false,
            vp8: None,
        }
    }

    /// Shows another track, or nothing. The old one is shown until the new one has a packet to begin with; nothing is
    /// shown at once.
    pub fn switch(&mut self, now: Instant, to: Option<TrackId>) {
        match to {
            None => {
                self.close_segment();
                self.pending = None;
            }
            Some(track) if self.pending.is_some_and(|(pending, _)| pending == track) => {}
            Some(track) if self.current() == Some(track) => self.pending = None,
            Some(track) => self.pending = Some((track, now)),
        }
    }

    /// The track whose packets are sent.
    #[must_use]
    pub fn current(&self) -> Option<TrackId> {
        self.current.as_ref().map(|segment| segment.track)
    }

    /// The track that waits for a packet to begin with; a keyframe of it is wanted. The current track itself, when it
    /// lost too much to go on without one.
    #[must_use]
    pub fn pending(&self) -> Option<TrackId> {
        self.pending.map(|(track, _)| track)
    }

    /// Since when [`Self::pending`] waits.
    #[must_use]
    pub fn pending_since(&self) -> Option<Instant> {
        self.pending.map(|(_, since)| since)
    }

    /// Whether the slot shows nothing and nothing is coming.
    #[must_use]
    pub const fn idle(&self) -> bool {
        self.current.is_none() && self.pending.is_none()
    }

    /// Decides about a packet of `track`.
    pub fn forward(&mut self, now: Instant, track: TrackId, packet: &Packet) -> Forwarded {
        let outcome = if packet.codec.clock_rate() != self.timeline.kind().clock_rate() {
            Err(DropReason::WrongCodec)
        } else if self.pending() == Some(track) {
            self.begin(now, track, packet)
        } else if self.current() == Some(track) {
            self.go_on(now, track, packet)
        } else {
            Err(DropReason::NotShown)
        };
        match outcome {
            Ok(rewritten) => Forwarded::Send(rewritten),
            Err(reason) => Forwarded::Drop(reason),
        }
    }

    /// Begins to show `track` with this packet, if it can.
    fn begin(&mut self, now: Instant, track: TrackId, packet: &Packet) -> Result<Rewritten, DropReason> {
        if packet.payload.is_empty() {
            return Err(DropReason::Empty);
        }
        if !packet.keyframe {
            return Err(DropReason::AwaitingKeyframe);
        }
        let other = self.current() != Some(track);
        let mark = mark(now, packet);
        let Some(anchor) = self.anchor(mark) else {
            // The old source must stop, or the new one's packets would never find room.
            self.close_segment();
            return Err(DropReason::BehindTimeline);
        };
        let sequence = self.close_segment();
        self.pending = None;
        self.pictures.begin();
        let timestamp = anchor.timestamp(mark.rtp);
        let sequences = SequenceMap::new(packet.sequence, sequence);
        let segment = self.current.insert(Segment { track, sequences, anchor });
        let wallclock = segment.anchor.wallclock(&self.timeline, now, timestamp);
        self.floor = timestamp + self.length(packet);
        Ok(Rewritten {
            sequence,
            timestamp: SlotTimeline::wire(timestamp),
            wallclock,
            marker: packet.marker || self.timeline.kind() == SlotKind::Audio,
            first_of_source: other,
            vp8: self.pictures.count(&packet.payload, self.timeline.kind(), true),
        })
    }

    /// Goes on with the current source.
    fn go_on(&mut self, now: Instant, track: TrackId, packet: &Packet) -> Result<Rewritten, DropReason> {
        let Some(segment) = &mut self.current else { return Err(DropReason::NotShown) };
        if packet.payload.is_empty() {
            segment.sequences.discard(packet.sequence);
            return Err(DropReason::Empty);
        }
        if segment.sequences.is_leap(packet.sequence) {
            return self.restart(now, track, packet);
        }
        let mark = mark(now, packet);
        if segment.sequences.is_new(packet.sequence) {
            if !segment.anchor.follow(&self.timeline, mark) {
                self.anchor_again(mark)?;
            }
        } else if !segment.anchor.covers(packet.sequence, packet.rtp_time) {
            return Err(DropReason::TooLate);
        }
        self.place(now, packet)
    }

    /// Sends a packet that has its place on the line.
    fn place(&mut self, now: Instant, packet: &Packet) -> Result<Rewritten, DropReason> {
        let length = self.length(packet);
        let Some(segment) = &mut self.current else { return Err(DropReason::NotShown) };
        let (sequence, new) = match segment.sequences.place(packet.sequence) {
            Place::New(sequence) => (sequence, true),
            Place::Late(sequence) => (sequence, false),
            Place::Duplicate => return Err(DropReason::Duplicate),
            Place::TooOld | Place::Leap => return Err(DropReason::TooLate),
        };
        let timestamp = segment.anchor.timestamp(packet.rtp_time);
        self.floor = self.floor.max(timestamp + length);
        Ok(Rewritten {
            sequence,
            timestamp: SlotTimeline::wire(timestamp),
            wallclock: segment.anchor.wallclock(&self.timeline, now, timestamp),
            marker: packet.marker,
            first_of_source: false,
            vp8: self.pictures.count(&packet.payload, self.timeline.kind(), new),
        })
    }

    /// The current source paused, or lost more than can be repaired.
    fn restart(&mut self, now: Instant, track: TrackId, packet: &Packet) -> Result<Rewritten, DropReason> {
        if !packet.keyframe && self.pending.is_none() {
            self.pending = Some((track, now));
        }
        let waiting = self.pending;
        let outcome = self.begin(now, track, packet);
        // What another track waits for is not changed by this one's return.
        self.pending = waiting.filter(|(pending, _)| *pending != track || outcome.is_err());
        if outcome.is_err() && self.current.is_none() && self.pending.is_none() {
            self.pending = Some((track, now));
        }
        outcome
    }

    /// The current source's RTP time does not fit its capture time any more: gives it a new place on the line.
    fn anchor_again(&mut self, mark: Mark) -> Result<(), DropReason> {
        let anchor = self.anchor(mark);
        let Some(segment) = &mut self.current else { return Err(DropReason::NotShown) };
        if let Some(anchor) = anchor {
            segment.anchor = anchor;
            Ok(())
        } else {
            segment.sequences.discard(mark.sequence);
            Err(DropReason::BehindTimeline)
        }
    }

    /// Where a source that begins with this packet hangs; audio has a place only on the grid and after what was sent.
    fn anchor(&self, mark: Mark) -> Option<Anchor> {
        let timestamp = match self.timeline.kind() {
            SlotKind::Video => self.timeline.timestamp_at(mark.capture),
            SlotKind::Audio => {
                let grid = self.timeline.grid_at(mark.capture);
                // Rounding up instead would add up to 20 ms to every switch, for ever.
                (grid >= self.floor).then_some(grid)?
            }
        };
        Some(Anchor::new(&self.timeline, mark, timestamp, self.floor))
    }

    /// Ends what is shown and returns the next free sequence number.
    fn close_segment(&mut self) -> u64 {
        if let Some(segment) = self.current.take() {
            self.next_sequence = segment.sequences.next();
        }
        self.next_sequence
    }

    /// How much of the line a packet takes.
    fn length(&self, packet: &Packet) -> u64 {
        match self.timeline.kind() {
            SlotKind::Audio => opus::duration(&packet.payload),
            SlotKind::Video => 1,
        }
    }
}

fn mark(now: Instant, packet: &Packet) -> Mark {
    Mark { now, sequence: packet.sequence, rtp: packet.rtp_time, capture: packet.capture.min(now) }
}

/// The VP8 counters of a slot, which go on over switches.
#[derive(Debug, Default)]
struct Pictures {
    last_picture: Option<u16>,
    last_tl0: Option<u8>,
    picture_shift: Option<u16>,
    tl0_shift: Option<u8>,
}

impl Pictures {
    /// Another source begins.
    const fn begin(&mut self) {
        self.picture_shift = None;
        self.tl0_shift = None;
    }

    /// The counters of a packet; `None` when there is nothing to rewrite.
    fn count(&mut self, payload: &[u8], kind: SlotKind, new: bool) -> Option<Counters> {
        if kind == SlotKind::Audio {
            return None;
        }
        let description = Description::parse(payload)?;
        let picture_id = description.picture_id.map(|id| {
            let shift = *self
                .picture_shift
                .get_or_insert_with(|| self.last_picture.map_or(0, |last| last.wrapping_add(1).wrapping_sub(id.value)));
            let out = id.value.wrapping_add(shift) & WIDE_PICTURE_ID & id.mask();
            if new {
                self.last_picture = Some(out);
            }
            out
        });
        let tl0_pic_idx = description.tl0_pic_idx.map(|index| {
            let shift = *self
                .tl0_shift
                .get_or_insert_with(|| self.last_tl0.map_or(0, |last| last.wrapping_add(1).wrapping_sub(index)));
            let out = index.wrapping_add(shift);
            if new {
                self.last_tl0 = Some(out);
            }
            out
        });
        (picture_id.is_some() || tl0_pic_idx.is_some()).then_some(Counters { picture_id, tl0_pic_idx })
    }
}

#[cfg(test)]
#[path = "forwarder_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "forwarder_random_tests.rs"]
mod random_tests;
