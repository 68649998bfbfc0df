//! The media plane as a pure state machine: WebRTC sessions, rooms' shards, forwarding, slots and relay.
//!
//! No socket, no clock, no task, no lock, no randomness of its own. One [`Sfu`] runs on one worker thread;
//! the driver in `plenary` feeds it datagrams, relay frames, commands and time, and carries out its outputs.
//!
//! ```text
//! datagram ─▶ demux ─▶ session (str0m) ─▶ Packet ─▶ shard ─┬▶ forwarder ─▶ session (str0m) ─▶ datagram
//!                                                          └▶ relay ─▶ frame to another shard
//! ```

mod anchor;
pub mod capture;
mod demux;
mod effects;
pub mod forwarder;
pub mod io;
pub mod keyframe;
pub mod opus;
pub mod packet;
mod random;
pub mod relay;
mod sequence;
mod session;
pub mod sfu;
mod shard;
pub mod slots;
pub mod speakers;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod timeline;
mod timers;
pub mod vp8;

pub use session::generate_certificate;
pub use sfu::{Sfu, SfuError, WakeReason};
pub use stats::Stats;
pub use str0m::config::DtlsCert;
