//! What a node had synced is there when it starts again, or it does not start.

use std::collections::BTreeMap;

use plenary_cluster::model::NodeId;
use plenary_cluster::simulation::Seen;

use super::{Scene, Sight};
use crate::check::Invariant;

/// Where each node's durable log ends.
#[derive(Debug, Default)]
pub(crate) struct SyncedIsKept(BTreeMap<NodeId, u64>);

impl Invariant for SyncedIsKept {
    fn name(&self) -> &'static str {
        "synced_is_kept"
    }

    fn source(&self) -> &'static str {
        "Raft §3.8, log[] is persistent; Alagappan et al., FAST '18: a damaged log must not be cut in silence"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Disk(Seen::Synced { node, end }) => {
                self.0.insert(*node, *end);
                Ok(())
            }
            Sight::Disk(Seen::Cut { node, end }) => {
                self.0.entry(*node).and_modify(|synced| *synced = (*synced).min(*end));
                Ok(())
            }
            Sight::Disk(Seen::Opened { node, last, .. }) => {
                let (synced, end) = (self.0.get(node).copied().unwrap_or(0), last.map_or(0, |last| last.index + 1));
                if end >= synced {
                    return Ok(());
                }
                Err(format!("{node} opens a log that ends at {end} and had synced up to {synced}"))
            }
            Sight::Disk(_)
            | Sight::Committed { .. }
            | Sight::Leads { .. }
            | Sight::Asked { .. }
            | Sight::Answered { .. }
            | Sight::Followed { .. }
            | Sight::Stopped { .. }
            | Sight::Healed { .. } => Ok(()),
        }
    }
}
