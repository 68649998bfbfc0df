//! The relay: typed frames between neighbouring shards, their wire format, and the parts of the state machine that
//! speaks them.
//!
//! ```text
//!  origin shard ──Media──▶ ingress shard of another node ──Media──▶ its sibling shards
//!       ◀──Pull, Release, Keyframe, Nack──          ◀──Pull, Release, Keyframe, Nack──
//! ```
//!
//! One set of rules joins two workers of a node and two nodes: a shard asks its [`upstream`] for each track that its
//! own subscribers or its downstream neighbours want, and forwards what it gets to both.

mod frame;
mod gaps;
mod ring;
mod route;
pub mod wire;

pub use frame::{Carriage, Frame};
pub use gaps::{Arrival, Gaps};
pub use ring::Ring;
pub use route::{Place, ingress_worker, upstream};
