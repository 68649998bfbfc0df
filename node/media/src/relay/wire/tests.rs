#![expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn room() -> RoomId {
    RoomId::from_uuid(Uuid::from_u128(77))
}

fn track(source: Source) -> TrackId {
    TrackId { session: SessionId::from_uuid(Uuid::from_u128(5)), source }
}

fn packet(capture: Instant) -> Packet {
    Packet {
        sequence: 0x1234_5678_9abc,
        rtp_time: 0x00ab_cdef_0123,
        capture,
        origin_capture: 77_000_000,
        marker: true,
        codec: Codec::Vp8,
        keyframe: true,
        audio_level: None,
        voice: None,
        payload: vec![1, 2, 3].into(),
    }
}

#[test]
fn every_frame_survives_the_wire() {
    let now = Instant::now();
    let audio = Packet { codec: Codec::Opus, audio_level: Some(33), voice: Some(false), ..packet(now) };
    let frames = [
        Frame::Pull { room: room(), track: track(Source::Microphone), handle: 0x0200_0001 },
        Frame::Release { room: room(), track: track(Source::ScreenAudio), handle: 9 },
        Frame::Keyframe { room: room(), track: track(Source::Screen) },
        Frame::Media { handle: 0x0300_0007, packet: packet(now) },
        Frame::Media { handle: 1, packet: audio },
        Frame::Nack { room: room(), track: track(Source::Camera), handle: 3, sequences: vec![1, 1 << 40] },
    ];
    for frame in frames {
        let mut bytes = Vec::new();
        encode(&frame, &mut bytes);
        assert_eq!(decode(&bytes, now), Ok(frame));
    }
}

#[test]
fn a_frame_finds_its_worker() {
    let mut bytes = Vec::new();
    encode(&Frame::Media { handle: 0x0300_0007, packet: packet(Instant::now()) }, &mut bytes);
    assert_eq!(bytes.len(), MEDIA_HEADER + 3);
    assert_eq!(route(&bytes, 4), Some(3));
    assert_eq!(route(&bytes, 3), None);
    bytes.clear();
    encode(&Frame::Keyframe { room: room(), track: track(Source::Camera) }, &mut bytes);
    assert_eq!(route(&bytes, 8), Some(ingress_worker(room(), 8)));
    assert_eq!(route(&[], 8), None);
}

/// A 600 kbit/s camera at 30 frames/s and Opus at 50 packets/s of 80 bytes, as a browser sends them.
#[test]
fn the_link_carries_at_most_five_percent_more_than_was_published() {
    let now = Instant::now();
    let (mut published, mut relayed) = (0, 0);
    for (codec, packets, payload) in [(Codec::Vp8, 90, 830), (Codec::Opus, 50, 80)] {
        // RFC 3550 header, and RFC 8285 extensions: profile, mid, transport sequence, for audio the level.
        let header = 12 + if codec == Codec::Opus { 12 } else { 8 };
        let packet = Packet { codec, payload: vec![0; payload].into(), ..packet(now) };
        let mut bytes = Vec::new();
        encode(&Frame::Media { handle: 1, packet }, &mut bytes);
        published += packets * (header + payload);
        relayed += packets * bytes.len();
    }
    assert!(relayed * 100 <= published * 105, "{relayed} of {published}");
}

#[test]
fn another_version_is_named() {
    assert_eq!(decode(&[0x24, 0], Instant::now()), Err(FrameError::Version(2)));
    assert_eq!(decode(&[], Instant::now()), Err(FrameError::Short));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), workers in 0_u16..300) {
        let _ = decode(&bytes, Instant::now());
        let _ = route(&bytes, workers);
    }

    #[test]
    fn any_body_of_a_known_kind_is_survived(kind in 0_u8..8, body in proptest::collection::vec(any::<u8>(), 0..500)) {
        let mut bytes = vec![VERSION << 4 | kind];
        bytes.extend(body);
        if let Ok(frame) = decode(&bytes, Instant::now()) {
            let mut again = Vec::new();
            encode(&frame, &mut again);
            prop_assert_eq!(decode(&again, Instant::now()).is_ok(), true);
        }
    }
}
