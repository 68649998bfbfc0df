//! What always holds, a file each, with the source that says so.
//!
//! "Raft" is Ongaro's dissertation, *Consensus: Bridging Theory and Practice* (2014), by section.

use crate::check::Invariant;

mod acknowledged_writes;
mod applied_is_committed;
mod applied_once;
mod caps;
mod epochs;
mod events;
mod homes;
mod leader_completeness;
mod linearizable_reads;
mod liveness;
mod log_matching;
mod nodes_stay_up;
mod one_leader;
mod reads_at_revision;
mod state_machine_safety;
mod synced_is_kept;
mod time;
mod votes;

pub use crate::check::{Scene, Sight};

/// All of them.
pub(crate) fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::<one_leader::OneLeader>::default(),
        Box::<votes::Votes>::default(),
        Box::<log_matching::LogMatching>::default(),
        Box::<synced_is_kept::SyncedIsKept>::default(),
        Box::new(leader_completeness::LeaderCompleteness),
        Box::new(applied_is_committed::AppliedIsCommitted),
        Box::<state_machine_safety::StateMachineSafety>::default(),
        Box::<acknowledged_writes::AcknowledgedWrites>::default(),
        Box::<linearizable_reads::LinearizableReads>::default(),
        Box::new(reads_at_revision::ReadsAtRevision),
        Box::<applied_once::AppliedOnce>::default(),
        Box::new(caps::Caps),
        Box::<homes::Homes>::default(),
        Box::<epochs::Epochs>::default(),
        Box::<time::Time>::default(),
        Box::new(events::Events),
        Box::new(nodes_stay_up::NodesStayUp),
        Box::new(liveness::Liveness),
    ]
}
