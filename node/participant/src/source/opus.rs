//! Opus frames (RFC 6716 §3.1, RFC 7587): 20 ms each, with the level of RFC 6464 following a schedule.

use std::time::{Duration, Instant};

use plenary_protocol::SourceName;

use super::{Cadence, Epoch, Piece, key, rtp_base};
use crate::marker::{Marker, mix};

/// Length of a frame in nanoseconds.
const FRAME_NANOS: u64 = 20_000_000;

/// The same at 48 kHz, the RTP clock of Opus (RFC 7587 §4.1).
const FRAME_SAMPLES: u32 = 960;

/// Configuration 31 (CELT, full band, 20 ms), mono, one frame per packet: RFC 6716 §3.1.
const TOC: u8 = 31 << 3;

/// Bytes of filling: with the table of contents and the marker, 60 to 80 bytes a packet.
const FILLING: std::ops::Range<u64> = 21..42;

/// When somebody talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speech {
    /// Never: packets flow, their level says silence.
    Silent,
    /// All the time.
    #[default]
    Talking,
    /// By turns, beginning with `first` of silence after the start of the media.
    Turns {
        /// Silence before the first turn.
        first: Duration,
        /// Length of a turn.
        talk: Duration,
        /// Silence after each turn; together with `talk` more than zero.
        pause: Duration,
    },
}

impl Speech {
    /// Whether somebody talks `elapsed` after the start.
    fn talks(self, elapsed: Duration) -> bool {
        match self {
            Self::Silent => false,
            Self::Talking => true,
            Self::Turns { first, talk, pause } => {
                let Some(since) = elapsed.checked_sub(first) else { return false };
                let period = (talk + pause).as_nanos().max(1);
                since.as_nanos() % period < talk.as_nanos()
            }
        }
    }
}

/// A synthetic microphone.
#[derive(Debug)]
pub(crate) struct Opus {
    publisher: u64,
    name: SourceName,
    epoch: Epoch,
    cadence: Cadence,
    speech: Speech,
    talking: bool,
    random: u64,
    frame: u32,
    buffer: Vec<u8>,
}

impl Opus {
    pub(super) fn new(publisher: u64, name: SourceName, epoch: Epoch, start: Instant, speech: Speech) -> Self {
        let key = key(publisher, name);
        let cadence = Cadence {
            first: start,
            interval_nanos: FRAME_NANOS,
            rtp_base: rtp_base(key),
            rtp_step: FRAME_SAMPLES,
            tick: 0,
        };
        Self { publisher, name, epoch, cadence, speech, talking: false, random: key, frame: 0, buffer: Vec::new() }
    }

    pub(super) fn due(&self) -> Instant {
        self.cadence.due()
    }

    pub(super) const fn set_speech(&mut self, speech: Speech) {
        self.speech = speech;
    }

    pub(super) fn capture(&mut self, now: Instant, mut send: impl FnMut(Piece<'_>)) -> bool {
        let Some((captured, rtp_time)) = self.cadence.next(now) else { return false };
        let talks = self.speech.talks(captured.duration_since(self.cadence.first));
        // RFC 7587 §4.2 and RFC 3551 §4.1: the marker bit begins a talk spurt.
        let marker = talks && !self.talking;
        self.talking = talks;
        let draw = mix(&mut self.random);
        self.buffer.clear();
        self.buffer.push(TOC);
        let filling = FILLING.start + draw % (FILLING.end - FILLING.start);
        let filling = usize::try_from(filling).expect("below 42");
        let words = Marker {
            publisher: self.publisher,
            source: self.name,
            keyframe: true,
            frame: self.frame,
            index: 0,
            count: 1,
            packet: self.frame,
            captured: self.epoch.unix(captured),
            layer: 0,
        };
        words.write(&mut self.buffer, filling, self.publisher);
        self.frame = self.frame.wrapping_add(1);
        let level = Some((level(talks, draw), talks));
        send(Piece { payload: &self.buffer, rtp_time, captured, marker, level, layer: 0 });
        true
    }
}

/// A voice moves between -35 and -20 dBov, silence stays below -90.
fn level(talks: bool, draw: u64) -> i8 {
    let (loudest, width) = if talks { (-20, 16) } else { (-90, 30) };
    let below = i8::try_from((draw >> 40) % width).expect("at most 29");
    loudest - below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start its virtual clock from")]
    fn fifty_packets_a_second_follow_the_schedule() {
        let start = Instant::now();
        let epoch = Epoch { instant: start, unix: Duration::from_secs(1) };
        let second = Duration::from_secs(1);
        let speech = Speech::Turns { first: second, talk: second, pause: second };
        let mut opus = Opus::new(3, SourceName::Microphone, epoch, start, speech);
        let (mut sizes, mut voices, mut spurts) = (Vec::new(), Vec::new(), 0);
        let mut last = None;
        while opus.due() < start + 4 * second {
            let now = opus.due();
            assert!(opus.capture(now, |piece| {
                let (level, voice) = piece.level.unwrap();
                assert_eq!(voice, level >= -35);
                assert!((-127..=0).contains(&level));
                if let Some(last) = last {
                    assert_eq!(piece.rtp_time, 960_u32.wrapping_add(last));
                }
                last = Some(piece.rtp_time);
                sizes.push(piece.payload.len());
                voices.push(voice);
                spurts += u32::from(piece.marker);
            }));
            assert!(!opus.capture(now, |_| ()), "one frame at a time");
        }
        assert_eq!(sizes.len(), 200);
        assert!(sizes.iter().all(|size| (60..=80).contains(size)), "{sizes:?}");
        assert_eq!(voices.iter().filter(|voice| **voice).count(), 100);
        assert_eq!(spurts, 2);
        assert!(voices[50] && !voices[49] && !voices[100]);
    }
}
