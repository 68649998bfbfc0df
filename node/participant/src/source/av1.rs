//! AV1: the aggregation header of the RTP payload format for AV1 1.0 §4.4, a sequence header and the first byte of a
//! frame header (AV1 bitstream specification §5.5, §5.9).
//!
//! ```text
//! keyframe:      N, W 2: length | sequence header | OBU header, frame header, marker    Z, W 1: marker   …
//! other picture: W 1: OBU header, frame header, marker    Z, W 1: marker   …
//! ```
//!
//! A picture is one frame OBU, cut into fragments; temporal delimiters are left out (§5), as are sizes inside the OBUs.

use super::bits::{BitReader, BitWriter};
use super::packing::{Payload, Picture, Place};

/// Aggregation header: the first element continues one of the packet before.
const CONTINUES: u8 = 0x80;
/// The last element goes on in the next packet.
const UNFINISHED: u8 = 0x40;
/// A new coded video sequence begins.
const NEW_SEQUENCE: u8 = 0x08;

/// OBU headers without extension and size: AV1 §5.3.2.
const SEQUENCE_HEADER: u8 = 1 << 3;
const FRAME: u8 = 6 << 3;
const OBU_TYPE: u8 = 0x78;

/// First byte of a frame header: not repeating, key frame or inter frame, shown.
const KEY_FRAME: u8 = 0x10;
const INTER_FRAME: u8 = 0x30;

/// Bits in front of the dimensions' lengths in a sequence header: profile 0 and no extras.
const BEFORE_DIMENSIONS: usize = 3 + 1 + 1 + 1 + 1 + 5 + 12 + 5 + 1;

pub(super) fn open(out: &mut Vec<u8>, picture: &Picture, place: Place) {
    let begins = place.is_first();
    let sequence = (begins && picture.keyframe).then(|| sequence_header(picture));
    let mut header = if sequence.is_some() { 2 << 4 | NEW_SEQUENCE } else { 1 << 4 };
    header |= if begins { 0 } else { CONTINUES };
    header |= if place.is_last() { 0 } else { UNFINISHED };
    out.push(header);
    if let Some(sequence) = sequence {
        // §4.4: the last of W elements has no length, the others do, in LEB128.
        out.push(u8::try_from(sequence.len()).expect("below 128"));
        out.extend_from_slice(&sequence);
    }
    if begins {
        out.extend_from_slice(&[FRAME, if picture.keyframe { KEY_FRAME } else { INTER_FRAME }]);
    }
}

/// AV1 §5.5: main profile, every tool off.
fn sequence_header(picture: &Picture) -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.bits(8, u32::from(SEQUENCE_HEADER));
    // Profile 0, no still picture, full header, no timing, no delay; one operating point of no layers.
    bits.bits(3, 0).bits(1, 0).bits(1, 0).bits(1, 0).bits(1, 0).bits(5, 0).bits(12, 0);
    // Level 31: no limits claimed; main tier.
    bits.bits(5, 31).bits(1, 0);
    bits.bits(4, 15).bits(4, 15);
    bits.bits(16, u32::from(picture.width.saturating_sub(1))).bits(16, u32::from(picture.height.saturating_sub(1)));
    // No frame ids; 64×64 superblocks, no filter intra, no intra edge filter.
    bits.bits(4, 0);
    // No interintra, masked compound, warped motion, dual filter; no order hints.
    bits.bits(5, 0);
    // Screen content tools and integer motion vectors as each frame says.
    bits.bits(2, 0b11);
    // No superresolution, CDEF, restoration.
    bits.bits(3, 0);
    // 8 bits, colour, no description, studio range, unknown sample position, one delta for U and V; no film grain.
    bits.bits(4, 0).bits(2, 0).bits(1, 0).bits(1, 0);
    bits.trailing().to_vec()
}

/// Takes a payload apart; `None` when it ends too early or is not built as above.
pub(super) fn parse(payload: &[u8]) -> Option<Payload<'_>> {
    let (&header, mut rest) = payload.split_first()?;
    let elements = header >> 4 & 3;
    if header & CONTINUES != 0 {
        return (elements == 1).then_some(Payload { dimensions: None, rest });
    }
    let mut dimensions = None;
    if elements == 2 {
        let (&length, after) = rest.split_first()?;
        if length & 0x80 != 0 {
            return None;
        }
        dimensions = Some(parse_dimensions(after.get(..usize::from(length))?)?);
        rest = &after[usize::from(length)..];
    } else if elements != 1 {
        return None;
    }
    let (&[kind, _], rest) = rest.split_first_chunk()?;
    (kind & OBU_TYPE == FRAME).then_some(Payload { dimensions, rest })
}

fn parse_dimensions(sequence: &[u8]) -> Option<(u16, u16)> {
    let (&header, body) = sequence.split_first()?;
    if header != SEQUENCE_HEADER {
        return None;
    }
    let mut bits = BitReader::new(body);
    bits.bits(24)?;
    if bits.bits(BEFORE_DIMENSIONS - 24)? != 31 << 1 || bits.bits(8)? != 0xFF {
        return None;
    }
    let mut side = || u16::try_from(bits.bits(16)?.saturating_add(1)).ok();
    Some((side()?, side()?))
}
