//! The media endpoint: datagrams and an ordered reliable stream between nodes.
//!
//! Whoever needs a link dials ([`MediaLink::set_peers`] says who is needed); members that dial are let in; a link
//! ends when neither side wants it. One connection per pair; see the module `peer`.
//!
//! **Invariant:** sending never waits. Datagrams push out the oldest when their queue is full; a reliable queue that
//! overflows closes the link, because a skipped frame would leave both relays believing different things.

mod dial;
mod outlet;
mod peer;
mod pump;
mod stats;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use plenary_cluster::model::NodeId;
use quinn::{ConnectionError, Endpoint, TransportConfig, VarInt};
use tokio::sync::{mpsc, watch};

pub use self::stats::LinkStats;

use self::dial::Dialler;
use self::outlet::Outlet;
use self::peer::{Keeper, Peer};
use super::LinkError;
use super::accept::{Accepted, Door, REMOVED};
use super::identity::Identity;
use super::refusal::RefusalCounts;
use super::roster::Roster;
use super::scope::Scope;
use super::socket::{self, LinkMtu};
use super::tls::{self, Alpn};

/// Socket buffers, as large as kernels grant: 50 ms of a 25 Gbit/s burst do not fit, of 1 Gbit/s they do.
const SOCKET_BUFFER: usize = 8 << 20;
/// How long closing waits for peers to acknowledge.
const CLOSE_GRACE: Duration = Duration::from_millis(500);

/// Takes what links bring. Called from the endpoint's tasks: must not block.
///
/// `up` and `down` alternate per peer, and the other two are called only between them.
pub trait MediaSink: Send + Sync + 'static {
    /// The link is up: the peer knows nothing of what was said before.
    fn up(&self, peer: NodeId);
    /// The link is down.
    fn down(&self, peer: NodeId, reason: DownReason);
    /// A datagram arrived; others may be lost or late.
    fn datagram(&self, peer: NodeId, payload: Bytes);
    /// A reliable frame arrived, in the order it was sent. False when there is no room for it now: it is offered again.
    fn reliable(&self, peer: NodeId, payload: &Bytes) -> bool;
}

/// Why a link went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DownReason {
    /// Nothing was heard from the peer for a second.
    Lost,
    /// The peer's process was restarted.
    Restarted,
    /// One side closed its endpoint.
    Closed,
    /// Neither side wants the link.
    NotWanted,
    /// Another connection of the same pair took its place.
    Replaced,
    /// Reliable frames were not read fast enough.
    QueueFull,
    /// One side broke the protocol.
    Malformed,
}

impl DownReason {
    const ALL: [Self; 7] =
        [Self::Lost, Self::Restarted, Self::Closed, Self::NotWanted, Self::Replaced, Self::QueueFull, Self::Malformed];

    /// The reason as the log names it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Restarted => "restarted",
            Self::Closed => "closed",
            Self::NotWanted => "not_wanted",
            Self::Replaced => "replaced",
            Self::QueueFull => "queue_full",
            Self::Malformed => "malformed",
        }
    }

    /// The reason as QUIC's application error code.
    const fn code(self) -> u32 {
        self as u32
    }

    fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::TimedOut => Self::Lost,
            ConnectionError::Reset => Self::Restarted,
            ConnectionError::ApplicationClosed(close) => Self::ALL
                .into_iter()
                .find(|reason| VarInt::from_u32(reason.code()) == close.error_code)
                .unwrap_or(Self::Closed),
            ConnectionError::LocallyClosed | ConnectionError::ConnectionClosed(_) => Self::Closed,
            ConnectionError::TransportError(_) | ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => {
                Self::Malformed
            }
        }
    }
}

/// Why a link did not take something. The caller drops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// There is no link to that node now.
    #[error("no link to the node")]
    NoLink,
    /// The queue is full. For a reliable frame: the link closes.
    #[error("the link's queue is full")]
    Full,
    /// More than 64 KiB.
    #[error("larger than 64 KiB")]
    TooLarge,
}

/// The media endpoint of this node.
pub struct MediaLink {
    shared: Arc<Shared>,
    door: Door,
}

struct Shared {
    transport: Arc<TransportConfig>,
    dialler: Arc<Dialler>,
    sink: Arc<dyn MediaSink>,
    scope: Scope,
    peers: ArcSwap<BTreeMap<NodeId, Arc<Peer>>>,
    /// Held while a peer is added.
    adding: Mutex<()>,
}

impl MediaLink {
    /// Opens the endpoint at `address` (port 0 for any free one) and begins to accept. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the socket can't be bound or the identity is unusable.
    pub fn bind(
        address: SocketAddr,
        identity: Arc<Identity>,
        mtu: LinkMtu,
        sink: Arc<dyn MediaSink>,
        roster: Roster,
    ) -> Result<Self, LinkError> {
        let transport = socket::media_transport(mtu, pump::MAX_STREAMS);
        let server = tls::media_server(&identity)?;
        let client = ArcSwap::from_pointee(socket::client(tls::client(&identity, Alpn::Media)?, &transport));
        let endpoint = socket::open(&identity, Alpn::Media, address, SOCKET_BUFFER, server, &transport)?;
        let door = Door::new("media", identity.cluster(), roster);
        let refusals = Arc::clone(&door.refusals);
        let dialler = Arc::new(Dialler { endpoint: endpoint.clone(), client, identity, refusals });
        let shared = Arc::new(Shared {
            transport,
            dialler,
            sink,
            scope: Scope::new(),
            peers: ArcSwap::default(),
            adding: Mutex::new(()),
        });
        shared.scope.spawn_loop(Arc::clone(&shared).accept(door.clone(), endpoint));
        Ok(Self { shared, door })
    }

    /// Where the endpoint listens.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.shared.dialler.endpoint.local_addr().ok()
    }

    /// Says which links this node wants, and where to dial them. Links it no longer wants stay while their peer does.
    pub fn set_peers(&self, desired: &BTreeMap<NodeId, SocketAddr>) {
        for node in desired.keys().filter(|node| **node != self.shared.dialler.identity.node()) {
            self.shared.peer(*node);
        }
        for peer in self.shared.peers.load().values() {
            let address = desired.get(&peer.node).copied();
            peer.desired.send_if_modified(|current| std::mem::replace(current, address) != address);
        }
    }

    /// Ends the link with a member that was removed, whoever wants it. Its next handshake is refused at the door.
    pub fn expel(&self, node: NodeId) {
        let peers = self.shared.peers.load();
        let Some(peer) = peers.get(&node) else { return };
        peer.desired.send_replace(None);
        if let Some(outlet) = &*peer.outlet.load() {
            outlet.connection.close(REMOVED, b"this node was removed from the cluster");
        }
    }

    /// Shows the identity's present certificate from now on. Links that are up stay: a change of connections would cost
    /// the media more than it brings, since a link lives no longer than the rooms that need it.
    ///
    /// # Errors
    /// When the identity is unusable; all stays as it was.
    pub fn reload(&self) -> Result<(), LinkError> {
        let Shared { transport, dialler, .. } = &*self.shared;
        let server = socket::server(tls::media_server(&dialler.identity)?, transport);
        let client = socket::client(tls::client(&dialler.identity, Alpn::Media)?, transport);
        dialler.endpoint.set_server_config(Some(server));
        dialler.client.store(Arc::new(client));
        Ok(())
    }

    /// Sends a datagram that may be lost; never waits.
    ///
    /// # Errors
    /// [`Dropped`] when the link did not take it.
    pub fn send_datagram(&self, to: NodeId, payload: Bytes) -> Result<(), Dropped> {
        self.with_outlet(to, payload.len(), |outlet, peer| outlet.send_datagram(payload, &peer.counters))
    }

    /// Sends a frame that arrives, in order, while the link stays up; never waits. When the queue is full the link
    /// closes and comes up anew.
    ///
    /// # Errors
    /// [`Dropped`] when the link did not take it.
    pub fn send_reliable(&self, to: NodeId, payload: Bytes) -> Result<(), Dropped> {
        self.with_outlet(to, payload.len(), |outlet, peer| outlet.send_reliable(payload, &peer.counters))
    }

    /// All links this node ever had or wanted, by peer.
    #[must_use]
    pub fn stats(&self) -> Vec<LinkStats> {
        self.shared.peers.load().values().map(|peer| peer.stats()).collect()
    }

    /// How many peers were refused, by reason.
    #[must_use]
    pub fn refusals(&self) -> RefusalCounts {
        self.door.refusals.counts()
    }

    /// Takes all links down and closes the endpoint, in half a second at most if peers do not answer.
    pub async fn close(&self) {
        self.shared.scope.close(CLOSE_GRACE).await;
        let endpoint = &self.shared.dialler.endpoint;
        endpoint.close(VarInt::from_u32(DownReason::Closed.code()), b"closed");
        // Peers that do not acknowledge the close find out by themselves.
        let _ = tokio::time::timeout(CLOSE_GRACE, endpoint.wait_idle()).await;
    }

    fn with_outlet(
        &self,
        to: NodeId,
        length: usize,
        send: impl FnOnce(&Outlet, &Peer) -> Result<(), Dropped>,
    ) -> Result<(), Dropped> {
        let peers = self.shared.peers.load();
        let Some(peer) = peers.get(&to) else { return Err(Dropped::NoLink) };
        let sent = match &*peer.outlet.load() {
            Some(outlet) => send(outlet, peer),
            None => Err(Dropped::NoLink),
        };
        sent.inspect_err(|_| peer.counters.dropped.add(length))
    }
}

impl fmt::Debug for MediaLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaLink").field("address", &self.local_address()).finish_non_exhaustive()
    }
}

impl Drop for MediaLink {
    fn drop(&mut self) {
        self.shared.scope.end();
        self.shared.dialler.endpoint.close(VarInt::from_u32(DownReason::Closed.code()), b"closed");
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, door: Door, endpoint: Endpoint) {
        while let Some((incoming, permit)) = door.next(&endpoint).await {
            let (shared, door) = (Arc::clone(&self), door.clone());
            self.scope.spawn_loop(async move {
                let accepted = door.admit(incoming).await;
                // Newcomers can't get here: the endpoint does not speak their protocol.
                let Some(Accepted::Member(connection, from)) = accepted else { return };
                match dial::greet(connection).await {
                    // The greeting takes its time; whoever was removed meanwhile is let go.
                    Ok(established) if door.admits(from.node) => shared.hand_over(from.node, established),
                    Ok(established) => established.connection.close(REMOVED, b"this node was removed from the cluster"),
                    Err(reason) => tracing::debug!(peer = %from.node, reason, "media link not established"),
                }
                drop(permit);
            });
        }
    }

    fn hand_over(self: &Arc<Self>, from: NodeId, established: dial::Established) {
        if from == self.dialler.identity.node() {
            return;
        }
        // When the queue is full the connection closes with the handle, and the peer dials again.
        if self.peer(from).incoming.try_send(established).is_err() {
            tracing::debug!(peer = %from, "media connection came too soon after others");
        }
    }

    /// The peer, with its task running.
    fn peer(self: &Arc<Self>, node: NodeId) -> Arc<Peer> {
        if let Some(peer) = self.peers.load().get(&node) {
            return Arc::clone(peer);
        }
        let _adding = self.adding.lock();
        let mut peers = BTreeMap::clone(&self.peers.load());
        if let Some(peer) = peers.get(&node) {
            return Arc::clone(peer);
        }
        let (incoming, queue) = mpsc::channel(peer::INCOMING_QUEUE);
        let peer = Arc::new(Peer {
            node,
            outlet: None.into(),
            counters: Arc::default(),
            desired: watch::Sender::new(None),
            incoming,
        });
        let keeper = Keeper::new(Arc::clone(&self.dialler), Arc::clone(&self.sink), Arc::clone(&peer), queue);
        self.scope.spawn_work(keeper.run(self.scope.closing()));
        peers.insert(node, Arc::clone(&peer));
        self.peers.store(Arc::new(peers));
        peer
    }
}

#[cfg(test)]
mod tests;
