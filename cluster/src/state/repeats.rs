//! Telling a repeated proposal from a new one.
//!
//! A forwarded proposal whose answer got lost is sent again under the same [`ProposalId`]; the second one gets the
//! first one's outcome. What is remembered is bounded per proposer: the latest [`REPEATS_CAP`] sequences of its
//! current epoch. Anything older is refused as [`Rejection::ProposalExpired`] instead of being risked twice.

use serde::{Deserialize, Serialize};

use super::{Applied, Command, Proposal, ProposalId, Rejection, State};
use crate::model::NodeId;

/// Outcomes remembered per proposer. Retries stop after seconds, so this covers some hundred proposals a second
/// from every node.
pub const REPEATS_CAP: u32 = 1024;

/// What is remembered of a proposer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Proposer {
    /// Its epoch; 0 until it has registered.
    pub(super) epoch: u64,
    /// Sequence of the registration that gave it this epoch: a repeat of it gets the same epoch.
    pub(super) registration: u64,
    /// Sequences below this are forgotten.
    pub(super) floor: u64,
    /// Outcomes held.
    pub(super) held: u32,
}

/// What came of one proposal: the answer that every repeat gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The index of the entry that took effect. A repeat has one of its own, later and without effect.
    pub revision: u64,
    /// What it did.
    pub applied: Applied,
}

impl State {
    /// The answer to a proposal that must not be carried out (again), or `None` for a new one.
    pub(super) fn repeated(&self, proposal: &Proposal) -> Option<Applied> {
        let ProposalId { proposer, epoch, sequence } = proposal.id;
        let known = self.proposers.get(&proposer).copied().unwrap_or_default();
        if epoch == 0 {
            let registers = matches!(&proposal.command, Command::RegisterNode { node, .. } if *node == proposer);
            let again = registers && known.epoch != 0 && known.registration == sequence;
            return again.then_some(Applied::Registered { epoch: known.epoch });
        }
        if epoch != known.epoch || sequence < known.floor {
            return Some(Applied::Rejected(Rejection::ProposalExpired));
        }
        self.outcomes.get(&(proposer, sequence)).map(|outcome| outcome.applied.clone())
    }

    /// What came of a proposal that was just applied: at the entry of its first attempt, should this have been a repeat.
    pub(crate) fn outcome(&self, id: ProposalId, applied: Applied) -> Outcome {
        let first = self.outcomes.get(&(id.proposer, id.sequence)).filter(|first| first.applied == applied);
        Outcome { revision: first.map_or(self.revision, |first| first.revision), applied }
    }

    /// Remembers what came of a new proposal.
    pub(super) fn remember(&mut self, id: ProposalId, applied: &Applied) {
        if id.epoch == 0 || planted!(ForgetRepeats) {
            return;
        }
        let Some(mut known) = self.proposers.get(&id.proposer).copied() else { return };
        if known.epoch != id.epoch {
            return; // The proposal itself began a new epoch: the old one's repeats are expired now.
        }
        let outcome = Outcome { revision: self.revision, applied: applied.clone() };
        self.outcomes.insert((id.proposer, id.sequence), outcome);
        known.held += 1;
        while known.held > REPEATS_CAP {
            let Some(oldest) = self.sequences(id.proposer).next() else { break };
            self.outcomes.remove(&(id.proposer, oldest));
            known.floor = oldest.saturating_add(1);
            known.held -= 1;
        }
        self.proposers.insert(id.proposer, known);
    }

    /// Begins a proposer's new epoch: nothing of the older ones is remembered.
    pub(super) fn begin_epoch(&mut self, proposer: NodeId, epoch: u64, registration: u64) {
        self.forget_proposer(proposer);
        self.proposers.insert(proposer, Proposer { epoch, registration, floor: 0, held: 0 });
    }

    /// Forgets a proposer: whatever it still sends in its old epoch is refused.
    pub(super) fn forget_proposer(&mut self, proposer: NodeId) {
        let old: Vec<u64> = self.sequences(proposer).collect();
        for sequence in old {
            self.outcomes.remove(&(proposer, sequence));
        }
        self.proposers.remove(&proposer);
    }

    /// Sequences of a proposer whose outcomes are held, oldest first.
    pub(super) fn sequences(&self, proposer: NodeId) -> impl Iterator<Item = u64> {
        self.outcomes.range((proposer, 0)..=(proposer, u64::MAX)).map(|((_, sequence), _)| *sequence)
    }
}
