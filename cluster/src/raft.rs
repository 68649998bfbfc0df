//! The Raft group: openraft behind the [`crate::directory::Directory`] face.

mod rpc;

pub use rpc::{Rpc, RpcError};
