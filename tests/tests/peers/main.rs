//! Headless participants on real `Sfu`s, on a virtual clock: both ends of the protocol, without a network.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail like the test")]

mod world;

use std::time::Duration;

use plenary_participant::{Command, Layers, Report, SlotKind, Video};
use plenary_protocol::{Interest, SourceName, VideoInterest, WantedTrack};

use crate::world::{SECOND, World, participant, seed_of};

/// Wants to see this peer's camera alone.
fn only(peer: usize) -> Interest {
    let (participant, source) = (participant(peer).to_string(), SourceName::Camera);
    let tracks = vec![WantedTrack { participant, source, width: 0, height: 0 }];
    Interest { video: VideoInterest::Tracks { tracks }, audio: true }
}

/// Nothing in any slot was wrong.
fn assert_sound(report: &Report) {
    for slot in report.slots.iter().filter(|slot| slot.stats.packets > 0) {
        let stats = &slot.stats;
        let faults = (stats.hash_mismatches, stats.foreign_packets, stats.timestamp_faults, stats.missing_packets);
        assert_eq!(faults, (0, 0, 0, 0), "{slot:#?}");
        assert_eq!(stats.switches_without_keyframe, 0, "{slot:#?}");
        assert_eq!(slot.mislabelled(seed_of), [], "{slot:#?}");
        let drift = slot.sender_report_drift().unwrap_or_default();
        assert!(drift < Duration::from_millis(2), "{drift:?} {:#?}", slot.sender_reports);
    }
}

fn assert_sees(report: &Report, seed: u64, pictures: u64, sounds: u64) {
    let (video, audio) = (report.frames_from(seed, SlotKind::Video), report.frames_from(seed, SlotKind::Audio));
    assert!(video >= pictures && audio >= sounds, "{seed}: {video} pictures, {audio} sounds");
}

#[test]
fn three_people_on_one_node_see_and_hear_each_other() {
    let mut world = World::new(1, &[0, 0, 0], Interest::default());
    world.run(5 * SECOND);
    for peer in 0..3 {
        let report = world.report(peer);
        assert!(report.connected && report.media_connected);
        for other in (0..3).filter(|other| *other != peer) {
            assert_sees(&report, other as u64, 100, 150);
        }
        assert_sees(&report, peer as u64, 0, 0);
        assert_eq!(report.frames_from(peer as u64, SlotKind::Audio), 0, "nobody hears themselves");
        assert_sound(&report);
        assert_eq!(report.offers, 1);
    }
}

#[test]
fn who_offers_three_layers_is_seen_as_who_offers_one() {
    let video = Video { layers: Layers::Three, ..Video::default() };
    let mut world = World::filming(video, 1, &[0, 0], Interest::default());
    world.run(5 * SECOND);
    for peer in 0..2 {
        let report = world.report(peer);
        assert_sees(&report, 1 - peer as u64, 100, 150);
        assert_sound(&report);
    }
}

#[test]
fn people_on_two_nodes_see_and_hear_each_other() {
    let mut world = World::new(2, &[0, 1, 1], Interest::default());
    world.run(5 * SECOND);
    for peer in 0..3 {
        let report = world.report(peer);
        for other in (0..3).filter(|other| *other != peer) {
            assert_sees(&report, other as u64, 90, 150);
        }
        assert_sound(&report);
    }
}

#[test]
fn a_slot_that_switches_every_second_stays_sound() {
    let mut world = World::new(2, &[0, 0, 1], only(2));
    world.run(2 * SECOND);
    for turn in 0..20 {
        let interest = only(if turn % 2 == 0 { 0 } else { 2 });
        world.order(1, Command::SetInterest(interest));
        world.run(SECOND);
    }
    let report = world.report(1);
    let switches: u64 = report.slots_of(SlotKind::Video).map(|slot| slot.stats.switches).sum();
    assert_eq!(switches, 20);
    assert_sound(&report);
    assert_eq!(report.offers, 1);
    let gap = report.longest_gap(SlotKind::Video);
    assert!(gap < Duration::from_millis(100), "{gap:?}");
}
