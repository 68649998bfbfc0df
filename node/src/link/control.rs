//! The control endpoint: requests and answers between members, and the door for newcomers.
//!
//! One bidirectional stream per request. Each side dials for its own requests, so a pair of members has up to two
//! connections. Connections are keyed by node id: the handshake proves who is there, the address may change.
//!
//! **Invariant:** a peer that is dead or hangs costs only the calls to it.

mod dial;
mod probe;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use plenary_cluster::model::NodeId;
use plenary_cluster::raft::{Rpc, RpcError};
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use self::dial::{Dialler, Target};
pub(crate) use self::wire::{WireError, read_answer, read_body, write_answer, write_body};
use super::accept::{Accepted, Door, REMOVED};
use super::enroll::{self, EnrollError, EnrollReply, EnrollRequest};
use super::identity::Identity;
use super::refusal::RefusalCounts;
use super::roster::Roster;
use super::scope::Scope;
use super::tls::Alpn;
use super::{LinkError, socket, tls};

/// Requests that one peer may have open.
const MAX_STREAMS: u16 = 256;
/// Requests of all peers that are handled at once; more wait.
const MAX_HANDLED: usize = 512;
/// Enrolments at once; more are refused.
const MAX_ENROLMENTS: usize = 8;
/// Socket buffers: a burst of log entries to several peers.
const SOCKET_BUFFER: usize = 2 << 20;
/// How long closing waits for answers in hand to leave.
const CLOSE_GRACE: Duration = Duration::from_millis(500);
/// A request must be whole by then.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// What a member does with what others ask.
pub trait Handler: Send + Sync + 'static {
    /// Answers a member's request. The error is told to it as [`RpcError::Refused`].
    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'_, Result<Bytes, String>>;

    /// Takes a newcomer in whose token is genuine and not expired: spends the token and gives a node id.
    fn enroll(&self, request: EnrollRequest) -> BoxFuture<'_, Result<EnrollReply, EnrollError>>;
}

/// A member as the control endpoint sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerStats {
    /// Which member.
    pub node: NodeId,
    /// Where it was reached; `None` without a live connection.
    pub address: Option<SocketAddr>,
    /// Smoothed round trip in microseconds, kept fresh by keep-alives; `None` without a live connection.
    pub rtt_micros: Option<u64>,
}

/// The control endpoint of this node.
///
/// Opened before there is anyone to handle requests ([`ControlLink::serve`]), since the handler needs it for its own.
#[derive(Debug)]
pub struct ControlLink {
    identity: Arc<Identity>,
    dialler: Arc<Dialler>,
    door: Door,
    targets: Mutex<BTreeMap<NodeId, Arc<Target>>>,
    accepted: Arc<Accepts>,
    /// Whom this node no longer speaks to.
    expelled: Mutex<BTreeSet<NodeId>>,
    /// Probes count from here.
    begun: Instant,
}

/// The connections that peers made, to be closed when one of them is removed.
#[derive(Debug, Default)]
struct Accepts(Mutex<Vec<(NodeId, Connection)>>);

impl Accepts {
    fn note(&self, node: NodeId, connection: &Connection) {
        let mut all = self.0.lock();
        all.retain(|(_, connection)| connection.close_reason().is_none());
        all.push((node, connection.clone()));
    }

    fn close(&self, node: NodeId) {
        let all = self.0.lock();
        for (_, connection) in all.iter().filter(|(of, _)| *of == node) {
            connection.close(REMOVED, REMOVED_WORDS);
        }
    }
}

/// What a removed node is told.
const REMOVED_WORDS: &[u8] = b"this node was removed from the cluster";

impl ControlLink {
    /// Opens the endpoint at `address` (port 0 for any free one). Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the socket can't be bound or the identity is unusable.
    pub fn bind(address: SocketAddr, identity: Arc<Identity>, roster: Roster) -> Result<Self, LinkError> {
        let transport = socket::control_transport(MAX_STREAMS);
        let server = tls::control_server(&identity)?;
        let client = ArcSwap::from_pointee(socket::client(tls::client(&identity, Alpn::Control)?, &transport));
        let endpoint = socket::open(&identity, Alpn::Control, address, SOCKET_BUFFER, server, &transport)?;
        let door = Door::new("control", identity.cluster(), roster);
        let refusals = Arc::clone(&door.refusals);
        let (scope, banished) = (Arc::new(Scope::new()), watch::Sender::new(None));
        let dialler = Arc::new(Dialler { endpoint, client, refusals, scope, banished });
        let (targets, accepted, expelled) = (Mutex::default(), Arc::default(), Mutex::default());
        Ok(Self { identity, dialler, door, targets, accepted, expelled, begun: Instant::now() })
    }

    /// Where the endpoint listens.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.dialler.endpoint.local_addr().ok()
    }

    /// Begins to answer. Until then peers that dial wait in their handshake.
    pub fn serve(&self, handler: Arc<dyn Handler>) {
        let server = Arc::new(Server {
            identity: Arc::clone(&self.identity),
            handler,
            handled: Semaphore::new(MAX_HANDLED),
            enrolments: Semaphore::new(MAX_ENROLMENTS),
            scope: Arc::clone(&self.dialler.scope),
            accepted: Arc::clone(&self.accepted),
        });
        let (door, endpoint) = (self.door.clone(), self.dialler.endpoint.clone());
        self.dialler.scope.spawn_loop(server.accept(door, endpoint));
    }

    /// The members called so far, by id.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStats> {
        let stats = |target: &Arc<Target>| {
            let current = target.current();
            let rtt = |connection: &Connection| u64::try_from(connection.rtt().as_micros()).unwrap_or(u64::MAX);
            PeerStats {
                node: target.node(),
                address: current.as_ref().map(|(address, _)| *address),
                rtt_micros: current.as_ref().map(|(_, connection)| rtt(connection)),
            }
        };
        self.targets.lock().values().map(stats).collect()
    }

    /// Ends all there is with a member that was removed, and speaks to it no more.
    pub fn expel(&self, node: NodeId) {
        self.expelled.lock().insert(node);
        let target = self.targets.lock().remove(&node);
        if let Some((_, connection)) = target.and_then(|target| target.current()) {
            connection.close(REMOVED, REMOVED_WORDS);
        }
        self.accepted.close(node);
    }

    /// Resolves when another member says that this node was removed from the cluster, with its words.
    pub async fn banished(&self) -> String {
        let mut banished = self.dialler.banished.subscribe();
        let told = banished.wait_for(Option::is_some).await;
        match told.ok().and_then(|words| words.clone()) {
            Some(words) => words,
            // The endpoint has closed.
            None => std::future::pending().await,
        }
    }

    /// Shows the identity's present certificate from now on. Connections that there are go on, and are made anew one
    /// after the other.
    ///
    /// # Errors
    /// When the identity is unusable; all stays as it was.
    pub fn reload(&self) -> Result<(), LinkError> {
        let transport = socket::control_transport(MAX_STREAMS);
        let server = socket::server(tls::control_server(&self.identity)?, &transport);
        let client = socket::client(tls::client(&self.identity, Alpn::Control)?, &transport);
        self.dialler.endpoint.set_server_config(Some(server));
        self.dialler.client.store(Arc::new(client));
        let targets: Vec<Arc<Target>> = self.targets.lock().values().cloned().collect();
        let dialler = Arc::clone(&self.dialler);
        self.dialler.scope.spawn_loop(async move {
            for target in targets {
                target.renew(&dialler).await;
            }
        });
        Ok(())
    }

    /// How many peers were refused, by reason.
    #[must_use]
    pub fn refusals(&self) -> RefusalCounts {
        self.door.refusals.counts()
    }

    /// Stops accepting, lets answers in hand leave (half a second at most), closes all connections.
    pub async fn close(&self) {
        self.dialler.scope.close(CLOSE_GRACE).await;
        self.dialler.endpoint.close(VarInt::from_u32(0), b"closing");
        // Peers that do not acknowledge the close find out by themselves.
        let _ = tokio::time::timeout(CLOSE_GRACE, self.dialler.endpoint.wait_idle()).await;
    }

    fn target(&self, node: NodeId) -> Arc<Target> {
        let mut targets = self.targets.lock();
        let new = || Arc::new(Target::new(node, self.identity.server_name(node)));
        Arc::clone(targets.entry(node).or_insert_with(new))
    }
}

impl Drop for ControlLink {
    fn drop(&mut self) {
        self.dialler.scope.end();
        self.dialler.endpoint.close(VarInt::from_u32(0), b"closing");
    }
}

impl Rpc for ControlLink {
    fn call(
        &self,
        target: NodeId,
        address: SocketAddr,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Bytes, RpcError>> {
        let until = Instant::now() + deadline;
        Box::pin(async move {
            let unreachable = |reason: String| RpcError::Unreachable { target, reason };
            if self.expelled.lock().contains(&target) {
                return Err(unreachable("it was removed from the cluster".to_owned()));
            }
            if request.len() > wire::MAX_BODY {
                return Err(unreachable(format!("request exceeds {} bytes", wire::MAX_BODY)));
            }
            let peer = self.target(target);
            let dial = peer.connect(&self.dialler, address);
            let connection = match tokio::time::timeout_at(until, dial).await {
                Ok(connected) => connected.map_err(unreachable)?,
                Err(_) => return Err(unreachable("no connection within the deadline".to_owned())),
            };
            let (send, recv) = match tokio::time::timeout_at(until, connection.open_bi()).await {
                Ok(opened) => opened.map_err(|error| {
                    self.dialler.note_end(&error);
                    unreachable(error.to_string())
                })?,
                Err(_) => return Err(unreachable("too many requests are waiting for it".to_owned())),
            };
            match tokio::time::timeout_at(until, exchange(send, recv, request)).await {
                Ok(Ok(answer)) => answer.map_err(|reason| RpcError::Refused { target, reason }),
                // Whether the request was handled before the connection broke can't be known.
                Ok(Err(_)) | Err(_) => {
                    connection.close_reason().iter().for_each(|error| self.dialler.note_end(error));
                    Err(RpcError::Timeout { target })
                }
            }
        })
    }

    fn probe(&self, target: NodeId, address: SocketAddr, deadline: Duration) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            if self.expelled.lock().contains(&target) {
                return false;
            }
            let peer = self.target(target);
            let asked = async {
                let Ok(connection) = peer.connect(&self.dialler, address).await else { return false };
                probe::ask(&connection, self.begun, deadline).await
            };
            tokio::time::timeout(deadline, asked).await.unwrap_or(false)
        })
    }
}

async fn exchange(
    mut send: SendStream,
    mut recv: RecvStream,
    request: Bytes,
) -> Result<Result<Bytes, String>, WireError> {
    // A handler may answer before it has read everything; its words matter more than our failure to write.
    let (written, answer) = tokio::join!(write_body(&mut send, request), read_answer(&mut recv));
    if answer.is_err() {
        written?;
    }
    answer
}

/// The answering side.
struct Server {
    identity: Arc<Identity>,
    handler: Arc<dyn Handler>,
    handled: Semaphore,
    enrolments: Semaphore,
    scope: Arc<Scope>,
    accepted: Arc<Accepts>,
}

impl Server {
    async fn accept(self: Arc<Self>, door: Door, endpoint: Endpoint) {
        while let Some((incoming, permit)) = door.next(&endpoint).await {
            let (server, door) = (Arc::clone(&self), door.clone());
            self.scope.spawn_loop(async move {
                let accepted = door.admit(incoming).await;
                drop(permit);
                match accepted {
                    Some(Accepted::Member(connection, peer)) => server.member(connection, peer.node).await,
                    Some(Accepted::Newcomer(connection)) => server.newcomer(connection),
                    None => {}
                }
            });
        }
    }

    async fn member(self: Arc<Self>, connection: Connection, from: NodeId) {
        self.accepted.note(from, &connection);
        // Ends with the connection; whoever needs it dials again.
        loop {
            let (send, recv) = tokio::select! {
                opened = connection.accept_bi() => match opened {
                    Ok(streams) => streams,
                    Err(_) => return,
                },
                datagram = connection.read_datagram() => match datagram {
                    Ok(datagram) => {
                        probe::answer(&connection, datagram);
                        continue;
                    }
                    Err(_) => return,
                },
            };
            let server = Arc::clone(&self);
            self.scope.spawn_work(async move {
                match server.answer(from, send, recv).await {
                    Ok(()) => {}
                    Err(error @ WireError::TooLong { .. }) => {
                        tracing::warn!(peer = %from, %error, "request refused");
                    }
                    Err(error) => tracing::debug!(peer = %from, %error, "request was not answered"),
                }
            });
        }
    }

    async fn answer(&self, from: NodeId, mut send: SendStream, mut recv: RecvStream) -> Result<(), WireError> {
        let reading = read_body(&mut recv, wire::MAX_BODY);
        let Ok(request) = tokio::time::timeout(REQUEST_TIME, reading).await else {
            return Err(WireError::CutOff);
        };
        let Ok(_permit) = self.handled.acquire().await else { return Err(WireError::CutOff) };
        let answer = self.handler.handle(from, request?).await;
        write_answer(&mut send, answer).await?;
        // Until it is acknowledged: closing must not cut it off.
        let _ = send.stopped().await;
        Ok(())
    }

    fn newcomer(self: Arc<Self>, connection: Connection) {
        connection.set_max_concurrent_bi_streams(VarInt::from_u32(1));
        connection.set_receive_window(VarInt::from_u32(64 << 10));
        let server = Arc::clone(&self);
        self.scope.spawn_work(async move {
            let Ok(_permit) = server.enrolments.try_acquire() else {
                return connection.close(VarInt::from_u32(1), b"too many enrolments at once; try again");
            };
            enroll::admit(&server.identity, server.handler.as_ref(), &connection).await;
        });
    }
}

#[cfg(test)]
mod tests;
