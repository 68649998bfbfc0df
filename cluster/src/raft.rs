//! The Raft group: openraft behind the [`crate::directory::Directory`] face.
//!
//! [`RaftNode`] is one member. It proposes from anywhere (`propose`), answers the other members (`serve`), reaches
//! them (`network`), looks whether they live (`watch`) and, while it leads, looks after the membership (`upkeep`).
//! openraft's own types stay inside this module and the store.

mod compare;
pub(crate) mod config;
mod forward;
mod network;
mod node;
mod propose;
mod read;
mod receive;
mod rpc;
pub(crate) mod runtime;
mod serve;
mod transfer;
pub(crate) mod types;
mod upkeep;
mod voters;
mod watch;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

pub use crate::record::RecordError;
pub use crate::store::StoreError;
pub use node::{InitializeError, Options, RaftNode, Registration, StartError};
pub use rpc::{Rpc, RpcError};
pub use transfer::TransferError;
