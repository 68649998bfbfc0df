//! Two logs that have an entry of the same leader at the same index are the same up to there.
//!
//! By induction it is enough that an entry is the same wherever it stands, and follows the same entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use plenary_cluster::simulation::{Entry, LogId, Seen};

use super::{Scene, Sight};
use crate::check::Invariant;

#[derive(Debug, Default)]
pub(crate) struct LogMatching(BTreeMap<LogId, (Arc<Entry>, Option<LogId>)>);

impl LogMatching {
    fn note(&mut self, entry: &Arc<Entry>, previous: Option<LogId>) -> Result<(), String> {
        let known = self.0.entry(entry.id).or_insert_with(|| (Arc::clone(entry), previous));
        if known.0.digest != entry.digest {
            return Err(format!("{} says two things", entry.id));
        }
        match (known.1, previous) {
            (Some(one), Some(other)) if one != other => Err(format!("{} follows {one} and {other}", entry.id)),
            (None, Some(_)) => {
                known.1 = previous;
                Ok(())
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}

impl Invariant for LogMatching {
    fn name(&self) -> &'static str {
        "log_matching"
    }

    fn source(&self) -> &'static str {
        "Raft §3.5, log matching"
    }

    fn see(&mut self, sight: &Sight<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Disk(Seen::Appended { entry, previous, .. }) => self.note(entry, *previous),
            Sight::Disk(Seen::Opened { node, .. }) => {
                let Some(disk) = scene.disks.get(node) else { return Ok(()) };
                let (purged, entries) = disk.log();
                let mut previous = purged;
                for entry in entries {
                    let follows = previous.filter(|previous| previous.index + 1 == entry.id.index);
                    self.note(&entry, follows)?;
                    previous = Some(entry.id);
                }
                Ok(())
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
