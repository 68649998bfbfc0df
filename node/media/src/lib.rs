//! The media plane as a pure state machine: WebRTC sessions, rooms' shards, forwarding, slots and relay.
//!
//! No socket, no clock, no task, no lock, no randomness of its own. One [`Sfu`](sfu) runs on one worker thread;
//! the driver in `plenary` feeds it datagrams, relay frames, commands and time, and carries out its outputs.

mod anchor;
pub mod capture;
pub mod forwarder;
pub mod io;
pub mod keyframe;
pub mod opus;
pub mod packet;
pub mod relay;
mod sequence;
pub mod slots;
pub mod speakers;
#[cfg(test)]
mod testing;
pub mod timeline;
pub mod vp8;
