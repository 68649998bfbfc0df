//! What the cluster agrees on: who meets where, and everything decided in a meeting.
//!
//! No sockets, no HTTP, no media here. [`model`] and [`state`] are pure; the Raft node and the store
//! carry them out.

pub mod clock;
pub mod directory;
pub mod local;
pub mod model;
pub mod placement;
pub mod raft;
mod record;
pub mod state;
mod store;
