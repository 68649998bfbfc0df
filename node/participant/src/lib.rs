//! A headless participant: joins a meeting as a browser would, with synthetic media, and says what it really got.
//!
//! For tests and for `plenary load`. It knows a node only from outside: REST, signalling ([`plenary_protocol`]) and
//! media.
//!
//! Not for: decoding or encoding (payloads are headers, markers and filling), devices, recording.

mod marker;
mod peer;
mod receiver;
mod report;
mod source;

pub use peer::{Command, Input, Output, Peer, PeerError, PeerOptions};
pub use report::{Ended, Network, Published, Report, Segment, SenderReport, SlotKind, SlotReport, SlotStats, Times};
pub use source::{Epoch, Speech, Video};
