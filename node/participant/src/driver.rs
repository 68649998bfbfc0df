//! The loop around a [`Peer`]: reads sockets, clock and orders, hands them in, carries out what comes back. It decides
//! nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plenary_protocol::RequestFrame;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;

use crate::clock;
use crate::peer::{Command, Input, Output, Peer};
use crate::report::Report;
use crate::signalling::{Received, Signalling, SignallingError};
use crate::words::words;

/// Largest datagram that is read whole.
const DATAGRAM: usize = 2_048;

/// Most datagrams read before sockets, orders and timers get their turn again.
const BUDGET: usize = 64;

/// Progress is told at most this often.
const TELL_EVERY: Duration = Duration::from_millis(10);

/// Longest time without a look at the peer, so that waiting conditions about silence are seen.
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// An order to the loop.
#[derive(Debug)]
pub(crate) enum Order {
    /// For the peer.
    Command(Command),
    /// Wants a report.
    Report(oneshot::Sender<Report>),
}

/// What the loop tells whoever waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Join and first offer are answered.
    pub(crate) joined: bool,
    /// The last report, once it has ended.
    pub(crate) ended: Option<Arc<Report>>,
}

/// The loop's state.
pub(crate) struct Driver {
    pub(crate) peer: Peer,
    pub(crate) signalling: Signalling,
    pub(crate) socket: UdpSocket,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) buffer: Box<[u8; DATAGRAM]>,
    pub(crate) told: Instant,
}

/// What woke the loop.
enum Wake {
    Order(Option<Order>),
    Signalling(Result<Received, SignallingError>),
    Readable(io::Result<()>),
    Time,
}

impl Driver {
    pub(crate) fn new(
        peer: Peer,
        signalling: Signalling,
        socket: UdpSocket,
        orders: mpsc::Receiver<Order>,
        progress: watch::Sender<Progress>,
    ) -> Self {
        Self { peer, signalling, socket, orders, progress, buffer: Box::new([0; DATAGRAM]), told: clock::now() }
    }

    /// Runs until the peer has ended or nobody holds the other end any more.
    pub(crate) async fn run(mut self) {
        self.carry_out().await;
        while self.peer.ended().is_none() {
            self.tell();
            match self.wait().await {
                Wake::Order(Some(Order::Command(command))) => self.input(Input::Command(command)),
                Wake::Order(Some(Order::Report(reply))) => {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.send(self.peer.report(clock::now()));
                }
                Wake::Order(None) => return,
                Wake::Signalling(received) => self.receive_signalling(received),
                Wake::Readable(Ok(())) => self.receive_datagrams(),
                Wake::Readable(Err(problem)) => tracing::warn!(%problem, "media socket"),
                Wake::Time => {}
            }
            self.carry_out().await;
            if self.peer.poll_timeout().is_some_and(|due| due <= clock::now()) {
                self.input(Input::Timeout);
            }
            self.carry_out().await;
        }
        let report = Arc::new(self.peer.report(clock::now()));
        self.progress.send_modify(|progress| progress.ended = Some(report));
    }

    async fn wait(&mut self) -> Wake {
        let latest = clock::now() + LONGEST_SLEEP;
        let due = self.peer.poll_timeout().map_or(latest, |due| due.min(latest));
        tokio::select! {
            order = self.orders.recv() => Wake::Order(order),
            received = self.signalling.receive() => Wake::Signalling(received),
            readable = self.socket.readable() => Wake::Readable(readable),
            () = sleep_until(due.into()) => Wake::Time,
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.peer.handle_input(clock::now(), input);
    }

    fn receive_signalling(&mut self, received: Result<Received, SignallingError>) {
        match received {
            Ok(Received::Frame(frame)) => self.input(Input::Frame(*frame)),
            Ok(Received::Unknown(_)) => self.input(Input::UnknownFrame),
            Ok(Received::Closed { code, reason }) => {
                let detail = format!("closed with code {code:?}, reason {reason:?}");
                self.input(Input::SignallingLost(detail));
            }
            Err(problem) => self.input(Input::SignallingLost(words(&problem))),
        }
    }

    fn receive_datagrams(&mut self) {
        for _ in 0..BUDGET {
            // Errors on a UDP socket are echoes of what was sent (port unreachable); ICE judges the path.
            let Ok((length, source)) = self.socket.try_recv_from(&mut self.buffer[..]) else { return };
            let contents = &self.buffer[..length];
            self.peer.handle_input(clock::now(), Input::Datagram { source, contents });
            let requests = drain(&mut self.peer, &self.socket);
            debug_assert!(requests.is_empty(), "a datagram asks for nothing");
        }
    }

    /// Carries out everything the peer wants done.
    async fn carry_out(&mut self) {
        for request in drain(&mut self.peer, &self.socket) {
            if let Err(problem) = self.signalling.send(&request).await {
                self.input(Input::SignallingLost(words(&problem)));
            }
        }
        // Losing signalling makes the peer say goodbye, and nothing else.
        drain(&mut self.peer, &self.socket);
    }

    fn tell(&mut self) {
        let now = clock::now();
        let joined = self.peer.is_joined();
        if now.duration_since(self.told) >= TELL_EVERY || self.progress.borrow().joined != joined {
            self.told = now;
            self.progress.send_modify(|progress| progress.joined = joined);
        }
    }
}

/// Drains the peer: datagrams go out at once, requests are returned. A datagram that the socket does not take is lost,
/// as it would be in the network.
fn drain(peer: &mut Peer, socket: &UdpSocket) -> Vec<RequestFrame> {
    let mut requests = Vec::new();
    while let Some(output) = peer.poll_output() {
        match output {
            Output::Transmit { destination, contents } => {
                if socket.try_send_to(&contents, destination).is_err() {
                    peer.handle_input(clock::now(), Input::Dropped);
                }
            }
            Output::Request(request) => requests.push(request),
        }
    }
    requests
}

/// A socket on the address that routes to `host`, or on `local`.
pub(crate) async fn media_socket(host: &str, local: Option<IpAddr>) -> io::Result<UdpSocket> {
    let local = match local {
        Some(local) => local,
        None => {
            let mut addresses = tokio::net::lookup_host(host).await?;
            let node = addresses.next().ok_or_else(|| io::Error::other("the node's name has no address"))?;
            let any: SocketAddr = if node.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
            // Connecting a UDP socket sends nothing; it asks the routing table.
            let probe = UdpSocket::bind(any).await?;
            probe.connect(node).await?;
            probe.local_addr()?.ip()
        }
    };
    UdpSocket::bind((local, 0)).await
}
