//! What was asked for once happens once, however often it was sent.

use std::collections::BTreeMap;

use plenary_cluster::simulation::Payload;
use plenary_cluster::state::{Command, ProposalId};

use super::{Scene, Sight};
use crate::check::Invariant;

#[derive(Debug, Default)]
pub(crate) struct AppliedOnce {
    /// By name, which entry decided something.
    names: BTreeMap<ProposalId, u64>,
    /// By the text of a change, which no two changes share.
    changes: BTreeMap<String, u64>,
}

impl Invariant for AppliedOnce {
    fn name(&self) -> &'static str {
        "applied_once"
    }

    fn source(&self) -> &'static str {
        "Raft §6.3, client sessions filter repeats"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        let Sight::Committed { moment, .. } = sight else { return Ok(()) };
        let Payload::Proposal(proposal) = &moment.entry.payload else { return Ok(()) };
        if !moment.decided {
            return Ok(());
        }
        let index = moment.id().index;
        if proposal.id.epoch != 0
            && let Some(first) = self.names.insert(proposal.id, index)
        {
            return Err(format!("{:?} decided something at {first} and again at {index}", proposal.id));
        }
        if let Command::UpdateMeeting { patch, .. } = &proposal.command
            && let Some(name) = &patch.name
            && let Some(first) = self.changes.insert(name.clone(), index)
        {
            return Err(format!("{name:?} was made at {first} and again at {index}"));
        }
        Ok(())
    }
}
