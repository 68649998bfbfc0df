//! A node of one worker: an `Sfu`, and as much of a driver as it needs.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::bail;
use plenary_cluster::model::{NodeId, SessionId};
use plenary_media::io::{Command, Input, Output, Peer, SessionEvent, Settings};
use plenary_media::relay::wire;
use plenary_media::{Sfu, generate_certificate};

/// Of everything random in the servers.
const SEED: u64 = 1;
/// How many of the loudest are heard.
const LOUDEST: u16 = 3;
/// How long an upstream track is kept; longer than any pause here.
const LINGER: Duration = Duration::from_secs(1);

/// A node of one worker.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) node: NodeId,
    pub(crate) address: SocketAddr,
    sfu: Sfu,
    /// When it wants to be woken.
    pub(crate) due: Option<Instant>,
}

/// What is under way to a server.
#[derive(Debug)]
pub(crate) enum Inbound {
    Datagram { source: SocketAddr, contents: Vec<u8> },
    Link { from: NodeId, bytes: Vec<u8> },
}

/// What a server sent away.
#[derive(Debug)]
pub(crate) enum Outbound {
    Datagram { destination: SocketAddr, contents: Vec<u8> },
    Link { to: NodeId, bytes: Vec<u8> },
    Session { session: SessionId, event: SessionEvent },
}

impl Server {
    pub(crate) fn new(now: Instant, number: u8) -> Self {
        let address = SocketAddr::from((Ipv4Addr::new(10, 0, number, 1), 4_000));
        let node = NodeId::new(u64::from(number));
        let settings = Settings {
            node,
            worker: 0,
            workers: 1,
            addresses: vec![address],
            loudest: LOUDEST,
            linger: LINGER,
            seed: SEED,
        };
        Self { node, address, sfu: Sfu::new(now, settings, generate_certificate()), due: None }
    }

    /// One turn as the driver takes it: everything that arrived goes in, then everything goes out.
    pub(crate) fn turn(&mut self, now: Instant, arrived: Vec<Inbound>) -> anyhow::Result<Vec<Outbound>> {
        for inbound in arrived {
            match inbound {
                Inbound::Datagram { source, contents } => {
                    let input = Input::Datagram { source, destination: self.address, contents: &contents };
                    self.sfu.handle_input(now, input)?;
                }
                Inbound::Link { from, bytes } => {
                    let frame = wire::decode(&bytes, now)?;
                    self.sfu.handle_input(now, Input::Relay { from: Peer::Node(from), frame })?;
                }
            }
        }
        if self.due.is_some_and(|due| due <= now) {
            self.sfu.handle_input(now, Input::Timeout)?;
        }
        self.drain()
    }

    /// Carries out a command and returns what follows from it.
    pub(crate) fn command(&mut self, now: Instant, command: Command) -> anyhow::Result<Vec<Outbound>> {
        self.sfu.handle_input(now, Input::Command(command))?;
        self.drain()
    }

    fn drain(&mut self) -> anyhow::Result<Vec<Outbound>> {
        let mut out = Vec::new();
        while let Some(output) = self.sfu.poll_output() {
            out.push(match output {
                Output::Transmit { destination, contents, .. } => Outbound::Datagram { destination, contents },
                Output::Session { session, event } => Outbound::Session { session, event },
                Output::Relay { to, frame } => {
                    let Peer::Node(to) = to else { bail!("a node of one worker has no other") };
                    let mut bytes = Vec::new();
                    wire::encode(&frame, &mut bytes);
                    Outbound::Link { to, bytes }
                }
            });
        }
        self.due = self.sfu.poll_timeout().map(|(at, _)| at);
        Ok(out)
    }
}
