//! What a workload was promised, and whether a store that was opened afterwards keeps it.

use std::collections::{BTreeMap, BTreeSet};

use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use openraft::vote::RaftLeaderId;

use super::super::Store;
use crate::model::{NodeAddresses, NodeId, Timestamp};
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};
use crate::state::{Command, Proposal, ProposalId, State};

/// One line that a workload wrote down. What it asks for it writes down before, what it was answered after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// An entry is durable.
    Appended { index: u64, term: u64 },
    /// The log will be cut to this end.
    Cutting { end: u64 },
    /// A vote will be saved.
    Voting { term: u64 },
    /// A vote is durable.
    Voted { term: u64 },
    /// The log will be purged up to here.
    Purging { index: u64 },
    /// A snapshot that reaches this far is durable.
    Snapshot { index: u64 },
    /// What the state is at an index.
    State { index: u64, hash: u64 },
}

impl Fact {
    pub(super) fn line(self) -> String {
        match self {
            Self::Appended { index, term } => format!("a {index} {term}\n"),
            Self::Cutting { end } => format!("t {end} 0\n"),
            Self::Voting { term } => format!("w {term} 0\n"),
            Self::Voted { term } => format!("v {term} 0\n"),
            Self::Purging { index } => format!("p {index} 0\n"),
            Self::Snapshot { index } => format!("s {index} 0\n"),
            Self::State { index, hash } => format!("h {index} {hash}\n"),
        }
    }

    /// `None` for the half line of a process that was killed while it wrote.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (kind, one, two) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(match kind {
            "a" => Self::Appended { index: one, term: two },
            "t" => Self::Cutting { end: one },
            "w" => Self::Voting { term: one },
            "v" => Self::Voted { term: one },
            "p" => Self::Purging { index: one },
            "s" => Self::Snapshot { index: one },
            "h" => Self::State { index: one, hash: two },
            _ => return None,
        })
    }
}

/// Everything promised up to some moment.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// Terms of the entries that have to be there.
    entries: BTreeMap<u64, u64>,
    /// The last vote that was acknowledged.
    voted: u64,
    /// Every vote that was asked for.
    votes: BTreeSet<u64>,
    /// Entries up to here may be gone.
    purged: Option<u64>,
    snapshot: Option<u64>,
    states: BTreeMap<u64, u64>,
    /// Entries that were ever acknowledged.
    pub(super) acknowledged: u64,
}

impl History {
    pub(super) fn of(text: &str) -> Self {
        let mut history = Self::default();
        for fact in text.split_inclusive('\n').filter_map(|line| Fact::parse(line.strip_suffix('\n')?)) {
            history.add(fact);
        }
        history
    }

    pub(super) fn add(&mut self, fact: Fact) {
        match fact {
            Fact::Appended { index, term } => {
                self.acknowledged += 1;
                self.entries.insert(index, term);
            }
            Fact::Cutting { end } => drop(self.entries.split_off(&end)),
            Fact::Voting { term } => drop(self.votes.insert(term)),
            Fact::Voted { term } => self.voted = self.voted.max(term),
            Fact::Purging { index } => {
                self.purged = self.purged.max(Some(index));
                self.entries = self.entries.split_off(&(index + 1));
            }
            Fact::Snapshot { index } => self.snapshot = self.snapshot.max(Some(index)),
            Fact::State { index, hash } => drop(self.states.insert(index, hash)),
        }
    }

    /// What is missing in `store` or wrong about it. `snapshots` may be passed over if the files were harmed.
    pub(super) async fn broken_by(&self, store: &mut Store, snapshots: bool) -> Option<String> {
        let vote = store.log.read_vote().await.expect("a vote is read").map_or(0, |vote| vote.leader_id.term);
        if vote < self.voted || (vote != 0 && !self.votes.contains(&vote)) {
            return Some(format!("the vote is of term {vote}, acknowledged was {}", self.voted));
        }
        let log = store.log.get_log_state().await.expect("the log is read");
        let first = log.last_purged_log_id.map_or(0, |id| id.index() + 1);
        if first > self.purged.map_or(0, |index| index + 1) {
            return Some(format!("the log begins at {first}, purged was up to {:?}", self.purged));
        }
        let mut found = BTreeMap::new();
        for entry in store.log.try_get_log_entries(..).await.expect("entries are read") {
            let id = entry.log_id;
            let term = id.committed_leader_id().term;
            if entry != written(id.index(), term) {
                return Some(format!("entry {id} is not what was appended"));
            }
            found.insert(id.index(), term);
        }
        for (index, term) in &self.entries {
            if found.get(index) != Some(term) && *index >= first {
                return Some(format!("entry {index} of term {term} is gone, found {:?}", found.get(index)));
            }
        }
        let snapshot = store.machine.snapshots().current().and_then(|(meta, _)| meta.last_log_id);
        if snapshots && snapshot.map(|id| id.index()) < self.snapshot {
            return Some(format!("the snapshot at {:?} is gone, found {snapshot:?}", self.snapshot));
        }
        let applied = store.machine.applied();
        if applied > log.last_log_id.max(snapshot) {
            return Some(format!("applied up to {applied:?} and the log ends with {:?}", log.last_log_id));
        }
        if let Some(applied) = applied {
            let (found, known) = (hash(&store.machine.view().state()), self.states.get(&applied.index()));
            if known.is_some_and(|known| *known != found) {
                return Some(format!("the state at {applied} is not what was applied"));
            }
        }
        None
    }
}

/// The one entry that is ever appended at an index in a term.
pub(super) fn written(index: u64, term: u64) -> Entry {
    let id = log_id(index, term);
    if index.is_multiple_of(7) {
        return Entry::new_blank(id);
    }
    let port = u16::try_from(1 + index % 60_000).unwrap_or(1);
    let address = ([127, 0, 0, 1], port).into();
    let command = Command::RegisterNode {
        node: NodeId::new(1 + index % 40),
        addresses: NodeAddresses { http: address, control: address, media_link: address },
        workers: 1,
        zone: format!("{term}"),
        version: "x".repeat(usize::try_from(index * 31 % 400).unwrap_or(0)),
    };
    let proposal = ProposalId { proposer: NodeId::new(1 + index % 40), epoch: 0, sequence: index };
    let time = Timestamp::from_millis(i64::try_from(index).unwrap_or(0));
    Entry::new_normal(id, Proposal { id: proposal, time, command })
}

pub(super) fn log_id(index: u64, term: u64) -> LogId {
    let leader = <openraft::alias::LeaderIdOf<TypeConfig> as RaftLeaderId>::new(term, NodeId::new(1));
    LogId::new(leader.to_committed(), index)
}

pub(super) fn vote(term: u64) -> Vote {
    Vote::new_committed(term, NodeId::new(1))
}

/// A hash over all rows of a state.
pub(super) fn hash(state: &State) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    for change in state.changes_since(&State::default()) {
        let change = change.expect("a state has rows");
        hasher.update(&change.key);
        hasher.update(&change.after.unwrap_or_default());
    }
    u64::from(hasher.finalize())
}
