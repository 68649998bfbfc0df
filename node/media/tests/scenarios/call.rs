//! Calls on one worker.

use plenary_cluster::model::{MediaKind, Source};
use plenary_media::io::{Interest, SessionEvent, VideoInterest};

use crate::common::{World, ms, secs};

#[test]
fn two_people_see_and_hear_each_other() {
    let mut world = World::new(1, &[1]);
    world.join(1, 0);
    world.join(2, 0);
    world.run(secs(3));
    for (viewer, shown) in [(1, 2), (2, 1)] {
        let video = world.client(viewer).from(shown, false);
        let audio = world.client(viewer).from(shown, true);
        assert!(video.len() > 150, "{} video packets", video.len());
        assert!(audio.len() > 130, "{} audio packets", audio.len());
        assert_eq!(world.client(viewer).from(viewer, false).len(), 0, "nobody sees themselves");
        assert_eq!(world.client(viewer).from(viewer, true).len(), 0, "nobody hears themselves");
    }
}

#[test]
fn an_announcement_names_the_first_timestamp_of_its_source() {
    let mut world = World::new(2, &[1]);
    world.join(1, 0);
    world.join(2, 0);
    world.run(secs(1));
    for kind in [MediaKind::Audio, MediaKind::Video] {
        let mid = world.slot_showing(2, 1, kind).unwrap();
        let client = world.client(2);
        let announced = client.shown_in(mid).unwrap().rtp_timestamp;
        let first = client.received.iter().find(|packet| packet.mid == mid).unwrap();
        assert_eq!(first.timestamp & 0xffff_ffff, u64::from(announced));
    }
}

#[test]
fn audio_and_video_slots_of_one_number_share_a_stream() {
    let mut world = World::new(3, &[1]);
    world.join(1, 0);
    let answer = &world.client(1).answer;
    for slot in 0..3 {
        let lines = answer.matches(&format!("a=msid:slot{slot} ")).count();
        assert_eq!(lines, 2, "slot {slot}: {answer}");
    }
    assert_eq!(answer.matches("a=msid:slot3 ").count(), 1);
}

#[test]
fn joins_and_leaves_of_others_cause_no_offer_until_a_pool_step() {
    let mut world = World::new(4, &[1]);
    world.join(1, 0);
    for tag in 2..=5 {
        world.join(tag, 0);
        world.run(ms(300));
    }
    for tag in 2..=5 {
        world.leave(tag);
        world.run(ms(300));
    }
    assert_eq!(world.client(1).offers, 1);
    let pool = |event: &SessionEvent| matches!(event, SessionEvent::Pool { .. });
    assert!(!world.client(1).events.iter().any(|(_, event)| pool(event)));
    for tag in 6..=10 {
        world.join(tag, 0);
    }
    world.run(secs(1));
    let events = &world.client(1).events;
    let asked: Vec<_> = events.iter().map(|(_, event)| event).filter(|event| pool(event)).collect();
    assert_eq!(asked, [&SessionEvent::Pool { audio: 3, video: 9 }]);
}

#[test]
fn more_slots_are_filled_as_soon_as_they_are_offered() {
    let mut world = World::new(5, &[1]);
    for tag in 1..=6 {
        world.join(tag, 0);
    }
    world.run(secs(1));
    let seen = |world: &mut World| (2..=6).filter(|tag| !world.client(1).from(*tag, false).is_empty()).count();
    assert_eq!(seen(&mut world), 4);
    world.offer_more_slots(1, 5);
    world.run(secs(2));
    assert_eq!(seen(&mut world), 5);
}

#[test]
fn a_muted_track_is_dropped_at_its_origin() {
    let mut world = World::new(6, &[1]);
    world.join(1, 0);
    world.join(2, 0);
    world.run(secs(1));
    world.mute(1, Source::Camera);
    world.run(ms(50));
    let before = world.client(2).from(1, false).len();
    world.run(secs(1));
    assert_eq!(world.client(2).from(1, false).len(), before);
    assert!(world.sfu(0).stats().silenced_packets > 0);
    assert_eq!(world.slot_showing(2, 1, MediaKind::Video), None, "the slot was announced idle");
    world.unmute(1, Source::Camera);
    world.run(secs(1));
    assert!(world.client(2).from(1, false).len() > before + 30);
}

#[test]
fn the_loudest_three_are_heard() {
    let mut world = World::new(7, &[1]);
    for tag in 1..=6 {
        world.join(tag, 0);
        world.client(tag).set_level(-70);
    }
    world.run(secs(2));
    for tag in [4, 5, 6] {
        world.client(tag).set_level(-20);
    }
    world.run(secs(2));
    let from = world.now;
    world.run(secs(1));
    let heard: Vec<u8> =
        (2..=6).filter(|tag| world.client(1).from(*tag, true).iter().any(|packet| packet.at > from)).collect();
    assert_eq!(heard, [4, 5, 6]);
    let told = world.client(1).events.iter().filter(|(_, event)| matches!(event, SessionEvent::Speakers(_))).count();
    assert!((1..10).contains(&told), "{told} speaker events");
}

#[test]
fn nothing_is_sent_to_who_wants_nothing() {
    let mut world = World::new(8, &[1]);
    world.join(1, 0);
    world.join(2, 0);
    world.interest(2, Interest { video: VideoInterest::Speakers { max: 0 }, audio: false });
    world.run(ms(100));
    let before = world.client(2).received.len();
    world.run(secs(1));
    assert_eq!(world.client(2).received.len(), before);
}
