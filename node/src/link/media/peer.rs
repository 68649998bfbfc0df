//! One peer's link, kept as it should be: dialled while this node wants it, accepted while the peer does, one
//! connection at a time.
//!
//! A task per peer owns the link and is the only one to call [`MediaSink::up`] and [`MediaSink::down`], so they
//! alternate; pumps run between them and not outside.
//!
//! Both ends of a pair often dial at once. The connection dialled by the smaller node id stays. To spare the media a
//! change of connections, the smaller id keeps the other's connection waiting while its own dial is young, and the
//! dialler of the waiting connection does not count it as up before it hears the acceptor's first frame.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use plenary_cluster::model::NodeId;
use quinn::{Connection, VarInt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::dial::{Dialler, Established};
use super::outlet::Outlet;
use super::pump::{self, Inlet};
use super::stats::{Counters, LinkStats};
use super::wire::Frame;
use super::{DownReason, MediaSink};

/// How long the smaller id's dial may keep the peer's connection waiting.
const HOLD: Duration = Duration::from_millis(200);
/// Pause after a failed dial or a lost link; doubles with each failed dial.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// Longest pause, so that a node that is back is found soon.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Connections of one peer that may wait to be looked at.
pub(crate) const INCOMING_QUEUE: usize = 4;

/// What the rest of the endpoint holds of a peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) node: NodeId,
    pub(crate) outlet: ArcSwapOption<Outlet>,
    pub(crate) counters: Arc<Counters>,
    /// Where to dial it while this node wants the link.
    pub(crate) desired: watch::Sender<Option<SocketAddr>>,
    pub(crate) incoming: mpsc::Sender<Established>,
}

impl Peer {
    pub(crate) fn stats(&self) -> LinkStats {
        let outlet = self.outlet.load();
        let rtt = |outlet: &Arc<Outlet>| u64::try_from(outlet.connection.rtt().as_micros()).unwrap_or(u64::MAX);
        let counters = &self.counters;
        LinkStats {
            peer: self.node,
            up: outlet.is_some(),
            dialled_by_us: outlet.as_ref().is_some_and(|outlet| outlet.dialled_by_us),
            rtt_micros: outlet.as_ref().map(rtt),
            ups: counters.ups.count(),
            datagrams_sent: counters.datagrams_sent.count(),
            datagram_bytes_sent: counters.datagrams_sent.bytes(),
            datagrams_on_streams: counters.datagrams_on_streams.count(),
            datagrams_received: counters.datagrams_received.count(),
            datagram_bytes_received: counters.datagrams_received.bytes(),
            reliable_sent: counters.reliable_sent.count(),
            reliable_bytes_sent: counters.reliable_sent.bytes(),
            reliable_received: counters.reliable_received.count(),
            reliable_bytes_received: counters.reliable_received.bytes(),
            dropped: counters.dropped.count(),
            displacing: counters.displacing.count(),
        }
    }
}

/// The task that keeps one peer's link.
pub(crate) struct Keeper {
    me: NodeId,
    peer: Arc<Peer>,
    inlet: Inlet,
    dialler: Arc<Dialler>,
    desired: watch::Receiver<Option<SocketAddr>>,
    incoming: mpsc::Receiver<Established>,
    link: Option<Link>,
    dial: Option<Dial>,
    held: Option<(Established, Instant)>,
    pause: Pause,
}

struct Link {
    outlet: Arc<Outlet>,
    dialled: Option<SocketAddr>,
    pumps: JoinSet<()>,
    they_want: watch::Receiver<bool>,
    /// What the peer was last told about our wish.
    told: bool,
}

struct Dial {
    address: SocketAddr,
    outcome: BoxFuture<'static, Result<Established, String>>,
}

#[derive(Default)]
struct Pause {
    address: Option<SocketAddr>,
    failures: u32,
    until: Option<Instant>,
}

enum Event {
    Planned,
    Incoming(Established),
    Dialled(Result<Established, String>),
    HoldOver,
    LinkOver,
    Closing,
}

impl Keeper {
    pub(crate) fn new(
        dialler: Arc<Dialler>,
        sink: Arc<dyn MediaSink>,
        peer: Arc<Peer>,
        incoming: mpsc::Receiver<Established>,
    ) -> Self {
        let inlet = Inlet { peer: peer.node, sink, counters: Arc::clone(&peer.counters) };
        let (me, desired) = (dialler.identity.node(), peer.desired.subscribe());
        let pause = Pause::default();
        Self { me, peer, inlet, dialler, desired, incoming, link: None, dial: None, held: None, pause }
    }

    /// Runs until the endpoint closes.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        loop {
            self.reconcile().await;
            match self.next(&closing).await {
                Event::Planned => {}
                Event::Incoming(established) => self.handle_incoming(established).await,
                Event::Dialled(outcome) => self.handle_dialled(outcome).await,
                Event::HoldOver => self.release_held().await,
                Event::LinkOver => self.handle_link_over().await,
                Event::Closing => break,
            }
        }
        self.end_link(DownReason::Closed).await;
    }

    async fn next(&mut self, closing: &CancellationToken) -> Event {
        let hold_over = self.held.as_ref().map(|(_, until)| *until);
        let retry = self.pause.until.filter(|_| self.dial.is_none());
        let (pumps, they_want) = match &mut self.link {
            Some(link) => (Some(&mut link.pumps), Some(&mut link.they_want)),
            None => (None, None),
        };
        tokio::select! {
            () = closing.cancelled() => Event::Closing,
            Some(_) = maybe(pumps.map(JoinSet::join_next)) => Event::LinkOver,
            Some(established) = self.incoming.recv() => Event::Incoming(established),
            outcome = maybe(self.dial.as_mut().map(|dial| &mut dial.outcome)) => Event::Dialled(outcome),
            Ok(()) = self.desired.changed() => Event::Planned,
            Ok(()) = maybe(they_want.map(watch::Receiver::changed)) => Event::Planned,
            () = maybe(hold_over.map(tokio::time::sleep_until)) => Event::HoldOver,
            () = maybe(retry.map(tokio::time::sleep_until)) => {
                self.pause.until = None;
                Event::Planned
            }
        }
    }

    /// Starts and stops dialling, tells the peer what this node wants, ends a link that nobody wants.
    async fn reconcile(&mut self) {
        let desired = *self.desired.borrow_and_update();
        if self.pause.address != desired {
            self.pause = Pause { address: desired, ..Pause::default() };
        }
        let address = desired.filter(|address| match &self.link {
            None => true,
            // The peer moved: what we have is what is left of its old place.
            Some(link) => link.dialled.is_some_and(|dialled| dialled != *address),
        });
        if self.dial.as_ref().map(|dial| dial.address) != address {
            self.dial = None;
        }
        if let (Some(address), None, None) = (address, &self.dial, self.pause.until) {
            let outcome = Arc::clone(&self.dialler).dial(self.peer.node, address);
            self.dial = Some(Dial { address, outcome: Box::pin(outcome) });
        }
        if self.dial.is_none() {
            self.release_held().await;
        }
        self.tell(desired.is_some()).await;
    }

    async fn tell(&mut self, wanted: bool) {
        let Some(link) = &mut self.link else { return };
        if link.told != wanted {
            link.told = wanted;
            // A queue that is full closes the link, and the next one begins with our wish.
            let _ = link.outlet.send_frame(Frame::Wanted(wanted));
        }
        if !wanted && !*link.they_want.borrow_and_update() {
            self.end_link(DownReason::NotWanted).await;
        }
    }

    async fn handle_incoming(&mut self, established: Established) {
        let dialled_by_smaller = self.peer.node < self.me;
        if self.link.as_ref().is_some_and(|link| link.dialled.is_some() && !dialled_by_smaller) {
            refuse(&established.connection);
        } else if self.link.is_none() && self.dial.is_some() && !dialled_by_smaller {
            let until = self.held.take().map_or_else(
                || Instant::now() + HOLD,
                |(older, until)| {
                    refuse(&older.connection);
                    until
                },
            );
            self.held = Some((established, until));
        } else {
            self.start_link(established).await;
        }
    }

    async fn handle_dialled(&mut self, outcome: Result<Established, String>) {
        self.dial = None;
        match outcome {
            Ok(established) => {
                self.pause = Pause { address: self.pause.address, ..Pause::default() };
                if let Some((held, _)) = self.held.take() {
                    refuse(&held.connection);
                }
                self.start_link(established).await;
            }
            Err(reason) => {
                tracing::debug!(peer = %self.peer.node, reason, "media link dial failed");
                let pause = FIRST_PAUSE.saturating_mul(1 << self.pause.failures.min(8)).min(LONGEST_PAUSE);
                self.pause.failures = self.pause.failures.saturating_add(1);
                self.pause.until = Some(Instant::now() + pause);
            }
        }
    }

    async fn release_held(&mut self) {
        if let Some((held, _)) = self.held.take() {
            self.start_link(held).await;
        }
    }

    async fn handle_link_over(&mut self) {
        if let Some(reason) = self.link.as_ref().map(|link| link.outlet.why_down()) {
            self.pause.until = Some(Instant::now() + FIRST_PAUSE);
            self.end_link(reason).await;
        }
    }

    async fn start_link(&mut self, established: Established) {
        if established.connection.close_reason().is_some() {
            return;
        }
        self.end_link(DownReason::Replaced).await;
        self.dial = None;
        let Established { connection, streams, they_want, dialled } = established;
        // A dialler's first frame said that it wants the link; an acceptor's will say what holds now.
        let told = if dialled.is_some() { true } else { self.desired.borrow().is_some() };
        let (outlet, queues) = Outlet::new(connection, dialled.is_some());
        let outlet = Arc::new(outlet);
        let they_want = watch::Sender::new(they_want);
        let seen = they_want.subscribe();
        self.peer.counters.ups.add(0);
        self.peer.outlet.store(Some(Arc::clone(&outlet)));
        tracing::info!(peer = %self.peer.node, dialled_by_us = dialled.is_some(), "media link up");
        self.inlet.sink.up(self.peer.node);
        let pumps = pump::start(&outlet, queues, streams, told, &self.inlet, they_want);
        self.link = Some(Link { outlet, dialled, pumps, they_want: seen, told });
    }

    /// Takes the link down if it is up. When this returns nothing of it arrives any more.
    async fn end_link(&mut self, reason: DownReason) {
        let Some(mut link) = self.link.take() else { return };
        self.peer.outlet.store(None);
        link.outlet.fail(reason);
        link.pumps.shutdown().await;
        tracing::info!(peer = %self.peer.node, reason = reason.label(), "media link down");
        self.inlet.sink.down(self.peer.node, reason);
    }
}

/// Tells the peer that another connection of the pair stays.
fn refuse(connection: &Connection) {
    let reason = DownReason::Replaced;
    connection.close(VarInt::from_u32(reason.code()), reason.label().as_bytes());
}

/// Waits for a future that may not be there: then for ever.
async fn maybe<F: Future>(future: Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
