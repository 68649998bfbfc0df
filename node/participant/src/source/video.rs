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
    /// Payload bits per second, as [`Trace`] counts them; of the highest layer where there are three.
    pub bitrate: u32,
    /// The codec whose bytes the packets carry.
    pub codec: Codec,
    /// How large the frames are.
    pub trace: Trace,
    /// In how many layers the pictures are offered.
    pub layers: Layers,
}

impl Default for Video {
    fn default() -> Self {
        let (codec, trace, layers) = (Codec::default(), Trace::default(), Layers::default());
        Self { width: 640, height: 360, frame_rate: 30, bitrate: 600_000, codec, trace, layers }
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
    /// All of them.
    #[cfg(test)]
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
        /// Equal seeds make equal sizes, source by source and layer by layer: give each publisher another, or they all
        /// grow at the same time.
        seed: u64,
    },
}

impl Trace {
    /// Longest payload of a packet, in bytes. Header and extensions are up to 36 more with layers: the RTP packet stays
    /// within 1200, as browsers keep it, and the SRTP tag of 16 comes on top.
    #[must_use]
    pub const fn max_payload(self) -> usize {
        match self {
            Self::Constant => 1_100,
            Self::LogNormal { .. } => 1_160,
        }
    }
}

/// Simulcast (RFC 8853): how many encodings of a source there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layers {
    /// One, as [`Video`] says.
    #[default]
    One,
    /// Three, captured at the same instants: a tenth of the bitrate and a quarter of width and height, a third and half of
    /// them, and what [`Video`] says. A node that does not take simulcast gets that last one alone.
    Three,
}

impl Layers {
    /// What three layers are called (RFC 8852 §3.1), the lowest first, as their numbers in markers are.
    pub(crate) const RIDS: [&'static str; 3] = ["l", "m", "h"];

    /// What each layer makes, the lowest first.
    pub(super) fn split(self, video: Video) -> Vec<Video> {
        let part = |bitrate, side: u16| Video {
            bitrate: video.bitrate / bitrate,
            width: video.width / side,
            height: video.height / side,
            ..video
        };
        match self {
            Self::One => vec![video],
            Self::Three => vec![part(10, 4), part(3, 2), video],
        }
    }
}
