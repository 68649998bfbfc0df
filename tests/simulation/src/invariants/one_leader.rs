//! A leadership belongs to one process: whoever is elected by a vote leads by it once, and never after a restart.
//!
//! Votes here are ordered by term and then by candidate, so a term may see a second leader that unseats the first;
//! what must be unique is the leader of a vote. A restarted leader may have forgotten what it applied.

use std::collections::BTreeMap;

use plenary_cluster::model::NodeId;

use super::{Scene, Sight};
use crate::check::Invariant;

#[derive(Debug, Default)]
pub(crate) struct OneLeader(BTreeMap<(u64, NodeId), (NodeId, u64)>);

impl Invariant for OneLeader {
    fn name(&self) -> &'static str {
        "one_leader"
    }

    fn source(&self) -> &'static str {
        "Raft §3.2, election safety; openraft's vote: one leader for a (term, candidate)"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        let Sight::Leads { node, life, ballot } = sight else { return Ok(()) };
        let first = *self.0.entry((ballot.term, ballot.candidate)).or_insert((*node, *life));
        if first == (*node, *life) && ballot.candidate == *node {
            return Ok(());
        }
        Err(format!("{node} leads in life {life} by {ballot}, by which {} led in life {}", first.0, first.1))
    }
}
