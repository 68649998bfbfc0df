//! Proposing from any node.
//!
//! ```text
//! propose ─► this node leads? ── yes ─► restamp the time ─► log ─► applied here
//!               │ no
//!               └─► forward to the leader ([`super::forward`]) ─► its answer ─► wait until applied here
//! ```
//!
//! Until the deadline a proposal without an answer is tried again, under the same id: the state recognises it.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};

use super::node::RaftNode;
use super::runtime::{Instant, now, random_below, timeout_at};
use super::types::TypeConfig;
use super::wire::ProposeReply;
use crate::directory::{ProposeError, Written};
use crate::model::NodeId;
use crate::record::{VALUE_MAX, encoded_size};
use crate::state::{Applied, Command, Outcome, Proposal, ProposalId, Rejection};

/// For how long a call is tried. An election after a crash of the leader fits.
const CALL_TIME: Duration = Duration::from_secs(2);

/// Between two attempts, unless a leader shows up earlier.
const PAUSE: Duration = Duration::from_millis(50);

/// When callers are told to try again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What an entry adds to its proposal.
const ENTRY_HEAD: usize = 64;

/// Bytes of a proposal at most: its entry has to fit one value of the store.
const PROPOSAL_MAX: usize = VALUE_MAX - ENTRY_HEAD;

impl RaftNode {
    /// Carries out [`crate::directory::Directory::propose`].
    pub(super) async fn propose_command(&self, command: Command) -> Result<Written, ProposeError> {
        let registers = matches!(&command, Command::RegisterNode { node, .. } if *node == self.id);
        let proposal = Proposal { id: self.name(registers), time: self.clock.now(), command };
        if encoded_size(&proposal) > PROPOSAL_MAX {
            return Err(ProposeError::Rejected(Rejection::TooLarge));
        }
        if let Some(ProposeReply::StorageFull { node, folder }) = self.without_room(&proposal.command) {
            return Err(ProposeError::StorageFull { node, folder });
        }
        let deadline = self.deadline();
        let (revision, applied) = self.agree(proposal, deadline).await?;
        match applied {
            // Our epoch passed while this was under way; whether an earlier attempt was applied can't be known.
            Applied::Rejected(Rejection::ProposalExpired) if !planted!(UnknownReportedRefused) => {
                return Err(UNAVAILABLE);
            }
            Applied::Rejected(rejection) => return Err(ProposeError::Rejected(rejection)),
            Applied::Registered { epoch } if registers => self.set_epoch(epoch),
            Applied::Done | Applied::Admitted { .. } | Applied::Registered { .. } | Applied::Joined { .. } => {}
        }
        let upto = if planted!(AnswerBeforeApply) { 0 } else { revision };
        self.wait_applied(upto, deadline).await.ok_or(UNAVAILABLE)?;
        Ok(Written { revision, applied })
    }

    /// Asks whoever leads until someone answers.
    async fn agree(&self, mut proposal: Proposal, deadline: Instant) -> Result<(u64, Applied), ProposeError> {
        let mut hint = None;
        while now() < deadline {
            if planted!(RetryUnderNewName) {
                proposal.id.sequence = self.next_sequence();
            }
            let leader = hint.take().or_else(|| self.leader());
            let reply = match leader {
                Some(leader) if leader == self.id => self.write(proposal.clone(), deadline).await,
                Some(leader) => self.forward(leader, proposal.clone(), deadline).await,
                None => match self.someone() {
                    Some(member) => self.forward(member, proposal.clone(), deadline).await,
                    None => ProposeReply::NotLeader { leader: None },
                },
            };
            match reply {
                ProposeReply::Written { revision, applied } => return Ok((revision, applied)),
                ProposeReply::StorageFull { node, folder } => return Err(ProposeError::StorageFull { node, folder }),
                ProposeReply::NotLeader { leader: Some(next) } if Some(next) != leader => hint = Some(next),
                ProposeReply::NotLeader { .. } | ProposeReply::Unavailable => self.pause(deadline).await,
            }
        }
        Err(UNAVAILABLE)
    }

    /// The refusal of a command that would need room, if there is hardly any.
    fn without_room(&self, command: &Command) -> Option<ProposeReply> {
        let folder = if makes_room(command) { None } else { self.space.was_full() };
        folder.map(|folder| ProposeReply::StorageFull { node: self.id, folder: folder.display().to_string() })
    }

    /// Proposes on this node, if it leads; stamped with this node's time.
    pub(super) async fn write(&self, mut proposal: Proposal, deadline: Instant) -> ProposeReply {
        if let Some(refused) = self.without_room(&proposal.command) {
            return refused;
        }
        if let Command::RemoveNode { node, .. } = &proposal.command
            && self.with_metrics(|metrics| metrics.state.is_leader())
            && !self.can_spare(*node)
        {
            let revision = self.read_state().revision();
            return ProposeReply::Written { revision, applied: Applied::Rejected(Rejection::QuorumNeedsNode) };
        }
        proposal.time = self.clock.now();
        let written = timeout_at(deadline, self.raft.client_write(proposal)).await;
        match written {
            Ok(Ok(response)) => {
                let Outcome { revision, applied } = response.data;
                ProposeReply::Written { revision, applied }
            }
            Ok(Err(RaftError::APIError(error))) => not_written(error),
            Ok(Err(RaftError::Fatal(_))) | Err(_) => ProposeReply::Unavailable,
        }
    }

    /// Waits until the leader changes, or a little.
    pub(super) async fn pause(&self, deadline: Instant) {
        drop(timeout_at(deadline.min(now() + PAUSE), self.leader_changed()).await);
    }

    /// Waits until this node takes someone else for the leader, or nobody.
    async fn leader_changed(&self) {
        let before = self.leader();
        self.until_leader(|leader| leader != before).await;
    }

    /// Waits until this node takes someone other than `node` for the leader.
    pub(super) async fn led_by_another(&self, node: NodeId) {
        self.until_leader(|leader| leader.is_some_and(|leader| leader != node)).await;
    }

    /// Waits for a leader that fits. Where Raft has stopped there never is one.
    async fn until_leader(&self, fits: impl Fn(Option<NodeId>) -> bool) {
        let mut metrics = self.raft.server_metrics();
        while !fits(self.leader()) {
            if metrics.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// When a call that begins now has to be answered.
    pub(super) fn deadline(&self) -> Instant {
        now() + CALL_TIME
    }

    /// A member that may know the leader, at random.
    pub(super) fn someone(&self) -> Option<NodeId> {
        let mut others = self.with_metrics(|metrics| {
            metrics.membership_config.membership().nodes().map(|(id, _)| *id).collect::<Vec<_>>()
        });
        others.retain(|id| *id != self.id);
        others.get(random_below(others.len())).copied()
    }

    /// The id of a new proposal. A registration begins an epoch, so it can't be of one.
    fn name(&self, registers: bool) -> ProposalId {
        let epoch = if registers { 0 } else { self.epoch() };
        ProposalId { proposer: self.id, epoch, sequence: self.next_sequence() }
    }
}

/// Whether a command is taken though the disk is nearly full: it ends something, or keeps the cluster in order.
const fn makes_room(command: &Command) -> bool {
    match command {
        Command::RegisterNode { .. }
        | Command::NodeDown { .. }
        | Command::RemoveNode { .. }
        | Command::EndMeeting { .. }
        | Command::DeleteMeeting { .. }
        | Command::CloseSession { .. } => true,
        Command::AdmitNode { .. }
        | Command::CreateMeeting(_)
        | Command::UpdateMeeting { .. }
        | Command::StartMeeting { .. }
        | Command::JoinMeeting { .. }
        | Command::OpenSession { .. }
        | Command::PublishTracks { .. } => false,
    }
}

fn not_written(error: ClientWriteError<TypeConfig>) -> ProposeReply {
    match error {
        ClientWriteError::ForwardToLeader(forward) => ProposeReply::NotLeader { leader: forward.leader_id },
        ClientWriteError::LogEntryDiscarded(_)
        | ClientWriteError::ChangeMembershipError(_)
        | ClientWriteError::PreconditionFailed(_) => ProposeReply::Unavailable,
    }
}

const UNAVAILABLE: ProposeError = ProposeError::Unavailable { retry_after: RETRY_AFTER };
