//! What forwarding needs of a VP8 payload descriptor (RFC 7741 §4.2): a view beside str0m's own parser, which knows
//! where to patch but keeps the temporal layer and the width of the picture id to itself.

use str0m::rtp::{Vp8Descriptor, Vp8Patch};

/// RFC 7741 §4.2: a picture id has 7 or 15 bits, chosen by the encoder; a patch can't change the length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureId {
    /// Its value.
    pub value: u16,
    /// Whether it has 15 bits rather than 7.
    pub wide: bool,
}

impl PictureId {
    /// The bits that a value of this width has.
    #[must_use]
    pub const fn mask(self) -> u16 {
        if self.wide { WIDE_PICTURE_ID } else { NARROW_PICTURE_ID }
    }
}

/// The bits of a 15-bit picture id.
pub const WIDE_PICTURE_ID: u16 = 0x7fff;
const NARROW_PICTURE_ID: u16 = 0x7f;

/// The fields of a payload descriptor that forwarding looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// First packet of the picture: S = 1 and PID = 0.
    pub starts_picture: bool,
    /// Starts a picture that can be decoded on its own.
    pub starts_keyframe: bool,
    /// Counts pictures.
    pub picture_id: Option<PictureId>,
    /// Counts pictures of temporal layer 0.
    pub tl0_pic_idx: Option<u8>,
    /// Temporal layer.
    pub temporal_layer: Option<u8>,
    /// Depends on temporal layer 0 only: a receiver may go up here.
    pub layer_sync: bool,
}

impl Description {
    /// Reads a payload; `None` when it is not VP8.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let descriptor = Vp8Descriptor::parse(payload).ok()?;
        let first = *payload.first()?;
        let extension = if first & 0x80 == 0 { 0 } else { *payload.get(1)? };
        let wide = extension & 0x80 != 0 && payload.get(2)? & 0x80 != 0;
        let layer = if extension & 0x20 == 0 {
            None
        } else {
            let picture_id = usize::from(extension & 0x80 != 0) + usize::from(wide);
            let tl0 = usize::from(extension & 0x40 != 0);
            Some(*payload.get(2 + picture_id + tl0)?)
        };
        Some(Self {
            starts_picture: first & 0x10 != 0 && first & 0x07 == 0,
            starts_keyframe: descriptor.starts_keyframe(payload),
            picture_id: descriptor.picture_id().map(|value| PictureId { value, wide }),
            tl0_pic_idx: descriptor.tl0_pic_idx(),
            temporal_layer: layer.map(|octet| octet >> 6),
            layer_sync: layer.is_some_and(|octet| octet & 0x20 != 0),
        })
    }
}

/// Counters to write into a payload descriptor; only those that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    /// Fits the width that the descriptor has.
    pub picture_id: Option<u16>,
    /// TL0PICIDX.
    pub tl0_pic_idx: Option<u8>,
}

impl Counters {
    /// The patch that writes them into `payload`; `None` when it does not have these fields.
    #[must_use]
    pub fn patch(&self, payload: &[u8]) -> Option<Vp8Patch> {
        let mut patch = Vp8Descriptor::parse(payload).ok()?.patch();
        if let Some(picture_id) = self.picture_id {
            patch = patch.picture_id(picture_id);
        }
        if let Some(tl0_pic_idx) = self.tl0_pic_idx {
            patch = patch.tl0_pic_idx(tl0_pic_idx);
        }
        patch.build().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_field_is_found() {
        let payload = [0x90, 0xe0, 0x92, 0x34, 0x55, 0xa0, 0x00, 0x9d];
        let description = Description::parse(&payload).unwrap();
        assert_eq!(description.picture_id, Some(PictureId { value: 0x1234, wide: true }));
        assert_eq!(description.tl0_pic_idx, Some(0x55));
        assert_eq!(description.temporal_layer, Some(2));
        assert!(description.layer_sync && description.starts_picture && description.starts_keyframe);
    }

    #[test]
    fn a_narrow_picture_id_and_no_layers() {
        let description = Description::parse(&[0x80, 0x80, 0x42, 0x00]).unwrap();
        assert_eq!(description.picture_id, Some(PictureId { value: 0x42, wide: false }));
        assert_eq!(description.temporal_layer, None);
        assert!(!description.starts_picture && !description.starts_keyframe);
    }

    #[test]
    fn a_plain_descriptor_has_nothing_to_patch() {
        let description = Description::parse(&[0x10, 0x01]).unwrap();
        assert!(description.starts_picture && !description.starts_keyframe);
        let counters = Counters { picture_id: Some(1), tl0_pic_idx: None };
        assert!(counters.patch(&[0x10, 0x01]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..24)) {
            let description = Description::parse(&payload);
            if let Some(description) = description {
                prop_assert_eq!(description.starts_keyframe, str0m::format::detect_vp8_keyframe(&payload));
                let counters = Counters {
                    picture_id: description.picture_id.map(|id| id.mask()),
                    tl0_pic_idx: description.tl0_pic_idx,
                };
                prop_assert!(counters.patch(&payload).is_some());
            }
        }
    }
}
