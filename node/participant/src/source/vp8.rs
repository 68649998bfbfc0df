//! VP8: the payload descriptor of RFC 7741 §4.2 and the frame header of RFC 6386 §9.1.

use super::packing::{Payload, Picture, Place};

/// Frame tag, start code and dimensions: RFC 6386 §9.1.
const KEYFRAME_HEADER: usize = 10;

/// Frame tag alone.
const FRAME_HEADER: usize = 3;

pub(super) fn open(out: &mut Vec<u8>, picture: &Picture, place: Place) {
    let [high, low] = (picture.id() | 0x8000).to_be_bytes();
    // RFC 7741 §4.2: X; S on the first packet; partition index 0.
    out.push(if place.is_first() { 0x90 } else { 0x80 });
    // I, L, T; one temporal layer, so TID 0 with Y = 0.
    out.extend_from_slice(&[0xE0, high, low, picture.tl0(), 0]);
    if place.is_first() {
        write_frame_header(out, picture);
    }
}

/// RFC 6386 §9.1.
fn write_frame_header(out: &mut Vec<u8>, picture: &Picture) {
    let partition = u32::try_from(picture.size).unwrap_or(u32::MAX).min((1 << 19) - 1);
    // Bit 0: not a keyframe; bits 1-3: version 0; bit 4: shown; the rest: size of the first partition.
    let tag = partition << 5 | 1 << 4 | u32::from(!picture.keyframe);
    out.extend_from_slice(&tag.to_le_bytes()[..3]);
    if picture.keyframe {
        out.extend_from_slice(&[0x9D, 0x01, 0x2A]);
        out.extend_from_slice(&(picture.width & 0x3FFF).to_le_bytes());
        out.extend_from_slice(&(picture.height & 0x3FFF).to_le_bytes());
    }
}

/// Takes a payload apart; `None` when it ends too early or its keyframe lacks the start code.
pub(super) fn parse(payload: &[u8]) -> Option<Payload<'_>> {
    let (&first, mut rest) = payload.split_first()?;
    if first & 0x80 != 0 {
        let (&extensions, after) = rest.split_first()?;
        rest = after;
        if extensions & 0x80 != 0 {
            let long = rest.first()? & 0x80 != 0;
            rest = rest.get(if long { 2 } else { 1 }..)?;
        }
        rest = rest.get(usize::from(extensions & 0x40 != 0)..)?;
        rest = rest.get(usize::from(extensions & 0x30 != 0)..)?;
    }
    if first & 0x17 != 0x10 {
        return Some(Payload { dimensions: None, rest });
    }
    if rest.first()? & 1 == 1 {
        return Some(Payload { dimensions: None, rest: rest.get(FRAME_HEADER..)? });
    }
    let header = rest.get(..KEYFRAME_HEADER)?;
    if header[3..6] != [0x9D, 0x01, 0x2A] {
        return None;
    }
    let width = u16::from_le_bytes([header[6], header[7]]) & 0x3FFF;
    let height = u16::from_le_bytes([header[8], header[9]]) & 0x3FFF;
    Some(Payload { dimensions: Some((width, height)), rest: &rest[KEYFRAME_HEADER..] })
}
