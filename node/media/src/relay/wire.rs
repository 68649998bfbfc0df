//! Frames as bytes between nodes. Between workers of one node frames are handed over as they are.
//!
//! ```text
//! every frame   | version·16 + kind : u8 | …
//! media (25 B)  | … | flags u8 | level u8 | handle u32 | sequence u48 | rtp time u48 | capture u48 | payload …
//! pull, release | … | room u128 | session u128 | source u8 | handle u32 |
//! keyframe      | … | room u128 | session u128 | source u8 |
//! nack          | … | room u128 | session u128 | source u8 | handle u32 | sequences u48 … |
//! ```
//!
//! All numbers are big-endian. 48 bits are nine years of microseconds; an RTP packet's own header with the
//! extensions that browsers send is about 20 bytes, so media costs the link hardly more than it cost its publisher.
//!
//! **Invariant:** `decode` takes any bytes without a panic and without allocating more than they are long.

use std::time::Instant;

use plenary_cluster::model::{RoomId, SessionId, Source, TrackId};

use super::{Frame, ingress_worker};
use crate::packet::{Codec, Packet};

mod read;

use read::Reader;

/// The version this build writes and reads.
pub const VERSION: u8 = 1;

/// Bytes before the payload of a media frame.
pub const MEDIA_HEADER: usize = 25;

const PULL: u8 = 1;
const RELEASE: u8 = 2;
const KEYFRAME: u8 = 3;
const MEDIA: u8 = 4;
const NACK: u8 = 5;

const MARKER: u8 = 0x01;
const IS_KEYFRAME: u8 = 0x02;
const HAS_VOICE: u8 = 0x04;
const VOICE: u8 = 0x08;
const CODEC_SHIFT: u8 = 4;
/// No RFC 6464 level, which has seven bits.
const NO_LEVEL: u8 = 0x80;

const U48: u64 = (1 << 48) - 1;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its kind of frame.
    #[error("the frame ends early")]
    Short,
    /// Longer than its kind of frame.
    #[error("{0} bytes follow the frame")]
    Long(usize),
    /// Written by another version.
    #[error("version {0} is not {VERSION}; upgrade the older node")]
    Version(u8),
    /// Not a kind of frame.
    #[error("kind {0} is unknown")]
    Kind(u8),
    /// Not a codec.
    #[error("codec {0} is unknown")]
    Codec(u8),
    /// Not a source.
    #[error("source {0} is unknown")]
    Source(u8),
}

/// Appends a frame to `out`.
pub fn encode(frame: &Frame, out: &mut Vec<u8>) {
    match frame {
        Frame::Pull { room, track, handle } => {
            put_head(out, PULL, *room, *track);
            out.extend_from_slice(&handle.to_be_bytes());
        }
        Frame::Release { room, track, handle } => {
            put_head(out, RELEASE, *room, *track);
            out.extend_from_slice(&handle.to_be_bytes());
        }
        Frame::Keyframe { room, track } => put_head(out, KEYFRAME, *room, *track),
        Frame::Media { handle, packet } => put_media(out, *handle, packet),
        Frame::Nack { room, track, handle, sequences } => {
            put_head(out, NACK, *room, *track);
            out.extend_from_slice(&handle.to_be_bytes());
            for sequence in sequences.iter().take(Frame::MAX_NACKED) {
                put_u48(out, *sequence);
            }
        }
    }
}

fn put_head(out: &mut Vec<u8>, kind: u8, room: RoomId, track: TrackId) {
    out.push(VERSION << 4 | kind);
    out.extend_from_slice(room.uuid().as_bytes());
    out.extend_from_slice(track.session.uuid().as_bytes());
    out.push(source_number(track.source));
}

fn put_media(out: &mut Vec<u8>, handle: u32, packet: &Packet) {
    out.reserve(MEDIA_HEADER + packet.payload.len());
    out.push(VERSION << 4 | MEDIA);
    let mut flags = codec_number(packet.codec) << CODEC_SHIFT;
    for (set, flag) in [
        (packet.marker, MARKER),
        (packet.keyframe, IS_KEYFRAME),
        (packet.voice.is_some(), HAS_VOICE),
        (packet.voice == Some(true), VOICE),
    ] {
        if set {
            flags |= flag;
        }
    }
    out.push(flags);
    out.push(packet.audio_level.map_or(NO_LEVEL, |level| level.min(127)));
    out.extend_from_slice(&handle.to_be_bytes());
    put_u48(out, packet.sequence);
    put_u48(out, packet.rtp_time);
    put_u48(out, packet.origin_capture);
    out.extend_from_slice(&packet.payload);
}

fn put_u48(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&(value & U48).to_be_bytes()[2..]);
}

const fn source_number(source: Source) -> u8 {
    match source {
        Source::Microphone => 0,
        Source::Camera => 1,
        Source::Screen => 2,
        Source::ScreenAudio => 3,
    }
}

const fn codec_number(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 0,
        Codec::Vp8 => 1,
    }
}

/// Reads one frame that fills `bytes`. A packet's `capture` is `received_at` until the relay maps its origin's
/// capture time to this node's clock.
///
/// # Errors
///
/// Says what is wrong with the bytes.
pub fn decode(bytes: &[u8], received_at: Instant) -> Result<Frame, FrameError> {
    let mut reader = Reader::new(bytes);
    let frame = match reader.kind()? {
        PULL => {
            let (room, track) = head(&mut reader)?;
            Frame::Pull { room, track, handle: reader.u32()? }
        }
        RELEASE => {
            let (room, track) = head(&mut reader)?;
            Frame::Release { room, track, handle: reader.u32()? }
        }
        KEYFRAME => {
            let (room, track) = head(&mut reader)?;
            Frame::Keyframe { room, track }
        }
        MEDIA => media(&mut reader, received_at)?,
        NACK => nack(&mut reader)?,
        kind => return Err(FrameError::Kind(kind)),
    };
    reader.end()?;
    Ok(frame)
}

fn head(reader: &mut Reader<'_>) -> Result<(RoomId, TrackId), FrameError> {
    let room = RoomId::from_uuid(reader.uuid()?);
    let session = SessionId::from_uuid(reader.uuid()?);
    let source = match reader.u8()? {
        0 => Source::Microphone,
        1 => Source::Camera,
        2 => Source::Screen,
        3 => Source::ScreenAudio,
        other => return Err(FrameError::Source(other)),
    };
    Ok((room, TrackId { session, source }))
}

fn media(reader: &mut Reader<'_>, received_at: Instant) -> Result<Frame, FrameError> {
    let flags = reader.u8()?;
    let codec = match flags >> CODEC_SHIFT {
        0 => Codec::Opus,
        1 => Codec::Vp8,
        other => return Err(FrameError::Codec(other)),
    };
    let level = reader.u8()?;
    let handle = reader.u32()?;
    let packet = Packet {
        sequence: reader.u48()?,
        rtp_time: reader.u48()?,
        origin_capture: reader.u48()?,
        capture: received_at,
        marker: flags & MARKER != 0,
        codec,
        keyframe: flags & IS_KEYFRAME != 0,
        audio_level: (level & NO_LEVEL == 0).then_some(level),
        voice: (flags & HAS_VOICE != 0).then_some(flags & VOICE != 0),
        payload: reader.rest().into(),
    };
    Ok(Frame::Media { handle, packet })
}

fn nack(reader: &mut Reader<'_>) -> Result<Frame, FrameError> {
    let (room, track) = head(reader)?;
    let handle = reader.u32()?;
    let mut sequences = Vec::new();
    while sequences.len() < Frame::MAX_NACKED && !reader.is_empty() {
        sequences.push(reader.u48()?);
    }
    Ok(Frame::Nack { room, track, handle, sequences })
}

/// Which of `workers` a frame from another node is for, without reading all of it: media belongs to the worker that
/// pulled it, everything else to the room's ingress worker. `None` when the bytes are not a frame.
#[must_use]
pub fn route(bytes: &[u8], workers: u16) -> Option<u16> {
    let mut reader = Reader::new(bytes);
    let worker = match reader.kind().ok()? {
        MEDIA => {
            reader.u8().ok()?;
            reader.u8().ok()?;
            u16::from(reader.u8().ok()?)
        }
        PULL | RELEASE | KEYFRAME | NACK => ingress_worker(RoomId::from_uuid(reader.uuid().ok()?), workers),
        _ => return None,
    };
    (worker < workers).then_some(worker)
}

#[cfg(test)]
mod tests;
