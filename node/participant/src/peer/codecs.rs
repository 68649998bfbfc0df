//! The video codecs as str0m negotiates them.

use str0m::format::{Codec as Format, CodecConfig};
use str0m::media::Pt;

use crate::source::{Codec, H264_PROFILE_LEVEL};

/// Payload types of H.264 and its repairs, as browsers number that profile.
const H264_TYPES: (u8, u8) = (108, 109);

/// Enables a codec.
pub(super) fn enable(config: &mut CodecConfig, codec: Codec) {
    match codec {
        Codec::Vp8 => config.enable_vp8(true),
        Codec::Vp9 => config.enable_vp9(true),
        Codec::H264 => {
            config.add_h264(H264_TYPES.0.into(), Some(H264_TYPES.1.into()), true, H264_PROFILE_LEVEL);
        }
        Codec::Av1 => config.enable_av1(true),
    }
}

/// The video codec of a payload type; `None` for sound and for what we have no source of.
#[expect(clippy::wildcard_enum_match_arm, reason = "str0m's codecs grow; those not named do not concern us")]
pub(super) fn of(config: &CodecConfig, pt: Pt) -> Option<Codec> {
    let spec = config.find(|params| params.pt() == pt)?.spec();
    match spec.codec {
        Format::Vp8 => Some(Codec::Vp8),
        // Profile 2 has deeper colours and another frame header; the source makes profile 0.
        Format::Vp9 if spec.format.profile_id.unwrap_or(0) == 0 => Some(Codec::Vp9),
        Format::H264 => Some(Codec::H264),
        Format::Av1 => Some(Codec::Av1),
        _ => None,
    }
}
