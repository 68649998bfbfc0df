//! Answering the other members.

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use openraft::raft::VoteRequest;
use serde::Serialize;

use super::node::RaftNode;
use super::runtime::now;
use super::types::TypeConfig;
use super::wire::{Kind, WireError, decode, encode_reply, split_request};
use crate::model::NodeId;
use crate::state::{Proposal, Standing};

impl RaftNode {
    /// Serves a request that came from `from`, whose identity the carrier has proved. The error is for the other
    /// node's log.
    pub fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'_, Result<Bytes, String>> {
        async move {
            let answer = self.serve(from, &request).await;
            answer.inspect_err(|reason| tracing::warn!(%from, reason, "a member's request was refused"))
        }
        .boxed()
    }

    async fn serve(&self, from: NodeId, request: &Bytes) -> Result<Bytes, String> {
        if !self.knows(from) {
            return Err(format!("node {from} is not a member"));
        }
        let (kind, body) = split_request(request).map_err(words)?;
        match kind {
            Kind::Append => {
                self.heard();
                reply(&self.raft.append_entries(decode(body).map_err(words)?).await.map_err(words)?)
            }
            Kind::Vote => reply(&self.raft.vote(self.candidacy(body)?).await.map_err(words)?),
            Kind::PreVote => reply(&self.raft.pre_vote(self.candidacy(body)?).await.map_err(words)?),
            Kind::Snapshot => {
                self.heard();
                reply(&self.take_chunk(from, decode(body).map_err(words)?).await?)
            }
            Kind::TransferLeader => {
                reply(&self.raft.handle_transfer_leader(decode(body).map_err(words)?).await.map_err(words)?)
            }
            Kind::Propose => {
                let proposals: Vec<Proposal> = decode(body).map_err(words)?;
                if let Some(other) = proposals.iter().map(|proposal| proposal.id.proposer).find(|id| *id != from) {
                    return Err(format!("node {from} proposes in the name of node {other}"));
                }
                let deadline = self.deadline();
                reply(&join_all(proposals.into_iter().map(|proposal| self.write(proposal, deadline))).await)
            }
            Kind::ReadIndex => reply(&self.read_index(self.deadline()).await),
            Kind::Fingerprint => reply(&self.fingerprint(decode(body).map_err(words)?)),
            Kind::Suspects => {
                self.hear_report(from, decode(body).map_err(words)?);
                reply(&())
            }
            Kind::Probe => reply(&()),
            Kind::HandOver => reply(&self.hand_over(decode(body).map_err(words)?).await),
        }
    }

    /// How a node stands with the cluster, as far as this one can tell. An id is the index of an entry that admitted
    /// it: a leader, who has all entries, can't fail to know an id that was handed out.
    #[must_use]
    pub fn standing(&self, node: NodeId) -> Standing {
        match self.read_state().standing(node) {
            Standing::NotKnownYet if self.leads_since_an_entry() => Standing::Stranger,
            standing @ (Standing::Member | Standing::NotKnownYet | Standing::Removed | Standing::Stranger) => standing,
        }
    }

    /// Whether this node leads and has applied an entry of its own term, and so all that was agreed on before it.
    fn leads_since_an_entry(&self) -> bool {
        self.with_metrics(|metrics| {
            let own =
                metrics.last_applied.is_some_and(|applied| applied.committed_leader_id().term == metrics.current_term);
            metrics.state.is_leader() && own
        })
    }

    /// Whether a node may speak to us. One that this node can't know yet has the carrier's word that it is one of the
    /// cluster's; one that was removed speaks until the membership lets go of it, so that a leader can lay leadership
    /// down.
    fn knows(&self, node: NodeId) -> bool {
        let member = self.with_metrics(|metrics| metrics.membership_config.membership().get_node(&node).is_some());
        member
            || match self.standing(node) {
                Standing::Member => true,
                Standing::NotKnownYet => !planted!(StrangerRefused),
                Standing::Removed | Standing::Stranger => false,
            }
    }

    /// A request for this node's vote, unless the leader may count on it.
    fn candidacy(&self, body: &[u8]) -> Result<VoteRequest<TypeConfig>, String> {
        let request: VoteRequest<TypeConfig> = decode(body).map_err(words)?;
        if self.is_loyal() && !request.leadership_transfer {
            return Err("the leader is heard".to_owned());
        }
        Ok(request)
    }

    fn heard(&self) {
        *self.heard.lock() = Some(now());
    }
}

fn reply<T: Serialize>(body: &T) -> Result<Bytes, String> {
    encode_reply(body).map_err(|error: WireError| error.to_string())
}

fn words(error: impl ToString) -> String {
    error.to_string()
}
