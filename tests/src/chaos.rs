//! Faults upon a cluster of real processes, while clients use every node and write down each answer.
//!
//! ```text
//! faults::Plan ─► Nemesis ─► Site (nodes, cables, clocks, disks) ◄─ Crew (clients) ─► History ─► Verdict
//! ```
//!
//! A stage is one cluster. Faults come in rounds; after each everything is mended, and then every node has to take
//! writes and all have to list the same meetings. At the end the history is judged.

mod crew;
mod etcd;
mod failover;
mod nemesis;
mod quorum;
mod report;
mod site;
mod stage;

pub use failover::{Failover, Loss};
pub use quorum::Quorum;
pub use report::Report;
pub use site::{Site, as_client};
pub use stage::{Limits, stage};
