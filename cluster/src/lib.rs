//! What the cluster agrees on: who meets where, and everything decided in a meeting.
//!
//! No sockets, no HTTP, no media here. [`model`] and [`state`] are pure; the Raft node and the store
//! carry them out.

/// Whether a bug is planted: never, unless a simulation of this thread did (see `simulation::Bug`).
#[cfg(feature = "simulation")]
macro_rules! planted {
    ($bug:ident) => {
        $crate::simulation::is_planted($crate::simulation::Bug::$bug)
    };
}
#[cfg(not(feature = "simulation"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

pub mod clock;
mod detector;
pub mod directory;
pub mod local;
pub mod model;
pub mod placement;
pub mod raft;
mod record;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod state;
mod store;
