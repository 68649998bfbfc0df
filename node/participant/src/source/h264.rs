//! H.264, constrained baseline: the payload structures of RFC 6184 in packetization mode 1, and parameter sets and the
//! first bits of slice headers (ITU-T H.264 §7.3).
//!
//! ```text
//! keyframe:      STAP-A ( SPS | PPS | SEI: marker )   FU-A IDR: marker   FU-A: marker   …
//! other picture: FU-A: marker   FU-A: marker   …   or one NAL unit: marker
//! ```
//!
//! The marker of the first packet travels in an SEI message of user data, where such things belong. Markers and filling
//! are not escaped (§7.4.1, emulation prevention): RTP carries the length of every NAL unit, nothing between two
//! participants looks for start codes, and no decoder could show what follows a slice header here anyway.

use super::bits::{BitReader, BitWriter};
use super::packing::{Payload, Picture, Place};
use crate::marker::LENGTH;

/// NAL unit types: ITU-T H.264 table 7-1, RFC 6184 table 1.
/// Constrained baseline, level 3.1 (RFC 6184 §8.1): pictures of up to 1280×720.
pub(crate) const PROFILE_LEVEL: u32 = 0x42_E01F;

const SLICE: u8 = 1;
const IDR: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const TYPE: u8 = 0x1F;

/// nal_ref_idc 3: others refer to it.
const REFERRED: u8 = 0x60;

/// FU header: RFC 6184 §5.8.
const START: u8 = 0x80;
const END: u8 = 0x40;

/// Bytes of a slice header that are written.
const SLICE_HEADER: usize = 2;

/// SEI payload type 5: user_data_unregistered (§D.1.6), which begins with an identifier.
const USER_DATA: u8 = 5;
const IDENTIFIER: [u8; 16] = *b"plenary-marker-1";

/// NAL header, payload type, payload size, identifier.
const SEI_HEADER: usize = 3 + IDENTIFIER.len();

/// Ends a NAL unit that is no slice: rbsp_trailing_bits.
const TRAILING: u8 = 0x80;

const _: () = assert!(IDENTIFIER.len() + LENGTH < 255, "the SEI payload's size must fit one byte");

pub(super) fn open(out: &mut Vec<u8>, picture: &Picture, place: Place) {
    if picture.keyframe && place.is_first() {
        return open_parameter_sets(out, picture);
    }
    let kind = if picture.keyframe { IDR } else { SLICE };
    let begins = place.index == usize::from(picture.keyframe);
    if begins && place.is_last() {
        // RFC 6184 §5.8: what fits one packet is not fragmented.
        out.push(REFERRED | kind);
    } else {
        let start = if begins { START } else { 0 };
        let end = if place.is_last() { END } else { 0 };
        out.extend_from_slice(&[REFERRED | FU_A, start | end | kind]);
    }
    if begins {
        write_slice_header(out, picture);
    }
}

/// RFC 6184 §5.7.1, up to the marker.
fn open_parameter_sets(out: &mut Vec<u8>, picture: &Picture) {
    out.push(REFERRED | STAP_A);
    write_unit(out, &sequence_parameters(picture));
    // Both ids 0, CAVLC, one slice group, one reference each, no weights, QP as it is, no deblocking control.
    write_unit(out, &[REFERRED | PPS, 0xCE, 0x38, 0x80]);
    let length = u16::try_from(SEI_HEADER + LENGTH + 1).expect("below 100");
    out.extend_from_slice(&length.to_be_bytes());
    let size = u8::try_from(IDENTIFIER.len() + LENGTH).expect("asserted above");
    out.extend_from_slice(&[SEI, USER_DATA, size]);
    out.extend_from_slice(&IDENTIFIER);
}

/// What comes after the marker of the first packet; it has no filling.
pub(super) fn close_parameter_sets(out: &mut Vec<u8>) {
    out.push(TRAILING);
}

fn write_unit(out: &mut Vec<u8>, unit: &[u8]) {
    let length = u16::try_from(unit.len()).expect("parameter sets are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(unit);
}

/// ITU-T H.264 §7.3.2.1.1.
fn sequence_parameters(picture: &Picture) -> Vec<u8> {
    let (width, height) = (u32::from(picture.width.max(2)), u32::from(picture.height.max(2)));
    let blocks = |side: u32| side.div_ceil(16);
    // In units of two pixels, as 4:2:0 has them.
    let crop = |side: u32| (blocks(side) * 16 - side) / 2;
    let mut bits = BitWriter::default();
    bits.bits(8, u32::from(REFERRED | SPS)).bits(24, PROFILE_LEVEL);
    // Id 0; frame numbers of 4 bits; picture order as decoded; one reference, no gaps.
    bits.exp_golomb(0).exp_golomb(0).exp_golomb(2).exp_golomb(1).bits(1, 0);
    bits.exp_golomb(blocks(width) - 1).exp_golomb(blocks(height) - 1);
    // Frames only, direct 8×8, cropped on the right and below, no VUI.
    bits.bits(3, 0b111).exp_golomb(0).exp_golomb(crop(width)).exp_golomb(0).exp_golomb(crop(height)).bits(1, 0);
    bits.trailing().to_vec()
}

/// ITU-T H.264 §7.3.3 with the parameter sets above; 16 bits of it.
fn write_slice_header(out: &mut Vec<u8>, picture: &Picture) {
    let mut bits = BitWriter::default();
    // First macroblock 0; slice type 7 (all I) or 5 (all P); parameter set 0; frame number.
    bits.exp_golomb(0).exp_golomb(if picture.keyframe { 7 } else { 5 }).exp_golomb(0).bits(4, picture.since_keyframe);
    if picture.keyframe {
        // idr_pic_id 0, then both flags of the reference marking.
        bits.exp_golomb(0).bits(2, 0);
    } else {
        // No override, no modification, no adaptive marking; QP difference 0, and a bit of the slice's data.
        bits.bits(3, 0).bits(1, 1).bits(1, 0);
    }
    out.extend_from_slice(bits.bytes());
}

/// Takes a payload apart; `None` when it ends too early or is of a structure that is not sent here.
pub(super) fn parse(payload: &[u8]) -> Option<Payload<'_>> {
    match payload.first()? & TYPE {
        SLICE | IDR => Some(Payload { dimensions: None, rest: payload.get(1 + SLICE_HEADER..)? }),
        STAP_A => parse_aggregate(payload.get(1..)?),
        FU_A => {
            let begins = payload.get(1)? & START != 0;
            Some(Payload { dimensions: None, rest: payload.get(2 + if begins { SLICE_HEADER } else { 0 }..)? })
        }
        _ => None,
    }
}

fn parse_aggregate(mut rest: &[u8]) -> Option<Payload<'_>> {
    let (mut dimensions, mut marker) = (None, None);
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length));
        let unit = after.get(..length)?;
        rest = &after[length..];
        match unit.first()? & TYPE {
            SPS => dimensions = Some(parse_dimensions(unit)?),
            SEI => marker = unit.get(SEI_HEADER..unit.len().checked_sub(1)?),
            _ => {}
        }
    }
    Some(Payload { dimensions, rest: marker? })
}

/// Dimensions of a baseline sequence parameter set whose picture order is as decoded.
fn parse_dimensions(unit: &[u8]) -> Option<(u16, u16)> {
    let mut bits = BitReader::new(unit.get(4..)?);
    bits.exp_golomb()?;
    bits.exp_golomb()?;
    if bits.exp_golomb()? != 2 {
        return None;
    }
    bits.exp_golomb()?;
    bits.bits(1)?;
    let (width, height) = (bits.exp_golomb()? + 1, bits.exp_golomb()? + 1);
    if bits.bits(2)? & 0b10 == 0 {
        return None;
    }
    let cropped = bits.bits(1)? == 1;
    let mut crop = || if cropped { Some(bits.exp_golomb()? + bits.exp_golomb()?) } else { Some(0) };
    let (across, down) = (crop()?, crop()?);
    let side = |blocks: u32, crop: u32| u16::try_from((blocks * 16).checked_sub(crop * 2)?).ok();
    Some((side(width, across)?, side(height, down)?))
}
