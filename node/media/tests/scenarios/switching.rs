//! Slots whose source changes.

use std::time::Duration;

use plenary_cluster::model::{MediaKind, Source};
use plenary_media::io::{Interest, SessionEvent, VideoInterest, WantedTrack};

use crate::common::{Quality, Received, Tag, World, ms, secs};

fn watch(world: &mut World, viewer: Tag, shown: Tag) {
    let participant = world.client(shown).participant;
    let wanted = WantedTrack { participant, source: Source::Camera, width: 0, height: 0 };
    world.interest(viewer, Interest { video: VideoInterest::Tracks(vec![wanted]), audio: true });
}

/// Twenty seconds in which the third client's slots show the other two by turns; the packets of each slot in order.
fn by_turns(jitter: Duration) -> Vec<Vec<Received>> {
    let mut world = World::new(21, &[1]);
    world.slots = (1, 1);
    world.access = Quality { jitter, ..Quality::GOOD };
    for tag in 1..=3 {
        world.join(tag, 0);
    }
    for second in 0..20 {
        watch(&mut world, 3, 1 + second % 2);
        for tag in [1, 2] {
            world.client(tag).set_level(if tag == 1 + second % 2 { -20 } else { -90 });
        }
        world.run(secs(1));
    }
    let client = world.client(3);
    assert!(client.slot_changes().count() > 30);
    let of_slot = |mid| {
        let mut packets: Vec<_> = client.received.iter().filter(|packet| packet.mid == mid).copied().collect();
        packets.sort_by_key(|packet| packet.sequence);
        // The last ones may still be overtaking each other.
        packets.truncate(packets.len() - 4);
        packets
    };
    client.slots.iter().map(|mid| of_slot(*mid)).collect()
}

#[test]
fn timestamps_and_sequences_go_on_over_a_switch_every_second() {
    let mut switches = 0;
    for slot in by_turns(ms(0)) {
        for pair in slot.windows(2) {
            assert_eq!(pair[1].sequence, pair[0].sequence + 1, "no gap, no repetition: {pair:?}");
            assert!(pair[1].timestamp >= pair[0].timestamp);
            if pair[1].audio {
                assert_eq!((pair[1].timestamp - pair[0].timestamp) % 960, 0, "audio steps by whole frames");
            }
            if pair[1].from != pair[0].from {
                switches += 1;
                assert!(pair[1].timestamp > pair[0].timestamp, "another source is another picture");
            }
        }
    }
    // Nineteen of the picture and about as many of the sound.
    assert!(switches >= 30, "{switches} switches");
}

#[test]
fn a_picture_that_is_about_to_change_is_told_before_it_changes() {
    let mut world = World::new(23, &[1]);
    world.slots = (1, 1);
    for tag in 1..=3 {
        world.join(tag, 0);
    }
    for turn in 0..6 {
        watch(&mut world, 3, 1 + turn % 2);
        world.run(secs(1));
    }
    let client = world.client(3);
    let video = client.slots[1].to_string();
    let mut told = false;
    let mut changes = 0;
    for (_, event) in &client.events {
        match event {
            SessionEvent::Switching(mids) => told = mids.contains(&video),
            SessionEvent::Slots(slots) if slots.iter().any(|slot| slot.mid == video) => {
                // The first picture replaces none.
                assert_eq!(told, changes > 0, "change {changes}");
                told = false;
                changes += 1;
            }
            SessionEvent::Slots(_)
            | SessionEvent::Answer { .. }
            | SessionEvent::Connected
            | SessionEvent::Pool { .. }
            | SessionEvent::Speakers(_)
            | SessionEvent::Closed(_) => {}
        }
    }
    assert_eq!(changes, 6);
}

#[test]
fn a_keyframe_whose_packets_overtake_each_other_is_shown_whole() {
    let slots = by_turns(ms(2));
    let video = slots.iter().find(|slot| !slot[0].audio).unwrap();
    let mut switches = 0;
    for three in video.windows(3).filter(|three| three[0].from != three[1].from) {
        switches += 1;
        assert_eq!(three[2].sequence, three[1].sequence + 1);
        assert_eq!(three[2].timestamp, three[1].timestamp, "both packets of the keyframe");
    }
    assert!(switches >= 18, "{switches} switches");
}

#[test]
fn sender_reports_stay_on_one_line_over_a_hundred_switches() {
    let mut world = World::new(22, &[1]);
    world.slots = (1, 1);
    for tag in 1..=3 {
        world.join(tag, 0);
    }
    world.run(secs(2));
    let start = world.now;
    for turn in 0..100 {
        watch(&mut world, 3, 1 + turn % 2);
        world.run(ms(400));
    }
    let mid = *world.client(3).slots.last().unwrap();
    let reports: Vec<_> =
        world.client(3).reports.iter().filter(|(at, of, _)| *of == mid && *at >= start).copied().collect();
    assert!(reports.len() > 20, "{} reports", reports.len());
    let (first_at, _, first_time) = reports[0];
    for (at, _, time) in reports {
        assert_ne!(time, 0, "a live slot's report says where its line is");
        let elapsed = i64::try_from((at - first_at).as_millis()).unwrap();
        let line = i64::try_from(time).unwrap() - i64::try_from(first_time).unwrap();
        assert!((line / 90 - elapsed).abs() < 50, "{} ms for {elapsed} ms", line / 90);
    }
}

#[test]
fn many_requests_for_one_keyframe_are_one_request_to_its_publisher() {
    let mut world = World::new(23, &[1]);
    for tag in 1..=8 {
        world.join(tag, 0);
    }
    world.run(secs(2));
    let before = (world.client(1).keyframe_requests, world.sfu(0).stats());
    for viewer in 2..=8 {
        let mid = world.slot_showing(viewer, 1, MediaKind::Video);
        if let Some(mid) = mid {
            world.client(viewer).lose_picture(mid);
        }
    }
    world.run(secs(1));
    let after = (world.client(1).keyframe_requests, world.sfu(0).stats());
    assert_eq!(after.0 - before.0, 1);
    assert!(after.1.keyframes_coalesced >= before.1.keyframes_coalesced + 3);
}

#[test]
fn a_vanished_source_leaves_its_slot_idle() {
    let mut world = World::new(24, &[1]);
    world.join(1, 0);
    world.join(2, 0);
    world.run(secs(1));
    let mid = world.slot_showing(2, 1, MediaKind::Video).unwrap();
    world.leave(1);
    world.run(ms(100));
    assert_eq!(world.client(2).shown_in(mid), None);
}
