//! The publishing side of a session: str0m's packets become packets of tracks.

use std::time::Instant;

use plenary_cluster::model::{MediaKind, Source};
use str0m::media::{Mid, SenderFeedback};
use str0m::rtp::{RtpPacket, Ssrc};

use crate::capture::CaptureClock;
use crate::packet::{Codec, Packet};

/// A publisher that changes its SSRC begins new sequence numbers; they are moved this far beyond the old ones, so that
/// everybody takes it for a new start and not for loss.
const LEAP: u64 = 10_000;

/// A publish m-line.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) mid: Mid,
    pub(super) source: Source,
    ssrc: Option<Ssrc>,
    /// Added to str0m's sequence numbers.
    shift: u64,
    last: u64,
}

/// The publish m-lines of a session and their clocks.
#[derive(Debug)]
pub(super) struct Ingress {
    publications: Vec<Publication>,
    clock: CaptureClock,
    /// The worker's epoch for capture times on the wire.
    epoch: Instant,
}

impl Ingress {
    pub(super) fn new(now: Instant, epoch: Instant) -> Self {
        Self { publications: Vec::new(), clock: CaptureClock::new(now), epoch }
    }

    /// Replaces the m-lines, keeping what is known of those that stay.
    pub(super) fn publish(&mut self, lines: Vec<(Mid, Source)>) {
        let mut before = std::mem::take(&mut self.publications);
        self.publications = lines
            .into_iter()
            .map(|(mid, source)| {
                let known = before.iter().position(|old| old.mid == mid && old.source == source);
                known.map_or_else(
                    || Publication { mid, source, ssrc: None, shift: 0, last: 0 },
                    |at| before.swap_remove(at),
                )
            })
            .collect();
    }

    /// The m-line of a source.
    pub(super) fn mid(&self, source: Source) -> Option<Mid> {
        self.publications.iter().find(|line| line.source == source).map(|line| line.mid)
    }

    /// Takes in a sender report.
    pub(super) fn handle_report(&mut self, feedback: &SenderFeedback) {
        let Some(line) = self.publications.iter().find(|line| line.mid == feedback.mid) else { return };
        let info = &feedback.sender_info;
        self.clock.handle_sender_report(feedback.received_at, line.source, info.ntp_time, low(info.rtp_time.numer()));
    }

    /// Makes a packet of what str0m received. `mid_of` is asked for the m-line of an SSRC when it is new.
    pub(super) fn handle_packet(
        &mut self,
        now: Instant,
        rtp: &RtpPacket,
        mid_of: impl FnOnce(Ssrc) -> Option<Mid>,
    ) -> Option<(Source, Packet)> {
        let ssrc = rtp.header.ssrc;
        let sequence = *rtp.seq_no;
        let known = self.publications.iter().position(|line| line.ssrc == Some(ssrc));
        let at = match known {
            Some(at) => at,
            None => self.adopt(ssrc, sequence, mid_of(ssrc)?)?,
        };
        let line = &mut self.publications[at];
        let sequence = sequence.wrapping_add(line.shift);
        line.last = line.last.max(sequence);
        let source = line.source;
        let codec = codec(source);
        let rtp_time = rtp.time.numer();
        let capture = self.clock.handle_packet(now, source, rtp_time, codec.clock_rate());
        let origin_capture = capture.saturating_duration_since(self.epoch).as_micros();
        let extensions = &rtp.header.ext_vals;
        let packet = Packet {
            sequence,
            rtp_time,
            capture,
            origin_capture: u64::try_from(origin_capture).unwrap_or(0),
            marker: rtp.header.marker,
            codec,
            keyframe: match codec {
                Codec::Opus => true,
                Codec::Vp8 => str0m::format::detect_vp8_keyframe(&rtp.payload),
            },
            audio_level: extensions.audio_level.map(|level| level.unsigned_abs().min(127)),
            voice: extensions.voice_activity,
            payload: rtp.payload.clone(),
        };
        Some((source, packet))
    }

    /// An SSRC was not seen on this m-line before.
    fn adopt(&mut self, ssrc: Ssrc, sequence: u64, mid: Mid) -> Option<usize> {
        let at = self.publications.iter().position(|line| line.mid == mid)?;
        let line = &mut self.publications[at];
        if line.ssrc.is_some() {
            line.shift = (line.last + LEAP).wrapping_sub(sequence);
        }
        line.ssrc = Some(ssrc);
        Some(at)
    }
}

/// One codec a kind is negotiated.
const fn codec(source: Source) -> Codec {
    match source.kind() {
        MediaKind::Audio => Codec::Opus,
        MediaKind::Video => Codec::Vp8,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a sender report carries the low 32 bits")]
const fn low(rtp_time: u64) -> u32 {
    rtp_time as u32
}
