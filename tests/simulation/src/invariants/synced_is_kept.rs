//! What a node had synced is there when it starts again, or it does not start; and what it had cut is gone.

use std::collections::BTreeMap;

use plenary_cluster::model::NodeId;
use plenary_cluster::simulation::Seen;

use super::{Scene, Sight};
use crate::check::Invariant;

/// Where a node's log ends.
#[derive(Debug, Clone, Copy, Default)]
struct End {
    /// On disk.
    synced: u64,
    /// As written.
    written: u64,
    /// As written at most since the last sync: the next sync brings the log as it was at some time since.
    peak: u64,
}

#[derive(Debug, Default)]
pub(crate) struct SyncedIsKept(BTreeMap<NodeId, End>);

impl Invariant for SyncedIsKept {
    fn name(&self) -> &'static str {
        "synced_is_kept"
    }

    fn source(&self) -> &'static str {
        "Raft §3.8, log[] is persistent; Alagappan et al., FAST '18: a damaged log must not be cut in silence"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Disk(Seen::Appended { node, entry, .. }) => {
                let end = self.0.entry(*node).or_default();
                end.written = entry.id.index + 1;
                end.peak = end.peak.max(end.written);
                Ok(())
            }
            Sight::Disk(Seen::Purged { node, upto }) => {
                let end = self.0.entry(*node).or_default();
                end.written = end.written.max(upto.index + 1);
                end.peak = end.peak.max(end.written);
                Ok(())
            }
            Sight::Disk(Seen::Cut { node, end: cut }) => {
                let end = self.0.entry(*node).or_default();
                end.synced = end.synced.min(*cut);
                end.written = end.written.min(*cut);
                Ok(())
            }
            Sight::Disk(Seen::Synced { node, end: synced }) => {
                let end = self.0.entry(*node).or_default();
                let most = end.peak;
                (end.synced, end.peak) = (*synced, end.written);
                if *synced <= most {
                    return Ok(());
                }
                Err(format!("{node} synced a log up to {synced} that had ended at {most} at most"))
            }
            Sight::Disk(Seen::Opened { node, last, .. }) => {
                let opened = last.map_or(0, |last| last.index + 1);
                let before = self.0.insert(*node, End { synced: opened, written: opened, peak: opened });
                let synced = before.unwrap_or_default().synced;
                if opened >= synced {
                    return Ok(());
                }
                Err(format!("{node} opens a log that ends at {opened} and had synced up to {synced}"))
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
