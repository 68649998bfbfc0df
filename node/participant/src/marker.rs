//! What a synthetic packet says about itself: who made it, where it belongs in which frame, when it was made, and a
//! hash over all of it, so that a receiver can tell which source it gets and whether anything is missing or changed.
//!
//! ```text
//! Opus:  TOC | marker | filling            video:  descriptor | frame header (first packet) | marker | filling
//!              ^^^^^^^^^^^^^^^^ hashed                                                        ^^^^^^^^^^^^^^^^ hashed
//! ```
//!
//! The codec's own bytes stay outside: a forwarder may renumber a picture id.

use std::time::Duration;

use plenary_protocol::SourceName;

/// Length of an encoded marker, in bytes.
pub(crate) const LENGTH: usize = 38;

/// Begins every marker ("Plenary synthetic", abbreviated).
const MAGIC: u16 = 0x50A5;

/// Where the hash stands.
const HASH: std::ops::Range<usize> = 2..6;

/// What a synthetic packet says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The publisher's seed.
    pub(crate) publisher: u64,
    /// Which of the publisher's sources.
    pub(crate) source: SourceName,
    /// Whether the frame can be decoded without earlier ones.
    pub(crate) keyframe: bool,
    /// Number of the frame, counting from 0 without gaps.
    pub(crate) frame: u32,
    /// Number of the packet within the frame.
    pub(crate) index: u16,
    /// How many packets the frame has.
    pub(crate) count: u16,
    /// Number of the packet, counting from 0 without gaps over all frames.
    pub(crate) packet: u32,
    /// When the frame was captured, since the Unix epoch.
    pub(crate) captured: Duration,
    /// Which of the source's layers, counting from the lowest; frames and packets are numbered layer by layer.
    pub(crate) layer: u16,
}

/// Why a payload does not carry a whole marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Not made by a synthetic source.
    Foreign,
    /// Made by one, and changed on the way.
    Damaged,
}

impl Marker {
    /// Appends the marker and `filling` bytes derived from `key` to `out`, and closes them with the hash.
    pub(crate) fn write(&self, out: &mut Vec<u8>, filling: usize, key: u64) {
        let start = out.len();
        out.extend_from_slice(&MAGIC.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.push(source_code(self.source));
        out.push(u8::from(self.keyframe));
        out.extend_from_slice(&self.publisher.to_be_bytes());
        out.extend_from_slice(&self.frame.to_be_bytes());
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&self.packet.to_be_bytes());
        let micros = u64::try_from(self.captured.as_micros()).unwrap_or(u64::MAX);
        out.extend_from_slice(&micros.to_be_bytes());
        out.extend_from_slice(&self.layer.to_be_bytes());
        fill(out, filling, key ^ u64::from(self.packet));
        let hash = hash(&out[start + HASH.end..]);
        out[start + HASH.start..start + HASH.end].copy_from_slice(&hash.to_be_bytes());
    }

    /// Reads the marker at the beginning of `bytes`, which must reach to the end of the payload.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() < LENGTH || bytes[..2] != MAGIC.to_be_bytes() {
            return Err(Unreadable::Foreign);
        }
        if number(bytes, 2, 4) != u64::from(hash(&bytes[HASH.end..])) {
            return Err(Unreadable::Damaged);
        }
        Ok(Self {
            source: source_of(bytes[6]).ok_or(Unreadable::Damaged)?,
            keyframe: bytes[7] & 1 == 1,
            publisher: number(bytes, 8, 8),
            frame: narrow(number(bytes, 16, 4)),
            index: narrow(number(bytes, 20, 2)),
            count: narrow(number(bytes, 22, 2)),
            packet: narrow(number(bytes, 24, 4)),
            captured: Duration::from_micros(number(bytes, 28, 8)),
            layer: narrow(number(bytes, 36, 2)),
        })
    }
}

/// A big-endian number of `length` bytes at `at`; the caller has checked the bounds.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// A number read from exactly as many bytes as `T` has.
fn narrow<T: TryFrom<u64>>(number: u64) -> T {
    T::try_from(number).ok().expect("read from as many bytes as the type has")
}

const fn source_code(source: SourceName) -> u8 {
    match source {
        SourceName::Microphone => 1,
        SourceName::Camera => 2,
        SourceName::Screen => 3,
        SourceName::ScreenAudio => 4,
    }
}

const fn source_of(code: u8) -> Option<SourceName> {
    match code {
        1 => Some(SourceName::Microphone),
        2 => Some(SourceName::Camera),
        3 => Some(SourceName::Screen),
        4 => Some(SourceName::ScreenAudio),
        _ => None,
    }
}

/// Appends `length` bytes that are neither zero nor repeated.
fn fill(out: &mut Vec<u8>, length: usize, key: u64) {
    let end = out.len() + length;
    let mut state = key;
    while out.len() + 8 <= end {
        out.extend_from_slice(&mix(&mut state).to_be_bytes());
    }
    let rest = end - out.len();
    out.extend_from_slice(&mix(&mut state).to_be_bytes()[..rest]);
}

/// The next of a sequence of well-mixed numbers (the SplitMix64 generator).
pub(crate) const fn mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Tells changed bytes, eight at a time; no protection against an adversary.
fn hash(bytes: &[u8]) -> u32 {
    let mut sum = 0x243F_6A88_85A3_08D3 ^ bytes.len() as u64;
    for word in bytes.chunks(8) {
        let mut padded = [0; 8];
        padded[..word.len()].copy_from_slice(word);
        sum = (sum ^ u64::from_be_bytes(padded)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
    let folded = (sum ^ (sum >> 32)) & u64::from(u32::MAX);
    narrow(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker {
            publisher: 0x1122_3344_5566_7788,
            source: SourceName::Camera,
            keyframe: true,
            frame: 70_000,
            index: 3,
            count: 5,
            packet: 1 << 20,
            captured: Duration::from_micros(1_700_000_000_123_456),
            layer: 2,
        }
    }

    #[test]
    fn a_marker_is_read_back() {
        let mut bytes = Vec::new();
        marker().write(&mut bytes, 101, 7);
        assert_eq!(bytes.len(), LENGTH + 101);
        assert_eq!(Marker::read(&bytes), Ok(marker()));
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let mut bytes = Vec::new();
        marker().write(&mut bytes, 33, 7);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(Marker::read(&changed).is_err(), "byte {at}");
        }
        assert_eq!(Marker::read(&bytes[..bytes.len() - 1]), Err(Unreadable::Damaged));
        assert_eq!(Marker::read(&[0xF8, 0xFF, 0xFE]), Err(Unreadable::Foreign));
    }
}
