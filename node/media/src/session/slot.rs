//! A receive slot: one negotiated m-line, its forwarder, and what the client was last told about it.

use std::sync::Arc;
use std::time::Instant;

use plenary_cluster::model::{MediaKind, ParticipantId, TrackId};
use str0m::Rtc;
use str0m::format::Codec as RtcCodec;
use str0m::media::{Mid, Pt};
use str0m::rtp::{ExtensionValues, RtpWrite, Ssrc};

use crate::forwarder::{Forwarder, Rewritten};
use crate::io::{SlotChange, SlotSource};
use crate::packet::Packet;
use crate::random::Random;
use crate::timeline::{SlotKind, SlotTimeline};

/// A receive slot of a session.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(super) mid: Mid,
    pub(super) name: String,
    pub(crate) kind: MediaKind,
    pub(crate) forwarder: Forwarder,
    /// What the m-line was negotiated with; `None` while the client has it inactive.
    pub(super) stream: Option<(Ssrc, Pt)>,
    pub(super) primed: bool,
    generation: u32,
    announced: Option<TrackId>,
}

impl Slot {
    pub(super) fn new(now: Instant, mid: Mid, name: String, kind: MediaKind, random: &mut Random) -> Self {
        let slot_kind = match kind {
            MediaKind::Audio => SlotKind::Audio,
            MediaKind::Video => SlotKind::Video,
        };
        let timeline = SlotTimeline::new(slot_kind, now, random.next_u32());
        // Well below the first roll-over, so that the receiver knows the SRTP index from the start.
        let first_sequence = random.next_u16() >> 2;
        Self {
            mid,
            name,
            kind,
            forwarder: Forwarder::new(timeline, first_sequence),
            stream: None,
            primed: false,
            generation: 0,
            announced: None,
        }
    }

    /// The track that waits for a keyframe here, if any.
    pub(crate) fn awaits_keyframe(&self) -> Option<TrackId> {
        self.forwarder.pending().filter(|_| self.kind == MediaKind::Video)
    }

    /// Whether a picture is shown and another one is waited for.
    pub(super) fn is_switching(&self) -> bool {
        let waits = self.awaits_keyframe();
        waits.is_some() && self.announced.is_some() && waits != self.announced
    }

    /// What the client has to be told when the slot shows something else.
    pub(super) fn announce(&mut self, shows: Option<(ParticipantId, TrackId, u32)>) -> Option<SlotChange> {
        let track = shows.map(|(_, track, _)| track);
        if self.announced.is_none() && track.is_none() {
            return None;
        }
        self.announced = track;
        self.generation += 1;
        let shows = shows.map(|(participant, track, rtp_timestamp)| SlotSource { participant, track, rtp_timestamp });
        Some(SlotChange { mid: self.name.clone(), generation: self.generation, shows })
    }
}

/// What str0m is to send for a packet.
pub(super) fn write(pt: Pt, rewritten: &Rewritten, participant: ParticipantId, packet: &Packet) -> RtpWrite {
    let extensions = ExtensionValues {
        audio_level: packet.audio_level.and_then(|level| i8::try_from(level).ok()).map(|level| -level),
        voice_activity: packet.voice,
        ..ExtensionValues::default()
    };
    let write = head(pt, rewritten, Arc::clone(&packet.payload))
        .ext_vals(extensions)
        .nackable(!packet.payload.is_empty())
        .csrc(&[contributor(participant)]);
    match rewritten.vp8.and_then(|counters| counters.patch(&packet.payload)) {
        Some(patch) => write.vp8_patch(patch),
        None => write,
    }
}

/// A packet without payload.
pub(super) fn write_empty(pt: Pt, rewritten: &Rewritten) -> RtpWrite {
    head(pt, rewritten, Arc::from([]))
}

fn head(pt: Pt, rewritten: &Rewritten, payload: Arc<[u8]>) -> RtpWrite {
    RtpWrite::new(pt, rewritten.sequence.into(), rewritten.timestamp, rewritten.wallclock, payload)
        .marker(rewritten.marker)
}

/// RFC 3550 §5.1: a participant as contributing source. The low bits of a UUIDv7 are random.
#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are what is wanted")]
fn contributor(participant: ParticipantId) -> u32 {
    participant.uuid().as_u128() as u32
}

/// SSRC and payload type of a slot's m-line.
pub(super) fn negotiated(rtc: &mut Rtc, mid: Mid, kind: MediaKind) -> Option<(Ssrc, Pt)> {
    let codec = match kind {
        MediaKind::Audio => RtcCodec::Opus,
        MediaKind::Video => RtcCodec::Vp8,
    };
    let media = rtc.media(mid)?;
    if !media.direction().is_sending() {
        return None;
    }
    let remote = media.remote_pts().to_vec();
    let found = rtc.codec_config().find(|params| params.spec().codec == codec && remote.contains(&params.pt()));
    let pt = found?.pt();
    let ssrc = rtc.direct_api().stream_tx_by_mid(mid, None)?.ssrc();
    Some((ssrc, pt))
}
