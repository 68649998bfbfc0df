//! The relay: typed frames between neighbouring shards, and the state machine that speaks them.

mod frame;

pub use frame::Frame;
