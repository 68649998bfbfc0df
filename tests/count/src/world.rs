//! Nodes of one worker each, participants, a network that only delays, one room, and time.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use plenary_cluster::model::{ParticipantId, PublishedTrack, RoomId, SessionId};
use plenary_media::io::{Command, MemberView, RoomView};
use uuid::Uuid;

use crate::client::{Client, Publishes};
use crate::clock::start;
use crate::counted;
use crate::server::{Inbound, Outbound, Server};

/// Of every way, between nodes and to participants.
const DELAY: Duration = Duration::from_millis(10);

/// Whom something on the network is for.
#[derive(Debug)]
enum Parcel {
    ToServer(usize, Inbound),
    ToClient(usize, SocketAddr, Vec<u8>),
}

/// Everything that a scenario plays with.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) clients: Vec<Client>,
    /// Whether the servers' work is counted.
    pub(crate) measured: bool,
    servers: Vec<Server>,
    network: BTreeMap<(Instant, u64), Parcel>,
    sent: u64,
    room: RoomId,
}

impl World {
    /// So many nodes without participants.
    pub(crate) fn new(nodes: u8) -> Self {
        let now = start();
        Self {
            now,
            clients: Vec::new(),
            measured: false,
            servers: (1..=nodes).map(|number| Server::new(now, number)).collect(),
            network: BTreeMap::new(),
            sent: 0,
            room: RoomId::from_uuid(Uuid::from_u128(1)),
        }
    }

    /// Someone opens a session on a server and offers.
    pub(crate) fn enter(&mut self, server: usize, publishes: Publishes) -> anyhow::Result<()> {
        let number = u8::try_from(self.clients.len() + 1).context("a scenario has few participants")?;
        let session = SessionId::from_uuid(Uuid::from_u128(0x100 + u128::from(number)));
        let participant = ParticipantId::from_uuid(Uuid::from_u128(0x200 + u128::from(number)));
        let address = SocketAddr::from((Ipv4Addr::new(192, 168, 0, number), 6_000));
        let mut client = Client::new(self.now, server, address, (session, participant), publishes)?;
        let offer = client.offer()?;
        self.clients.push(client);
        self.command(server, Command::OpenSession { session, participant, room: self.room })?;
        let (sdp, tracks, slots) = (offer.sdp, offer.tracks, offer.slots);
        self.command(server, Command::Offer { session, request: 1, sdp, tracks, slots })
    }

    /// Gives every server the room as the directory would.
    pub(crate) fn announce(&mut self) -> anyhow::Result<()> {
        let members = self.clients.iter().map(|client| MemberView {
            participant: client.participant,
            session: client.session,
            node: self.servers[client.server].node,
            worker: 0,
            tracks: client
                .publishes
                .sources()
                .iter()
                .map(|source| PublishedTrack { source: *source, muted: false })
                .collect(),
        });
        let view = RoomView { room: self.room, members: members.collect() };
        for server in 0..self.servers.len() {
            self.command(server, Command::Room(view.clone()))?;
        }
        Ok(())
    }

    fn command(&mut self, at: usize, command: Command) -> anyhow::Result<()> {
        let out = self.servers[at].command(self.now, command)?;
        self.carry(at, out)
    }

    /// Plays until something is so.
    pub(crate) fn run_until(&mut self, deadline: Duration, mut done: impl FnMut(&Self) -> bool) -> anyhow::Result<()> {
        let end = self.now + deadline;
        while !done(self) {
            ensure!(self.now < end, "it did not come about within {deadline:?} of the scenario");
            self.step()?;
        }
        Ok(())
    }

    /// Goes on to the next thing that happens.
    fn step(&mut self) -> anyhow::Result<()> {
        let timers = self.servers.iter().filter_map(|server| server.due);
        let parcels = self.network.first_key_value().map(|((at, _), _)| *at);
        let next = timers.chain(self.clients.iter().map(Client::next_at)).chain(parcels).min();
        self.now = self.now.max(next.context("something always happens")?);
        let mut arrived: Vec<Vec<Inbound>> = self.servers.iter().map(|_| Vec::new()).collect();
        while let Some(parcel) = self.network.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match parcel.remove() {
                Parcel::ToServer(at, inbound) => arrived[at].push(inbound),
                Parcel::ToClient(at, source, contents) => {
                    self.clients[at].handle_datagram(self.now, source, &contents)?;
                    self.run_client(at)?;
                }
            }
        }
        for (at, arrived) in arrived.into_iter().enumerate() {
            self.turn(at, arrived)?;
        }
        for at in 0..self.clients.len() {
            if self.clients[at].next_at() <= self.now {
                self.run_client(at)?;
            }
        }
        Ok(())
    }

    fn turn(&mut self, at: usize, arrived: Vec<Inbound>) -> anyhow::Result<()> {
        let (now, server) = (self.now, &mut self.servers[at]);
        if arrived.is_empty() && server.due.is_none_or(|due| due > now) {
            return Ok(());
        }
        let out = counted::when(self.measured, || server.turn(now, arrived))?;
        self.carry(at, out)
    }

    /// Carries out what a server wants.
    fn carry(&mut self, from: usize, out: Vec<Outbound>) -> anyhow::Result<()> {
        let (node, source) = (self.servers[from].node, self.servers[from].address);
        for outbound in out {
            match outbound {
                Outbound::Datagram { destination, contents } => {
                    let client = self.clients.iter().position(|client| client.address == destination);
                    let client = client.context("nobody else is spoken to")?;
                    self.send(Parcel::ToClient(client, source, contents));
                }
                Outbound::Link { to, bytes } => {
                    let server = self.servers.iter().position(|server| server.node == to);
                    let server = server.context("there is no other node")?;
                    self.send(Parcel::ToServer(server, Inbound::Link { from: node, bytes }));
                }
                Outbound::Session { session, event } => {
                    let client = self.clients.iter().position(|client| client.session == session);
                    let client = client.context("there is no other session")?;
                    self.clients[client].handle_event(&event)?;
                    self.run_client(client)?;
                }
            }
        }
        Ok(())
    }

    fn run_client(&mut self, at: usize) -> anyhow::Result<()> {
        let server = self.clients[at].server;
        for transmit in self.clients[at].run(self.now)? {
            let (source, contents) = (transmit.source, transmit.contents.into());
            self.send(Parcel::ToServer(server, Inbound::Datagram { source, contents }));
        }
        Ok(())
    }

    fn send(&mut self, parcel: Parcel) {
        self.sent += 1;
        self.network.insert((self.now + DELAY, self.sent), parcel);
    }
}
