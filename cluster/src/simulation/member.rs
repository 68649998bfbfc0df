//! A member of a simulated cluster: the product's node on a simulated disk, and how it looks from outside.

use std::sync::Arc;

use bytes::Bytes;
use openraft::SnapshotPolicy;
use openraft::raft::AppendEntriesRequest;

use super::disk::{Disk, DiskRows};
use super::log::Log;
use super::seen::Ballot;
use crate::raft::config::config;
use crate::raft::types::TypeConfig;
use crate::raft::wire::{Kind, decode, encode_request, split_request};
use crate::raft::{Options, RaftNode, StartError};
use crate::store::{Snapshots, StateMachine};

/// What a simulation sets otherwise than the product, so that rare things happen often.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Entries between two snapshots.
    pub snapshot_every: u64,
    /// Entries that stay in the log behind a snapshot.
    pub keep_behind: u64,
}

/// Starts a member on what its disk holds. To be called by a task of the member's group.
///
/// # Errors
/// [`StartError`] when the disk is damaged, or Raft does not start.
pub async fn start(options: Options, disk: &Disk, tuning: Tuning) -> Result<Arc<RaftNode>, StartError> {
    let failed = |reason: String| StartError::Raft(reason);
    let life = disk.open().map_err(failed)?;
    let snapshots = Snapshots::open(disk.folder()).map_err(|error| failed(error.to_string()))?;
    let rows = Arc::new(DiskRows { disk: disk.clone(), life });
    let machine = StateMachine::open(rows, Arc::new(snapshots)).map_err(|error| failed(error.to_string()))?;
    let mut config = config().map_err(|error| failed(error.to_string()))?;
    config.snapshot_policy = SnapshotPolicy::LogsSinceLast(tuning.snapshot_every);
    config.max_in_snapshot_log_to_keep = tuning.keep_behind;
    RaftNode::start_on(options, config, Log::start(disk.clone(), life), machine).await
}

/// How a member looks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Its vote.
    pub ballot: Ballot,
    /// It leads by this vote.
    pub leads: bool,
    /// Why Raft has stopped, if it has.
    pub stopped: bool,
}

/// Looks at a member.
#[must_use]
pub fn glance(node: &RaftNode) -> Glance {
    node.with_metrics(|metrics| Glance {
        ballot: Ballot::of(&metrics.vote),
        leads: metrics.state.is_leader(),
        stopped: metrics.running_state.is_err(),
    })
}

/// A message of a deposed leader, made to look like one of the leader that `node` follows.
#[must_use]
pub fn forge(node: &RaftNode, request: &Bytes) -> Bytes {
    let forged = || {
        let (kind, body) = split_request(request).ok().filter(|(kind, _)| *kind == Kind::Append)?;
        let mut append: AppendEntriesRequest<TypeConfig> = decode(body).ok()?;
        let vote = node.with_metrics(|metrics| metrics.vote);
        if !(vote.is_committed() && append.vote < vote) {
            return None;
        }
        append.vote = vote;
        encode_request(kind, &append).ok()
    };
    forged().unwrap_or_else(|| request.clone())
}
