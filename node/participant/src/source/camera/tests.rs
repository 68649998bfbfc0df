//! What all codecs have in common, one after the other.

use str0m::format::{detect_av1_keyframe, detect_h264_nalu, detect_vp8_keyframe, detect_vp9_keyframe};

use super::*;
use crate::source::{Codec, Layers};

fn camera(video: Video) -> (Camera, Instant) {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start its virtual clock from")]
    let start = Instant::now();
    (Camera::new(9, SourceName::Camera, Epoch { instant: start, unix: Duration::ZERO }, start, video), start)
}

fn of(codec: Codec) -> Video {
    Video { codec, ..Video::default() }
}

const MAX_PAYLOAD: usize = Trace::Constant.max_payload();

/// The next picture: payloads and RTP marker bits.
fn next(camera: &mut Camera) -> Vec<(Vec<u8>, bool)> {
    let mut packets = Vec::new();
    let due = camera.due();
    assert!(camera.capture(due, |piece| packets.push((piece.payload.to_vec(), piece.marker))));
    packets
}

/// Whether str0m takes a packet for the one a decoder can begin with.
fn begins_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => detect_vp8_keyframe(payload),
        // str0m looks at the P bit alone, which all packets of a picture carry; B begins it.
        Codec::Vp9 => detect_vp9_keyframe(payload) && payload[0] & 0x08 != 0,
        // 7: a sequence parameter set.
        Codec::H264 => detect_h264_nalu(payload, 7),
        Codec::Av1 => detect_av1_keyframe(payload),
    }
}

#[test]
fn keyframes_come_first_and_when_asked_for() {
    for codec in Codec::ALL {
        let (mut camera, _) = camera(of(codec));
        let mut numbers = 0..;
        for number in 0..10 {
            if number == 7 {
                camera.request_keyframe(None);
            }
            let keyframe = number == 0 || number == 7;
            let packets = next(&mut camera);
            for (index, (payload, ends)) in packets.iter().enumerate() {
                assert!(payload.len() <= MAX_PAYLOAD);
                assert_eq!(begins_keyframe(codec, payload), keyframe && index == 0, "{codec:?} {number} {index}");
                let parsed = codec.parse(payload).unwrap();
                assert_eq!(parsed.dimensions, (keyframe && index == 0).then_some((640, 360)), "{codec:?}");
                let marker = Marker::read(parsed.rest).unwrap();
                assert_eq!((marker.frame, usize::from(marker.index), marker.keyframe), (number, index, keyframe));
                assert_eq!((usize::from(marker.count), Some(marker.packet)), (packets.len(), numbers.next()));
                assert_eq!(*ends, index + 1 == packets.len());
            }
        }
    }
}

#[test]
fn the_bitrate_is_what_was_asked_for() {
    for codec in Codec::ALL {
        for bitrate in [100_000, 600_000, 4_000_000] {
            let (mut camera, start) = camera(Video { bitrate, ..of(codec) });
            let mut bytes = 0;
            while camera.due() < start + Duration::from_secs(10) {
                bytes += next(&mut camera).iter().map(|(payload, _)| payload.len()).sum::<usize>();
            }
            let measured = f64::from(u32::try_from(bytes).unwrap()) * 8.0 / 10.0 / f64::from(bitrate);
            assert!((0.98..1.02).contains(&measured), "{codec:?} {bitrate}: {measured}");
        }
    }
}

#[test]
fn a_film_keeps_its_bitrate_and_looks_the_same_again() {
    for codec in Codec::ALL {
        for bitrate in [150_000, 500_000, 1_500_000] {
            let film = || {
                let (mut camera, _) = camera(Video { bitrate, trace: Trace::LogNormal { seed: 1 }, ..of(codec) });
                let mut sizes = Vec::new();
                for number in 0..900 {
                    let packets = next(&mut camera);
                    let marker = Marker::read(codec.parse(&packets[0].0).unwrap().rest).unwrap();
                    assert_eq!(marker.keyframe, number % 90 == 0);
                    sizes.extend(packets.iter().map(|(payload, _)| payload.len()));
                }
                sizes
            };
            let sizes = film();
            assert_eq!(sizes, film());
            assert!(sizes.iter().all(|size| *size <= 1_160));
            let measured = sizes.iter().sum::<usize>() as f64 * 8.0 / 30.0 / f64::from(bitrate);
            assert!((0.98..1.02).contains(&measured), "{codec:?} {bitrate}: {measured}");
        }
    }
}

#[test]
fn pictures_of_any_size_are_cut_into_packets_that_can_be_read() {
    for codec in Codec::ALL {
        for bitrate in [0, 20_000, 264_000, 4_000_000, u32::MAX] {
            let (mut camera, _) = camera(Video { bitrate, width: 1, height: 16_383, ..of(codec) });
            for _ in 0..3 {
                for (payload, _) in next(&mut camera) {
                    assert!(payload.len() <= MAX_PAYLOAD, "{codec:?} {bitrate}: {}", payload.len());
                    assert!(Marker::read(codec.parse(&payload).unwrap().rest).is_ok(), "{codec:?} {bitrate}");
                }
            }
        }
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
fn short_and_strange_payloads_are_refused_not_read_past() {
    for codec in Codec::ALL {
        let (mut camera, _) = camera(of(codec));
        for (payload, _) in (0..2).flat_map(|_| next(&mut camera)) {
            for length in 0..payload.len() {
                let read = codec.parse(&payload[..length]).map(|parsed| Marker::read(parsed.rest));
                assert!(!matches!(read, Some(Ok(_))), "{codec:?}: {length} bytes can't be whole");
            }
            for at in 0..payload.len().min(LONGEST_HEADER) {
                for bit in 0..8 {
                    let mut changed = payload.clone();
                    changed[at] ^= 1 << bit;
                    // Whatever it says of itself, reading it ends well.
                    let _ = Codec::ALL.map(|codec| codec.parse(&changed));
                }
            }
        }
        assert_eq!(codec.parse(&[]), None);
    }
}

#[test]
fn a_keyframe_is_made_of_the_layer_it_is_asked_for() {
    let (mut camera, _) = camera(Video { layers: Layers::Three, ..Video::default() });
    next(&mut camera);
    camera.request_keyframe(Some(1));
    let keyframes = next(&mut camera).into_iter().filter_map(|(payload, _)| {
        let marker = Marker::read(Codec::Vp8.parse(&payload).unwrap().rest).unwrap();
        marker.keyframe.then_some(marker.layer)
    });
    assert_eq!(keyframes.collect::<std::collections::BTreeSet<_>>(), [1].into());
}

#[test]
fn three_layers_are_one_film_in_three_sizes() {
    let (width, height, bitrate) = (1_280, 720, 1_500_000);
    let trace = Trace::LogNormal { seed: 1 };
    let (mut camera, _) = camera(Video { width, height, bitrate, trace, layers: Layers::Three, ..Video::default() });
    let (mut bytes, mut dimensions) = ([0_usize; 3], [None; 3]);
    for number in 0..900 {
        let (mut times, mut captures) = ([0; 3], [None; 3]);
        let due = camera.due();
        camera.capture(due, |piece| {
            let parsed = Codec::Vp8.parse(piece.payload).unwrap();
            let marker = Marker::read(parsed.rest).unwrap();
            assert_eq!((usize::from(marker.layer), marker.frame), (piece.layer, number));
            dimensions[piece.layer] = dimensions[piece.layer].or(parsed.dimensions);
            bytes[piece.layer] += piece.payload.len();
            times[piece.layer] = piece.rtp_time;
            captures[piece.layer] = Some(marker.captured);
        });
        assert!(times[0] != times[1] && times[1] != times[2] && times[0] != times[2], "lines of their own");
        assert!(captures[0].is_some() && captures.iter().all(|capture| *capture == captures[0]));
    }
    assert_eq!(dimensions, [Some((320, 180)), Some((640, 360)), Some((1_280, 720))]);
    for (bytes, kbps) in bytes.into_iter().zip([150.0, 500.0, 1_500.0]) {
        let measured = bytes as f64 * 8.0 / 30.0 / 1_000.0 / kbps;
        assert!((0.98..1.02).contains(&measured), "{kbps}: {measured}");
    }
}
