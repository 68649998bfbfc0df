//! A synthetic camera: when pictures are captured, in which layers, how large they are, and how they are cut into packets.

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
    encodings: Vec<Encoding>,
}

/// One layer's stream of pictures.
#[derive(Debug)]
struct Encoding {
    layer: u16,
    /// Added to the camera's RTP times: each layer has a line of its own, as RFC 3550 §5.1 wants of each stream.
    rtp_shift: u32,
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
        let layers = video.layers.split(Video { frame_rate: rate, ..video }).into_iter().zip(0..);
        let encodings = layers.map(|(video, layer)| Encoding::new(publisher, name, layer, video)).collect();
        Self { cadence, epoch, encodings }
    }

    pub(super) fn due(&self) -> Instant {
        self.cadence.due()
    }

    /// Makes the next picture a keyframe, of one layer or of all.
    pub(super) fn request_keyframe(&mut self, layer: Option<usize>) {
        for (at, encoding) in self.encodings.iter_mut().enumerate() {
            encoding.keyframe_wanted |= layer.is_none_or(|layer| layer == at);
        }
    }

    pub(super) fn capture(&mut self, now: Instant, mut send: impl FnMut(Piece<'_>)) -> bool {
        let Some((captured, rtp_time)) = self.cadence.next(now) else { return false };
        let unix = self.epoch.unix(captured);
        for (layer, encoding) in self.encodings.iter_mut().enumerate() {
            let rtp_time = rtp_time.wrapping_add(encoding.rtp_shift);
            encoding.capture(unix, |payload, marker| {
                send(Piece { payload, rtp_time, captured, marker, level: None, layer });
            });
        }
        true
    }
}

impl Encoding {
    fn new(publisher: u64, name: SourceName, layer: u16, video: Video) -> Self {
        // Of the lowest layer nothing is shifted.
        let key = key(publisher, name).wrapping_mul(2 * u64::from(layer) + 1);
        let [id_high, id_low, first_tl0, ..] = key.to_be_bytes();
        Self {
            layer,
            rtp_shift: rtp_base(key).wrapping_mul(u32::from(layer)),
            publisher,
            name,
            video,
            sizes: Sizes::new(video, u64::from(layer) << 8 | name as u64),
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
            layer: self.layer,
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
