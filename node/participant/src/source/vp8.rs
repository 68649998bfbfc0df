//! VP8 frames without a picture (RFC 6386 §9.1 frame header, RFC 7741 payload descriptor).
//!
//! Headers are real, what follows is a marker and filling: everything that routes, counts or looks for keyframes can
//! work on it, a decoder can not.

use std::time::Instant;

use plenary_protocol::SourceName;

use super::{Cadence, Epoch, Piece, Video, key, rtp_base};
use crate::marker::{LENGTH, Marker};

/// Longest payload of a packet, in bytes: with RTP, extensions and SRTP it stays below 1200.
const MAX_PAYLOAD: usize = 1_100;

/// Descriptor with extensions: X, then I, L, T, a 15-bit picture id, TL0PICIDX and TID.
const DESCRIPTOR: usize = 6;

/// Frame tag, start code and dimensions: RFC 6386 §9.1.
const KEYFRAME_HEADER: usize = 10;

/// Frame tag alone.
const FRAME_HEADER: usize = 3;

/// A keyframe is so many times as large as another frame.
const KEYFRAME_FACTOR: usize = 4;

/// Most packets in a frame; what a receiver keeps track of.
pub(crate) const MAX_PACKETS: usize = 128;

/// Room for marker and filling in a packet that may carry the longest header.
const ROOM: usize = MAX_PAYLOAD - DESCRIPTOR - KEYFRAME_HEADER;

/// VP8's RTP clock (RFC 7741 §4.1).
const CLOCK_RATE: u32 = 90_000;

const _: () = assert!(ROOM > LENGTH, "a packet must hold a marker");

/// A synthetic camera.
#[derive(Debug)]
pub(crate) struct Vp8 {
    publisher: u64,
    name: SourceName,
    epoch: Epoch,
    cadence: Cadence,
    video: Video,
    keyframe_wanted: bool,
    frame: u32,
    packet: u32,
    picture_id: u16,
    tl0: u8,
    buffer: Vec<u8>,
}

impl Vp8 {
    pub(super) fn new(publisher: u64, name: SourceName, epoch: Epoch, start: Instant, video: Video) -> Self {
        let key = key(publisher, name);
        let rate = video.frame_rate.clamp(1, 120);
        let cadence = Cadence {
            first: start,
            interval_nanos: 1_000_000_000 / u64::from(rate),
            rtp_base: rtp_base(key),
            rtp_step: CLOCK_RATE / rate,
            tick: 0,
        };
        let [picture_high, picture_low, tl0, ..] = key.to_be_bytes();
        Self {
            publisher,
            name,
            epoch,
            cadence,
            video: Video { frame_rate: rate, ..video },
            keyframe_wanted: true,
            frame: 0,
            packet: 0,
            picture_id: u16::from_be_bytes([picture_high, picture_low]) & 0x7FFF,
            tl0,
            buffer: Vec::new(),
        }
    }

    pub(super) fn due(&self) -> Instant {
        self.cadence.due()
    }

    pub(super) const fn request_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    pub(super) fn capture(&mut self, now: Instant, mut send: impl FnMut(Piece<'_>)) -> bool {
        let Some((captured, rtp_time)) = self.cadence.next(now) else { return false };
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        let size = self.frame_size(keyframe);
        let count = size.div_ceil(ROOM);
        let mut marker = Marker {
            publisher: self.publisher,
            source: self.name,
            keyframe,
            frame: self.frame,
            index: 0,
            count: u16::try_from(count).expect("at most 128"),
            packet: self.packet,
            captured: self.epoch.unix(captured),
        };
        for index in 0..count {
            // Shares that differ by at most one byte: equal sizes make better trains of datagrams.
            let share = size / count + usize::from(index < size % count);
            marker.index = u16::try_from(index).expect("at most 128");
            marker.packet = self.packet;
            self.buffer.clear();
            self.write_descriptor(index == 0);
            if index == 0 {
                self.write_frame_header(keyframe, size);
            }
            marker.write(&mut self.buffer, share.saturating_sub(LENGTH), self.publisher);
            self.packet = self.packet.wrapping_add(1);
            send(Piece { payload: &self.buffer, rtp_time, captured, marker: index + 1 == count, level: None });
        }
        self.frame = self.frame.wrapping_add(1);
        self.picture_id = self.picture_id.wrapping_add(1) & 0x7FFF;
        self.tl0 = self.tl0.wrapping_add(1);
        true
    }

    /// Bytes of markers and filling in a frame.
    fn frame_size(&self, keyframe: bool) -> usize {
        let bytes = self.video.bitrate / 8 / self.video.frame_rate;
        let bytes = usize::try_from(bytes).expect("32 bits fit");
        let bytes = if keyframe { bytes.saturating_mul(KEYFRAME_FACTOR) } else { bytes };
        bytes.clamp(LENGTH, MAX_PACKETS * ROOM)
    }

    /// RFC 7741 §4.2.
    fn write_descriptor(&mut self, first: bool) {
        let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
        // X; S on the first packet; partition index 0.
        self.buffer.push(if first { 0x90 } else { 0x80 });
        // I, L, T; one temporal layer, so TID 0 with Y = 0.
        self.buffer.extend_from_slice(&[0xE0, high, low, self.tl0, 0]);
    }

    /// RFC 6386 §9.1.
    fn write_frame_header(&mut self, keyframe: bool, size: usize) {
        let partition = u32::try_from(size).expect("at most 128 packets").min((1 << 19) - 1);
        // Bit 0: not a keyframe; bits 1-3: version 0; bit 4: shown; the rest: size of the first partition.
        let tag = partition << 5 | 1 << 4 | u32::from(!keyframe);
        self.buffer.extend_from_slice(&tag.to_le_bytes()[..3]);
        if keyframe {
            self.buffer.extend_from_slice(&[0x9D, 0x01, 0x2A]);
            self.buffer.extend_from_slice(&(self.video.width & 0x3FFF).to_le_bytes());
            self.buffer.extend_from_slice(&(self.video.height & 0x3FFF).to_le_bytes());
        }
    }
}

/// A VP8 payload taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payload<'a> {
    /// Width and height, on the first packet of a keyframe.
    pub(crate) dimensions: Option<(u16, u16)>,
    /// What follows descriptor and frame header.
    pub(crate) rest: &'a [u8],
}

/// Takes a payload apart; `None` when it ends too early or its keyframe lacks the start code.
pub(crate) fn parse(payload: &[u8]) -> Option<Payload<'_>> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use str0m::format::detect_vp8_keyframe;

    use super::*;

    fn camera(video: Video) -> (Vp8, Instant) {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start its virtual clock from")]
        let start = Instant::now();
        (Vp8::new(9, SourceName::Camera, Epoch { instant: start, unix: Duration::ZERO }, start, video), start)
    }

    #[test]
    fn keyframes_come_first_and_when_asked_for() {
        let (mut camera, _) = camera(Video::default());
        for number in 0..10 {
            if number == 7 {
                camera.request_keyframe();
            }
            let keyframe = number == 0 || number == 7;
            let (mut packets, mut ends) = (0, 0);
            let due = camera.due();
            camera.capture(due, |piece| {
                assert!(piece.payload.len() <= MAX_PAYLOAD);
                // str0m looks at the first packet of a frame.
                assert_eq!(detect_vp8_keyframe(piece.payload), keyframe && packets == 0);
                let parsed = parse(piece.payload).unwrap();
                assert_eq!(parsed.dimensions, (keyframe && packets == 0).then_some((640, 360)));
                let marker = Marker::read(parsed.rest).unwrap();
                assert_eq!((marker.frame, marker.index, marker.keyframe), (number, packets, keyframe));
                packets += 1;
                ends += u32::from(piece.marker);
                assert_eq!(piece.marker, packets == marker.count);
            });
            assert_eq!(ends, 1);
        }
    }

    #[test]
    fn the_bitrate_is_what_was_asked_for() {
        for bitrate in [100_000, 600_000, 4_000_000] {
            let (mut camera, start) = camera(Video { bitrate, ..Video::default() });
            let mut bytes = 0;
            while camera.due() < start + Duration::from_secs(10) {
                let due = camera.due();
                camera.capture(due, |piece| bytes += piece.payload.len());
            }
            let measured = f64::from(u32::try_from(bytes).unwrap()) * 8.0 / 10.0 / f64::from(bitrate);
            assert!((0.95..1.06).contains(&measured), "{bitrate}: {measured}");
        }
    }

    #[test]
    fn a_late_source_skips_instead_of_bursting() {
        let (mut camera, start) = camera(Video::default());
        let mut times = Vec::new();
        camera.capture(start, |piece| times.push(piece.rtp_time));
        let late = start + Duration::from_secs(2);
        while camera.capture(late, |piece| times.push(piece.rtp_time)) {}
        times.dedup();
        assert_eq!(times.len(), 2, "one frame for two seconds");
        let step = times[1].wrapping_sub(times[0]);
        assert!((177_000..=180_000).contains(&step), "RTP time keeps pace with the clock: {step}");
    }

    #[test]
    fn short_payloads_are_refused_not_read_past() {
        let (mut camera, start) = camera(Video::default());
        camera.capture(start, |piece| {
            for length in 0..piece.payload.len().min(60) {
                let _ = parse(&piece.payload[..length]);
            }
        });
        assert_eq!(parse(&[]), None);
        assert_eq!(parse(&[0x90, 0xE0, 0x80]), None);
    }
}
