//! A directory in one process, without Raft and without a disk: for tests of what stands on top of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::{BoxFuture, FutureExt, ready};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::directory::{Directory, ProposeError, RaftStatus, ReadError, Written};
use crate::model::{MeetingId, NodeAddresses, NodeId};
use crate::state::{Applied, Command, Proposal, ProposalId, State};

/// When callers of an unavailable directory are told to try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An in-memory [`Directory`]: every proposal is applied at once.
#[derive(Debug)]
pub struct Local {
    node: NodeId,
    clock: Clock,
    /// Held while a proposal is applied, so that entries get their indices in order.
    writing: Mutex<()>,
    state: ArcSwap<State>,
    revisions: watch::Sender<u64>,
    sequence: AtomicU64,
    available: AtomicBool,
}

impl Local {
    /// An empty directory.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            node: NodeId::new(1),
            clock,
            writing: Mutex::new(()),
            state: ArcSwap::from_pointee(State::default()),
            revisions: watch::Sender::new(0),
            sequence: AtomicU64::new(0),
            available: AtomicBool::new(true),
        }
    }

    /// A directory that knows one node, id 1, with `workers` media workers on the loopback interface.
    #[must_use]
    pub fn single(clock: Clock, workers: u16) -> Self {
        let local = Self::new(clock);
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let registered = local.write(Command::RegisterNode {
            node: local.node,
            addresses: NodeAddresses { http: at(4500), control: at(4600), media_link: at(4700) },
            workers,
            zone: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        debug_assert!(registered.is_ok(), "the founder may always register");
        local
    }

    /// The current epoch of the node of [`Local::single`]; 0 without one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.state.load().node(self.node).map_or(0, |node| node.epoch)
    }

    /// Whether proposals and promised reads succeed from now on. Without, they answer as without a quorum.
    pub fn set_available(&self, available: bool) {
        self.available.store(available, Ordering::SeqCst);
    }

    fn is_available(&self) -> bool {
        self.available.load(Ordering::SeqCst)
    }

    fn write(&self, command: Command) -> Result<Written, ProposeError> {
        if !self.is_available() {
            return Err(ProposeError::Unavailable { retry_after: RETRY_AFTER });
        }
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst);
        let id = ProposalId { proposer: self.node, epoch: 0, sequence };
        let _writing = self.writing.lock();
        let mut state = State::clone(&self.state.load());
        let revision = state.revision() + 1;
        let applied = state.apply(revision, &Proposal { id, time: self.clock.now(), command });
        self.state.store(Arc::new(state));
        self.revisions.send_replace(revision);
        match applied {
            Applied::Rejected(rejection) => Err(ProposeError::Rejected(rejection)),
            Applied::Done | Applied::Admitted { .. } | Applied::Registered { .. } | Applied::Joined { .. } => {
                Ok(Written { revision, applied })
            }
        }
    }

    fn read(&self) -> Result<Arc<State>, ReadError> {
        if self.is_available() { Ok(self.state.load_full()) } else { Err(unavailable()) }
    }
}

impl Directory for Local {
    fn propose(&self, _meeting: Option<MeetingId>, command: Command) -> BoxFuture<'_, Result<Written, ProposeError>> {
        ready(self.write(command)).boxed()
    }

    fn read_local(&self) -> Arc<State> {
        self.state.load_full()
    }

    fn read_at_least(&self, revision: u64) -> BoxFuture<'_, Result<Arc<State>, ReadError>> {
        let state = self.read_local();
        ready(if state.revision() >= revision { Ok(state) } else { Err(unavailable()) }).boxed()
    }

    fn read_linearizable(&self) -> BoxFuture<'_, Result<Arc<State>, ReadError>> {
        ready(self.read()).boxed()
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    fn status(&self) -> RaftStatus {
        let revision = self.state.load().revision();
        let quorum = self.is_available();
        RaftStatus {
            node: self.node,
            term: 1,
            leader: quorum.then_some(self.node),
            last_log: revision,
            applied: revision,
            voters: vec![self.node],
            learners: Vec::new(),
            quorum,
        }
    }
}

const fn unavailable() -> ReadError {
    ReadError::Unavailable { retry_after: RETRY_AFTER }
}
