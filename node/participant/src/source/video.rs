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
    /// Payload bits per second, as [`Trace`] counts them.
    pub bitrate: u32,
    /// The codec whose bytes the packets carry.
    pub codec: Codec,
    /// How large the frames are.
    pub trace: Trace,
}

impl Default for Video {
    fn default() -> Self {
        let (codec, trace) = (Codec::default(), Trace::default());
        Self { width: 640, height: 360, frame_rate: 30, bitrate: 600_000, codec, trace }
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

/// How large frames are, and when keyframes come without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trace {
    /// All frames alike, a keyframe four times as large, and only the first one and those that are asked for: the bitrate
    /// is that between keyframes. Packets carry up to 1100 bytes.
    #[default]
    Constant,
    /// Lognormal sizes, and every three seconds a keyframe of eight times the mean: the bitrate is that of all frames
    /// together, but for keyframes that are asked for, which come on top. Packets carry up to 1160 bytes.
    LogNormal {
        /// Equal seeds make equal sizes, source by source and layer by layer, for the same order of people: the low
        /// 24 bits of a publisher's number are mixed in, so that they do not all grow at the same time.
        seed: u64,
    },
}

impl Trace {
    /// Longest payload of a packet, in bytes. The whole datagram stays within 1200 with up to 40 bytes of RTP header,
    /// extensions and SRTP tag.
    pub(super) const fn max_payload(self) -> usize {
        match self {
            Self::Constant => 1_100,
            Self::LogNormal { .. } => 1_160,
        }
    }
}
