//! What a synthetic picture source makes.

/// What a synthetic picture source makes. Changed from [`Video::default`] where it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Video {
    /// Picture width in pixels, at most 16383.
    pub width: u16,
    /// Picture height in pixels, at most 16383.
    pub height: u16,
    /// Pictures per second, 1 to 120.
    pub frame_rate: u32,
    /// Payload bits per second between keyframes; a keyframe is four times as large as another frame.
    pub bitrate: u32,
    /// The codec whose bytes the packets carry.
    pub codec: Codec,
}

impl Default for Video {
    fn default() -> Self {
        Self { width: 640, height: 360, frame_rate: 30, bitrate: 600_000, codec: Codec::default() }
    }
}

/// A video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Codec {
    /// RFC 6386, RFC 7741.
    #[default]
    Vp8,
    /// Profile 0; RFC 9628.
    Vp9,
    /// Constrained baseline, level 3.1, packetization mode 1; RFC 6184.
    H264,
    /// Main profile; the Alliance for Open Media's RTP payload format 1.0.
    Av1,
}

impl Codec {
    /// All of them, in the order in which they are offered after the one that is sent.
    pub(crate) const ALL: [Self; 4] = [Self::Vp8, Self::Vp9, Self::H264, Self::Av1];
}
