//! The harness: real `plenary` processes, a network between them, and what a test needs to look at both.
//!
//! ```text
//! Cluster ── Node (process, data folder, log) ── Rest (its HTTP side)
//! Network ── tun_switch.py (namespaces, delay, jitter, loss, reordering, duplication)
//! Lan     ── bridge and cables (namespaces, partitions, loss)
//! chaos   ── faults, clients, and what history makes of their answers
//! ```
//!
//! A test waits for conditions with a deadline ([`until`]), never for a time. A node's log is part of every test:
//! a line at ERROR fails it. Everything a test starts ends with it, by pid.

mod binary;
pub mod chaos;
mod clock;
mod cluster;
mod disturb;
pub mod faults;
pub mod history;
mod intruder;
mod lan;
mod log;
mod network;
mod node;
mod report;
mod rest;
mod signalling;
mod wait;

pub use binary::plenary;
pub use clock::now;
pub use cluster::{Cluster, Meeting};
pub use disturb::{Disturbance, Library, Volume};
pub use intruder::{Forger, Guest, Holds, Papers, enter, knock, knock_with};
pub use lan::Lan;
pub use log::error_lines;
pub use network::{Conditions, Network};
pub use node::{Node, Place, Ports};
pub use report::{say, setting};
pub use rest::{Answer, Rest};
pub use signalling::Signalling;
pub use wait::{DEADLINE, until, until_within};
