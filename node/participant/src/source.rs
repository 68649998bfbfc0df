//! Synthetic sources: well-formed Opus, VP8, VP9, H.264 and AV1 without an encoder, derived from a seed.
//!
//! A source is a small state machine: [`Source::due`] says when its next frame is captured, [`Source::capture`] makes
//! it. All sources of one participant start at the same instant, so that their RTP times share a capture clock.

mod av1;
mod bits;
mod camera;
mod h264;
mod opus;
mod packing;
mod sizes;
mod video;
mod vp8;
mod vp9;

use std::time::{Duration, Instant};

use plenary_protocol::SourceName;

pub(crate) use camera::MAX_PACKETS;
pub(crate) use h264::PROFILE_LEVEL as H264_PROFILE_LEVEL;
pub use opus::Speech;
pub use video::{Codec, Layers, Trace, Video};

use crate::marker::mix;

/// Behind by more than this, a source skips frames instead of catching up: a burst would look like a fault of the net.
const MOST_BEHIND: Duration = Duration::from_millis(300);

/// One packet of a captured frame, before RTP.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    /// RTP payload.
    pub(crate) payload: &'a [u8],
    /// RTP time of the frame.
    pub(crate) rtp_time: u32,
    /// When the frame was captured.
    pub(crate) captured: Instant,
    /// RTP marker bit.
    pub(crate) marker: bool,
    /// RFC 6464 level in -dBov and voice activity.
    pub(crate) level: Option<(i8, bool)>,
    /// Which layer it is of, counting from the lowest.
    pub(crate) layer: usize,
}

/// Ties the instants of a run to the Unix epoch, so that capture times can be compared within a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// An instant.
    pub instant: Instant,
    /// The same moment, since the Unix epoch.
    pub unix: Duration,
}

impl Epoch {
    /// `at`, since the Unix epoch. Instants before the anchor count as the anchor.
    pub(crate) fn unix(&self, at: Instant) -> Duration {
        self.unix + at.saturating_duration_since(self.instant)
    }
}

/// When frames are captured: at a fixed distance from each other, with RTP times to match.
#[derive(Debug)]
struct Cadence {
    first: Instant,
    interval_nanos: u64,
    rtp_base: u32,
    rtp_step: u32,
    tick: u64,
}

impl Cadence {
    fn due(&self) -> Instant {
        self.first + Duration::from_nanos(self.interval_nanos * self.tick)
    }

    /// The capture instant and RTP time of the frame that is due at `now`, if one is; skips what is too far behind.
    fn next(&mut self, now: Instant) -> Option<(Instant, u32)> {
        if now < self.due() {
            return None;
        }
        if now.duration_since(self.due()) > MOST_BEHIND {
            let since = u64::try_from(now.duration_since(self.first).as_nanos()).unwrap_or(u64::MAX);
            self.tick = since / self.interval_nanos;
        }
        let captured = self.due();
        let ticks = self.tick & u64::from(u32::MAX);
        let ticks = u32::try_from(ticks).expect("masked");
        self.tick += 1;
        Some((captured, self.rtp_base.wrapping_add(ticks.wrapping_mul(self.rtp_step))))
    }
}

/// A synthetic source.
#[derive(Debug)]
pub(crate) enum Source {
    /// Opus.
    Audio(opus::Opus),
    /// One of the video codecs.
    Video(camera::Camera),
}

impl Source {
    /// A source of `publisher` that starts at `start`.
    pub(crate) fn new(
        publisher: u64,
        name: SourceName,
        epoch: Epoch,
        start: Instant,
        video: Video,
        speech: Speech,
    ) -> Self {
        match name {
            SourceName::Microphone | SourceName::ScreenAudio => {
                Self::Audio(opus::Opus::new(publisher, name, epoch, start, speech))
            }
            SourceName::Camera | SourceName::Screen => {
                Self::Video(camera::Camera::new(publisher, name, epoch, start, video))
            }
        }
    }

    /// When the next frame is captured.
    pub(crate) fn due(&self) -> Instant {
        match self {
            Self::Audio(opus) => opus.due(),
            Self::Video(camera) => camera.due(),
        }
    }

    /// Makes the frame that is due at `now`, packet by packet and layer by layer; false when none is.
    pub(crate) fn capture(&mut self, now: Instant, send: impl FnMut(Piece<'_>)) -> bool {
        match self {
            Self::Audio(opus) => opus.capture(now, send),
            Self::Video(camera) => camera.capture(now, send),
        }
    }

    /// Makes the next picture a keyframe, of one layer or of all.
    pub(crate) fn request_keyframe(&mut self, layer: Option<usize>) {
        match self {
            Self::Audio(_) => {}
            Self::Video(camera) => camera.request_keyframe(layer),
        }
    }

    /// Changes when somebody talks.
    pub(crate) fn set_speech(&mut self, speech: Speech) {
        match self {
            Self::Audio(opus) => opus.set_speech(speech),
            Self::Video(_) => {}
        }
    }
}

/// A number that depends on the publisher and the source alone.
fn key(publisher: u64, name: SourceName) -> u64 {
    let mut state = publisher.wrapping_mul(31).wrapping_add(name as u64);
    mix(&mut state)
}

/// The low bits of a mixed number, as an RTP time to start from.
fn rtp_base(key: u64) -> u32 {
    u32::try_from(key >> 32).expect("32 bits are left")
}
