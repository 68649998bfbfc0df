//! Proposals on their way to the leader, together.
//!
//! ```text
//! forward ─► bounded queue ─► all that waits, once no request is out, or it fills one, or has waited ─► leader
//! ```
//!
//! Under load proposals gather while earlier ones are under way, so that a request, its encryption and its packets are
//! paid for by many. One alone leaves at once.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, FutureExt, select, select_all};
use tokio::sync::{mpsc, oneshot};

use super::RpcError;
use super::node::RaftNode;
use super::runtime::{Instant, left_until, now, sleep_until, timeout_at};
use super::wire::{Kind, ProposeReply, decode_reply, encode_request};
use crate::model::NodeId;
use crate::record::VALUE_MAX;
use crate::state::Proposal;

/// For how long one node is asked before another is: the leader may have just died.
const ATTEMPT_TIME: Duration = Duration::from_millis(500);

/// Proposals that may wait; more wait for a place.
pub(super) const QUEUE: usize = 8192;

/// Requests that are out at a time. Beyond the first only those leave that are full or have waited for [`COMPANY`]: a
/// proposal in company costs less of every node's time than one that goes alone.
const IN_FLIGHT: usize = 4;

/// For how long a proposal waits for company: a request may be out to a node that never answers.
const COMPANY: Duration = Duration::from_millis(50);

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
    let mut out: Vec<BoxFuture<'static, ()>> = Vec::new();
    let mut waiting = Vec::new();
    // When the first of those that wait came, and whether that is long ago.
    let (mut since, mut waited) = (now(), false);
    loop {
        let room = TOGETHER - waiting.len();
        if leave(out.len(), waiting.len(), waited) {
            let Some(node) = node.upgrade() else { return };
            for (leader, together) in addressed(waiting.drain(..), node.id, node.leader()) {
                out.push(send(Arc::clone(&node), leader, together).boxed());
            }
            waited = false;
            continue;
        }
        tokio::select! {
            biased;
            done = first(&mut out), if !out.is_empty() => drop(out.swap_remove(done)),
            taken = queue.recv_many(&mut waiting, room), if room > 0 => {
                if taken == 0 {
                    return;
                }
                if waiting.len() == taken {
                    since = now();
                }
            }
            () = sleep_until(since + COMPANY), if !waiting.is_empty() && !waited => waited = true,
        }
    }
}

/// Whether those that wait leave now: one alone when nothing is out, others once they are many or have waited.
const fn leave(out: usize, waiting: usize, waited: bool) -> bool {
    waiting > 0 && (out == 0 || (out < IN_FLIGHT && (waiting >= TOGETHER || waited)))
}

/// The place of one that is done. They are looked at in order, whichever was woken: a simulation has to come out the
/// same each time.
async fn first(out: &mut [BoxFuture<'static, ()>]) -> usize {
    let ((), done, _) = select_all(out.iter_mut()).await;
    done
}

/// Whom to send what: each to who leads now, if that is known. Those whose caller has given up are let go, and those
/// that this node is to write itself go back to their caller, who sees that nobody is left to answer.
fn addressed(
    waiting: impl Iterator<Item = Forward>,
    own: NodeId,
    leader: Option<NodeId>,
) -> BTreeMap<NodeId, Vec<Forward>> {
    let mut by_leader: BTreeMap<NodeId, Vec<Forward>> = BTreeMap::new();
    for forward in waiting.filter(|forward| !forward.answer.is_closed()) {
        let to = leader.unwrap_or(forward.leader);
        if to != own {
            by_leader.entry(to).or_default().push(forward);
        }
    }
    by_leader
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
        match select(pin!(self.call(leader, request, left)), pin!(self.led_by_another(leader))).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                let reason = "another leads".to_owned();
                Err(RpcError::Unreachable { target: leader, reason })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::state::{Command, ProposalId};

    const fn node(number: u64) -> NodeId {
        NodeId::new(number)
    }

    fn forward(leader: u64, sequence: u64) -> (Forward, oneshot::Receiver<ProposeReply>) {
        let (answer, receiver) = oneshot::channel();
        let id = ProposalId { proposer: node(1), epoch: 1, sequence };
        let command = Command::NodeDown { node: node(9), epoch: 1 };
        let proposal = Proposal { id, time: Timestamp::from_millis(0), command };
        (Forward { leader: node(leader), proposal, answer }, receiver)
    }

    fn sequences(of: &[Forward]) -> Vec<u64> {
        of.iter().map(|forward| forward.proposal.id.sequence).collect()
    }

    #[test]
    fn one_alone_leaves_at_once_and_others_in_company() {
        assert!(leave(0, 1, false), "nothing is out");
        assert!(!leave(1, 1, false) && !leave(1, TOGETHER - 1, false), "they wait for more");
        assert!(leave(1, TOGETHER, false) && leave(IN_FLIGHT - 1, TOGETHER, false), "a request is full");
        assert!(leave(1, 1, true), "it has waited");
        assert!(!leave(IN_FLIGHT, TOGETHER, true), "enough is out");
        assert!(!leave(0, 0, true), "there is nothing to send");
    }

    #[test]
    fn what_waited_goes_to_whoever_leads_by_now() {
        let (all, _callers): (Vec<_>, Vec<_>) = [forward(2, 1), forward(3, 2), forward(2, 3)].into_iter().unzip();
        let sent = addressed(all.into_iter(), node(1), Some(node(3)));
        assert_eq!(sent.keys().copied().collect::<Vec<_>>(), [node(3)]);
        assert_eq!(sequences(&sent[&node(3)]), [1, 2, 3]);

        let (all, _callers): (Vec<_>, Vec<_>) = [forward(2, 1), forward(3, 2), forward(2, 3)].into_iter().unzip();
        let sent = addressed(all.into_iter(), node(1), None);
        assert_eq!(sequences(&sent[&node(2)]), [1, 3]);
        assert_eq!(sequences(&sent[&node(3)]), [2]);
    }

    #[test]
    fn nothing_is_sent_for_callers_that_gave_up_and_nothing_to_oneself() {
        let (all, mut callers): (Vec<_>, Vec<_>) = [forward(2, 1), forward(2, 2)].into_iter().unzip();
        drop(callers.remove(0));
        assert_eq!(sequences(&addressed(all.into_iter(), node(1), Some(node(2)))[&node(2)]), [2]);

        let (own, mut caller) = forward(2, 1);
        assert!(addressed([own].into_iter(), node(1), Some(node(1))).is_empty());
        assert_eq!(caller.try_recv(), Err(oneshot::error::TryRecvError::Closed), "its caller is told");
    }
}
