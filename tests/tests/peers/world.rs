//! Participants, nodes and the network between them, moved by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use plenary_cluster::model::{NodeId, ParticipantId, PublishedTrack, RoomId, SessionId, Source};
use plenary_media::io::{self, Command, MemberView, Output as SfuOutput, RoomView, SessionEvent, Settings};
use plenary_media::{Sfu, generate_certificate};
use plenary_participant::{Epoch, Input, Output, Peer, PeerOptions, Report, Speech, Video};
use plenary_protocol::{
    Interest, Joined, MeetingInfo, Pool, PoolSize, Push, PushFrame, Reply, ReplyFrame, Request, RequestFrame,
    ServerFrame, SlotAnnouncement, SourceName, VERSION, VideoInterest, WantedTrack,
};

/// One way through the network, between participants and nodes as between nodes.
const DELAY: Duration = Duration::from_millis(4);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Time moves at least so much per step.
const STEP: Duration = Duration::from_micros(200);

/// On its way.
enum Cargo {
    ToNode { node: usize, source: SocketAddr, contents: Vec<u8> },
    ToPeer { peer: usize, source: SocketAddr, contents: Vec<u8> },
    Relay { from: usize, to: usize, frame: plenary_media::relay::Frame },
}

pub(crate) struct World {
    now: Instant,
    nodes: Vec<Sfu>,
    peers: Vec<Peer>,
    /// Which node serves each peer.
    homes: Vec<usize>,
    interest: Interest,
    video: Video,
    wire: BTreeMap<(Instant, u64), Cargo>,
    sent: u64,
}

fn node_address(node: usize) -> SocketAddr {
    format!("192.0.2.{}:6000", node + 1).parse().unwrap()
}

fn peer_address(peer: usize) -> SocketAddr {
    format!("198.51.100.{}:5000", peer + 1).parse().unwrap()
}

fn node_id(node: usize) -> NodeId {
    NodeId::new(node as u64 + 1)
}

fn session(peer: usize) -> SessionId {
    format!("session_{peer:032x}").parse().unwrap()
}

pub(crate) fn participant(peer: usize) -> ParticipantId {
    format!("participant_{peer:032x}").parse().unwrap()
}

fn room() -> RoomId {
    format!("room_{:032x}", 1).parse().unwrap()
}

pub(crate) fn seed_of(id: &str) -> Option<u64> {
    u64::from_str_radix(id.strip_prefix("participant_")?, 16).ok()
}

fn source_of(name: SourceName) -> Source {
    match name {
        SourceName::Microphone => Source::Microphone,
        SourceName::Camera => Source::Camera,
        SourceName::Screen => Source::Screen,
        SourceName::ScreenAudio => Source::ScreenAudio,
    }
}

fn name_of(source: Source) -> SourceName {
    match source {
        Source::Microphone => SourceName::Microphone,
        Source::Camera => SourceName::Camera,
        Source::Screen => SourceName::Screen,
        Source::ScreenAudio => SourceName::ScreenAudio,
    }
}

fn interest_of(interest: &Interest) -> io::Interest {
    let wanted = |track: &WantedTrack| io::WantedTrack {
        participant: track.participant.parse().unwrap(),
        source: source_of(track.source),
        width: track.width,
        height: track.height,
    };
    let video = match &interest.video {
        VideoInterest::Speakers { max } => io::VideoInterest::Speakers { max: *max },
        VideoInterest::Tracks { tracks } => io::VideoInterest::Tracks(tracks.iter().map(wanted).collect()),
    };
    io::Interest { video, audio: interest.audio }
}

impl World {
    /// Nodes, and a peer per entry of `homes` on that node, who wants to see `interest` in as many slots.
    pub(crate) fn new(nodes: usize, homes: &[usize], interest: Interest) -> Self {
        Self::filming(Video::default(), nodes, homes, interest)
    }

    /// The same, with cameras that make `video`.
    pub(crate) fn filming(video: Video, nodes: usize, homes: &[usize], interest: Interest) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an Instant can't be made otherwise; the test counts from here")]
        let now = Instant::now();
        let settings = |node: usize| Settings {
            node: node_id(node),
            worker: 0,
            workers: 1,
            addresses: vec![node_address(node)],
            loudest: 3,
            linger: SECOND,
            seed: node as u64,
        };
        let nodes: Vec<Sfu> = (0..nodes).map(|node| Sfu::new(now, settings(node), generate_certificate())).collect();
        let (peers, wire) = (Vec::new(), BTreeMap::new());
        let mut world = Self { now, nodes, peers, homes: homes.to_vec(), interest, video, wire, sent: 0 };
        world.link_nodes();
        for (peer, home) in homes.iter().enumerate() {
            let (session, participant) = (session(peer), participant(peer));
            world.command(*home, Command::OpenSession { session, participant, room: room() });
        }
        world.show_room();
        world.peers = (0..homes.len()).map(|peer| Peer::new(now, world.options(peer)).unwrap()).collect();
        world.settle();
        world
    }

    fn options(&self, peer: usize) -> PeerOptions {
        PeerOptions {
            publisher: peer as u64,
            epoch: Epoch { instant: self.now, unix: Duration::from_secs(1_700_000_000) },
            local: peer_address(peer),
            meeting: "meeting_1".to_owned(),
            token: "token".to_owned(),
            sources: vec![SourceName::Microphone, SourceName::Camera],
            publish: vec![SourceName::Microphone, SourceName::Camera],
            video: self.video,
            speech: Speech::Talking,
            pool: self.pool(),
            interest: Some(self.interest.clone()),
        }
    }

    fn pool(&self) -> PoolSize {
        let video = match &self.interest.video {
            VideoInterest::Speakers { .. } => 4,
            VideoInterest::Tracks { tracks } => u16::try_from(tracks.len()).unwrap(),
        };
        PoolSize { audio: 3, video }
    }

    fn link_nodes(&mut self) {
        for one in 0..self.nodes.len() {
            for other in (0..self.nodes.len()).filter(|other| *other != one) {
                let up = io::Input::PeerUp(io::Peer::Node(node_id(other)));
                self.nodes[one].handle_input(self.now, up).unwrap();
            }
        }
    }

    fn show_room(&mut self) {
        let track = |source| PublishedTrack { source, muted: false };
        let members = self.homes.iter().enumerate().map(|(peer, home)| MemberView {
            participant: participant(peer),
            session: session(peer),
            node: node_id(*home),
            worker: 0,
            tracks: vec![track(Source::Microphone), track(Source::Camera)],
        });
        let view = RoomView { room: room(), members: members.collect() };
        for node in 0..self.nodes.len() {
            self.command(node, Command::Room(view.clone()));
        }
    }

    fn command(&mut self, node: usize, command: Command) {
        self.nodes[node].handle_input(self.now, io::Input::Command(command)).unwrap();
    }

    fn say(&mut self, peer: usize, frame: ServerFrame) {
        self.peers[peer].handle_input(self.now, Input::Frame(frame));
    }

    pub(crate) fn order(&mut self, peer: usize, command: plenary_participant::Command) {
        self.peers[peer].handle_input(self.now, Input::Command(command));
        self.settle();
    }

    fn post(&mut self, cargo: Cargo) {
        self.sent += 1;
        self.wire.insert((self.now + DELAY, self.sent), cargo);
    }

    /// Carries out what everyone wants done at this instant.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            for peer in 0..self.peers.len() {
                while let Some(output) = self.peers[peer].poll_output() {
                    idle = false;
                    self.carry_out_peer(peer, output);
                }
            }
            for node in 0..self.nodes.len() {
                while let Some(output) = self.nodes[node].poll_output() {
                    idle = false;
                    self.carry_out_node(node, output);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn carry_out_peer(&mut self, peer: usize, output: Output) {
        match output {
            Output::Transmit { destination, contents } => {
                let node = (0..self.nodes.len()).find(|node| node_address(*node) == destination).unwrap();
                self.post(Cargo::ToNode { node, source: peer_address(peer), contents });
            }
            Output::Request(frame) => self.answer(peer, frame),
        }
    }

    fn answer(&mut self, peer: usize, RequestFrame { id, request, .. }: RequestFrame) {
        let (home, session) = (self.homes[peer], session(peer));
        let reply = match request {
            Request::Join { .. } => Reply::Joined(Box::new(Joined {
                participant: participant(peer).to_string(),
                session: session.to_string(),
                node: node_id(home).number(),
                meeting: MeetingInfo { id: "meeting_1".to_owned(), name: "Test".to_owned() },
                roster: Vec::new(),
                revision: 1,
                ice_servers: Vec::new(),
                pool: self.pool(),
            })),
            Request::Offer { sdp, tracks, slots } => {
                let tracks = tracks.into_iter().map(|track| (track.mid, source_of(track.source))).collect();
                return self.command(home, Command::Offer { session, request: id, sdp, tracks, slots });
            }
            Request::Interest(interest) => {
                self.command(home, Command::Interest { session, interest: interest_of(&interest) });
                Reply::Ok
            }
            Request::Keyframe { mid } => {
                self.command(home, Command::Keyframe { session, mid });
                Reply::Ok
            }
            Request::Candidate { .. } | Request::Publish { .. } | Request::Leave | Request::Ping => Reply::Ok,
        };
        self.say(peer, ServerFrame::Reply(ReplyFrame { v: VERSION, re: id, reply }));
    }

    fn carry_out_node(&mut self, node: usize, output: SfuOutput) {
        match output {
            SfuOutput::Transmit { source, destination, contents } => {
                let peer = (0..self.peers.len()).find(|peer| peer_address(*peer) == destination).unwrap();
                self.post(Cargo::ToPeer { peer, source, contents });
            }
            SfuOutput::Relay { to: io::Peer::Node(to), frame } => {
                let to = (0..self.nodes.len()).find(|node| node_id(*node) == to).unwrap();
                self.post(Cargo::Relay { from: node, to, frame });
            }
            SfuOutput::Relay { to: io::Peer::Worker(worker), .. } => panic!("there is no worker {worker}"),
            SfuOutput::Session { session: whose, event } => {
                let peer = (0..self.peers.len()).find(|peer| session(*peer) == whose).unwrap();
                self.tell(peer, event);
            }
        }
    }

    fn tell(&mut self, peer: usize, event: SessionEvent) {
        let push = match event {
            SessionEvent::Answer { request, result } => {
                let reply = ReplyFrame { v: VERSION, re: request, reply: Reply::Answer { sdp: result.unwrap() } };
                return self.say(peer, ServerFrame::Reply(reply));
            }
            SessionEvent::Connected => Push::MediaConnected,
            SessionEvent::Slots(changes) => {
                let announce = |change: &io::SlotChange| SlotAnnouncement {
                    mid: change.mid.clone(),
                    generation: change.generation,
                    participant: change.shows.map(|shows| shows.participant.to_string()),
                    source: change.shows.map(|shows| name_of(shows.track.source)),
                    rtp_timestamp: change.shows.map(|shows| shows.rtp_timestamp),
                };
                Push::Slots { slots: changes.iter().map(announce).collect() }
            }
            SessionEvent::Switching(mids) => Push::Switching { mids },
            SessionEvent::Pool { audio, video } => Push::Pool(Pool { size: PoolSize { audio, video } }),
            SessionEvent::Speakers(speakers) => {
                Push::Speakers { speakers: speakers.iter().map(ToString::to_string).collect() }
            }
            SessionEvent::Closed(reason) => panic!("peer {peer} was closed: {reason:?}"),
        };
        self.say(peer, ServerFrame::Push(PushFrame { v: VERSION, seq: 1, push }));
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let peers = self.peers.iter().filter_map(Peer::poll_timeout);
            let nodes = self.nodes.iter().filter_map(|node| node.poll_timeout().map(|(at, _)| at));
            let wire = self.wire.keys().next().map(|(at, _)| *at);
            let next = peers.chain(nodes).chain(wire).min().unwrap_or(end);
            if next >= end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now + STEP);
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Cargo::ToNode { node, source, contents } => {
                    let destination = node_address(node);
                    let input = io::Input::Datagram { source, destination, contents: &contents };
                    self.nodes[node].handle_input(now, input).unwrap();
                }
                Cargo::ToPeer { peer, source, contents } => {
                    self.peers[peer].handle_input(now, Input::Datagram { source, contents: &contents });
                }
                Cargo::Relay { from, to, frame } => {
                    let from = io::Peer::Node(node_id(from));
                    self.nodes[to].handle_input(now, io::Input::Relay { from, frame }).unwrap();
                }
            }
            self.settle();
        }
        for node in &mut self.nodes {
            node.handle_input(now, io::Input::Timeout).unwrap();
        }
        for peer in &mut self.peers {
            peer.handle_input(now, Input::Timeout);
        }
        self.settle();
    }

    pub(crate) fn report(&self, peer: usize) -> Report {
        self.peers[peer].report(self.now)
    }
}
