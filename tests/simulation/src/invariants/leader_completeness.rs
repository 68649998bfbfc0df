//! A leader has every entry that was committed before it was elected.

use super::{Scene, Sight};
use crate::check::Invariant;

#[derive(Debug)]
pub(crate) struct LeaderCompleteness;

impl Invariant for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader_completeness"
    }

    fn source(&self) -> &'static str {
        "Raft §3.6.3, leader completeness"
    }

    fn see(&mut self, sight: &Sight<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Sight::Leads { node, ballot, .. } = sight else { return Ok(()) };
        let Some(disk) = scene.disks.get(node) else { return Ok(()) };
        let (purged, entries) = disk.log();
        let first = purged.map_or(0, |purged| purged.index + 1);
        let before = |id: &plenary_cluster::simulation::LogId| (id.term, id.leader) < (ballot.term, ballot.candidate);
        let committed = scene.chronicle.moments().iter().map(crate::history::Moment::id);
        let mut held = entries.iter().map(|entry| entry.id);
        for id in committed.filter(|id| id.index >= first && before(id)) {
            if held.next() != Some(id) {
                return Err(format!("{node} leads by {ballot} without {id}, which was committed"));
            }
        }
        Ok(())
    }
}
