//! How one member reaches another. The bytes are ours on both ends; the carrier is the node's QUIC control link.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};

use super::wire::{Kind, encode_request};
use crate::model::NodeId;

/// Why a call brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No connection to the target; the request was certainly not handled.
    #[error("node {target} can't be reached: {reason}")]
    Unreachable {
        /// Whom we called.
        target: NodeId,
        /// What the carrier says.
        reason: String,
    },
    /// The request may or may not have been handled.
    #[error("node {target} did not answer in time")]
    Timeout {
        /// Whom we called.
        target: NodeId,
    },
    /// The target answered that it can't serve this.
    #[error("node {target} refused: {reason}")]
    Refused {
        /// Whom we called.
        target: NodeId,
        /// Its words.
        reason: String,
    },
}

/// Request and response between members.
pub trait Rpc: Send + Sync + 'static {
    /// Sends `request` to `target`, who is to be dialled at `address`, and waits for the answer until `deadline`.
    fn call(
        &self,
        target: NodeId,
        address: SocketAddr,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Bytes, RpcError>>;

    /// Asks `target` for a sign of life; whether one came before `deadline`. A carrier that has something lighter than
    /// a call uses it.
    fn probe(&self, target: NodeId, address: SocketAddr, deadline: Duration) -> BoxFuture<'_, bool> {
        async move {
            let Ok(request) = encode_request(Kind::Probe, &()) else { return false };
            self.call(target, address, request, deadline).await.is_ok()
        }
        .boxed()
    }
}
