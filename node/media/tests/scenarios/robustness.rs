//! What must not disturb a call.

use std::net::SocketAddr;

use plenary_media::SfuError;
use plenary_media::io::{CloseReason, Command, OfferError, SessionEvent};

use crate::common::{Quality, Tag, World, ms, secs};

fn offer(world: &mut World, tag: Tag, sdp: &str, slots: Vec<String>) -> OfferError {
    let (session, worker) = (world.client(tag).session, world.client(tag).worker);
    let tracks = world.client(tag).tracks();
    world.command(worker, Command::Offer { session, request: 99, sdp: sdp.to_owned(), tracks, slots });
    let SessionEvent::Answer { request: 99, result: Err(error) } = world.client(tag).events.pop().unwrap().1 else {
        panic!("the offer was accepted")
    };
    error
}

#[test]
fn garbage_is_answered_with_nothing_and_counted() {
    let mut world = World::new(31, &[1]);
    world.join(1, 0);
    world.join(2, 0);
    world.run(secs(1));
    let stranger = SocketAddr::from(([203, 0, 113, 9], 1));
    let before = world.sfu(0).stats().unknown_datagrams;
    for length in 0..100_usize {
        for first in [0, 1, 20, 22, 128, 200, 255] {
            let mut garbage = vec![first; length];
            garbage.push(u8::try_from(length).unwrap());
            assert_eq!(world.datagram(0, stranger, &garbage), 0);
        }
    }
    assert_eq!(world.sfu(0).stats().unknown_datagrams - before, 700);
    let before = world.client(2).from(1, false).len();
    world.run(secs(1));
    assert!(world.client(2).from(1, false).len() > before + 50);
}

#[test]
fn a_bad_offer_leaves_the_call_as_it_was() {
    let mut world = World::new(32, &[1]);
    world.join(1, 0);
    world.join(2, 0);
    world.run(secs(1));
    let slots = world.client(2).slot_names();
    let malformed = offer(&mut world, 2, "v=0\r\nnonsense", slots.clone());
    assert!(matches!(malformed, OfferError::Malformed(_)), "{malformed:?}");
    let good = world.client(2).offer(0, 1);
    let cut_short = good.split("m=").take(3).collect::<Vec<_>>().join("m=");
    let shorter = offer(&mut world, 2, &cut_short, slots.clone());
    assert!(matches!(shorter, OfferError::Unsupported(_) | OfferError::Mid { .. }), "{shorter:?}");
    let mut unknown = slots;
    unknown.push("nowhere".to_owned());
    let unknown = offer(&mut world, 2, &good, unknown);
    assert_eq!(
        unknown,
        OfferError::Mid { field: "slots", mid: "nowhere".to_owned(), problem: "the description has no such m-line" }
    );
    let before = world.client(2).from(1, false).len();
    world.run(secs(1));
    assert!(world.client(2).from(1, false).len() > before + 50);
}

#[test]
fn a_session_that_never_connects_is_closed() {
    let mut world = World::new(33, &[1]);
    world.access = Quality { loss: 100, ..Quality::GOOD };
    world.enter(1, 0);
    world.run(secs(14));
    let closed = |world: &mut World| {
        let events = &world.client(1).events;
        events.iter().find_map(|(_, event)| if let SessionEvent::Closed(reason) = event { Some(*reason) } else { None })
    };
    assert_eq!(closed(&mut world), None);
    world.run(secs(2));
    assert_eq!(closed(&mut world), Some(CloseReason::NeverConnected));
    assert_eq!(world.sfu(0).stats().sessions, 0);
}

#[test]
fn a_session_that_falls_silent_is_closed() {
    let mut world = World::new(34, &[1]);
    world.join(1, 0);
    world.run(secs(1));
    world.access = Quality { loss: 100, ..Quality::GOOD };
    world.run(secs(8));
    let last = world.client(1).events.last().map(|(_, event)| event.clone());
    assert_eq!(last, Some(SessionEvent::Closed(CloseReason::MediaLost)));
}

#[test]
fn lost_datagrams_to_a_client_are_sent_again() {
    let mut world = World::new(35, &[1]);
    world.join(1, 0);
    world.join(2, 0);
    world.run(secs(1));
    world.access = Quality { delay: ms(10), jitter: ms(2), loss: 3 };
    let from = world.client(1).packets_sent;
    world.run(secs(5));
    let to = world.client(1).packets_sent;
    world.access = Quality::GOOD;
    world.run(secs(1));
    // Audio has no NACK; video is nearly whole although both ways lost three in a hundred.
    let video = world.client(2).from(1, false);
    let video = video.iter().filter(|packet| (from..to).contains(&packet.number)).count();
    assert!(video >= 295, "{video} of 300 video packets");
}

#[test]
fn a_command_for_an_unknown_session_is_refused() {
    let mut world = World::new(36, &[1]);
    world.enter(1, 0);
    let session = world.client(1).session;
    world.leave(1);
    let room = world.room();
    world.command(0, Command::CloseRoom(room));
    assert_eq!(world.sfu(0).stats().rooms, 0);
    let result = world.try_command(0, Command::CloseSession { session });
    assert_eq!(result, Err(SfuError::NoSession(session)));
}
