//! What the unit tests of this crate share.

use std::sync::Arc;
use std::time::Instant;

use plenary_cluster::model::{Source, TrackId};

use crate::packet::{Codec, Packet};

/// Where a test's virtual clock starts.
#[expect(clippy::disallowed_methods, reason = "an Instant can't be made otherwise; tests count from here")]
pub(crate) fn start() -> Instant {
    Instant::now() + std::time::Duration::from_secs(3_600)
}

/// A track of the session with this number.
pub(crate) fn track(session: u32, source: Source) -> TrackId {
    TrackId { session: format!("session_{session:032x}").parse().unwrap(), source }
}

/// An Opus packet: one 20 ms frame.
pub(crate) fn audio(sequence: u64, rtp_time: u64, capture: Instant) -> Packet {
    Packet {
        sequence,
        rtp_time,
        capture,
        origin_capture: 0,
        marker: false,
        codec: Codec::Opus,
        keyframe: true,
        audio_level: Some(30),
        voice: Some(true),
        // RFC 6716 §3.1: configuration 31 (CELT, 20 ms), mono, one frame.
        payload: Arc::from([0xf8, 0xff, 0xfe]),
    }
}

/// A VP8 packet that is a whole picture, with a 15-bit picture id and TL0PICIDX.
pub(crate) fn video(sequence: u64, rtp_time: u64, capture: Instant, keyframe: bool, picture: u16, tl0: u8) -> Packet {
    let [high, low] = picture.to_be_bytes();
    Packet {
        sequence,
        rtp_time,
        capture,
        origin_capture: 0,
        marker: true,
        codec: Codec::Vp8,
        keyframe,
        audio_level: None,
        voice: None,
        payload: Arc::from([0x90, 0xe0, 0x80 | high, low, tl0, 0x20, u8::from(!keyframe), 0, 0]),
    }
}
