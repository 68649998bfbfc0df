//! The cached connection to one member, redialled when lost.
//!
//! Dialling goes on in a task of its own, so a caller that gives up does not stop it, and callers wait for it only so
//! long: a peer that hangs costs each of them [`PATIENCE`] once and then nothing until the next attempt.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use plenary_cluster::model::NodeId;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::link::accept::REMOVED;
use crate::link::refusal::{Refusal, Refusals};
use crate::link::scope::Scope;

/// How long a call waits for a dial, counted from the dial's start.
const PATIENCE: Duration = Duration::from_millis(250);
/// When a dial is given up. Longer than [`PATIENCE`]: the far side of the world answers too.
const DIAL_TIME: Duration = Duration::from_secs(1);
/// Pause after a first failed dial; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// Longest pause, so that a node that is back is found soon.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// What dialling needs, shared by all peers of an endpoint.
#[derive(Debug)]
pub(crate) struct Dialler {
    pub(crate) endpoint: Endpoint,
    /// Replaced when the node's certificate is.
    pub(crate) client: ArcSwap<ClientConfig>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) scope: Arc<Scope>,
    /// What a member said that told this node it was removed.
    pub(crate) banished: watch::Sender<Option<String>>,
}

impl Dialler {
    /// Looks at why a connection ended: a member closes it with a code of its own when this node was removed. TLS 1.3
    /// servers judge us after our side of the handshake is done, so this may be the first thing that is heard.
    pub(crate) fn note_end(&self, error: &ConnectionError) {
        if let ConnectionError::ApplicationClosed(close) = error
            && close.error_code == REMOVED
        {
            self.banished.send_replace(Some(String::from_utf8_lossy(&close.reason).into_owned()));
        }
    }
}

#[derive(Debug, Clone)]
enum Slot {
    Idle,
    Dialling { address: SocketAddr, attempt: u64, since: Instant },
    Up { address: SocketAddr, connection: Connection },
    Failed { address: SocketAddr, reason: String, retry_at: Instant, failures: u32 },
}

/// One member as a target of calls.
#[derive(Debug)]
pub(crate) struct Target {
    node: NodeId,
    server_name: String,
    slot: watch::Sender<Slot>,
    attempts: std::sync::atomic::AtomicU64,
}

impl Target {
    pub(crate) fn new(node: NodeId, server_name: String) -> Self {
        Self { node, server_name, slot: watch::Sender::new(Slot::Idle), attempts: Default::default() }
    }

    pub(crate) const fn node(&self) -> NodeId {
        self.node
    }

    /// The live connection, if there is one.
    pub(crate) fn current(&self) -> Option<(SocketAddr, Connection)> {
        match &*self.slot.borrow() {
            Slot::Up { address, connection } if connection.close_reason().is_none() => {
                Some((*address, connection.clone()))
            }
            Slot::Up { .. } | Slot::Idle | Slot::Dialling { .. } | Slot::Failed { .. } => None,
        }
    }

    /// A live connection to the target at `address`, dialled if there is none. The error says why there is none.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        dialler: &Arc<Dialler>,
        address: SocketAddr,
    ) -> Result<Connection, String> {
        self.begin(dialler, address);
        let mut slot = self.slot.subscribe();
        let patience_ends = match &*slot.borrow() {
            Slot::Dialling { since, .. } => *since + PATIENCE,
            Slot::Idle | Slot::Up { .. } | Slot::Failed { .. } => Instant::now(),
        };
        let settled = slot.wait_for(|slot| !matches!(slot, Slot::Dialling { .. }));
        match tokio::time::timeout_at(patience_ends, settled).await {
            Ok(Ok(slot)) => match &*slot {
                Slot::Up { connection, .. } => Ok(connection.clone()),
                Slot::Failed { reason, .. } => Err(reason.clone()),
                Slot::Idle | Slot::Dialling { .. } => Err("not dialled".to_owned()),
            },
            Ok(Err(_)) => Err("the endpoint is closed".to_owned()),
            Err(_) => Err(format!("no answer from {address} yet")),
        }
    }

    /// Starts a dial unless there is a connection, a dial in progress or a pause after a failed one.
    fn begin(self: &Arc<Self>, dialler: &Arc<Dialler>, address: SocketAddr) {
        let ended = match &*self.slot.borrow() {
            Slot::Up { connection, .. } => connection.close_reason(),
            Slot::Idle | Slot::Dialling { .. } | Slot::Failed { .. } => None,
        };
        ended.iter().for_each(|error| dialler.note_end(error));
        let now = Instant::now();
        let mut started = None;
        self.slot.send_if_modified(|slot| {
            let failures = match slot {
                Slot::Up { address: at, connection } if *at == address && connection.close_reason().is_none() => {
                    return false;
                }
                Slot::Dialling { address: at, .. } if *at == address => return false,
                Slot::Failed { address: at, retry_at, .. } if *at == address && now < *retry_at => return false,
                Slot::Failed { address: at, failures, .. } if *at == address => *failures,
                Slot::Idle | Slot::Up { .. } | Slot::Dialling { .. } | Slot::Failed { .. } => 0,
            };
            let attempt = self.attempts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            *slot = Slot::Dialling { address, attempt, since: now };
            started = Some((attempt, failures));
            true
        });
        if let Some((attempt, failures)) = started {
            let (target, shared) = (Arc::clone(self), Arc::clone(dialler));
            dialler.scope.spawn_loop(async move { target.dial(&shared, address, attempt, failures).await });
        }
    }

    async fn dial(&self, dialler: &Dialler, address: SocketAddr, attempt: u64, failures: u32) {
        let outcome = match self.handshake(dialler, address).await {
            Ok(connection) => Slot::Up { address, connection },
            Err(reason) => {
                let pause = FIRST_PAUSE.saturating_mul(1 << failures.min(8)).min(LONGEST_PAUSE);
                let retry_at = Instant::now() + pause;
                Slot::Failed { address, reason, retry_at, failures: failures.saturating_add(1) }
            }
        };
        self.slot.send_if_modified(|slot| {
            let current = matches!(slot, Slot::Dialling { attempt: running, .. } if *running == attempt);
            if current {
                *slot = outcome;
            }
            current
        });
    }

    /// Puts a new connection in the place of the one there is, which ends once what is under way on it has ended. Nothing
    /// changes when the dial fails.
    pub(crate) async fn renew(&self, dialler: &Dialler) {
        let Some((address, old)) = self.current() else { return };
        match self.handshake(dialler, address).await {
            Ok(connection) => {
                self.slot.send_if_modified(|slot| {
                    let same = matches!(slot, Slot::Up { connection, .. } if connection.stable_id() == old.stable_id());
                    if same {
                        *slot = Slot::Up { address, connection };
                    }
                    same
                });
            }
            Err(reason) => tracing::debug!(peer = %self.node, reason, "a connection was not made anew"),
        }
    }

    async fn handshake(&self, dialler: &Dialler, address: SocketAddr) -> Result<Connection, String> {
        let connecting = dialler
            .endpoint
            .connect_with(ClientConfig::clone(&dialler.client.load()), address, &self.server_name)
            .map_err(|error| error.to_string())?;
        match tokio::time::timeout(DIAL_TIME, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => {
                dialler.note_end(&error);
                if let Some(refusal) = Refusal::of(&error) {
                    dialler.refusals.note("control", address, refusal, &error.to_string());
                }
                Err(error.to_string())
            }
            Err(_) => Err(format!("no answer from {address}")),
        }
    }
}
