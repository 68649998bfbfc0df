//! What a participant did and what it really received. Plain data: tests assert on it, `plenary load` adds it up.

use std::collections::BTreeMap;
use std::time::Duration;

use plenary_protocol::{Close, Joined, MeetingState, Member, ProtocolError, SlotAnnouncement, SourceName};
use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;

/// What a participant did and what it really received, up to now.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Its own seed, which its packets carry.
    pub publisher: u64,
    /// What the node said to the join.
    pub joined: Option<Joined>,
    /// Whether ICE and DTLS are done.
    pub connected: bool,
    /// Whether the node said so too.
    pub media_connected: bool,
    /// What was seen when the media connection broke; signalling may live on.
    pub media_lost: Option<String>,
    /// The meeting's state, once the node spoke of it.
    pub meeting: Option<MeetingState>,
    /// Offers sent, the first one included.
    pub offers: u32,
    /// When things happened.
    pub times: Times,
    /// Everybody in the meeting, by id, as last told.
    pub roster: BTreeMap<String, Member>,
    /// Roster pushes received.
    pub roster_pushes: u32,
    /// Who speaks, loudest first, as last told.
    pub speakers: Vec<String>,
    /// What was sent, by source.
    pub published: BTreeMap<SourceName, Published>,
    /// Receive slots in the order of the offers.
    pub slots: Vec<SlotReport>,
    /// Datagrams of all kinds.
    pub network: Network,
    /// Errors the node answered with, the latest 64.
    pub errors: Vec<ProtocolError>,
    /// Text frames that were no known reply or push.
    pub unknown_frames: u32,
    /// Why it ended; absent while it lives.
    pub ended: Option<Ended>,
}

/// When things happened, since the first signalling request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// `joined` arrived.
    pub joined: Option<Duration>,
    /// The first answer arrived.
    pub answered: Option<Duration>,
    /// ICE and DTLS were done.
    pub connected: Option<Duration>,
    /// The first frame of a picture was complete.
    pub first_video: Option<Duration>,
    /// The first sound arrived.
    pub first_audio: Option<Duration>,
    /// This report was made.
    pub reported: Duration,
}

/// What was sent of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Whether it is published now.
    pub active: bool,
    /// Whether it is muted now.
    pub muted: bool,
    /// Layers that are sent; 0 before the media connection, and when the node does not take the codec.
    pub layers: u8,
    /// Frames captured, all layers of one instant as one.
    pub frames: u64,
    /// RTP packets sent, without repetitions.
    pub packets: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
    /// Their bytes with RTP headers and extensions, without the SRTP tag, as they were sent.
    pub rtp_bytes: u64,
    /// RTP packets sent again because they were asked for.
    pub repeated_packets: u64,
    /// Keyframe requests received.
    pub keyframe_requests: u64,
}

/// Datagrams of all kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Datagrams sent.
    pub sent: u64,
    /// Their payload bytes.
    pub sent_bytes: u64,
    /// Datagrams received.
    pub received: u64,
    /// Their payload bytes.
    pub received_bytes: u64,
    /// Datagrams that the socket did not take.
    pub dropped: u64,
    /// Datagrams that were nothing known.
    pub unreadable: u64,
}

/// Whether a slot is for sound or pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotKind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl SlotKind {
    /// RTP clock rate in Hz.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Audio => 48_000,
            Self::Video => 90_000,
        }
    }
}

/// What one slot was announced to show and what it really received.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SlotReport {
    /// Its m-line.
    pub mid: String,
    /// Sound or pictures.
    pub kind: SlotKind,
    /// Announcements, oldest first, the latest 512.
    pub announcements: Vec<SlotAnnouncement>,
    /// What came, oldest first, a new entry at each change of source, the latest 512.
    pub segments: Vec<Segment>,
    /// Sender reports, oldest first, the latest 512.
    pub sender_reports: Vec<SenderReport>,
    /// Counters.
    pub stats: SlotStats,
}

/// A stretch of packets of one source in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// The publisher's seed.
    pub publisher: u64,
    /// Which of their sources.
    pub source: SourceName,
    /// RTP time of its first packet.
    pub first_timestamp: u32,
    /// RTP time of its latest packet.
    pub last_timestamp: u32,
    /// When its first packet arrived, since the first signalling request.
    pub began: Duration,
    /// Frames that are complete.
    pub frames: u64,
}

/// What a sender report says: these two are the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderReport {
    /// The sender's clock, since the Unix epoch.
    pub ntp: Duration,
    /// RTP time, as on the wire.
    pub rtp: u32,
}

/// Counters of a slot. All are cumulative but gaps, freezes and delays, which [`crate::Command::Measure`] sets back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SlotStats {
    /// RTP packets with a payload.
    pub packets: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// RTP packets without a payload.
    pub empty_packets: u64,
    /// Packets that came after a later one.
    pub late_packets: u64,
    /// Packets that came twice.
    pub repeated_packets: u64,
    /// Sequence numbers not received up to the highest one.
    pub missing_packets: u64,
    /// Frames of which every packet arrived.
    pub frames: u64,
    /// The same by the publisher's seed.
    pub frames_by_publisher: BTreeMap<u64, u64>,
    /// Complete frames a decoder could have used: keyframes, and frames after a usable one without a hole.
    pub usable_frames: u64,
    /// Complete keyframes.
    pub keyframes: u64,
    /// Width and height of the latest keyframe.
    pub dimensions: Option<(u16, u16)>,
    /// Times the source changed.
    pub switches: u64,
    /// Changes of source that did not begin with the first packet of a keyframe.
    pub switches_without_keyframe: u64,
    /// Layer of the latest packet in order, counting from the lowest.
    pub layer: Option<u16>,
    /// Times the layer changed while the source did not.
    pub layer_switches: u64,
    /// Packets in order whose RTP time went back, or new frames whose RTP time did not go on.
    pub timestamp_faults: u64,
    /// Packets that no synthetic source made.
    pub foreign_packets: u64,
    /// Packets of a synthetic source that were changed on the way.
    pub hash_mismatches: u64,
    /// Longest time between usable frames, the one still running included once the slot has shown something.
    pub longest_gap: Duration,
    /// Time since the latest usable frame.
    pub current_gap: Option<Duration>,
    /// Pictures that stood still for too long: for three times the mean of the last 30 distances between usable frames,
    /// and 150 ms above it (`freezeCount` of webrtc-stats).
    pub freezes: u64,
    /// How long they stood still, altogether.
    pub frozen: Duration,
    /// Times from capture to arrival, packet by packet. They mean something on one machine, or with equal clocks.
    pub delays: Histogram,
    /// RFC 6464 level of the latest packet, in -dBov.
    pub level: Option<i8>,
    /// Packets whose level says voice.
    pub voice_packets: u64,
}

/// Why a participant ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Ended {
    /// It left.
    Left,
    /// It was dropped without a word.
    Aborted,
    /// The node closed.
    Closed(Close),
    /// The signalling connection broke.
    SignallingLost {
        /// What was seen.
        detail: String,
    },
    /// The node refused the join or an offer.
    Rejected(ProtocolError),
    /// The node said something that can't be used.
    Misunderstood {
        /// What.
        detail: String,
    },
}

impl Report {
    /// The slot of an m-line.
    #[must_use]
    pub fn slot(&self, mid: &str) -> Option<&SlotReport> {
        self.slots.iter().find(|slot| slot.mid == mid)
    }

    /// The slots of a kind.
    pub fn slots_of(&self, kind: SlotKind) -> impl Iterator<Item = &SlotReport> {
        self.slots.iter().filter(move |slot| slot.kind == kind)
    }

    /// Complete frames of a publisher over all slots of a kind.
    #[must_use]
    pub fn frames_from(&self, publisher: u64, kind: SlotKind) -> u64 {
        self.slots_of(kind).filter_map(|slot| slot.stats.frames_by_publisher.get(&publisher)).sum()
    }

    /// The longest gap of any slot of a kind that showed something.
    #[must_use]
    pub fn longest_gap(&self, kind: SlotKind) -> Duration {
        self.slots_of(kind).map(|slot| slot.stats.longest_gap).max().unwrap_or_default()
    }

    /// RTP bytes sent over all sources, repetitions left out.
    #[must_use]
    pub fn published_rtp_bytes(&self) -> u64 {
        self.published.values().map(|source| source.rtp_bytes).sum()
    }
}

impl SlotReport {
    /// What the slot was last announced to show; `None` when idle or never announced.
    #[must_use]
    pub fn shows(&self) -> Option<&SlotAnnouncement> {
        self.announcements.last().filter(|last| last.participant.is_some())
    }

    /// The announcement in force at an RTP time: the last one whose first RTP time is not after it.
    #[must_use]
    pub fn announced_at(&self, rtp: u32) -> Option<&SlotAnnouncement> {
        let begun = |announced: &&SlotAnnouncement| announced.rtp_timestamp.is_some_and(|first| !is_before(rtp, first));
        self.announcements.iter().rev().find(begun)
    }

    /// Segments whose source is not the announced one; `publisher` says which seed a participant id has.
    pub fn mislabelled(&self, publisher: impl Fn(&str) -> Option<u64>) -> Vec<Segment> {
        let right = |segment: &Segment| {
            let announced = self.announced_at(segment.first_timestamp);
            let who = announced.and_then(|announced| announced.participant.as_deref());
            let source = announced.and_then(|announced| announced.source);
            who.and_then(&publisher) == Some(segment.publisher) && source == Some(segment.source)
        };
        self.segments.iter().filter(|segment| !right(segment)).copied().collect()
    }

    /// How far any sender report is from the straight line through the first one at the nominal rate; `None` with
    /// fewer than two reports.
    #[must_use]
    pub fn sender_report_drift(&self) -> Option<Duration> {
        let (first, others) = self.sender_reports.split_first()?;
        let rate = f64::from(self.kind.clock_rate());
        let (mut rtp, mut before) = (0_i64, first.rtp);
        let drift = |report: &SenderReport| {
            rtp += i64::from(report.rtp.wrapping_sub(before).cast_signed());
            before = report.rtp;
            #[expect(clippy::cast_precision_loss, reason = "52 bits of ticks are more than a thousand years")]
            let media = rtp as f64 / rate;
            (media - (report.ntp.as_secs_f64() - first.ntp.as_secs_f64())).abs()
        };
        others.iter().map(drift).max_by(f64::total_cmp).map(Duration::from_secs_f64)
    }
}

/// Whether RTP time `a` is before `b`, modulo 2^32.
pub(crate) const fn is_before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}
