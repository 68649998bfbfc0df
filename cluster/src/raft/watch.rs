//! The failure detector's loop: probes whom this node observes, tells the voters whom it suspects, and as a voter acts
//! on what the observers say. What to conclude, [`crate::detector`] decides.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::raft::TransferLeaderRequest;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::config::ELECTION_MAX;
use super::node::RaftNode;
use super::wire::{Kind, encode_request};
use crate::detector::{Epochs, Observer, PROBE_EVERY, REPORT_EVERY, SUSPECT_AFTER};
use crate::directory::Directory;
use crate::model::{NodeId, NodeStatus};
use crate::state::{Command, State};

/// For how long an answer to a probe is waited for. A later one would not matter.
const PROBE_TIME: Duration = SUSPECT_AFTER;

/// For how long a report is on its way at most.
const REPORT_TIME: Duration = Duration::from_millis(300);

/// A voter that misses the leader campaigns a turn later: the others miss it by then as well.
const SETTLE: Duration = PROBE_EVERY;

/// Voters campaign for a dead leader's place one after the other, so that they do not split the votes.
const CAMPAIGN_AFTER: Duration = Duration::from_millis(150);

/// Between two attempts of one voter. An attempt is a round of pre-votes and a round of votes.
const CAMPAIGN_EVERY: Duration = Duration::from_millis(100);

/// Answers and tasks in flight at most; more are let go.
const IN_FLIGHT: usize = 64;

pub(super) async fn run(node: Weak<RaftNode>, id: NodeId) {
    let (answers, mut answered) = mpsc::channel(IN_FLIGHT);
    let mut watch = Watch {
        observer: Observer::new(id),
        answers,
        reported: None,
        leaderless: None,
        campaigned: None,
        tasks: JoinSet::new(),
        declaring: BTreeSet::new(),
    };
    let mut turns = interval(PROBE_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(from) = answered.recv() => {
                let Some(node) = node.upgrade() else { return };
                watch.observer.handle_answer(node.uptime(), from);
            }
            _ = turns.tick() => {
                let Some(node) = node.upgrade() else { return };
                watch.turn(&node);
            }
        }
    }
}

struct Watch {
    observer: Observer,
    answers: mpsc::Sender<NodeId>,
    /// When the voters were last told.
    reported: Option<Instant>,
    /// The leader that is missed, and since when.
    leaderless: Option<(NodeId, Instant)>,
    campaigned: Option<Instant>,
    /// Probes, reports, declarations and campaigns under way.
    tasks: JoinSet<Option<(NodeId, u64)>>,
    /// Lives that are being declared over.
    declaring: BTreeSet<(NodeId, u64)>,
}

impl Watch {
    fn turn(&mut self, node: &Arc<RaftNode>) {
        while let Some(done) = self.tasks.try_join_next() {
            if let Ok(Some(declared)) = done {
                self.declaring.remove(&declared);
            }
        }
        let (state, now) = (node.read_state(), node.uptime());
        let up = up(&state);
        if let Some(late) = self.observer.handle_turn(now, &up, node.leader_of_voter()) {
            tracing::info!(?late, "this process was held up and looks whether it is still counted in");
            if !node.confirming.swap(true, Ordering::SeqCst) {
                self.tasks.spawn(confirm(Arc::clone(node)));
            }
        }
        let observed: Vec<NodeId> = self.observer.observed().collect();
        for target in observed {
            self.probe(node, target);
        }
        let suspects = self.observer.suspects(now);
        self.report(node, suspects);
        let verdict = node.jury.lock().verdict(now, &up);
        self.act(node, &verdict);
    }

    fn probe(&mut self, node: &Arc<RaftNode>, target: NodeId) {
        let (node, answers) = (Arc::clone(node), self.answers.clone());
        self.tasks.spawn(async move {
            if node.probe(target, PROBE_TIME).await {
                // A full queue means that this loop was held up; it has answers enough.
                let _ = answers.try_send(target);
            }
            None
        });
    }

    /// Tells the voters, this node among them: at every turn while there are suspects, else now and then.
    fn report(&mut self, node: &Arc<RaftNode>, suspects: Epochs) {
        let now = Instant::now();
        node.jury.lock().handle_report(node.uptime(), node.id, suspects.clone());
        if suspects.is_empty() && self.reported.is_some_and(|at| now.duration_since(at) < REPORT_EVERY) {
            return;
        }
        self.reported = Some(now);
        let Ok(request) = encode_request(Kind::Suspects, &suspects) else { return };
        let voters: BTreeSet<NodeId> = node.with_metrics(|metrics| metrics.membership_config.voter_ids().collect());
        for voter in voters.into_iter().filter(|voter| *voter != node.id && !suspects.contains_key(voter)) {
            let (node, request) = (Arc::clone(node), request.clone());
            self.tasks.spawn(async move {
                if let Err(error) = node.call(voter, request, REPORT_TIME).await {
                    tracing::debug!(%voter, %error, "a report did not arrive");
                }
                None
            });
        }
    }

    /// Acts on the verdict: the leader declares. If the leader is missed, voters campaign.
    fn act(&mut self, node: &Arc<RaftNode>, verdict: &Epochs) {
        if node.with_metrics(|metrics| metrics.state.is_leader()) {
            for (dead, epoch) in verdict.iter().map(|(dead, epoch)| (*dead, *epoch)) {
                if self.declaring.insert((dead, epoch)) {
                    tracing::warn!(node = %dead, epoch, "a node's observers agree that it is gone; it is declared down");
                    self.tasks.spawn(declare(Arc::clone(node), dead, epoch));
                }
            }
        }
        let leader = node.leader_of_voter();
        let missed =
            leader.filter(|leader| verdict.contains_key(leader) || self.observer.misses_leader(node.uptime(), *leader));
        let Some(leader) = missed else {
            self.leaderless = None;
            node.released.lock().iter_mut().for_each(|(_, missed)| *missed = false);
            return;
        };
        let now = Instant::now();
        let since = match self.leaderless.filter(|(of, _)| *of == leader) {
            Some((_, since)) => since,
            None => {
                tracing::warn!(%leader, "the leader is silent; this voter would vote for another");
                self.tasks.spawn(node.release(leader));
                now
            }
        };
        self.leaderless = Some((leader, since));
        let Some(place) = node.place_among_voters(leader, verdict) else { return };
        let may = now.duration_since(since) >= SETTLE + CAMPAIGN_AFTER.saturating_mul(place);
        if may && self.campaigned.is_none_or(|at| now.duration_since(at) >= CAMPAIGN_EVERY) {
            self.campaigned = Some(now);
            let node = Arc::clone(node);
            self.tasks.spawn(async move {
                // With pre-votes: as long as most voters hear the leader, nothing comes of it.
                if let Err(error) = node.raft.trigger().elect(true).await {
                    tracing::debug!(%error, "this node could not campaign");
                }
                None
            });
        }
    }
}

/// A process that was held up asks a quorum for what happened meanwhile. If its life was declared over, the state that
/// comes with the answer says so, and it registers anew.
async fn confirm(node: Arc<RaftNode>) -> Option<(NodeId, u64)> {
    while node.read_linearizable().await.is_err() {}
    node.confirming.store(false, Ordering::SeqCst);
    if node.epoch() != 0 && node.must_register() {
        tracing::warn!(node = %node.id, epoch = node.epoch(), "this process was declared down while it was held up");
    }
    None
}

async fn declare(node: Arc<RaftNode>, dead: NodeId, epoch: u64) -> Option<(NodeId, u64)> {
    if let Err(error) = node.propose(None, Command::NodeDown { node: dead, epoch }).await {
        tracing::debug!(node = %dead, %error, "a node could not be declared down");
    }
    Some((dead, epoch))
}

/// The nodes that are up by the state.
pub(super) fn up(state: &State) -> Epochs {
    state.nodes().filter(|node| node.status == NodeStatus::Up).map(|node| (node.id, node.epoch)).collect()
}

impl RaftNode {
    /// An observer's report.
    pub(super) fn hear_report(&self, from: NodeId, suspects: Epochs) {
        self.jury.lock().handle_report(self.uptime(), from, suspects);
    }

    /// Whether an observer that is heard hears `node`.
    pub(super) fn is_vouched_for(&self, node: NodeId, state: &State) -> bool {
        self.jury.lock().is_vouched_for(self.uptime(), node, &up(state))
    }

    /// Asks a member for a sign of life.
    async fn probe(&self, target: NodeId, deadline: Duration) -> bool {
        match self.address(target) {
            Some(address) => self.network.rpc.probe(target, address, deadline).await,
            None => false,
        }
    }

    /// The leader, if it is another node and this one votes.
    fn leader_of_voter(&self) -> Option<NodeId> {
        self.with_metrics(|metrics| {
            let votes = metrics.membership_config.voter_ids().any(|voter| voter == self.id);
            metrics.current_leader.filter(|leader| votes && *leader != self.id)
        })
    }

    /// Ends what this voter owes the leader: until openraft's lease on it is over, no vote would go to another. That it
    /// is laid down early endangers nothing: reads ask a quorum and do not build on leases.
    fn release(self: &Arc<Self>, leader: NodeId) -> impl Future<Output = Option<(NodeId, u64)>> + Send + use<> {
        let node = Arc::clone(self);
        async move {
            let vote = node.with_metrics(|metrics| metrics.vote);
            *node.released.lock() = Some((vote, true));
            // openraft's only way to say so: the leader hands over, to no one that would have to campaign at once.
            let release = TransferLeaderRequest::new(vote, leader, None);
            if let Err(error) = node.raft.handle_transfer_leader(release).await {
                tracing::debug!(%error, "the lease on the leader could not be laid down");
            }
            None
        }
    }

    /// Whether the leader may count on this voter: its lease was laid down for a silence that is over. openraft does not
    /// take it up again before the next election, so votes for others are refused here as long as it would hold.
    pub(super) fn is_loyal(&self) -> bool {
        let Some((vote, false)) = *self.released.lock() else { return false };
        let lease = self.heard.lock().is_some_and(|at| openraft::Instant::elapsed(&at) < ELECTION_MAX);
        lease && self.with_metrics(|metrics| metrics.vote) == vote
    }

    /// How many voters that are not dead campaign before this one; `None` when this one does not vote.
    fn place_among_voters(&self, leader: NodeId, dead: &Epochs) -> Option<u32> {
        let voters: BTreeSet<NodeId> = self.with_metrics(|metrics| metrics.membership_config.voter_ids().collect());
        let alive = voters.iter().filter(|voter| **voter != leader && !dead.contains_key(voter));
        let place = alive.into_iter().position(|voter| *voter == self.id)?;
        u32::try_from(place).ok()
    }
}
