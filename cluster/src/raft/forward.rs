//! Proposals on their way to the leader, together.
//!
//! ```text
//! forward ─► bounded queue ─► all that waits, while fewer than IN_FLIGHT requests are out ─► leader ─► one answer each
//! ```
//!
//! Under load proposals gather while earlier ones are under way, so that a request, its encryption and its packets are
//! paid for by many. One alone leaves at once.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use super::RpcError;
use super::node::RaftNode;
use super::runtime::{Instant, left_until, now, timeout_at};
use super::wire::{Kind, ProposeReply, decode_reply, encode_request};
use crate::model::NodeId;
use crate::record::VALUE_MAX;
use crate::state::Proposal;

/// For how long one node is asked before another is: the leader may have just died.
const ATTEMPT_TIME: Duration = Duration::from_millis(500);

/// Proposals that may wait; more wait for a place.
pub(super) const QUEUE: usize = 8192;

/// Requests that are out at a time. With a second one the leader has work while an answer is on its way.
const IN_FLIGHT: usize = 2;

/// Proposals in one request at most.
const TOGETHER: usize = 64;

const _: () = assert!(TOGETHER * VALUE_MAX < super::wire::BODY_MAX);

/// A proposal for `leader`, and whom to give the answer.
pub(super) struct Forward {
    leader: NodeId,
    proposal: Proposal,
    answer: oneshot::Sender<ProposeReply>,
}

/// Sends what is in the queue, for as long as the node is there.
pub(super) async fn run(node: Weak<RaftNode>, mut queue: mpsc::Receiver<Forward>) {
    let mut out = FuturesUnordered::new();
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = out.next() => {}
            taken = queue.recv_many(&mut waiting, TOGETHER), if out.len() < IN_FLIGHT => {
                if taken == 0 {
                    return;
                }
                let mut by_leader: BTreeMap<NodeId, Vec<Forward>> = BTreeMap::new();
                for forward in waiting.drain(..) {
                    by_leader.entry(forward.leader).or_default().push(forward);
                }
                for (leader, together) in by_leader {
                    let Some(node) = node.upgrade() else { return };
                    out.push(send(node, leader, together));
                }
            }
        }
    }
}

/// Asks the leader once and gives everyone their answer.
async fn send(node: Arc<RaftNode>, leader: NodeId, together: Vec<Forward>) {
    let (proposals, callers): (Vec<_>, Vec<_>) =
        together.into_iter().map(|forward| (forward.proposal, forward.answer)).unzip();
    let Ok(request) = encode_request(Kind::Propose, &proposals) else { return };
    let answers = match node.ask_leader(leader, request, now() + ATTEMPT_TIME).await {
        Ok(reply) => decode_reply::<Vec<ProposeReply>>(&reply).unwrap_or_default(),
        Err(error) => {
            tracing::debug!(%leader, %error, "proposals could not be forwarded");
            Vec::new()
        }
    };
    // Those without an answer see that nobody is left to give one.
    for (caller, answer) in callers.into_iter().zip(answers) {
        drop(caller.send(answer));
    }
}

impl RaftNode {
    /// Has the leader write a proposal.
    pub(super) async fn forward(&self, leader: NodeId, proposal: Proposal, deadline: Instant) -> ProposeReply {
        let (sender, answer) = oneshot::channel();
        let asked = async {
            let forward = Forward { leader, proposal, answer: sender };
            self.forwarding.send(forward).await.ok()?;
            answer.await.ok()
        };
        timeout_at(deadline, asked).await.ok().flatten().unwrap_or(ProposeReply::Unavailable)
    }

    /// Calls whoever is taken for the leader, until someone else is: a dead one never answers.
    pub(super) async fn ask_leader(
        &self,
        leader: NodeId,
        request: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, RpcError> {
        let left = left_until(deadline).min(ATTEMPT_TIME);
        match select(pin!(self.call(leader, request, left)), pin!(self.leader_changed())).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                let reason = "it leads no longer".to_owned();
                Err(RpcError::Unreachable { target: leader, reason })
            }
        }
    }
}
