//! Reads, by what they promise, and the [`Directory`] face.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{Instant as _, ReadPolicy};
use tokio::sync::watch;

use super::config::{ELECTION_MAX, HEARTBEAT};
use super::node::RaftNode;
use super::propose::RETRY_AFTER;
use super::runtime::{Instant, now, timeout_at};
use super::wire::{Kind, ReadIndexReply, decode_reply, encode_request};
use crate::directory::{Directory, ProposeError, RaftStatus, ReadError, Written};
use crate::model::{MeetingId, NodeId};
use crate::state::{Command, State};

/// A leader or a quorum that was silent for longer is not believed in: its lease is over.
const SILENCE: Duration = ELECTION_MAX.saturating_add(HEARTBEAT.saturating_mul(2));

impl RaftNode {
    /// Waits until the entry at `revision` is applied here.
    pub(super) async fn wait_applied(&self, revision: u64, deadline: Instant) -> Option<Arc<State>> {
        let mut revisions = self.view.revisions();
        let applied = timeout_at(deadline, revisions.wait_for(|applied| *applied >= revision)).await;
        matches!(applied, Ok(Ok(_))).then(|| self.view.state())
    }

    async fn linearizable(&self) -> Option<Arc<State>> {
        let deadline = self.deadline();
        let mut hint = None;
        while now() < deadline {
            let leader = hint.take().or_else(|| self.leader());
            let reply = match leader.or_else(|| self.someone()) {
                Some(leader) if leader == self.id => self.read_index(deadline).await,
                Some(leader) => self.ask_read_index(leader, deadline).await,
                None => ReadIndexReply::Unavailable,
            };
            match reply {
                ReadIndexReply::Index(index) => return self.wait_applied(index, deadline).await,
                ReadIndexReply::NotLeader { leader: Some(next) } if Some(next) != leader => hint = Some(next),
                ReadIndexReply::NotLeader { .. } | ReadIndexReply::Unavailable => self.pause(deadline).await,
            }
        }
        None
    }

    /// How far a linearizable read has to wait, if this node leads: a quorum says that nobody else does.
    pub(super) async fn read_index(&self, deadline: Instant) -> ReadIndexReply {
        if planted!(StaleRead) && self.leader() == Some(self.id) {
            return ReadIndexReply::Index(self.read_state().revision());
        }
        match timeout_at(deadline, self.raft.get_read_linearizer(ReadPolicy::ReadIndex)).await {
            Ok(Ok(linearizer)) => ReadIndexReply::Index(linearizer.read_log_id().index()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                ReadIndexReply::NotLeader { leader: forward.leader_id }
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) | RaftError::Fatal(_))) | Err(_) => {
                ReadIndexReply::Unavailable
            }
        }
    }

    async fn ask_read_index(&self, leader: NodeId, deadline: Instant) -> ReadIndexReply {
        let Ok(request) = encode_request(Kind::ReadIndex, &()) else { return ReadIndexReply::Unavailable };
        match self.ask_leader(leader, request, deadline).await {
            Ok(reply) => decode_reply(&reply).unwrap_or(ReadIndexReply::Unavailable),
            Err(_) => ReadIndexReply::Unavailable,
        }
    }

    /// Whether this node hears a leader, or leads and hears a quorum.
    fn hears(&self) -> bool {
        let (acknowledged, alone) = self.with_metrics(|metrics| {
            let leads = metrics.state.is_leader();
            let alone = metrics.membership_config.voter_ids().eq([self.id]);
            (leads.then(|| metrics.last_quorum_acked.as_deref().copied()), alone)
        });
        match acknowledged {
            // The only voter acknowledges to itself, and openraft does not note that.
            Some(_) if alone => true,
            Some(at) => at.is_some_and(|at| at.elapsed() < SILENCE),
            None => self.heard.lock().is_some_and(|at| at.elapsed() < SILENCE),
        }
    }
}

impl Directory for RaftNode {
    fn propose(&self, _meeting: Option<MeetingId>, command: Command) -> BoxFuture<'_, Result<Written, ProposeError>> {
        self.propose_command(command).boxed()
    }

    fn read_local(&self) -> Arc<State> {
        self.view.state()
    }

    fn read_at_least(&self, revision: u64) -> BoxFuture<'_, Result<Arc<State>, ReadError>> {
        let revision = if planted!(ReadDoesNotWait) { 0 } else { revision };
        async move { self.wait_applied(revision, self.deadline()).await.ok_or(UNAVAILABLE) }.boxed()
    }

    fn read_linearizable(&self) -> BoxFuture<'_, Result<Arc<State>, ReadError>> {
        async move { self.linearizable().await.ok_or(UNAVAILABLE) }.boxed()
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.view.revisions()
    }

    fn status(&self) -> RaftStatus {
        let quorum = self.hears();
        self.with_metrics(|metrics| {
            let membership = metrics.membership_config.membership();
            RaftStatus {
                node: self.id,
                term: metrics.current_term,
                leader: metrics.current_leader.filter(|_| quorum),
                last_log: metrics.last_log_index.unwrap_or(0),
                applied: metrics.last_applied.map_or(0, |applied| applied.index()),
                voters: membership.voter_ids().collect(),
                learners: membership.learner_ids().collect(),
                quorum: quorum && metrics.current_leader.is_some(),
            }
        })
    }
}

const UNAVAILABLE: ReadError = ReadError::Unavailable { retry_after: RETRY_AFTER };
