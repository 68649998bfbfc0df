//! Laying leadership down, for whoever asks on any node.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::metrics::RaftMetrics;

use super::node::RaftNode;
use super::runtime::timeout;
use super::types::TypeConfig;
use super::upkeep::is_ready;
use super::wire::{HandOverReply, Kind, decode_reply, encode_request};
use crate::model::NodeId;
use crate::state::State;

/// For how long an offer is waited for. The other only has to win an election that nobody contests.
const TAKEN_WITHIN: Duration = Duration::from_secs(3);

/// Why leadership stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Nobody leads, or the leader does not answer.
    #[error("there is no leader that answers; try again when a majority of the members is up")]
    NoLeader,
    /// The leader knows nobody who could lead, or not the one that was named.
    #[error("{0}")]
    Refused(String),
    /// It was offered, and the other did not take it.
    #[error("node {0} did not take over in time; leadership may be anywhere, see `plenary cluster status`")]
    NotTaken(NodeId),
}

impl RaftNode {
    /// Has the leader, wherever it is, hand leadership to `to`, or to any voter that is ready. The new leader.
    ///
    /// # Errors
    /// [`TransferError`], in words for the operator.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<NodeId, TransferError> {
        let leader = self.leader().ok_or(TransferError::NoLeader)?;
        let reply = if leader == self.id {
            self.hand_over(to).await
        } else {
            let request = encode_request(Kind::HandOver, &to).map_err(|_| TransferError::NoLeader)?;
            let answer = self.call(leader, request, TAKEN_WITHIN).await.map_err(|_| TransferError::NoLeader)?;
            decode_reply(&answer).map_err(|_| TransferError::NoLeader)?
        };
        match reply {
            HandOverReply::Offered(to) if self.until_led_by(to).await => Ok(to),
            HandOverReply::Offered(to) => Err(TransferError::NotTaken(to)),
            HandOverReply::NotLeader { .. } => Err(TransferError::NoLeader),
            HandOverReply::Refused(reason) => Err(TransferError::Refused(reason)),
        }
    }

    /// Offers leadership, if this node leads.
    pub(super) async fn hand_over(&self, to: Option<NodeId>) -> HandOverReply {
        let metrics = self.with_metrics(Clone::clone);
        if !metrics.state.is_leader() {
            return HandOverReply::NotLeader { leader: metrics.current_leader };
        }
        if to == Some(self.id) {
            return HandOverReply::Offered(self.id);
        }
        let to = match heir(&metrics, &self.read_state(), to) {
            Ok(to) => to,
            Err(reason) => return HandOverReply::Refused(reason),
        };
        match self.raft.trigger().transfer_leader(to).await {
            Ok(()) => HandOverReply::Offered(to),
            Err(error) => HandOverReply::Refused(error.to_string()),
        }
    }

    async fn until_led_by(&self, leader: NodeId) -> bool {
        let mut metrics = self.raft.metrics();
        let taken = async {
            while metrics.borrow_watched().current_leader != Some(leader) {
                if metrics.changed().await.is_err() {
                    return false;
                }
            }
            true
        };
        timeout(TAKEN_WITHIN, taken).await.unwrap_or(false)
    }
}

/// Who is to lead next: the one that was named, else the voter that has most of the log.
fn heir(metrics: &RaftMetrics<TypeConfig>, state: &State, to: Option<NodeId>) -> Result<NodeId, String> {
    let voters: Vec<NodeId> = metrics.membership_config.voter_ids().filter(|id| *id != metrics.id).collect();
    let able = |id: &NodeId| is_ready(*id, metrics, state);
    match to {
        Some(to) if !voters.contains(&to) => Err(format!("node {to} does not vote, so it can't lead")),
        Some(to) if !able(&to) => Err(format!("node {to} is not ready: it is down, silent or behind")),
        Some(to) => Ok(to),
        None => {
            let matched = |id: &NodeId| metrics.replication.as_ref().and_then(|all| all.get(id)).copied().flatten();
            let best = voters.into_iter().filter(able).max_by_key(matched);
            best.ok_or_else(|| "no other voter is ready to lead".to_owned())
        }
    }
}
