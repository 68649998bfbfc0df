//! The world that scenarios play in.

mod client;
mod network;
mod world;

pub(crate) use client::{Received, Tag};
pub(crate) use network::Quality;
pub(crate) use world::World;

use std::time::Duration;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
