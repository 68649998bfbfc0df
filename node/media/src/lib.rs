//! The media plane as a pure state machine: WebRTC sessions, rooms' shards, forwarding, slots and relay.
//!
//! No socket, no clock, no task, no lock, no randomness of its own. One [`Sfu`](sfu) runs on one worker thread;
//! the driver in `plenary` feeds it datagrams, relay frames, commands and time, and carries out its outputs.

pub mod io;
pub mod packet;
pub mod relay;
