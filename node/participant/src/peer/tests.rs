//! A peer against a node of a few lines, on a virtual clock: the node sends back what the peer publishes.

use std::collections::BTreeMap;

use plenary_protocol::{
    Close, ErrorCode, Pool, ProtocolError, Push, PushFrame, Reply, ReplyFrame, RosterChange, SlotAnnouncement, VERSION,
};

use super::*;
use crate::echo::{Echo, member};
use crate::report::SlotKind;
use crate::source::{Layers, Trace};
use crate::{Profiles, Published};

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
    /// Bytes of the longest datagram.
    longest: usize,
    /// Every so many datagrams, one is lost; 0 for none.
    lose_every: u64,
    requests: Vec<Request>,
}

impl World {
    fn new(adjust: impl FnOnce(&mut PeerOptions)) -> Self {
        Self::against(Echo::new, adjust)
    }

    fn against(node: impl FnOnce(Instant, SocketAddr) -> Echo, adjust: impl FnOnce(&mut PeerOptions)) -> Self {
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
        let mut world = Self {
            now,
            peer,
            node: node(now, NODE.parse().unwrap()),
            wire,
            sent: 0,
            longest: 0,
            lose_every: 0,
            requests,
        };
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
        self.longest = self.longest.max(contents.len());
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
    world.node.ask_for_keyframe(None);
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

#[test]
fn the_srtp_profile_is_told() {
    let before = Profiles::so_far();
    let mut world = World::new(|_| ());
    world.run(SECOND);
    assert_eq!(Profiles::so_far().names_since(&before), ["AEAD_AES_256_GCM"]);
}

#[test]
fn each_codec_goes_out_and_comes_back_whole() {
    for codec in Codec::ALL {
        let mut world = World::new(|options| options.video.codec = codec);
        world.run(3 * SECOND);
        let report = world.report();
        let stats = &report.slots_of(SlotKind::Video).next().unwrap().stats;
        assert!(stats.usable_frames >= 75, "{codec:?}: {stats:?}");
        assert_eq!((stats.missing_packets, stats.hash_mismatches, stats.foreign_packets), (0, 0, 0), "{codec:?}");
        assert_eq!((stats.dimensions, stats.layer), (Some((640, 360)), Some(0)), "{codec:?}");
    }
}

#[test]
fn each_codec_is_put_together_by_str0m() {
    for codec in Codec::ALL {
        let mut world = World::against(Echo::depacketizing, |options| options.video.codec = codec);
        world.run(2 * SECOND);
        world.node.ask_for_keyframe(None);
        world.run(SECOND);
        let sent = world.report().published[&SourceName::Camera].frames;
        let frames = &world.node.frames;
        assert!(frames.len() as u64 + 3 >= sent && sent > 75, "{codec:?}: {} of {sent}", frames.len());
        assert!(frames.iter().all(|frame| frame.codec == codec && frame.contiguous), "{codec:?}");
        let keyframes: Vec<_> = (0..frames.len()).filter(|at| frames[*at].keyframe).collect();
        assert!(matches!(keyframes[..], [0, asked] if asked > 40), "{codec:?}: {keyframes:?}");
    }
}

#[test]
fn a_node_that_does_not_take_the_codec_gets_sound_alone() {
    let mut world = World::against(Echo::with_vp8_alone, |options| options.video.codec = Codec::Av1);
    world.run(2 * SECOND);
    let published = world.report().published;
    assert_eq!((published[&SourceName::Camera].layers, published[&SourceName::Camera].packets), (0, 0));
    assert!(published[&SourceName::Microphone].packets > 80);
}

fn three_layers(options: &mut PeerOptions) {
    let trace = Trace::LogNormal { seed: 1 };
    let (width, height, bitrate, layers) = (1_280, 720, 1_500_000, Layers::Three);
    options.video = Video { width, height, bitrate, trace, layers, ..Video::default() };
}

fn camera_of(world: &World) -> Published {
    world.report().published[&SourceName::Camera]
}

#[test]
fn a_node_that_takes_simulcast_gets_three_layers() {
    let mut world = World::new(three_layers);
    world.run(3 * SECOND);
    world.say(Push::Pool(Pool { size: PoolSize { audio: 3, video: 9 } }));
    world.run(2 * SECOND);
    let frames = &world.node.pictures;
    assert_eq!(frames.keys().map(Option::as_deref).collect::<Vec<_>>(), [Some("h"), Some("l"), Some("m")]);
    assert!(frames.values().all(|frames| frames.abs_diff(camera_of(&world).frames) <= 2), "{frames:?}");
    assert_eq!((camera_of(&world).layers, world.report().offers), (3, 2));
    let stats = &world.report().slots_of(SlotKind::Video).next().unwrap().stats.clone();
    assert_eq!((stats.dimensions, stats.layer, stats.layer_switches), (Some((1_280, 720)), Some(2), 0));
    assert_eq!((stats.missing_packets, stats.timestamp_faults, stats.foreign_packets), (0, 0, 0));
    let srtp_tag = 16;
    assert!(world.longest <= 1_200 + srtp_tag, "{}", world.longest);
}

#[test]
fn a_keyframe_is_made_of_the_layer_whose_stream_asks() {
    let mut world = World::new(three_layers);
    world.run(SECOND);
    world.node.ask_for_keyframe(Some("m"));
    world.run(SECOND);
    assert_eq!(camera_of(&world).keyframe_requests, 1);
    let keyframes = |world: &World| world.report().slots_of(SlotKind::Video).next().unwrap().stats.keyframes;
    assert_eq!(keyframes(&world), 1, "the highest layer comes back, and was not asked");
    world.node.ask_for_keyframe(Some("h"));
    world.run(SECOND / 2);
    assert_eq!(keyframes(&world), 2);
}

#[test]
fn a_node_that_does_not_take_simulcast_gets_one_layer() {
    let mut world = World::against(Echo::without_simulcast, three_layers);
    world.run(3 * SECOND);
    world.say(Push::Pool(Pool { size: PoolSize { audio: 3, video: 9 } }));
    world.lose_every = 29;
    world.run(2 * SECOND);
    world.lose_every = 0;
    world.run(SECOND);
    world.node.ask_for_keyframe(None);
    world.run(SECOND);
    let camera = camera_of(&world);
    assert_eq!(camera.keyframe_requests, 1);
    assert_eq!(world.node.pictures.keys().collect::<Vec<_>>(), [&None]);
    assert_eq!((camera.layers, world.report().offers), (1, 2));
    assert!(camera.repeated_packets > 0, "{camera:?}");
    let stats = &world.report().slots_of(SlotKind::Video).next().unwrap().stats.clone();
    assert!(stats.usable_frames >= 165, "{stats:?}");
    assert_eq!((stats.dimensions, stats.missing_packets, stats.foreign_packets), (Some((1_280, 720)), 0, 0));
    let kbps = camera.payload_bytes as f64 * 8.0 / 1_000.0 / (camera.frames as f64 / 30.0);
    assert!((1_350.0..1_650.0).contains(&kbps), "{kbps}");
}

#[test]
fn layers_are_offered_by_rid_and_everything_else_by_ssrc() {
    let world = World::new(three_layers);
    let Some(Request::Offer { sdp, .. }) = world.requests.get(1) else { panic!("{:?}", world.requests) };
    let sections: Vec<&str> = sdp.split("\r\nm=").collect();
    let (microphone, camera) = (sections[1], sections[2]);
    assert!(camera.contains("a=simulcast:send l;m;h") && !camera.contains("a=ssrc"), "{camera}");
    assert!(microphone.contains("a=ssrc:") && !microphone.contains("a=rid"), "{microphone}");
}
