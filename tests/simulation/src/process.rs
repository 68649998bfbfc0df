//! A node's process, from start to kill: what the binary does around a `RaftNode`, without its sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use plenary_cluster::clock::Clock;
use plenary_cluster::directory::{Directory, ProposeError};
use plenary_cluster::model::{NodeAddresses, NodeId, Timestamp};
use plenary_cluster::raft::{Options, RaftNode, Registration};
use plenary_cluster::simulation::{Disk, Group, Handle, Tuning, sleep, start};

use crate::history::{History, Told};
use crate::network::{Host, Network};

/// Simulated wall clocks begin here, in milliseconds since the epoch.
const EPOCH: i64 = 1_800_000_000_000;

/// Until a registration is tried again.
const REGISTER_AGAIN: Duration = Duration::from_millis(200);

/// How long a restarted node waits to be as far as it was, before it pushes events.
const RECOVERY: Duration = Duration::from_secs(5);

/// What a process needs.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) id: NodeId,
    pub(crate) life: u64,
    pub(crate) group: Group,
    pub(crate) disk: Disk,
    pub(crate) tuning: Tuning,
    pub(crate) network: Network,
    pub(crate) history: History,
    /// By how many milliseconds its wall clock is wrong.
    pub(crate) skew: Arc<AtomicI64>,
    pub(crate) founds: bool,
}

impl Process {
    /// Lives until it is killed.
    pub(crate) async fn run(self) {
        let Some(node) = self.start().await else { return };
        self.history.note(Told::Started { node: self.id, life: self.life });
        if let Some(handle) = Handle::current() {
            drop(handle.spawn(follow(Arc::clone(&node), self.history.clone())));
        }
        let mut revisions = node.revisions();
        let mut first = true;
        loop {
            if first || node.must_register() {
                self.register(&node).await;
                self.network.serve(self.id);
                first = false;
            }
            if revisions.changed().await.is_err() {
                return;
            }
        }
    }

    async fn start(&self) -> Option<Arc<RaftNode>> {
        let (handle, skew) = (Handle::current()?, Arc::clone(&self.skew));
        let clock = Clock::from_fn(move || {
            let since = i64::try_from(handle.now().as_millis()).unwrap_or(i64::MAX);
            Timestamp::from_millis(EPOCH + since + skew.load(Ordering::Relaxed))
        });
        let options = Options {
            id: self.id,
            data_dir: std::path::PathBuf::new(),
            control_address: address(self.id),
            clock,
            rpc: self.network.end(self.id),
        };
        let node = match start(options, &self.disk, self.tuning).await {
            Ok(node) => node,
            Err(error) => {
                self.history.note(Told::NotStarted { node: self.id, reason: error.to_string() });
                return None;
            }
        };
        if self.founds && !node.is_initialized().await.ok()? {
            node.initialize().await.ok()?;
        }
        self.network.plug(self.id, Host { node: Arc::clone(&node), group: self.group, serves: false });
        Some(node)
    }

    async fn register(&self, node: &RaftNode) {
        let addresses =
            NodeAddresses { http: address(self.id), control: address(self.id), media_link: address(self.id) };
        loop {
            let registration = Registration {
                addresses: addresses.clone(),
                workers: 2,
                zone: String::new(),
                version: "simulated".to_owned(),
            };
            match node.register(registration).await {
                Ok(epoch) => {
                    self.history.note(Told::Registered { node: self.id, epoch });
                    return;
                }
                Err(
                    ProposeError::Unavailable { .. } | ProposeError::StorageFull { .. } | ProposeError::Rejected(_),
                ) => sleep(REGISTER_AGAIN).await,
            }
        }
    }
}

/// Follows the events as the node's own clients would be told them.
async fn follow(node: Arc<RaftNode>, history: History) {
    while node.wait_recovered(RECOVERY).await.is_err() {}
    let mut revisions = node.revisions();
    let mut after = node.read_local().revision();
    while revisions.changed().await.is_ok() {
        let state = node.read_local();
        let upto = state.revision();
        if upto <= after {
            continue;
        }
        let events = state.events_since(after).ok().map(|events| events.cloned().collect());
        history.note(Told::Followed { node: node.id(), after, upto, events });
        after = upto;
    }
}

/// Where a node would be dialled.
pub(crate) fn address(id: NodeId) -> SocketAddr {
    let port = u16::try_from(10_000 + id.number()).unwrap_or(u16::MAX);
    SocketAddr::from(([10, 0, 0, 1], port))
}
