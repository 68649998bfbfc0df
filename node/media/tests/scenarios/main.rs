//! Scenarios: real `Sfu`s and headless str0m clients on a virtual clock and a seeded network. Nothing here sleeps,
//! opens a socket or depends on the machine's speed.

#[cfg(test)]
mod call;
#[cfg(test)]
mod common;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod robustness;
#[cfg(test)]
mod switching;
