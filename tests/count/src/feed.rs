//! What a synthetic camera and microphone send, and when: 30 frames a second of six packets, sound every 20 ms.

use std::time::{Duration, Instant};

const FRAME: Duration = Duration::from_micros(33_333);
const SOUND: Duration = Duration::from_millis(20);
/// Six of these thirty times a second are 1.6 Mbit/s.
const PICTURE_BYTES: usize = 1_100;
const PICTURE_PACKETS: u64 = 6;
const SOUND_BYTES: usize = 80;
/// RTP ticks of a frame (RFC 7741 §4.1) and of 20 ms of sound (RFC 7587 §4.1).
const FRAME_TICKS: u64 = 3_000;
const SOUND_TICKS: u64 = 960;

/// A packet to publish.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) picture: bool,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u64,
    pub(crate) marker: bool,
    /// First packet of a keyframe; always true for sound.
    pub(crate) keyframe: bool,
    pub(crate) payload: Vec<u8>,
}

/// A camera and a microphone, or a microphone alone.
#[derive(Debug)]
pub(crate) struct Feed {
    next_sound: Instant,
    next_frame: Option<Instant>,
    sounds: u64,
    frames: u64,
    wants_keyframe: bool,
}

impl Feed {
    /// Starts at `now`.
    pub(crate) fn new(now: Instant, picture: bool) -> Self {
        Self { next_sound: now, next_frame: picture.then_some(now), sounds: 0, frames: 0, wants_keyframe: true }
    }

    /// The next frame is to be a keyframe.
    pub(crate) const fn request_keyframe(&mut self) {
        self.wants_keyframe = true;
    }

    /// When the next packets are due.
    pub(crate) fn next_at(&self) -> Instant {
        self.next_frame.map_or(self.next_sound, |frame| frame.min(self.next_sound))
    }

    /// All that is due at `now`.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while self.next_sound <= now {
            pieces.push(self.sound());
            self.next_sound += SOUND;
        }
        while let Some(due) = self.next_frame.filter(|due| *due <= now) {
            self.frame(&mut pieces);
            self.next_frame = Some(due + FRAME);
        }
        pieces
    }

    fn sound(&mut self) -> Piece {
        let sequence = self.sounds;
        self.sounds += 1;
        // A TOC byte of one 20 ms frame (RFC 6716 §3.1).
        let mut payload = vec![0xf8];
        payload.resize(SOUND_BYTES, 0);
        let timestamp = sequence * SOUND_TICKS;
        Piece { picture: false, sequence, timestamp, marker: false, keyframe: true, payload }
    }

    fn frame(&mut self, pieces: &mut Vec<Piece>) {
        let keyframe = std::mem::take(&mut self.wants_keyframe);
        let [.., high, low] = (self.frames % 0x8000).to_be_bytes();
        for number in 0..PICTURE_PACKETS {
            let first = number == 0;
            // RFC 7741 §4.2: extended, start of a partition in the first packet; picture id, TL0PICIDX and TID follow.
            let start = if first { 0x90 } else { 0x80 };
            let mut payload = vec![start, 0xe0, 0x80 | high, low, low, 0x20, u8::from(!keyframe)];
            payload.resize(PICTURE_BYTES, 0);
            pieces.push(Piece {
                picture: true,
                sequence: self.frames * PICTURE_PACKETS + number,
                timestamp: self.frames * FRAME_TICKS,
                marker: number + 1 == PICTURE_PACKETS,
                keyframe: keyframe && first,
                payload,
            });
        }
        self.frames += 1;
    }
}
