//! A replica beside the cluster: the same `apply`, fed with the entries that were committed, one at a time.

use std::collections::BTreeMap;
use std::fmt;

use openraft::EntryPayload;
use sha2::{Digest as _, Sha256};

use super::seen::{Config, LogId};
use crate::model::NodeId;
use crate::raft::types;
use crate::state::{Applied, Change, Proposal, State};

/// A hash over a set of rows: the sum of the hashes of its rows, so that it follows changes at their own cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Digest(u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0 >> 64)
    }
}

impl Digest {
    fn of_row(key: &[u8], value: &[u8]) -> u128 {
        let mut hash = Sha256::new();
        hash.update((key.len() as u64).to_le_bytes());
        hash.update(key);
        hash.update(value);
        let bytes: [u8; 32] = hash.finalize().into();
        bytes.iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
    }

    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Self::of_row(&[], bytes))
    }

    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(Self::of_row(key, value));
    }

    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_sub(Self::of_row(key, value));
    }
}

/// Rows with their digest.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of the rows of the state; those of the store itself have table 0.
    pub(super) digest: Digest,
}

impl Rows {
    pub(super) fn change(&mut self, Change { key, after: value, .. }: Change) {
        let counts = key.first() != Some(&0);
        let old = match &value {
            Some(value) => self.rows.insert(key.clone(), value.clone()),
            None => self.rows.remove(&key),
        };
        if let (true, Some(old)) = (counts, old) {
            self.digest.remove(&key, &old);
        }
        if let (true, Some(value)) = (counts, value) {
            self.digest.add(&key, &value);
        }
    }
}

/// What an entry says.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// Nothing: a new leader's first.
    Blank,
    /// Who the members are.
    Members(Config),
    /// What someone proposes.
    Proposal(Proposal),
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its name.
    pub id: LogId,
    /// What it says.
    pub payload: Payload,
    /// Hash of both.
    pub digest: Digest,
}

impl Entry {
    pub(super) fn of(entry: &types::Entry) -> Self {
        let payload = match &entry.payload {
            EntryPayload::Blank => Payload::Blank,
            EntryPayload::Membership(membership) => Payload::Members(config_of(membership)),
            EntryPayload::Normal(proposal) => Payload::Proposal(proposal.clone()),
        };
        let bytes = crate::record::encode(entry).unwrap_or_default();
        Self { id: LogId::of(&entry.log_id), payload, digest: Digest::of(&bytes) }
    }
}

pub(super) fn config_of(membership: &openraft::Membership<NodeId, types::Member>) -> Config {
    Config { voters: membership.get_joint_config().clone(), members: membership.nodes().map(|(id, _)| *id).collect() }
}

/// The state after one entry more.
#[derive(Debug, Clone)]
pub struct Replica {
    state: State,
    rows: Rows,
}

impl Default for Replica {
    fn default() -> Self {
        let mut replica = Self { state: State::default(), rows: Rows::default() };
        replica.follow(&State::default());
        replica
    }
}

/// Tables whose rows change without anybody having decided anything: the clock, the proposers, their outcomes.
const BOOKKEEPING: [u8; 3] = [1, 9, 10];

impl Replica {
    /// Applies an entry. Returns its outcome, if it carried a proposal, and whether it decided anything.
    pub fn apply(&mut self, entry: &Entry) -> (Option<Applied>, bool) {
        let before = self.state.clone();
        let applied = match &entry.payload {
            Payload::Blank | Payload::Members(_) => {
                self.state.advance(entry.id.index);
                None
            }
            Payload::Proposal(proposal) => Some(self.state.apply(entry.id.index, proposal)),
        };
        let decided = self.follow(&before);
        (applied, decided)
    }

    fn follow(&mut self, before: &State) -> bool {
        let changes: Vec<Change> = self.state.changes_since(before).collect::<Result<_, _>>().unwrap_or_default();
        let decided = changes.iter().any(|change| change.key.first().is_some_and(|table| !BOOKKEEPING.contains(table)));
        for change in changes {
            self.rows.change(change);
        }
        decided
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The digest of its rows.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.rows.digest
    }
}
