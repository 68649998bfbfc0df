//! How the codecs differ: the bytes that a packet begins with, in front of its marker.
//!
//! A picture is cut into packets the same way for all of them ([`super::camera`]). Headers are real and well formed, what
//! follows is a marker and filling: everything that routes, counts or looks for keyframes can work on it, a decoder can
//! not.

use super::video::Codec;
use super::{av1, h264, vp8, vp9};

/// What a codec's own bytes say of a picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picture {
    pub(super) keyframe: bool,
    /// Number of the picture, counting from 0.
    pub(super) number: u32,
    /// Pictures since the latest keyframe; 0 for a keyframe.
    pub(super) since_keyframe: u32,
    /// Where the stream's picture ids begin.
    pub(super) first_id: u16,
    /// Where its temporal layer index begins.
    pub(super) first_tl0: u8,
    pub(super) width: u16,
    pub(super) height: u16,
    /// Bytes of all its payloads, about.
    pub(super) size: usize,
}

impl Picture {
    /// 15 bits that go up by one from picture to picture.
    pub(super) fn id(&self) -> u16 {
        self.first_id.wrapping_add(u16::try_from(self.number & 0xFFFF).expect("masked")) & 0x7FFF
    }

    /// 8 bits that go up by one from picture to picture: there is one temporal layer.
    pub(super) fn tl0(&self) -> u8 {
        self.first_tl0.wrapping_add(u8::try_from(self.number & 0xFF).expect("masked"))
    }
}

/// Where a packet stands in its picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) count: usize,
}

impl Place {
    pub(super) const fn is_first(self) -> bool {
        self.index == 0
    }

    pub(super) const fn is_last(self) -> bool {
        self.index + 1 == self.count
    }
}

/// A payload taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payload<'a> {
    /// Width and height, on the first packet of a keyframe.
    pub(crate) dimensions: Option<(u16, u16)>,
    /// The marker and its filling.
    pub(crate) rest: &'a [u8],
}

impl Codec {
    /// Packets in front of those that share a picture's bytes: parameter sets, where the codec sends them by themselves.
    pub(super) const fn prelude(self, keyframe: bool) -> usize {
        match self {
            Self::H264 if keyframe => 1,
            Self::Vp8 | Self::Vp9 | Self::H264 | Self::Av1 => 0,
        }
    }

    /// Writes what comes before the marker.
    pub(super) fn open(self, out: &mut Vec<u8>, picture: &Picture, place: Place) {
        match self {
            Self::Vp8 => vp8::open(out, picture, place),
            Self::Vp9 => vp9::open(out, picture, place),
            Self::H264 => h264::open(out, picture, place),
            Self::Av1 => av1::open(out, picture, place),
        }
    }

    /// Writes what comes after the filling.
    pub(super) fn close(self, out: &mut Vec<u8>, picture: &Picture, place: Place) {
        if place.index < self.prelude(picture.keyframe) {
            h264::close_parameter_sets(out);
        }
    }

    /// Takes a payload apart; `None` when it ends too early or is of another kind.
    pub(crate) fn parse(self, payload: &[u8]) -> Option<Payload<'_>> {
        match self {
            Self::Vp8 => vp8::parse(payload),
            Self::Vp9 => vp9::parse(payload),
            Self::H264 => h264::parse(payload),
            Self::Av1 => av1::parse(payload),
        }
    }
}
