//! One media packet on its way through a shard.

use std::sync::Arc;
use std::time::Instant;

/// A codec that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587, 48 kHz clock.
    Opus,
    /// RFC 7741, 90 kHz clock.
    Vp8,
}

impl Codec {
    /// RTP clock rate in Hz.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Vp8 => 90_000,
        }
    }
}

/// A packet of a track, as its origin saw it. Cheap to clone: the payload is shared.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    /// The origin's extended sequence number; a gap is a packet lost before the origin.
    pub sequence: u64,
    /// The origin's RTP timestamp, extended to 64 bits.
    pub rtp_time: u64,
    /// When it was captured, on this node's clock; audio and video of one publisher share the mapping.
    pub capture: Instant,
    /// The same in microseconds since the origin worker's epoch. Relays hand it on as it is; the first shard on
    /// another node maps it to its own clock.
    pub origin_capture: u64,
    /// RTP marker: last packet of a picture, or first of a talk spurt.
    pub marker: bool,
    /// Codec of the payload.
    pub codec: Codec,
    /// First packet of a picture that can be decoded on its own. Always true for audio.
    pub keyframe: bool,
    /// RFC 6464 level, 0 (loudest) to 127 dBov below; audio only.
    pub audio_level: Option<u8>,
    /// RFC 6464 voice activity; audio only.
    pub voice: Option<bool>,
    /// The RTP payload without padding.
    pub payload: Arc<[u8]>,
}

/// A small packet for tests.
#[cfg(test)]
pub(crate) fn sample(sequence: u64, capture: Instant) -> Packet {
    Packet {
        sequence,
        rtp_time: sequence * 3_000,
        capture,
        origin_capture: 0,
        marker: true,
        codec: Codec::Vp8,
        keyframe: false,
        audio_level: None,
        voice: None,
        payload: vec![0x10, 1].into(),
    }
}
