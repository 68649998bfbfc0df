//! One member of the Raft group, from start to shutdown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::Config;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::RaftError;
use openraft::metrics::RaftMetrics;
use openraft::storage::RaftLogStorage;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::config::config;
use super::forward::Forward;
use super::network::Network;
use super::receive::Incoming;
use super::runtime::{Instant, Tasks, blocking, is_simulated, now, random};
use super::types::{Member, Raft, TypeConfig, Vote};
use super::{Rpc, RpcError, compare, forward, upkeep, watch as watching};
use crate::clock::Clock;
use crate::detector::Jury;
use crate::directory::{Directory, ProposeError};
use crate::model::{NodeAddresses, NodeId, NodeStatus};
use crate::state::{Applied, Command, State};
use crate::store::{Snapshots, Space, StateMachine, Store, StoreError, View};

/// What a member is started with.
pub struct Options {
    /// This node: 1 for the one that founds the cluster, else what `AdmitNode` handed out.
    pub id: NodeId,
    /// Its folder; made if it is not there.
    pub data_dir: PathBuf,
    /// Where others dial its control endpoint.
    pub control_address: SocketAddr,
    /// Where times come from.
    pub clock: Clock,
    /// The way to the others.
    pub rpc: Arc<dyn Rpc>,
}

/// What a node tells of itself at each start; see [`Command::RegisterNode`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Where to dial it.
    pub addresses: NodeAddresses,
    /// Its media workers, ≥ 1.
    pub workers: u16,
    /// Its zone label.
    pub zone: String,
    /// Version of its binary.
    pub version: String,
}

/// Why a member does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Raft itself does not start.
    #[error("raft does not start: {0}")]
    Raft(String),
}

/// Why a cluster is not founded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// This node is a member of a cluster.
    #[error("node {0} is already a member of a cluster: start it without --init")]
    AlreadyInitialized(NodeId),
    /// Only node 1 founds a cluster.
    #[error("node {0} can't found a cluster: only node 1 does")]
    NotFounder(NodeId),
    /// Raft said no.
    #[error("raft refused: {0}")]
    Raft(String),
}

/// One member of the Raft group. Dropped without [`RaftNode::shutdown`] it stops all the same, at its next step.
pub struct RaftNode {
    pub(super) id: NodeId,
    pub(super) raft: Raft,
    pub(super) view: Arc<View>,
    pub(super) clock: Clock,
    pub(super) snapshots: Arc<Snapshots>,
    pub(super) space: Arc<Space>,
    pub(super) network: Network,
    /// A snapshot that is coming in.
    pub(super) incoming: tokio::sync::Mutex<Option<Incoming>>,
    /// When a leader last sent something.
    pub(super) heard: Mutex<Option<Instant>>,
    /// What the observers say of the others.
    pub(super) jury: Mutex<Jury>,
    /// The leader's vote that this voter has laid its lease down on, and whether it misses the leader still.
    pub(super) released: Mutex<Option<(Vote, bool)>>,
    /// Whether this process, held up, asks what it missed.
    pub(super) confirming: AtomicBool,
    begun: Instant,
    control_address: SocketAddr,
    /// The epoch this process registered; 0 before.
    epoch: AtomicU64,
    /// Counts proposals; begun at random, so that a process before this one never shares a number.
    sequence: AtomicU64,
    /// Why this member must not go on, once there is a reason beside Raft's own.
    pub(super) unfit: watch::Sender<Option<String>>,
    /// Proposals for whoever leads.
    pub(super) forwarding: mpsc::Sender<Forward>,
    tasks: Mutex<Tasks>,
}

impl RaftNode {
    /// Opens the store and starts to take part, if this node is a member; else waits to be made one.
    ///
    /// # Errors
    /// [`StartError`] when the store is damaged or in use.
    pub async fn start(options: Options) -> Result<Arc<Self>, StartError> {
        let (id, data_dir) = (options.id, options.data_dir.clone());
        let opened = blocking(move || Store::open(&data_dir, id)).await;
        let Store { log, machine } =
            opened.ok_or_else(|| StartError::Raft("opening the store was cut short".to_owned()))??;
        let config = config().map_err(|error| StartError::Raft(error.to_string()))?;
        Self::start_on(options, config, log, machine).await
    }

    /// Starts to take part with what an opened store holds.
    pub(crate) async fn start_on(
        options: Options,
        config: Config,
        log: impl RaftLogStorage<TypeConfig>,
        machine: StateMachine,
    ) -> Result<Arc<Self>, StartError> {
        let Options { id, data_dir: _, control_address, clock, rpc } = options;
        let (view, snapshots, space) = (machine.view(), machine.snapshots(), machine.space());
        let first = random();
        let transfers = Arc::new(AtomicU64::new(u64::from(first) << 16));
        let (forwarding, forwarded) = mpsc::channel(forward::QUEUE);
        let network = Network { rpc, view: Arc::clone(&view), transfers };
        let raft = Raft::new(id, Arc::new(config), network.clone(), log, machine).await;
        let node = Arc::new(Self {
            id,
            raft: raft.map_err(|error| StartError::Raft(error.to_string()))?,
            view,
            clock,
            snapshots,
            space,
            network,
            incoming: tokio::sync::Mutex::new(None),
            heard: Mutex::new(None),
            jury: Mutex::default(),
            released: Mutex::new(None),
            confirming: AtomicBool::new(false),
            begun: now(),
            control_address,
            epoch: AtomicU64::new(0),
            sequence: AtomicU64::new(u64::from(first) << 16),
            unfit: watch::Sender::new(None),
            forwarding,
            tasks: Mutex::new(Tasks::new()),
        });
        node.tasks.lock().spawn(upkeep::run(Arc::downgrade(&node)));
        node.tasks.lock().spawn(forward::run(Arc::downgrade(&node), forwarded));
        node.tasks.lock().spawn(compare::run(Arc::downgrade(&node), node.view.fingerprints()));
        // Probes are datagrams and go by the wall clock; where a simulation runs, the leader's ear is the detector.
        if !is_simulated() {
            node.tasks.lock().spawn(watching::run(Arc::downgrade(&node), id));
        }
        Ok(node)
    }

    /// Founds a cluster with this node as its only member.
    ///
    /// # Errors
    /// [`InitializeError::AlreadyInitialized`] when it is a member of one.
    pub async fn initialize(&self) -> Result<(), InitializeError> {
        if self.id != NodeId::new(1) {
            return Err(InitializeError::NotFounder(self.id));
        }
        let members = BTreeMap::from([(self.id, Member { control: self.control_address })]);
        match self.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(openraft::errors::InitializeError::NotAllowed(_))) => {
                Err(InitializeError::AlreadyInitialized(self.id))
            }
            Err(error) => Err(InitializeError::Raft(error.to_string())),
        }
    }

    /// Whether this node is or was a member of a cluster.
    ///
    /// # Errors
    /// The reason why Raft has stopped.
    pub async fn is_initialized(&self) -> Result<bool, StartError> {
        self.raft.is_initialized().await.map_err(|error| StartError::Raft(error.to_string()))
    }

    /// Registers this process: its older sessions end, its new epoch is the answer and names its proposals from now on.
    ///
    /// # Errors
    /// As of [`Directory::propose`]. A newcomer is `Unavailable` until the leader has made it a learner: try again.
    pub async fn register(&self, registration: Registration) -> Result<u64, ProposeError> {
        let Registration { addresses, workers, zone, version } = registration;
        let command = Command::RegisterNode { node: self.id, addresses, workers, zone, version };
        match self.propose(None, command).await?.applied {
            Applied::Registered { epoch } => Ok(epoch),
            other @ (Applied::Done | Applied::Admitted { .. } | Applied::Joined { .. } | Applied::Rejected(_)) => {
                unreachable!("a registration is answered by an epoch, not by {other:?}")
            }
        }
    }

    /// The epoch that this process registered; 0 before.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Whether this process has to register (again): it never did, or it was declared down, or its epoch has passed.
    /// Look whenever [`Directory::revisions`] ticks.
    #[must_use]
    pub fn must_register(&self) -> bool {
        let (epoch, state) = (self.epoch(), self.read_state());
        !state.node(self.id).is_some_and(|node| node.epoch == epoch && node.status == NodeStatus::Up)
    }

    /// Resolves when this node was removed from the cluster, as far as its own state knows.
    pub async fn removed(&self) {
        let mut revisions = self.view.revisions();
        while !self.read_state().is_removed(self.id) {
            if revisions.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until everything that this node ever acknowledged is applied again. Nothing is to be pushed to clients
    /// before.
    ///
    /// # Errors
    /// `Unavailable` when no leader was heard in time.
    pub async fn wait_recovered(&self, time: Duration) -> Result<(), ProposeError> {
        let recovered = self.raft.wait_for_recovery(Some(time)).await;
        recovered.map(drop).map_err(|_| ProposeError::Unavailable { retry_after: super::propose::RETRY_AFTER })
    }

    /// Resolves when this member can't go on, with the reason: the store failed, or its state is not the others'. This
    /// process has to end then.
    pub async fn stopped(&self) -> String {
        let (mut unfit, mut fault) = (self.unfit.subscribe(), self.view.fault());
        tokio::select! {
            reason = self.raft_stopped() => reason,
            Ok(reason) = fault.wait_for(Option::is_some) => reason.clone().unwrap_or_default(),
            Ok(reason) = unfit.wait_for(Option::is_some) => reason.clone().unwrap_or_default(),
        }
    }

    /// Says why this member must not go on.
    pub(super) fn stop_for(&self, reason: String) {
        tracing::error!(node = %self.id, reason, "this node stops");
        self.unfit.send_replace(Some(reason));
    }

    async fn raft_stopped(&self) -> String {
        let mut metrics = self.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "raft has ended".to_owned();
            }
        }
    }

    /// Stops taking part and closes the store.
    pub async fn shutdown(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(node = %self.id, %error, "raft did not stop cleanly");
        }
    }

    /// This node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// Whom this node takes for the leader.
    pub(super) fn leader(&self) -> Option<NodeId> {
        self.with_metrics(|metrics| metrics.current_leader)
    }

    pub(super) fn read_state(&self) -> Arc<State> {
        self.view.state()
    }

    pub(crate) fn with_metrics<T>(&self, read: impl FnOnce(&RaftMetrics<TypeConfig>) -> T) -> T {
        read(&self.raft.metrics().borrow_watched())
    }

    pub(super) fn set_epoch(&self, epoch: u64) {
        self.epoch.fetch_max(epoch, Ordering::SeqCst);
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::SeqCst)
    }

    /// Since this process began; the line of time of the failure detector.
    pub(super) fn uptime(&self) -> Duration {
        openraft::Instant::elapsed(&self.begun)
    }

    /// Where a member is to be dialled now.
    pub(super) fn address(&self, target: NodeId) -> Option<SocketAddr> {
        let added = self.with_metrics(|metrics| {
            metrics.membership_config.membership().get_node(&target).map(|member| member.control)
        });
        self.network.address(target, added)
    }

    /// Calls another member wherever it is now.
    pub(super) async fn call(&self, target: NodeId, request: Bytes, deadline: Duration) -> Result<Bytes, RpcError> {
        let address = self
            .address(target)
            .ok_or_else(|| RpcError::Unreachable { target, reason: "its address is not known here".to_owned() })?;
        self.network.rpc.call(target, address, request, deadline).await
    }
}
