//! Nodes that have applied up to the same entry have the same state, and the same membership.

use std::collections::BTreeMap;

use plenary_cluster::model::NodeId;
use plenary_cluster::simulation::Seen;

use super::{Scene, Sight};
use crate::check::Invariant;

/// Where each node is.
#[derive(Debug, Default)]
pub(crate) struct StateMachineSafety(BTreeMap<NodeId, u64>);

impl Invariant for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state_machine_safety"
    }

    fn source(&self) -> &'static str {
        "Raft §3.6.3, state machine safety; §3.1, replicated state machines are deterministic"
    }

    fn see(&mut self, sight: &Sight<'_>, scene: &Scene<'_>) -> Result<(), String> {
        if let Sight::Disk(Seen::Opened { node, .. }) = sight {
            self.0.remove(node);
        }
        let Sight::Disk(Seen::Applied { node, id, config, digest, .. }) = sight else { return Ok(()) };
        let before = self.0.insert(*node, id.index).unwrap_or(0);
        if before > id.index {
            return Err(format!("{node} goes back from {before} to {id}"));
        }
        let Some(moment) = scene.chronicle.at(id.index) else { return Ok(()) };
        if moment.id() != *id {
            return Err(format!("{node} applied {id} where {} was committed", moment.id()));
        }
        if moment.digest != *digest {
            return Err(format!("{node} has another state than the others at {id}"));
        }
        if *moment.config != *config {
            return Err(format!("{node} has another membership than the others at {id}"));
        }
        Ok(())
    }
}
