//! The face of the cluster's agreement: propose, read, follow.
//!
//! Reads are named by what they promise. A write's reply carries its revision (log index) and comes after
//! this node has applied it, so that a local read right after it sees it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::model::{MeetingId, NodeId};
use crate::state::{Applied, Command, Rejection, State};

/// A proposal that was agreed on and applied here.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Its log index.
    pub revision: u64,
    /// What came of it; never [`Applied::Rejected`].
    pub applied: Applied,
}

/// Why a proposal was not carried out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProposeError {
    /// Every node agrees that it must not be.
    #[error("refused: {0}")]
    Rejected(Rejection),
    /// No leader with a quorum answered in time. The proposal may still be applied.
    #[error("no quorum answered in time")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// A node that would have to keep it has hardly any room left. Reads, votes and media go on.
    #[error("the disk of node {node} is nearly full: make room where its folder {folder} is")]
    StorageFull {
        /// Which node.
        node: NodeId,
        /// Its data folder.
        folder: String,
    },
}

/// Why a read could not keep its promise in time.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// No leader with a quorum answered in time, or this node lags.
    #[error("no quorum answered in time")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

/// How the Raft group looks from this node.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct RaftStatus {
    /// This node.
    pub node: NodeId,
    /// Raft's current term.
    pub term: u64,
    /// The leader, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Index of the last log entry here.
    pub last_log: u64,
    /// Index of the last applied entry here.
    pub applied: u64,
    /// Members who vote.
    pub voters: Vec<NodeId>,
    /// Members who only follow.
    pub learners: Vec<NodeId>,
    /// Whether this node believes that a quorum answers (a leader is known and, on the leader, a quorum acknowledged lately).
    pub quorum: bool,
}

/// The directory as the rest of the node sees it.
pub trait Directory: Send + Sync + 'static {
    /// Proposes a command from any node; the leader's answer comes back once applied here. `meeting` names the
    /// meeting it is about, if any: the key by which groups may be split one day.
    fn propose(&self, meeting: Option<MeetingId>, command: Command) -> BoxFuture<'_, Result<Written, ProposeError>>;

    /// The state as applied on this node: never ahead of the truth, possibly behind it.
    fn read_local(&self) -> Arc<State>;

    /// The state at `revision` or later.
    fn read_at_least(&self, revision: u64) -> BoxFuture<'_, Result<Arc<State>, ReadError>>;

    /// A state that holds everything acknowledged before the call began.
    fn read_linearizable(&self) -> BoxFuture<'_, Result<Arc<State>, ReadError>>;

    /// Ticks with the applied revision. Follow with [`State::events_since`].
    fn revisions(&self) -> watch::Receiver<u64>;

    /// How the Raft group looks from here.
    fn status(&self) -> RaftStatus;
}
