//! The carrier of these tests: calls go straight to the other member, unless a cable is cut or long.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;

use crate::model::NodeId;
use crate::raft::{RaftNode, Rpc, RpcError};

#[derive(Clone, Default)]
pub(super) struct Mesh(Arc<Inner>);

#[derive(Default)]
struct Inner {
    members: Mutex<BTreeMap<NodeId, Weak<RaftNode>>>,
    /// Members whom nobody reaches and who reach nobody.
    cut: Mutex<BTreeSet<NodeId>>,
    /// Members whom nobody reaches, though they reach the others.
    deaf: Mutex<BTreeSet<NodeId>>,
    /// How many answers to forwarded proposals get lost from now on.
    lose: AtomicU32,
    /// What a call and its answer take on their way, together.
    round_trip: Mutex<Duration>,
}

impl Mesh {
    pub(super) fn of(&self, from: NodeId) -> Arc<dyn Rpc> {
        Arc::new(End { from, mesh: self.clone() })
    }

    pub(super) fn join(&self, node: &Arc<RaftNode>) {
        self.0.members.lock().insert(node.id(), Arc::downgrade(node));
    }

    pub(super) fn leave(&self, node: NodeId) {
        self.0.members.lock().remove(&node);
    }

    pub(super) fn cut(&self, node: NodeId) {
        self.0.cut.lock().insert(node);
    }

    /// From now on nobody reaches `node`.
    pub(super) fn deafen(&self, node: NodeId) {
        self.0.deaf.lock().insert(node);
    }

    pub(super) fn heal(&self) {
        self.0.cut.lock().clear();
        self.0.deaf.lock().clear();
    }

    pub(super) fn lose_answers(&self, count: u32) {
        self.0.lose.store(count, Ordering::SeqCst);
    }

    /// From now on the members are this far apart.
    pub(super) fn stretch(&self, round_trip: Duration) {
        *self.0.round_trip.lock() = round_trip;
    }

    /// One way between two members.
    async fn travel(&self) {
        let way = *self.0.round_trip.lock() / 2;
        if !way.is_zero() {
            tokio::time::sleep(way).await;
        }
    }

    fn reach(&self, from: NodeId, target: NodeId) -> Option<Arc<RaftNode>> {
        let cut = self.0.cut.lock();
        if cut.contains(&from) || cut.contains(&target) || self.0.deaf.lock().contains(&target) {
            return None;
        }
        self.0.members.lock().get(&target)?.upgrade()
    }

    /// Whether the answer to this request is to be lost. The second byte of a forwarded proposal is 6.
    fn loses(&self, request: &Bytes) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        request.get(1) == Some(&6) && self.0.lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

/// One member's end of the mesh.
struct End {
    from: NodeId,
    mesh: Mesh,
}

impl Rpc for End {
    fn call(
        &self,
        target: NodeId,
        _address: SocketAddr,
        request: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Bytes, RpcError>> {
        async move {
            let Some(node) = self.mesh.reach(self.from, target) else {
                return Err(RpcError::Unreachable { target, reason: "cut off".to_owned() });
            };
            let lost = self.mesh.loses(&request);
            let there_and_back = async {
                self.mesh.travel().await;
                let answer = node.handle(self.from, request).await;
                self.mesh.travel().await;
                answer
            };
            match tokio::time::timeout(deadline, there_and_back).await {
                Ok(_) if lost => Err(RpcError::Timeout { target }),
                Ok(answer) => answer.map_err(|reason| RpcError::Refused { target, reason }),
                Err(_) => Err(RpcError::Timeout { target }),
            }
        }
        .boxed()
    }
}
