//! What a simulated cluster needs beneath it: time, tasks, disks, and a view into its members.
//!
//! Everything that decides anything comes out of one seed. openraft, our own code around it and whoever drives the
//! simulation run as tasks of one [`Executor`] on one thread, on a clock that moves only when nobody has anything to
//! do. A member keeps its log, vote and rows on a [`Disk`], which forgets at a crash what was not synced.
//!
//! Compiled with the feature `simulation` only. [`Runtime`] is tokio wherever no simulation runs on the thread, so a
//! build with the feature behaves like one without.
//!
//! **Invariant:** nothing here reads a clock, a thread-local generator or the order of a hash map.

mod disk;
mod executor;
mod log;
mod member;
mod planted;
mod random;
mod replica;
mod runtime;
mod seen;

pub use disk::{Damage, Disk, Latency};
pub use executor::{Executor, Group, Handle, JoinError, JoinHandle, Step, sleep};
pub use member::{Glance, Tuning, forge, glance, start};
pub use planted::{Bug, is_planted, plant};
pub(crate) use planted::{disturbed, misnamed};
pub use random::Random;
pub use replica::{Digest, Entry, Payload, Replica};
pub use runtime::Runtime;
pub(crate) use runtime::{Tasks, blocking};
pub use seen::{Ballot, Config, Journal, LogId, Seen};

/// Whether a simulation runs on this thread.
pub(crate) fn is_running() -> bool {
    Handle::current().is_some()
}
