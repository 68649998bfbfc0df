//! One slot's view of what arrives: which source it really is, whether it is whole, in order and on time.
//!
//! Takes packets in the order of arrival; repaired ones come late and complete their frame then. Nothing here knows
//! what the slot is supposed to show: [`crate::SlotReport::mislabelled`] compares the two.

mod frames;
mod freezes;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use plenary_protocol::{SlotAnnouncement, SourceName};

use self::frames::{Completed, Frames};
use self::freezes::Freezes;
use crate::histogram::Histogram;
use crate::marker::{Marker, Unreadable};
use crate::report::{Segment, SenderReport, SlotKind, SlotReport, SlotStats, is_before};
use crate::source::{Codec, Epoch};

/// How many announcements, segments and sender reports are kept.
const KEPT: usize = 512;

/// So many sequence numbers below the highest one are told apart from repetitions.
const WINDOW: u64 = 128;

/// A packet as it arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// Extended sequence number.
    pub(crate) sequence: u64,
    /// RTP time, as on the wire.
    pub(crate) rtp_time: u32,
    /// RFC 6464 level in -dBov and voice activity.
    pub(crate) level: Option<(i8, bool)>,
    /// The video codec of its payload type; `None` for sound, and for what is not known.
    pub(crate) codec: Option<Codec>,
    /// RTP payload.
    pub(crate) payload: &'a [u8],
}

/// Receives one slot.
#[derive(Debug)]
pub(crate) struct Receiver {
    mid: String,
    kind: SlotKind,
    epoch: Epoch,
    start: Instant,
    stats: SlotStats,
    announcements: VecDeque<SlotAnnouncement>,
    segments: VecDeque<Segment>,
    sender_reports: VecDeque<SenderReport>,
    frames: Frames,
    sequences: Option<Sequences>,
    latest: Option<Latest>,
    gap_since: Option<Instant>,
    longest_gap: Duration,
    freezes: Freezes,
    /// It was announced to show nobody since its last frame: what comes next is no end of a freeze.
    emptied: bool,
}

/// Sequence numbers seen.
#[derive(Debug)]
struct Sequences {
    highest: u64,
    /// Bit n: `highest - n` was received.
    seen: u128,
}

/// The latest packet in order.
#[derive(Debug, Clone, Copy)]
struct Latest {
    rtp_time: u32,
    publisher: u64,
    source: SourceName,
    layer: u16,
    frame: u32,
}

/// How a sequence number relates to those before.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    Next,
    Late,
    Repeated,
}

impl Receiver {
    pub(crate) fn new(mid: String, kind: SlotKind, epoch: Epoch, start: Instant) -> Self {
        Self {
            mid,
            kind,
            epoch,
            start,
            stats: SlotStats::default(),
            announcements: VecDeque::new(),
            segments: VecDeque::new(),
            sender_reports: VecDeque::new(),
            frames: Frames::default(),
            sequences: None,
            latest: None,
            gap_since: None,
            longest_gap: Duration::ZERO,
            freezes: Freezes::default(),
            emptied: false,
        }
    }

    pub(crate) fn mid(&self) -> &str {
        &self.mid
    }

    pub(crate) const fn kind(&self) -> SlotKind {
        self.kind
    }

    /// Whether a frame has been complete.
    pub(crate) const fn has_frames(&self) -> bool {
        self.stats.frames > 0
    }

    pub(crate) fn announce(&mut self, announcement: SlotAnnouncement) {
        self.emptied |= announcement.participant.is_none();
        keep(&mut self.announcements, announcement);
    }

    pub(crate) fn handle_sender_report(&mut self, report: SenderReport) {
        keep(&mut self.sender_reports, report);
    }

    /// Measures gaps, freezes and delays anew from `now` on.
    pub(crate) fn measure(&mut self, now: Instant) {
        self.longest_gap = Duration::ZERO;
        self.gap_since = self.gap_since.map(|_| now);
        (self.stats.freezes, self.stats.frozen) = (0, Duration::ZERO);
        self.stats.delays = Histogram::default();
    }

    pub(crate) fn handle_packet(&mut self, now: Instant, arrival: Arrival<'_>) {
        let order = self.order(arrival.sequence);
        if order == Order::Repeated {
            self.stats.repeated_packets += 1;
            return;
        }
        if arrival.payload.is_empty() {
            self.stats.empty_packets += 1;
            return;
        }
        self.stats.packets += 1;
        self.stats.payload_bytes += arrival.payload.len() as u64;
        if let Some((level, voice)) = arrival.level {
            self.stats.level = Some(level);
            self.stats.voice_packets += u64::from(voice);
        }
        match self.read(arrival) {
            Ok((marker, dimensions)) => {
                if order == Order::Next {
                    self.follow(now, arrival.rtp_time, &marker);
                } else {
                    self.stats.late_packets += 1;
                }
                self.measure_delay(now, &marker);
                self.assemble(now, arrival.rtp_time, &marker, dimensions);
            }
            Err(Unreadable::Foreign) => self.stats.foreign_packets += 1,
            Err(Unreadable::Damaged) => self.stats.hash_mismatches += 1,
        }
    }

    pub(crate) fn report(&self, now: Instant) -> SlotReport {
        let current = self.gap_since.map(|since| now.saturating_duration_since(since));
        let standing = self.standing(current);
        SlotReport {
            mid: self.mid.clone(),
            kind: self.kind,
            announcements: self.announcements.iter().cloned().collect(),
            segments: self.segments.iter().copied().collect(),
            sender_reports: self.sender_reports.iter().copied().collect(),
            stats: SlotStats {
                longest_gap: self.longest_gap.max(current.unwrap_or_default()),
                current_gap: current,
                freezes: self.stats.freezes + u64::from(standing.is_some()),
                frozen: self.stats.frozen + standing.unwrap_or_default(),
                ..self.stats.clone()
            },
        }
    }

    /// For how long the picture has been standing still that the slot is to show now, if that is too long already.
    fn standing(&self, current: Option<Duration>) -> Option<Duration> {
        let shows = self.announcements.back().is_some_and(|last| last.participant.is_some());
        current.filter(|gap| shows && self.kind == SlotKind::Video && self.freezes.is_one(*gap))
    }

    fn order(&mut self, sequence: u64) -> Order {
        let Some(sequences) = &mut self.sequences else {
            self.sequences = Some(Sequences { highest: sequence, seen: 1 });
            return Order::Next;
        };
        if sequence > sequences.highest {
            let step = sequence - sequences.highest;
            let shift = u32::try_from(step).unwrap_or(u32::MAX);
            sequences.seen = sequences.seen.checked_shl(shift).unwrap_or(0) | 1;
            sequences.highest = sequence;
            self.stats.missing_packets += step - 1;
            return Order::Next;
        }
        let age = sequences.highest - sequence;
        if age >= WINDOW || sequences.seen >> age & 1 == 1 {
            return Order::Repeated;
        }
        sequences.seen |= 1 << age;
        self.stats.missing_packets = self.stats.missing_packets.saturating_sub(1);
        Order::Late
    }

    fn read(&self, arrival: Arrival<'_>) -> Result<(Marker, Option<(u16, u16)>), Unreadable> {
        match self.kind {
            SlotKind::Audio => Ok((Marker::read(arrival.payload.get(1..).unwrap_or_default())?, None)),
            SlotKind::Video => {
                let codec = arrival.codec.ok_or(Unreadable::Foreign)?;
                let parsed = codec.parse(arrival.payload).ok_or(Unreadable::Foreign)?;
                Ok((Marker::read(parsed.rest)?, parsed.dimensions))
            }
        }
    }

    /// Follows source and RTP time over packets in order.
    fn follow(&mut self, now: Instant, rtp_time: u32, marker: &Marker) {
        let same_source =
            self.latest.is_some_and(|latest| (latest.publisher, latest.source) == (marker.publisher, marker.source));
        if let Some(latest) = self.latest {
            let same_layer = same_source && latest.layer == marker.layer;
            let same_frame = same_layer && latest.frame == marker.frame;
            self.stats.layer_switches += u64::from(same_source && !same_layer);
            let fault = if same_frame { rtp_time != latest.rtp_time } else { !is_before(latest.rtp_time, rtp_time) };
            self.stats.timestamp_faults += u64::from(fault);
        }
        if same_source {
            if let Some(segment) = self.segments.back_mut() {
                segment.last_timestamp = rtp_time;
            }
        } else {
            self.begin_segment(now, rtp_time, marker);
        }
        let Marker { publisher, source, layer, frame, .. } = *marker;
        self.latest = Some(Latest { rtp_time, publisher, source, layer, frame });
        self.stats.layer = Some(layer);
    }

    fn begin_segment(&mut self, now: Instant, rtp_time: u32, marker: &Marker) {
        self.stats.switches += u64::from(self.latest.is_some());
        self.stats.switches_without_keyframe += u64::from(!marker.keyframe || marker.index != 0);
        let segment = Segment {
            publisher: marker.publisher,
            source: marker.source,
            first_timestamp: rtp_time,
            last_timestamp: rtp_time,
            began: now.saturating_duration_since(self.start),
            frames: 0,
        };
        keep(&mut self.segments, segment);
    }

    fn measure_delay(&mut self, now: Instant, marker: &Marker) {
        // Of another machine with a clock ahead of ours it may be less than nothing.
        self.stats.delays.record(self.epoch.unix(now).saturating_sub(marker.captured));
    }

    fn assemble(&mut self, now: Instant, rtp_time: u32, marker: &Marker, dimensions: Option<(u16, u16)>) {
        if dimensions.is_some() {
            self.stats.dimensions = dimensions;
        }
        let Completed { frame, usable } = self.frames.insert(marker);
        if !frame {
            return;
        }
        self.stats.frames += 1;
        self.stats.keyframes += u64::from(marker.keyframe && self.kind == SlotKind::Video);
        *self.stats.frames_by_publisher.entry(marker.publisher).or_default() += 1;
        let begun = |segment: &&mut Segment| {
            (segment.publisher, segment.source) == (marker.publisher, marker.source)
                && !is_before(rtp_time, segment.first_timestamp)
        };
        if let Some(segment) = self.segments.iter_mut().rev().find(begun) {
            segment.frames += 1;
        }
        self.stats.usable_frames += usable;
        if usable > 0 {
            let since = self.gap_since.replace(now);
            let gap = since.map(|since| now.saturating_duration_since(since));
            self.longest_gap = self.longest_gap.max(gap.unwrap_or_default());
            if let (Some(gap), SlotKind::Video, false) = (gap, self.kind, std::mem::take(&mut self.emptied))
                && self.freezes.ends_one(gap)
            {
                self.stats.freezes += 1;
                self.stats.frozen += gap;
            }
        }
    }
}

/// Appends to a bounded queue; the oldest entry goes.
fn keep<T>(queue: &mut VecDeque<T>, entry: T) {
    if queue.len() == KEPT {
        queue.pop_front();
    }
    queue.push_back(entry);
}

#[cfg(test)]
mod tests;
