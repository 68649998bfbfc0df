//! What is seen of the members: written down as it happens, for whoever checks.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use openraft::vote::RaftLeaderId;
use parking_lot::Mutex;

use super::replica::{Digest, Entry};
use crate::model::NodeId;
use crate::raft::types;

/// Names an entry: who led when it was appended, and its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogId {
    /// The leader's term.
    pub term: u64,
    /// The leader.
    pub leader: NodeId,
    /// Its place in the log.
    pub index: u64,
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}.{}", self.index, self.term, self.leader)
    }
}

impl LogId {
    pub(super) fn of(id: &types::LogId) -> Self {
        let leader = id.committed_leader_id();
        Self { term: leader.term(), leader: *leader.node_id(), index: id.index() }
    }
}

/// A vote. Votes are ordered: term, candidate, and then that a quorum has granted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// The term.
    pub term: u64,
    /// For whom.
    pub candidate: NodeId,
    /// A quorum has granted it: the candidate leads.
    pub leads: bool,
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leads = if self.leads { "!" } else { "" };
        write!(f, "{}.{}{leads}", self.term, self.candidate)
    }
}

impl Ballot {
    pub(super) fn of(vote: &types::Vote) -> Self {
        let leader = vote.leader_id();
        Self { term: leader.term(), candidate: *leader.node_id(), leads: vote.is_committed() }
    }
}

/// Who the members are: one set of voters, or two while it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The sets of voters.
    pub voters: Vec<BTreeSet<NodeId>>,
    /// All members, voters and learners.
    pub members: BTreeSet<NodeId>,
}

impl Config {
    /// Whether `nodes` hold a majority of each set of voters.
    #[must_use]
    pub fn is_quorum(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let majority = |set: &BTreeSet<NodeId>| set.intersection(nodes).count() * 2 > set.len();
        !self.voters.is_empty() && self.voters.iter().all(majority)
    }
}

/// One thing that happened at a member's disk or in its state.
#[derive(Debug, Clone)]
pub enum Seen {
    /// An entry was appended after `previous`; not durable yet.
    Appended {
        /// Where.
        node: NodeId,
        /// The entry.
        entry: Arc<Entry>,
        /// What stands before it, unless that was purged.
        previous: Option<LogId>,
    },
    /// The log was cut: it ends before `end` now.
    Cut {
        /// Where.
        node: NodeId,
        /// Index of the first entry that is gone.
        end: u64,
    },
    /// The log was purged up to here.
    Purged {
        /// Where.
        node: NodeId,
        /// The last entry that is gone.
        upto: LogId,
    },
    /// The disk was synced.
    Synced {
        /// Where.
        node: NodeId,
        /// Where the durable log ends.
        end: u64,
    },
    /// A vote was given: Raft has been told that it is durable.
    Voted {
        /// Where.
        node: NodeId,
        /// The vote.
        ballot: Ballot,
    },
    /// A store was opened.
    Opened {
        /// Where.
        node: NodeId,
        /// The vote it holds.
        ballot: Option<Ballot>,
        /// Last entry of its log.
        last: Option<LogId>,
    },
    /// A store was not opened.
    Refused {
        /// Where.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// Entries up to this one were applied, or a snapshot up to here was installed.
    Applied {
        /// Where.
        node: NodeId,
        /// The last of them.
        id: LogId,
        /// The membership as of there.
        config: Config,
        /// Hash of the rows that the state consists of.
        digest: Digest,
        /// A snapshot did it.
        installed: bool,
    },
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Appended { node, entry, previous } => {
                write!(f, "{node} appends {}", entry.id)?;
                match previous {
                    Some(previous) => write!(f, " after {previous}: {}", entry.digest),
                    None => write!(f, ": {}", entry.digest),
                }
            }
            Self::Cut { node, end } => write!(f, "{node} cuts its log at {end}"),
            Self::Purged { node, upto } => write!(f, "{node} purges up to {upto}"),
            Self::Synced { node, end } => write!(f, "{node} synced up to {end}"),
            Self::Voted { node, ballot } => write!(f, "{node} votes {ballot}"),
            Self::Opened { node, ballot, last } => {
                write!(f, "{node} opens")?;
                if let Some(ballot) = ballot {
                    write!(f, ", vote {ballot}")?;
                }
                last.map_or(Ok(()), |last| write!(f, ", log up to {last}"))
            }
            Self::Refused { node, reason } => write!(f, "{node} does not open: {reason}"),
            Self::Applied { node, id, digest, installed, .. } => {
                let how = if *installed { "installs" } else { "applied" };
                write!(f, "{node} {how} {id}: {digest}")
            }
        }
    }
}

/// Where what is seen is written down. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<Seen>>>);

impl Journal {
    pub(super) fn note(&self, seen: Seen) {
        self.0.lock().push(seen);
    }

    /// What was seen since the last call.
    #[must_use]
    pub fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock())
    }
}
