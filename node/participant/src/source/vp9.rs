//! VP9: the payload descriptor of RFC 9628 §4.2 in non-flexible mode, one spatial and one temporal layer, and the first
//! bytes of the uncompressed header (VP9 bitstream specification §6.2).

use super::bits::{BitReader, BitWriter};
use super::packing::{Payload, Picture, Place};

/// Descriptor flags.
const PICTURE_ID: u8 = 0x80;
const PREDICTED: u8 = 0x40;
const LAYERS: u8 = 0x20;
const FLEXIBLE: u8 = 0x10;
const BEGIN: u8 = 0x08;
const END: u8 = 0x04;
const STRUCTURE: u8 = 0x02;
/// No picture of a higher spatial layer refers to this one: there is none.
const TOP: u8 = 0x01;

/// Sync code, colour, dimensions and one bit; with zeros to a whole byte.
const KEYFRAME_HEADER: usize = 9;

/// Marker, profile 0, not repeating, shown; the frame type alone differs.
const FRAME: u8 = 0x82;
const NOT_KEYFRAME: u8 = 0x04;

const SYNC_CODE: u32 = 0x49_8342;

pub(super) fn open(out: &mut Vec<u8>, picture: &Picture, place: Place) {
    let structure = picture.keyframe && place.is_first();
    let mut flags = PICTURE_ID | LAYERS | TOP;
    flags |= if picture.keyframe { 0 } else { PREDICTED };
    flags |= if place.is_first() { BEGIN } else { 0 };
    flags |= if place.is_last() { END } else { 0 };
    flags |= if structure { STRUCTURE } else { 0 };
    let [high, low] = (picture.id() | 0x8000).to_be_bytes();
    // TID 0, U 0, SID 0, D 0, then TL0PICIDX, which non-flexible mode demands.
    out.extend_from_slice(&[flags, high, low, 0, picture.tl0()]);
    if structure {
        write_structure(out, picture);
    }
    if place.is_first() {
        write_frame_header(out, picture);
    }
}

/// RFC 9628 §4.2.1: one spatial layer (N_S 0) with its dimensions (Y), and one picture group (G) of one picture that
/// refers to the one before.
fn write_structure(out: &mut Vec<u8>, picture: &Picture) {
    out.push(0x18);
    out.extend_from_slice(&picture.width.to_be_bytes());
    out.extend_from_slice(&picture.height.to_be_bytes());
    // N_G 1; TID 0, U 0, R 1; P_DIFF 1.
    out.extend_from_slice(&[1, 0x04, 1]);
}

fn write_frame_header(out: &mut Vec<u8>, picture: &Picture) {
    if !picture.keyframe {
        out.push(FRAME | NOT_KEYFRAME);
        return;
    }
    let mut bits = BitWriter::default();
    bits.bits(8, u32::from(FRAME)).bits(24, SYNC_CODE);
    // BT.601 (1), studio range; dimensions minus one; shown as large as coded.
    bits.bits(3, 1).bits(1, 0);
    bits.bits(16, u32::from(picture.width.saturating_sub(1))).bits(16, u32::from(picture.height.saturating_sub(1)));
    bits.bits(1, 0);
    out.extend_from_slice(bits.bytes());
}

/// Takes a payload apart; `None` when it ends too early or its keyframe lacks the sync code.
pub(super) fn parse(payload: &[u8]) -> Option<Payload<'_>> {
    let (&flags, mut rest) = payload.split_first()?;
    if flags & PICTURE_ID != 0 {
        let long = rest.first()? & 0x80 != 0;
        rest = rest.get(if long { 2 } else { 1 }..)?;
    }
    if flags & LAYERS != 0 {
        rest = rest.get(if flags & FLEXIBLE == 0 { 2 } else { 1 }..)?;
    }
    if flags & FLEXIBLE != 0 && flags & PREDICTED != 0 {
        // Up to three P_DIFF, each saying whether another follows.
        for _ in 0..3 {
            let (&difference, after) = rest.split_first()?;
            rest = after;
            if difference & 1 == 0 {
                break;
            }
        }
    }
    if flags & STRUCTURE != 0 {
        rest = after_structure(rest)?;
    }
    if flags & BEGIN == 0 {
        return Some(Payload { dimensions: None, rest });
    }
    let mut header = BitReader::new(rest);
    let first = header.bits(8)?;
    if first & u32::from(NOT_KEYFRAME) != 0 {
        return Some(Payload { dimensions: None, rest: rest.get(1..)? });
    }
    if first != u32::from(FRAME) || header.bits(24)? != SYNC_CODE {
        return None;
    }
    header.bits(4)?;
    let mut side = || u16::try_from(header.bits(16)?.saturating_add(1)).ok();
    let dimensions = Some((side()?, side()?));
    Some(Payload { dimensions, rest: rest.get(KEYFRAME_HEADER..)? })
}

/// RFC 9628 §4.2.1.
fn after_structure(rest: &[u8]) -> Option<&[u8]> {
    let (&first, mut rest) = rest.split_first()?;
    if first & 0x10 != 0 {
        rest = rest.get(4 * (usize::from(first >> 5) + 1)..)?;
    }
    if first & 0x08 != 0 {
        let (&pictures, after) = rest.split_first()?;
        rest = after;
        for _ in 0..pictures {
            let references = usize::from(rest.first()? >> 2 & 3);
            rest = rest.get(1 + references..)?;
        }
    }
    Some(rest)
}
