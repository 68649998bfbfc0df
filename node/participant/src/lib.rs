//! A headless participant: joins a meeting as a browser would, with synthetic media, and says what it really got.
//!
//! For tests and for `plenary load` ([`load`]). It knows a node only from outside: REST, signalling ([`plenary_protocol`]) and
//! media.
//!
//! ```text
//!   Participant (handle) ──orders──► driver (one task: sockets, clock) ──inputs──► Peer (pure)
//!        ▲                                                                          │ sources  → RTP
//!        └───────────────────────────── Report ◄────────────────────────────────────┤ receivers ← RTP
//!                                                                                   └ signalling
//! ```
//!
//! Not for: decoding or encoding (payloads are headers, markers and filling), devices, recording.
//!
//! **Invariant:** only `clock` reads the clock; `peer`, `source`, `receiver` and `marker` do no I/O.

mod clock;
mod driver;
mod histogram;
pub mod load;
mod marker;
mod options;
mod participant;
mod peer;
mod receiver;
mod report;
mod rest;
mod signalling;
mod source;
mod srtp;
mod words;

#[cfg(test)]
mod echo;

pub use histogram::Histogram;
pub use options::Options;
pub use participant::{JoinError, Participant, WaitError};
pub use peer::{Command, Input, Output, Peer, PeerError, PeerOptions};
pub use report::{Ended, Network, Published, Report, Segment, SenderReport, SlotKind, SlotReport, SlotStats, Times};
pub use rest::{RestError, Ticket};
pub use signalling::{Received, Signalling, SignallingError};
pub use source::{Codec, Epoch, Layers, Speech, Trace, Video};
pub use srtp::Profiles;
