//! A peer against a node of a few lines, on a virtual clock: the node sends back what the peer publishes.

use std::collections::BTreeMap;

use plenary_protocol::{
    Close, ErrorCode, Pool, ProtocolError, Push, PushFrame, Reply, ReplyFrame, RosterChange, SlotAnnouncement, VERSION,
};

use super::*;
use crate::echo::{Echo, member};
use crate::report::SlotKind;

const PEER: &str = "192.0.2.1:5000";
const NODE: &str = "192.0.2.2:6000";

/// One way through the network.
const DELAY: Duration = Duration::from_millis(5);

/// A peer, a node and a network between them.
struct World {
    now: Instant,
    peer: Peer,
    node: Echo,
    /// Datagrams by arrival and order of sending; true for those to the node.
    wire: BTreeMap<(Instant, u64), (bool, Vec<u8>)>,
    sent: u64,
    /// Every so many datagrams, one is lost; 0 for none.
    lose_every: u64,
    requests: Vec<Request>,
}

impl World {
    fn new(adjust: impl FnOnce(&mut PeerOptions)) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start its virtual clock from")]
        let now = Instant::now();
        let mut options = PeerOptions {
            publisher: 42,
            epoch: Epoch { instant: now, unix: Duration::from_secs(1_700_000_000) },
            local: PEER.parse().unwrap(),
            meeting: "meeting_1".to_owned(),
            token: "token".to_owned(),
            sources: vec![SourceName::Microphone, SourceName::Camera],
            publish: vec![SourceName::Microphone, SourceName::Camera],
            video: Video::default(),
            speech: Speech::Talking,
            pool: PoolSize { audio: 3, video: 4 },
            interest: None,
        };
        adjust(&mut options);
        let peer = Peer::new(now, options).unwrap();
        let (wire, requests) = (BTreeMap::new(), Vec::new());
        let mut world =
            Self { now, peer, node: Echo::new(now, NODE.parse().unwrap()), wire, sent: 0, lose_every: 0, requests };
        world.settle();
        world
    }

    fn say(&mut self, push: Push) {
        let frame = PushFrame { v: VERSION, seq: 1, push };
        self.peer.handle_input(self.now, Input::Frame(ServerFrame::Push(frame)));
        self.settle();
    }

    fn command(&mut self, command: Command) {
        self.peer.handle_input(self.now, Input::Command(command));
        self.settle();
    }

    /// Carries out what both ends want done at this instant.
    fn settle(&mut self) {
        while let Some(output) = self.peer.poll_output() {
            match output {
                Output::Transmit { destination, contents } => {
                    assert_eq!(destination, NODE.parse().unwrap());
                    self.send(true, contents);
                }
                Output::Request(frame) => {
                    let reply = self.node.answer(&frame.request);
                    self.requests.push(frame.request);
                    let reply = ReplyFrame { v: VERSION, re: frame.id, reply };
                    self.peer.handle_input(self.now, Input::Frame(ServerFrame::Reply(reply)));
                }
            }
        }
        for (destination, contents) in self.node.drain() {
            assert_eq!(destination, PEER.parse().unwrap());
            self.send(false, contents);
        }
    }

    fn send(&mut self, to_node: bool, contents: Vec<u8>) {
        self.sent += 1;
        let lossy = self.lose_every > 0 && self.sent.is_multiple_of(self.lose_every);
        if !lossy {
            self.wire.insert((self.now + DELAY, self.sent), (to_node, contents));
        }
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let peer_due = self.peer.poll_timeout().unwrap_or(end);
            let wire_due = self.wire.keys().next().map_or(end, |(at, _)| *at);
            let next = peer_due.min(wire_due).min(self.node.timeout);
            if next >= end {
                self.now = end;
                return;
            }
            // Time moves at every step, whatever the timers say.
            self.now = next.max(self.now + Duration::from_micros(100));
            self.step();
        }
    }

    fn step(&mut self) {
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to_node, contents) = entry.remove();
            if to_node {
                self.node.handle_datagram(self.now, PEER.parse().unwrap(), &contents);
            } else {
                let source = NODE.parse().unwrap();
                self.peer.handle_input(self.now, Input::Datagram { source, contents: &contents });
            }
            self.settle();
        }
        if self.node.timeout <= self.now {
            self.node.handle_timeout(self.now);
        }
        self.peer.handle_input(self.now, Input::Timeout);
        self.settle();
    }

    fn report(&self) -> Report {
        self.peer.report(self.now)
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn media_goes_out_and_comes_back_whole() {
    let mut world = World::new(|_| ());
    world.run(6 * SECOND);
    let report = world.report();
    assert!(report.connected && world.node.connected);
    assert_eq!(report.offers, 1);
    let audio = report.slots_of(SlotKind::Audio).next().unwrap();
    let video = report.slots_of(SlotKind::Video).next().unwrap();
    assert!(audio.stats.frames >= 270, "{:?}", audio.stats);
    assert!(video.stats.usable_frames >= 165, "{:?}", video.stats);
    for slot in [audio, video] {
        let stats = &slot.stats;
        let faults = (stats.missing_packets, stats.timestamp_faults, stats.hash_mismatches, stats.foreign_packets);
        assert_eq!(faults, (0, 0, 0, 0), "{slot:?}");
        assert_eq!(stats.frames_by_publisher.keys().collect::<Vec<_>>(), [&42]);
        assert!((9_900..12_000).contains(&stats.delays.per_mille(0).as_micros()), "{stats:?}");
        assert!(slot.sender_reports.len() >= 4, "{:?}", slot.sender_reports);
    }
    assert_eq!(audio.stats.voice_packets, audio.stats.packets);
    assert_eq!(report.slots.iter().filter(|slot| slot.stats.packets > 0).count(), 2);
    let camera = report.published[&SourceName::Camera];
    assert_eq!(video.stats.switches_without_keyframe, 0);
    assert!(camera.rtp_bytes > camera.payload_bytes + 12 * camera.packets, "{camera:?}");
    assert!(camera.rtp_bytes < camera.payload_bytes + 48 * camera.packets, "{camera:?}");
    assert!(report.times.first_video.unwrap() < SECOND, "{:?}", report.times);
    serde_json::to_string(&report).unwrap();
}

#[test]
fn losses_are_repaired_on_request() {
    let mut world = World::new(|_| ());
    world.run(SECOND);
    world.lose_every = 29;
    world.run(5 * SECOND);
    world.lose_every = 0;
    world.run(SECOND);
    let report = world.report();
    let video = &report.slots_of(SlotKind::Video).next().unwrap().stats;
    assert!(video.late_packets > 5, "{video:?}");
    assert_eq!((video.missing_packets, video.hash_mismatches), (0, 0), "{video:?}");
    assert!(video.frames >= 200, "{video:?}");
    assert_eq!(video.frames, video.usable_frames, "{video:?}");
    assert!(report.published[&SourceName::Camera].repeated_packets > 2, "{:?}", report.published);
}

#[test]
fn a_keyframe_comes_when_asked_for() {
    let mut world = World::new(|_| ());
    world.run(2 * SECOND);
    world.node.ask_for_keyframe();
    world.run(SECOND);
    let report = world.report();
    assert_eq!(report.published[&SourceName::Camera].keyframe_requests, 1);
    assert_eq!(report.slots_of(SlotKind::Video).next().unwrap().stats.keyframes, 2);
}

#[test]
fn a_larger_pool_is_one_more_offer_and_old_slots_flow_on() {
    let mut world = World::new(|_| ());
    world.run(2 * SECOND);
    world.say(Push::Pool(Pool { size: PoolSize { audio: 3, video: 9 } }));
    world.say(Push::Pool(Pool { size: PoolSize { audio: 3, video: 9 } }));
    world.run(2 * SECOND);
    let report = world.report();
    assert_eq!(report.offers, 2);
    assert_eq!(report.slots_of(SlotKind::Video).count(), 9);
    let video = &report.slots_of(SlotKind::Video).next().unwrap().stats;
    assert!(video.usable_frames >= 105 && video.longest_gap < Duration::from_millis(80), "{video:?}");
}

#[test]
fn a_muted_source_is_silent_and_resumes_with_a_keyframe() {
    let mut world = World::new(|_| ());
    world.run(2 * SECOND);
    world.command(Command::SetMuted { source: SourceName::Camera, muted: true });
    world.run(SECOND / 10);
    let before = world.report().published[&SourceName::Camera].packets;
    world.run(SECOND);
    let report = world.report();
    assert_eq!(report.published[&SourceName::Camera].packets, before);
    assert!(report.published[&SourceName::Microphone].frames > 130);
    world.command(Command::SetMuted { source: SourceName::Camera, muted: false });
    world.command(Command::Measure);
    world.run(SECOND);
    let video = &world.report().slots_of(SlotKind::Video).next().unwrap().stats.clone();
    assert_eq!((video.keyframes, video.timestamp_faults), (2, 0));
    assert!(video.longest_gap < Duration::from_millis(100), "{video:?}");
    let said = world.requests.iter().filter(|request| matches!(request, Request::Publish { .. })).count();
    assert_eq!(said, 3, "at the start, muted, unmuted");
}

#[test]
fn roster_announcements_and_speakers_are_kept() {
    let mut world = World::new(|_| ());
    let set = |id| RosterChange::Set { member: member(id) };
    world.say(Push::Roster { revision: 2, reset: false, changes: vec![set("participant_2"), set("participant_3")] });
    let left = RosterChange::Left { id: "participant_2".to_owned() };
    world.say(Push::Roster { revision: 3, reset: false, changes: vec![left] });
    let speakers = vec!["participant_3".to_owned()];
    world.say(Push::Speakers { speakers: speakers.clone() });
    let mid = world.report().slots[3].mid.clone();
    let (participant, source) = (Some("participant_3".to_owned()), Some(SourceName::Camera));
    let slot = SlotAnnouncement { mid: mid.clone(), generation: 1, participant, source, rtp_timestamp: Some(7) };
    world.say(Push::Slots { slots: vec![slot.clone()] });
    let report = world.report();
    assert_eq!(report.roster.keys().collect::<Vec<_>>(), ["participant_1", "participant_3"]);
    assert_eq!((report.speakers.clone(), report.roster_pushes), (speakers, 2));
    assert_eq!(report.slot(&mid).unwrap().shows(), Some(&slot));
}

#[test]
fn leaving_says_goodbye_to_both_ends() {
    let mut world = World::new(|_| ());
    world.run(SECOND);
    world.command(Command::Leave);
    assert_eq!(world.peer.ended(), Some(&Ended::Left));
    let packets = world.report().published[&SourceName::Camera].packets;
    world.run(SECOND);
    assert!(world.node.lost, "the node sees the media connection close");
    assert_eq!(world.report().published[&SourceName::Camera].packets, packets);
}

#[test]
fn refusals_and_closes_end_it_with_their_reason() {
    let mut world = World::new(|_| ());
    let close = Close { code: "meeting_ended".to_owned(), message: "over".to_owned(), rejoin: false };
    world.say(Push::Closed(close.clone()));
    assert_eq!(world.peer.ended(), Some(&Ended::Closed(close)));

    let now = world.now;
    let options = PeerOptions { local: "127.0.0.1:9".parse().unwrap(), ..world.peer.options };
    let mut peer = Peer::new(now, options).unwrap();
    while peer.poll_output().is_some() {}
    let code = ErrorCode::TokenExpired;
    let error = ProtocolError { code, message: "token: expired".to_owned(), errors: vec![], retry_after_ms: None };
    let reply = ReplyFrame { v: VERSION, re: 1, reply: Reply::Error(error.clone()) };
    peer.handle_input(now, Input::Frame(ServerFrame::Reply(reply)));
    assert_eq!(peer.ended(), Some(&Ended::Rejected(error.clone())));
    assert_eq!(peer.report(now).errors, [error]);
}

#[test]
fn signalling_is_kept_alive() {
    let mut world = World::new(|options| options.publish.clear());
    world.run(25 * SECOND);
    let pings = world.requests.iter().filter(|request| **request == Request::Ping).count();
    assert_eq!(pings, 2);
    assert!(world.report().connected);
}
