//! Sources on one side, a receiver on the other, between them whatever a network does.

use super::*;
use crate::source::{Codec, Layers, Source, Speech, Video};

struct Sent {
    sequence: u64,
    rtp_time: u32,
    at: Instant,
    payload: Vec<u8>,
}

fn epoch() -> Epoch {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start its virtual clock from")]
    let instant = Instant::now();
    Epoch { instant, unix: Duration::from_secs(1_700_000_000) }
}

/// Some frames of a publisher, numbered on from `sequence`; RTP times on one line.
fn film(epoch: Epoch, publisher: u64, name: SourceName, frames: u32, sequence: &mut u64) -> Vec<Sent> {
    let mut source = Source::new(publisher, name, epoch, epoch.instant, Video::default(), Speech::Talking);
    let mut sent = Vec::new();
    for _ in 0..frames {
        let at = source.due();
        source.capture(at, |piece| {
            sent.push(Sent { sequence: *sequence, rtp_time: piece.rtp_time, at, payload: piece.payload.to_vec() });
            *sequence += 1;
        });
    }
    sent
}

fn receiver(kind: SlotKind, epoch: Epoch) -> Receiver {
    Receiver::new("4".to_owned(), kind, epoch, epoch.instant)
}

fn take(receiver: &mut Receiver, sent: &Sent, delay: Duration) {
    let Sent { sequence, rtp_time, .. } = *sent;
    let arrival = Arrival { sequence, rtp_time, level: None, codec: Some(Codec::Vp8), payload: &sent.payload };
    receiver.handle_packet(sent.at + delay, arrival);
}

#[test]
fn without_loss_every_frame_is_usable() {
    let epoch = epoch();
    let sent = film(epoch, 7, SourceName::Camera, 90, &mut 100);
    let mut receiver = receiver(SlotKind::Video, epoch);
    for packet in &sent {
        take(&mut receiver, packet, Duration::from_millis(12));
    }
    let stats = receiver.report(sent.last().unwrap().at + Duration::from_millis(12)).stats;
    assert_eq!((stats.frames, stats.usable_frames, stats.keyframes), (90, 90, 1));
    assert_eq!(stats.packets, sent.len() as u64);
    assert_eq!((stats.missing_packets, stats.timestamp_faults, stats.hash_mismatches), (0, 0, 0));
    let delays = [0, 1000].map(|part| stats.delays.per_mille(part).as_millis());
    assert_eq!(delays, [12, 12]);
    assert!((33..=34).contains(&stats.longest_gap.as_millis()), "{:?}", stats.longest_gap);
    assert_eq!(stats.dimensions, Some((640, 360)));
}

#[test]
fn a_lost_packet_ends_usability_until_it_comes_late() {
    let epoch = epoch();
    let sent = film(epoch, 7, SourceName::Camera, 30, &mut 0);
    let mut receiver = receiver(SlotKind::Video, epoch);
    let lost = 30;
    for (_, packet) in sent.iter().enumerate().filter(|(at, _)| *at != lost) {
        take(&mut receiver, packet, Duration::ZERO);
    }
    let stats = receiver.report(epoch.instant + Duration::from_secs(1)).stats;
    assert_eq!((stats.missing_packets, stats.frames), (1, 29));
    assert!(stats.usable_frames < 29, "what follows a hole can't be decoded");
    take(&mut receiver, &sent[lost], Duration::from_millis(900));
    take(&mut receiver, &sent[lost], Duration::from_millis(900));
    let stats = receiver.report(epoch.instant + Duration::from_secs(1)).stats;
    assert_eq!((stats.missing_packets, stats.late_packets, stats.repeated_packets), (0, 1, 1));
    assert_eq!((stats.frames, stats.usable_frames), (30, 30));
    assert!(stats.longest_gap > Duration::from_millis(300), "{:?}", stats.longest_gap);
}

#[test]
fn damage_is_noticed() {
    let epoch = epoch();
    let mut sent = film(epoch, 7, SourceName::Camera, 3, &mut 0);
    sent[1].payload[200] ^= 1;
    sent[2].payload = vec![0x90, 0, 1, 2, 3];
    let mut receiver = receiver(SlotKind::Video, epoch);
    for packet in &sent {
        take(&mut receiver, packet, Duration::ZERO);
    }
    let stats = receiver.report(epoch.instant).stats;
    assert_eq!((stats.hash_mismatches, stats.foreign_packets), (1, 1));
    assert_eq!(stats.usable_frames, 0, "the keyframe was damaged");
}

#[test]
fn a_switch_begins_a_segment_that_can_be_compared_with_the_announcement() {
    let epoch = epoch();
    let mut sequence = 0;
    let ada = film(epoch, 1, SourceName::Camera, 20, &mut sequence);
    let mut bob = film(epoch, 2, SourceName::Camera, 20, &mut sequence);
    let (last, first) = (ada.last().unwrap().rtp_time, bob[0].rtp_time);
    for packet in &mut bob {
        packet.rtp_time = packet.rtp_time.wrapping_sub(first).wrapping_add(last).wrapping_add(3_000);
    }
    let mut receiver = receiver(SlotKind::Video, epoch);
    let announce = |receiver: &mut Receiver, who: &str, generation, rtp_timestamp| {
        let (participant, source) = (Some(who.to_owned()), Some(SourceName::Camera));
        let mid = "4".to_owned();
        let rtp_timestamp = Some(rtp_timestamp);
        receiver.announce(SlotAnnouncement { mid, generation, participant, source, rtp_timestamp });
    };
    announce(&mut receiver, "ada", 1, ada[0].rtp_time);
    for packet in ada.iter().chain(&bob) {
        take(&mut receiver, packet, Duration::ZERO);
    }
    let who = |id: &str| ["", "ada", "bob"].iter().position(|name| *name == id).map(|seed| seed as u64);
    let report = receiver.report(epoch.instant + Duration::from_secs(1));
    assert_eq!(report.stats.timestamp_faults, 0);
    assert_eq!((report.stats.switches, report.stats.switches_without_keyframe), (1, 0));
    let seen: Vec<_> = report.segments.iter().map(|segment| (segment.publisher, segment.frames)).collect();
    assert_eq!(seen, [(1, 20), (2, 20)]);
    assert_eq!(report.mislabelled(who), [report.segments[1]], "bob was not announced");
    announce(&mut receiver, "bob", 2, bob[0].rtp_time);
    assert_eq!(receiver.report(epoch.instant).mislabelled(who), []);
}

#[test]
fn sender_reports_off_the_line_are_measured() {
    let epoch = epoch();
    let mut receiver = receiver(SlotKind::Audio, epoch);
    for second in 0..10_u32 {
        let off = if second == 6 { 4_800 } else { 0 };
        let rtp = (u32::MAX - 100_000).wrapping_add(second * 48_000 + off);
        receiver.handle_sender_report(SenderReport { ntp: Duration::from_secs(100 + u64::from(second)), rtp });
    }
    let drift = receiver.report(epoch.instant).sender_report_drift().unwrap();
    assert!((99..=101).contains(&drift.as_millis()), "{drift:?}");
}

#[test]
fn sound_is_a_frame_a_packet() {
    let epoch = epoch();
    let sent = film(epoch, 5, SourceName::Microphone, 100, &mut 0);
    let mut receiver = receiver(SlotKind::Audio, epoch);
    for packet in sent.iter().filter(|packet| packet.sequence % 10 != 3) {
        take(&mut receiver, packet, Duration::ZERO);
    }
    let stats = receiver.report(epoch.instant).stats;
    assert_eq!((stats.frames, stats.usable_frames, stats.missing_packets), (90, 90, 10));
    assert_eq!(stats.frames_by_publisher, [(5, 90)].into());
}

/// So many frames of the lowest layer, then of the highest, which begins with a keyframe or with another frame.
fn layers(epoch: Epoch, keyframe: bool) -> SlotStats {
    let video = Video { layers: Layers::Three, ..Video::default() };
    let mut source = Source::new(3, SourceName::Camera, epoch, epoch.instant, video, Speech::Talking);
    let mut receiver = receiver(SlotKind::Video, epoch);
    let mut sequence = 0;
    for frame in 0..40_u32 {
        let shown = if frame < 20 { 0 } else { 2 };
        if frame == 20 && keyframe {
            source.request_keyframe(Some(2));
        }
        let at = source.due();
        source.capture(at, |piece| {
            if piece.layer == shown {
                // The forwarder keeps one line of RTP times.
                let rtp_time = 3_000 * frame;
                take(&mut receiver, &Sent { sequence, rtp_time, at, payload: piece.payload.to_vec() }, Duration::ZERO);
                sequence += 1;
            }
        });
    }
    receiver.report(source.due()).stats
}

#[test]
fn another_layer_is_usable_from_its_keyframe_on() {
    let epoch = epoch();
    let stats = layers(epoch, true);
    assert_eq!((stats.layer, stats.layer_switches, stats.usable_frames), (Some(2), 1, 40));
    assert_eq!((stats.switches, stats.timestamp_faults), (0, 0));
    let stats = layers(epoch, false);
    assert_eq!((stats.layer, stats.layer_switches, stats.usable_frames), (Some(2), 1, 20), "no keyframe, no picture");
}
