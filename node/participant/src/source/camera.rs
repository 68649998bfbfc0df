//! A synthetic camera: when pictures are captured, how large they are, and how they are cut into packets.

use std::time::{Duration, Instant};

use plenary_protocol::SourceName;

use super::packing::{Picture, Place};
use super::sizes::Sizes;
use super::{Cadence, Epoch, Piece, Trace, Video, key, rtp_base};
use crate::marker::{LENGTH, Marker};

/// Most packets in a frame; what a receiver keeps track of.
pub(crate) const MAX_PACKETS: usize = 128;

/// The video codecs' RTP clock: RFC 7741 §4.1, RFC 9628 §4.1, RFC 6184 §8.2.1, AV1 §4.1.
const CLOCK_RATE: u32 = 90_000;

/// The longest of the codecs' own bytes, with room to spare.
const LONGEST_HEADER: usize = 64;

const _: () = assert!(Trace::Constant.max_payload() > LONGEST_HEADER + LENGTH, "a packet must hold a marker");

/// A synthetic camera.
#[derive(Debug)]
pub(crate) struct Camera {
    cadence: Cadence,
    epoch: Epoch,
    encoding: Encoding,
}

/// One stream of pictures.
#[derive(Debug)]
struct Encoding {
    publisher: u64,
    name: SourceName,
    video: Video,
    sizes: Sizes,
    keyframe_wanted: bool,
    frame: u32,
    since_keyframe: u32,
    packet: u32,
    first_id: u16,
    first_tl0: u8,
    buffer: Vec<u8>,
}

impl Camera {
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
        let encoding = Encoding::new(publisher, name, key, Video { frame_rate: rate, ..video });
        Self { cadence, epoch, encoding }
    }

    pub(super) fn due(&self) -> Instant {
        self.cadence.due()
    }

    pub(super) const fn request_keyframe(&mut self) {
        self.encoding.keyframe_wanted = true;
    }

    pub(super) fn capture(&mut self, now: Instant, mut send: impl FnMut(Piece<'_>)) -> bool {
        let Some((captured, rtp_time)) = self.cadence.next(now) else { return false };
        let unix = self.epoch.unix(captured);
        self.encoding.capture(unix, |payload, marker| send(Piece { payload, rtp_time, captured, marker, level: None }));
        true
    }
}

impl Encoding {
    fn new(publisher: u64, name: SourceName, key: u64, video: Video) -> Self {
        let [id_high, id_low, first_tl0, ..] = key.to_be_bytes();
        Self {
            publisher,
            name,
            video,
            sizes: Sizes::new(video, publisher << 40 | name as u64),
            keyframe_wanted: true,
            frame: 0,
            since_keyframe: 0,
            packet: 0,
            first_id: u16::from_be_bytes([id_high, id_low]),
            first_tl0,
            buffer: Vec::new(),
        }
    }

    /// Makes the next picture, packet by packet: payload and RTP marker bit.
    fn capture(&mut self, captured: Duration, mut send: impl FnMut(&[u8], bool)) {
        let (codec, longest) = (self.video.codec, self.video.trace.max_payload());
        let (keyframe, size) = self.sizes.next(std::mem::take(&mut self.keyframe_wanted));
        let size = usize::try_from(size).unwrap_or(usize::MAX).clamp(LENGTH, (MAX_PACKETS - 1) * longest);
        self.since_keyframe = if keyframe { 0 } else { self.since_keyframe.wrapping_add(1) };
        let picture = Picture {
            keyframe,
            number: self.frame,
            since_keyframe: self.since_keyframe,
            first_id: self.first_id,
            first_tl0: self.first_tl0,
            width: self.video.width,
            height: self.video.height,
            size,
        };
        let prelude = codec.prelude(keyframe);
        let shares = size.div_ceil(longest).clamp(1, MAX_PACKETS - prelude);
        let count = prelude + shares;
        let mut marker = Marker {
            publisher: self.publisher,
            source: self.name,
            keyframe,
            frame: self.frame,
            index: 0,
            count: u16::try_from(count).expect("at most 128"),
            packet: self.packet,
            captured,
        };
        for index in 0..count {
            let place = Place { index, count };
            marker.index = u16::try_from(index).expect("at most 128");
            marker.packet = self.packet;
            self.buffer.clear();
            codec.open(&mut self.buffer, &picture, place);
            debug_assert!(self.buffer.len() <= LONGEST_HEADER, "more than is kept free");
            // Shares that differ by at most one byte: equal sizes make better trains of datagrams.
            let share = index.checked_sub(prelude).map_or(0, |at| size / shares + usize::from(at < size % shares));
            let filling = share.saturating_sub(self.buffer.len() + LENGTH);
            marker.write(&mut self.buffer, filling, self.publisher);
            codec.close(&mut self.buffer, &picture, place);
            self.packet = self.packet.wrapping_add(1);
            send(&self.buffer, place.is_last());
        }
        self.frame = self.frame.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests;
