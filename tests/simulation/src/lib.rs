//! The control plane of a whole cluster in one thread, on a virtual clock, out of one seed.
//!
//! ```text
//! seed ─► plan: how many nodes, which faults when, how much load
//!           │
//! bring up ─► chaos: clients ask, the nemesis breaks ─► heal ─► everything agrees and writes are taken again
//!                  every step is seen by the invariants, every line goes into the trace
//! ```
//!
//! The nodes are the product's own: `RaftNode` with openraft, proposing, reading, upkeep, the state and the state
//! machine with its snapshots. Simulated are the clock, the tasks, the disk below log and rows, and the network below
//! `Rpc`. A seed replays to the byte of its trace: `scripts/simulate --seed N --trace`.
//!
//! The invariants (one file each, in [`invariants`]) only look at what is seen from outside. That they look well
//! enough is shown by bugs planted on purpose ([`planted`]): each has to be caught.

pub mod invariants;
pub mod planted;

pub mod check;
pub mod chronicle;
mod client;
pub mod history;
mod known;
pub mod nemesis;
mod network;
mod plan;
mod process;
mod trace;
mod world;

pub use check::Violation;
pub use nemesis::FaultKind;
pub use world::{Counts, Report, Settings, simulate};
