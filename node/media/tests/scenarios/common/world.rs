//! Nodes with their workers, clients, the network between them, one room, and time.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use plenary_cluster::model::{MediaKind, NodeId, ParticipantId, PublishedTrack, RoomId, SessionId, Source};
use plenary_media::io::{Command, Input, Interest, MemberView, Output, Peer, RoomView, SessionEvent, Settings};
use plenary_media::relay::{Carriage, Frame, wire};
use plenary_media::{Sfu, SfuError, generate_certificate};
use uuid::Uuid;

use super::client::{Client, Tag};
use super::network::{Network, Quality};
use super::secs;

/// How long an upstream track is kept in these scenarios.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Worker {
    node: NodeId,
    worker: u16,
    workers: u16,
    address: SocketAddr,
    sfu: Sfu,
}

#[derive(Debug)]
enum Parcel {
    ToWorker { worker: usize, source: SocketAddr, contents: Vec<u8> },
    ToClient { client: usize, source: SocketAddr, contents: Vec<u8> },
    Handover { worker: usize, from: Peer, frame: Frame },
    Link { node: NodeId, from: NodeId, bytes: Vec<u8> },
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) clients: Vec<Client>,
    pub(crate) links: Quality,
    pub(crate) access: Quality,
    /// Audio and video slots that whoever joins offers.
    pub(crate) slots: (usize, usize),
    /// Bytes of media frames that were sent between nodes, lost ones included.
    pub(crate) link_media_bytes: usize,
    pub(crate) link_media_frames: usize,
    workers: Vec<Worker>,
    network: Network<Parcel>,
    room: RoomId,
    muted: Vec<(Tag, Source)>,
    unpublished: Vec<Tag>,
    gone: Vec<Tag>,
}

impl World {
    /// Nodes with so many workers each.
    #[expect(clippy::disallowed_methods, reason = "an Instant can't be made otherwise; the scenario counts from here")]
    pub(crate) fn new(seed: u64, nodes: &[u16]) -> Self {
        let now = Instant::now() + secs(3_600);
        let mut workers = Vec::new();
        let certificate = generate_certificate();
        for (number, count) in (1_u8..).zip(nodes) {
            for worker in 0..*count {
                let address = SocketAddr::from((Ipv4Addr::new(10, 0, number, 1), 4_000 + worker));
                let node = NodeId::new(u64::from(number));
                let settings = Settings {
                    node,
                    worker,
                    workers: *count,
                    addresses: vec![address],
                    loudest: 3,
                    linger: LINGER,
                    seed: seed + u64::from(worker),
                };
                let sfu = Sfu::new(now, settings, certificate.clone());
                workers.push(Worker { node, worker, workers: *count, address, sfu });
            }
        }
        Self {
            now,
            clients: Vec::new(),
            links: Quality { delay: Duration::from_millis(20), ..Quality::GOOD },
            access: Quality::GOOD,
            slots: (3, 4),
            link_media_bytes: 0,
            link_media_frames: 0,
            workers,
            network: Network::seeded(seed),
            room: RoomId::from_uuid(Uuid::from_u128(u128::from(seed) * 7 + 1)),
            muted: Vec::new(),
            unpublished: Vec::new(),
            gone: Vec::new(),
        }
    }

    pub(crate) fn sfu(&self, worker: usize) -> &Sfu {
        &self.workers[worker].sfu
    }

    pub(crate) fn client(&mut self, tag: Tag) -> &mut Client {
        self.clients.iter_mut().find(|client| client.tag == tag).unwrap()
    }

    /// Someone joins on a worker (counted over all nodes), publishes, and is connected when this returns.
    pub(crate) fn join(&mut self, tag: Tag, worker: usize) {
        self.enter(tag, worker);
        self.run_until(secs(5), |world| world.client(tag).connected);
        let now = self.now;
        self.client(tag).publish(now, -40);
        self.unpublished.retain(|other| *other != tag);
        self.announce();
    }

    /// Someone opens a session and offers.
    pub(crate) fn enter(&mut self, tag: Tag, worker: usize) {
        let number = u128::from(tag);
        let ids = (
            SessionId::from_uuid(Uuid::from_u128(0x100 + number)),
            ParticipantId::from_uuid(Uuid::from_u128(0x200 + number)),
        );
        let address = SocketAddr::from((Ipv4Addr::new(192, 168, 0, tag), 6_000));
        let mut client = Client::new(self.now, tag, worker, address, ids);
        let sdp = client.offer(self.slots.0, self.slots.1);
        let (tracks, slots) = (client.tracks(), client.slot_names());
        self.clients.push(client);
        self.unpublished.push(tag);
        self.command(worker, Command::OpenSession { session: ids.0, participant: ids.1, room: self.room });
        self.command(worker, Command::Offer { session: ids.0, request: 1, sdp, tracks, slots });
        self.announce();
    }

    pub(crate) fn leave(&mut self, tag: Tag) {
        let at = self.clients.iter().position(|client| client.tag == tag).unwrap();
        let (worker, session) = (self.clients[at].worker, self.clients[at].session);
        self.gone.push(tag);
        self.command(worker, Command::CloseSession { session });
        self.announce();
    }

    pub(crate) fn interest(&mut self, tag: Tag, interest: Interest) {
        let (worker, session) = (self.client(tag).worker, self.client(tag).session);
        self.command(worker, Command::Interest { session, interest });
    }

    pub(crate) fn mute(&mut self, tag: Tag, source: Source) {
        self.muted.push((tag, source));
        self.announce();
    }

    pub(crate) fn unmute(&mut self, tag: Tag, source: Source) {
        self.muted.retain(|muted| *muted != (tag, source));
        self.announce();
    }

    pub(crate) fn command(&mut self, worker: usize, command: Command) {
        self.workers[worker].sfu.handle_input(self.now, Input::Command(command)).unwrap();
        self.drain(worker);
    }

    pub(crate) fn try_command(&mut self, worker: usize, command: Command) -> Result<(), SfuError> {
        self.workers[worker].sfu.handle_input(self.now, Input::Command(command))
    }

    /// A client offers so many more video slots.
    pub(crate) fn offer_more_slots(&mut self, tag: Tag, video: usize) {
        let client = self.client(tag);
        let sdp = client.offer(0, video);
        let (worker, session) = (client.worker, client.session);
        let (tracks, slots) = (client.tracks(), client.slot_names());
        self.command(worker, Command::Offer { session, request: 2, sdp, tracks, slots });
    }

    pub(crate) fn datagram(&mut self, worker: usize, source: SocketAddr, contents: &[u8]) -> usize {
        let destination = self.workers[worker].address;
        self.workers[worker].sfu.handle_input(self.now, Input::Datagram { source, destination, contents }).unwrap();
        self.drain(worker)
    }

    /// Tells every worker of a node pair that the other is down or up again.
    pub(crate) fn cut(&mut self, up: bool) {
        for at in 0..self.workers.len() {
            let other = NodeId::new(3 - self.workers[at].node.number());
            let input = if up { Input::PeerUp(Peer::Node(other)) } else { Input::PeerDown(Peer::Node(other)) };
            self.workers[at].sfu.handle_input(self.now, input).unwrap();
            self.drain(at);
        }
    }

    /// Gives every worker the room as the directory would.
    fn announce(&mut self) {
        let members = self.clients.iter().filter(|client| !self.gone.contains(&client.tag)).map(|client| {
            let published = |source| PublishedTrack { source, muted: self.muted.contains(&(client.tag, source)) };
            let silent = self.unpublished.contains(&client.tag);
            let sources = if silent { vec![] } else { vec![Source::Microphone, Source::Camera] };
            MemberView {
                participant: client.participant,
                session: client.session,
                node: self.workers[client.worker].node,
                worker: self.workers[client.worker].worker,
                tracks: sources.into_iter().map(published).collect(),
            }
        });
        let view = RoomView { room: self.room, members: members.collect() };
        for worker in 0..self.workers.len() {
            self.command(worker, Command::Room(view.clone()));
        }
    }

    /// Plays for a while.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Plays until something is so.
    pub(crate) fn run_until(&mut self, deadline: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        let end = self.now + deadline;
        while !done(self) {
            assert!(self.step(end), "it did not come about within {deadline:?}");
        }
    }

    /// Goes on to the next thing that happens before `end`.
    fn step(&mut self, end: Instant) -> bool {
        let timers = self.workers.iter().filter_map(|worker| worker.sfu.poll_timeout()).map(|(at, _)| at);
        let clients = self.clients.iter().map(Client::next_at);
        let Some(next) = timers.chain(clients).chain(self.network.next_at()).min() else { return false };
        if next >= end {
            return false;
        }
        self.now = self.now.max(next);
        while let Some(parcel) = self.network.pop_due(self.now) {
            self.deliver(parcel);
        }
        for at in 0..self.workers.len() {
            if self.workers[at].sfu.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
                self.workers[at].sfu.handle_input(self.now, Input::Timeout).unwrap();
                self.drain(at);
            }
        }
        for at in 0..self.clients.len() {
            if self.clients[at].next_at() <= self.now {
                self.run_client(at);
            }
        }
        true
    }

    fn deliver(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::ToWorker { worker, source, contents } => {
                self.datagram(worker, source, &contents);
            }
            Parcel::ToClient { client, source, contents } => {
                self.clients[client].handle_datagram(self.now, source, &contents);
                self.run_client(client);
            }
            Parcel::Handover { worker, from, frame } => {
                self.workers[worker].sfu.handle_input(self.now, Input::Relay { from, frame }).unwrap();
                self.drain(worker);
            }
            Parcel::Link { node, from, bytes } => {
                let workers = self.workers.iter().find(|worker| worker.node == node).unwrap().workers;
                let target = wire::route(&bytes, workers).unwrap();
                let at = self.position(node, target);
                let frame = wire::decode(&bytes, self.now).unwrap();
                let input = Input::Relay { from: Peer::Node(from), frame };
                self.workers[at].sfu.handle_input(self.now, input).unwrap();
                self.drain(at);
            }
        }
    }

    fn run_client(&mut self, at: usize) {
        let quality = self.access;
        for transmit in self.clients[at].run(self.now) {
            let worker = self.workers.iter().position(|worker| worker.address == transmit.destination);
            let Some(worker) = worker else { continue };
            let contents = transmit.contents.into();
            self.network.send(self.now, quality, Parcel::ToWorker { worker, source: transmit.source, contents });
        }
    }

    fn position(&self, node: NodeId, number: u16) -> usize {
        self.workers.iter().position(|worker| worker.node == node && worker.worker == number).unwrap()
    }

    /// Carries out what a worker wants; returns how many datagrams it sent.
    fn drain(&mut self, at: usize) -> usize {
        let mut datagrams = 0;
        while let Some(output) = self.workers[at].sfu.poll_output() {
            match output {
                Output::Transmit { source, destination, contents } => {
                    datagrams += 1;
                    let client = self.clients.iter().position(|client| client.address == destination);
                    let Some(client) = client.filter(|client| !self.gone.contains(&self.clients[*client].tag)) else {
                        continue;
                    };
                    self.network.send(self.now, self.access, Parcel::ToClient { client, source, contents });
                }
                Output::Session { session, event } => self.tell(session, event),
                Output::Relay { to, frame } => self.relay(at, to, frame),
            }
        }
        datagrams
    }

    fn tell(&mut self, session: SessionId, event: SessionEvent) {
        let now = self.now;
        if let Some(at) = self.clients.iter().position(|client| client.session == session) {
            self.clients[at].handle_event(now, event);
            self.run_client(at);
        }
    }

    fn relay(&mut self, at: usize, to: Peer, frame: Frame) {
        let (node, number) = (self.workers[at].node, self.workers[at].worker);
        match to {
            Peer::Worker(worker) => {
                let worker = self.position(node, worker);
                let quality = Quality { delay: Duration::from_micros(50), jitter: Duration::ZERO, loss: 0 };
                let parcel = Parcel::Handover { worker, from: Peer::Worker(number), frame };
                self.network.send_surely(self.now, quality, parcel);
            }
            Peer::Node(other) => {
                let mut bytes = Vec::new();
                wire::encode(&frame, &mut bytes);
                if matches!(frame, Frame::Media { .. }) {
                    self.link_media_bytes += bytes.len();
                    self.link_media_frames += 1;
                }
                let parcel = Parcel::Link { node: other, from: node, bytes };
                match frame.carriage() {
                    Carriage::Datagram => self.network.send(self.now, self.links, parcel),
                    Carriage::Reliable => {
                        let in_order = Quality { jitter: Duration::ZERO, ..self.links };
                        self.network.send_surely(self.now, in_order, parcel);
                    }
                }
            }
        }
    }

    pub(crate) const fn room(&self) -> RoomId {
        self.room
    }

    /// The slot of a client that shows somebody's track, as announced.
    pub(crate) fn slot_showing(&mut self, viewer: Tag, shown: Tag, kind: MediaKind) -> Option<str0m::media::Mid> {
        let participant = self.client(shown).participant;
        let slots = self.client(viewer).slots.clone();
        let viewer = self.client(viewer);
        slots.into_iter().find(|mid| {
            let source = viewer.shown_in(*mid);
            source.is_some_and(|source| source.participant == participant && source.track.source.kind() == kind)
        })
    }
}
