//! Nothing is applied before a majority of the voters has it on disk.

use std::collections::BTreeSet;

use plenary_cluster::model::NodeId;

use super::{Scene, Sight};
use crate::check::Invariant;
use crate::history::Moment;

#[derive(Debug)]
pub(crate) struct AppliedIsCommitted;

impl AppliedIsCommitted {
    /// A leader counts by the latest membership of its log, which may be a later one than that of the entry.
    fn is_held(moment: &Moment, holders: &BTreeSet<NodeId>, scene: &Scene<'_>) -> bool {
        let later = scene.chronicle.moments().iter().skip_while(|later| later.id().index < moment.id().index);
        moment.config.is_quorum(holders)
            || later.map(|later| &later.config).any(|config| config.is_quorum(holders))
            || scene.chronicle.pending().any(|config| config.is_quorum(holders))
    }
}

impl Invariant for AppliedIsCommitted {
    fn name(&self) -> &'static str {
        "applied_is_committed"
    }

    fn source(&self) -> &'static str {
        "Raft §3.5, an entry is committed once a majority stores it; §3.8, on stable storage"
    }

    fn see(&mut self, sight: &Sight<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Sight::Committed { moment, holders } = sight else { return Ok(()) };
        // The founder's first entry makes the membership that would have to agree to it.
        if moment.id().index == 0 || Self::is_held(moment, holders, scene) {
            return Ok(());
        }
        let holders: Vec<String> = holders.iter().map(ToString::to_string).collect();
        Err(format!("{} was applied and only {} hold it", moment.id(), holders.join(", ")))
    }
}
