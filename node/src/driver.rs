//! The shell around the media plane: one thread for each worker, its sockets, its clock and its mailbox.
//!
//! ```text
//!   clients ── UDP ──► socket ─┐                       ┌─► socket ── UDP ──► clients
//!   api, control ─► mailbox ───┼─► worker ─► Sfu ──────┼─► session's event channel ─► api
//!   other workers, links ──────┘   (decides nothing)   └─► other workers, links
//! ```
//!
//! **Invariant:** media never awaits. A worker thread takes no lock that is held while something is awaited, and every
//! queue into or out of it is bounded and drops rather than blocks; what it drops is counted.

mod mailbox;
mod socket;
mod worker;
mod workers;

pub use mailbox::{Mailbox, MailboxFull, Message};
pub use socket::{BoundSocket, SocketError};
pub use worker::{NodeLinks, WorkerGauges};
pub use workers::{StartError, Workers, primary_address, worker_count};
