//! What the leader looks after: who is a member, who is dead, who will not come back. And each member: its snapshots.
//!
//! A loop of `desired = f(state)`: each turn compares and takes at most one step, so nothing is lost when leadership
//! moves. Only the leader acts upon the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;

use openraft::metrics::RaftMetrics;
use openraft::raft::Precondition;
use openraft::{ChangeMembers, Instant as _};

use super::config::{KEEP_BEHIND, snapshot_is_due};
use super::node::RaftNode;
use super::runtime::{Instant, now, sleep_until, timeout};
use super::types::{LogId, Member, TypeConfig};
use super::voters::{self, Candidate, Standing};
use crate::detector::at_once;
use crate::directory::Directory;
use crate::model::{NodeId, NodeStatus, Timestamp};
use crate::state::{Command, State};

/// Between two turns.
const TURN: Duration = Duration::from_millis(250);

/// A turn that comes later than this says that this very process was held up: what it takes for others' silence may
/// be its own.
const LATE: Duration = Duration::from_millis(550);

/// A member that has not acknowledged anything for this long is declared down, if no observer hears it either. The
/// observers ([`super::watch`]) are quicker; this is for where they can't tell.
const DEAD_AFTER: Duration = Duration::from_secs(2);

/// One that acknowledges nothing though an observer hears it: the leader alone is cut off from it, or its store hangs.
/// It serves from an old state, so it is declared down as well, once it is clear that this does not pass.
const VOUCHED_DEAD_AFTER: Duration = Duration::from_secs(10);

/// A voter that is down for this long is replaced by a learner, if one is ready. A process that was restarted, or a
/// machine whose cable was put back, is there again by then; the change costs two entries and is not undone when the
/// old voter comes back.
const VOTER_LOST_AFTER: Duration = Duration::from_secs(10);

/// For how long one change of the membership is waited for.
const CHANGE_TIME: Duration = Duration::from_secs(5);

/// A learner this close to the end of the log may become a voter.
const CAUGHT_UP: u64 = 256;

/// Someone whose session is missed for this long has left.
const GIVEN_UP_AFTER_MS: i64 = 30_000;

/// How many are given up in one turn, so that a mass loss does not crowd out other proposals.
const GIVEN_UP_AT_ONCE: usize = 32;

pub(super) async fn run(node: Weak<RaftNode>) {
    let mut watch = Watch::default();
    let mut next = now();
    loop {
        sleep_until(next).await;
        next = now() + TURN;
        let Some(node) = node.upgrade() else { return };
        node.turn(&mut watch).await;
    }
}

/// Since when silence is counted.
#[derive(Debug, Default)]
struct Watch {
    last_turn: Option<Instant>,
    /// Since when this node leads without having been held up.
    since: Option<Instant>,
    /// The current epoch of each node, and since when it could have been heard.
    epochs: BTreeMap<NodeId, (u64, Instant)>,
    /// Since when this node, as leader, knows of those that are down.
    down: BTreeMap<NodeId, Instant>,
}

impl Watch {
    /// Notes a turn; says how long this node has been a watchful leader.
    fn note(&mut self, now: Instant, leads: bool) -> Option<Instant> {
        let late = self.last_turn.is_none_or(|last| now.saturating_duration_since(last) > LATE);
        self.last_turn = Some(now);
        if !leads {
            self.since = None;
        } else if late || self.since.is_none() {
            self.since = Some(now);
        }
        self.since
    }

    /// Notes which lives of the nodes the state knows of. One that registers time and again and is never heard to answer
    /// gains no time by it.
    fn note_epochs(&mut self, now: Instant, state: &State, silence: impl Fn(NodeId) -> Option<Duration>) {
        for node in state.nodes() {
            let (epoch, since) = self.epochs.entry(node.id).or_insert((node.epoch, now));
            if *epoch != node.epoch {
                *epoch = node.epoch;
                if silence(node.id).is_some_and(|silence| silence < now.saturating_duration_since(*since)) {
                    *since = now;
                }
            }
        }
    }

    /// Notes who is down by the state; a leader that was elected or held up counts anew.
    fn note_down(&mut self, now: Instant, state: &State) {
        let Some(since) = self.since else { return self.down.clear() };
        let is_down = |id: &NodeId| state.node(*id).is_some_and(|node| node.status == NodeStatus::Down);
        self.down.retain(|id, _| is_down(id));
        for node in state.nodes().filter(|node| node.status == NodeStatus::Down) {
            let begun = self.down.entry(node.id).or_insert(now);
            *begun = (*begun).max(since);
        }
    }

    /// For how long a node is known to be down.
    fn down_for(&self, id: NodeId) -> Option<Duration> {
        self.down.get(&id).map(Instant::elapsed)
    }

    /// Since when a node could have been heard in its present life.
    fn heard_since(&self, id: NodeId) -> Option<Instant> {
        let (since, (_, begun)) = (self.since?, self.epochs.get(&id)?);
        Some(since.max(*begun))
    }
}

impl RaftNode {
    async fn turn(&self, watch: &mut Watch) {
        self.compact().await;
        let metrics = self.with_metrics(Clone::clone);
        let at = now();
        let state = self.read_state();
        watch.note_epochs(at, &state, |id| silence(id, &metrics));
        let leads = watch.note(at, metrics.state.is_leader()).is_some();
        watch.note_down(at, &state);
        if !leads {
            return;
        }
        if state.is_removed(self.id) {
            // The next leader takes this node out of the membership.
            let handed = self.hand_over(None).await;
            tracing::info!(?handed, "this node was removed and hands leadership over");
        }
        for down in dead(&metrics, &state, watch, |id| self.is_vouched_for(id, &state)) {
            tracing::warn!(?down, "a node no longer answers and is declared down");
            self.do_quietly(down).await;
        }
        for gone in given_up(&state, self.clock.now()) {
            self.do_quietly(gone).await;
        }
        self.step_membership(&metrics, &state, watch).await;
        // What was waited for here is not silence.
        watch.last_turn = Some(now());
    }

    /// Has the state written down, so that the log before it can go. Every member does, not only the leader.
    async fn compact(&self) {
        let index = |id: Option<LogId>| id.map_or(0, |id| id.index());
        let (applied, snapshot) = self.with_metrics(|metrics| (index(metrics.last_applied), index(metrics.snapshot)));
        let entries = applied.saturating_sub(snapshot);
        // On a full disk no more entries come that would make it due, and the log is what can be made smaller.
        let crowded = entries > KEEP_BEHIND && self.space.full().is_some();
        if (crowded || snapshot_is_due(entries, self.read_state().records()))
            && let Err(error) = self.raft.trigger().snapshot().await
        {
            tracing::debug!(%error, "no snapshot was made");
        }
    }

    async fn do_quietly(&self, command: Command) {
        if let Err(error) = self.propose(None, command).await {
            tracing::debug!(%error, "a proposal of the upkeep was not carried out");
        }
    }

    /// Takes the membership one step towards what it should be.
    async fn step_membership(&self, metrics: &RaftMetrics<TypeConfig>, state: &State, watch: &Watch) {
        let settled = metrics.membership_config == metrics.committed_membership_config;
        if !settled {
            return;
        }
        let Some(change) = next_change(metrics, state, watch) else { return };
        tracing::info!(?change, "the membership changes");
        let precondition =
            Precondition::LastMembershipLogId { last_membership_log_id: *metrics.membership_config.log_id() };
        let changed = timeout(CHANGE_TIME, self.raft.change_membership_if(change, true, [precondition])).await;
        match changed {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::info!(%error, "the membership did not change"),
            Err(_) => tracing::info!("the membership change takes long"),
        }
    }
}

/// What should change next about the membership: a newcomer becomes a learner, the right ones vote, the removed go.
fn next_change(
    metrics: &RaftMetrics<TypeConfig>,
    state: &State,
    watch: &Watch,
) -> Option<ChangeMembers<NodeId, Member>> {
    let membership = metrics.membership_config.membership();
    if membership.get_joint_config().len() > 1 {
        // The second step of a change was lost, with its caller or with the leader: take it now.
        return Some(ChangeMembers::AddVoterIds(BTreeSet::new()));
    }
    let newcomer = state.admitted().find(|(id, _)| membership.get_node(id).is_none());
    if let Some((id, control)) = newcomer {
        let control = state.control_address(id).unwrap_or(control);
        return Some(ChangeMembers::AddNodes([(id, Member { control })].into()));
    }
    let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
    let candidates: Vec<Candidate<'_>> = membership
        .nodes()
        .map(|(id, _)| Candidate {
            id: *id,
            zone: state.node(*id).map_or("", |node| node.zone.as_str()),
            votes: voters.contains(id),
            standing: standing(*id, metrics, state, watch),
        })
        .collect();
    if let Some(wanted) = voters::choose(&candidates, metrics.id).filter(|wanted| *wanted != voters) {
        return Some(ChangeMembers::ReplaceAllVoters(wanted));
    }
    let removed = membership.learner_ids().filter(|id| state.is_removed(*id));
    let removed: BTreeSet<NodeId> = removed.collect();
    (!removed.is_empty()).then_some(ChangeMembers::RemoveNodes(removed))
}

impl RaftNode {
    /// Whether the cluster can go on without `going`, as far as this node, which leads, can tell.
    pub(super) fn can_spare(&self, going: NodeId) -> bool {
        let (metrics, state) = (self.with_metrics(Clone::clone), self.read_state());
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
        // Who is dead for long and who is only not there now makes no difference here.
        let watch = Watch::default();
        let members: Vec<Candidate<'_>> = membership
            .nodes()
            .map(|(id, _)| Candidate {
                id: *id,
                zone: "",
                votes: voters.contains(id),
                standing: standing(*id, &metrics, &state, &watch),
            })
            .collect();
        voters::can_spare(&members, self.id, going)
    }
}

fn standing(id: NodeId, metrics: &RaftMetrics<TypeConfig>, state: &State, watch: &Watch) -> Standing {
    if state.is_removed(id) {
        Standing::Removed
    } else if id == metrics.id || is_ready(id, metrics, state) {
        Standing::Ready
    } else if watch.down_for(id).is_some_and(|time| time > VOTER_LOST_AFTER) {
        Standing::Dead
    } else {
        Standing::Waiting
    }
}

/// Whether a member is up, answers, and is near the end of the log.
pub(super) fn is_ready(id: NodeId, metrics: &RaftMetrics<TypeConfig>, state: &State) -> bool {
    let up = state.node(id).is_some_and(|node| node.status == NodeStatus::Up);
    let matched = metrics.replication.as_ref().and_then(|all| all.get(&id)).copied().flatten();
    let near = matched.is_some_and(|matched| matched.index() + CAUGHT_UP >= metrics.last_log_index.unwrap_or(0));
    let answers = silence(id, metrics).is_some_and(|silence| silence < DEAD_AFTER / 2);
    up && near && answers
}

/// For how long a member has not acknowledged anything; `None` when it never did to this leader.
fn silence(id: NodeId, metrics: &RaftMetrics<TypeConfig>) -> Option<Duration> {
    metrics.heartbeat.as_ref()?.get(&id)?.as_ref().map(|at| at.elapsed())
}

/// Members to be declared down where no observer can tell: up by the state, and silent for too long of the time in
/// which they could have been heard. A node that has just come back is not judged by the silence of its life before.
/// When many fall silent at once it is rather this node that does not hear, and nobody is declared.
fn dead(
    metrics: &RaftMetrics<TypeConfig>,
    state: &State,
    watch: &Watch,
    vouched: impl Fn(NodeId) -> bool,
) -> Vec<Command> {
    let membership = metrics.membership_config.membership();
    let members = membership.nodes().count();
    let silent: Vec<Command> = membership
        .nodes()
        .filter(|(id, _)| **id != metrics.id)
        .filter(|(id, _)| {
            let could = watch.heard_since(**id).map_or(Duration::ZERO, |since| since.elapsed());
            let silent = silence(**id, metrics).unwrap_or(Duration::MAX).min(could);
            silent > DEAD_AFTER && (silent > VOUCHED_DEAD_AFTER || !vouched(**id))
        })
        .filter_map(|(id, _)| state.node(*id))
        .filter(|node| node.status == NodeStatus::Up)
        .map(|node| Command::NodeDown { node: node.id, epoch: node.epoch })
        .collect();
    if silent.len() <= at_once(members) { silent } else { Vec::new() }
}

/// People who lost their session and did not come back.
fn given_up(state: &State, now: Timestamp) -> Vec<Command> {
    let before = Timestamp::from_millis(now.millis().saturating_sub(GIVEN_UP_AFTER_MS));
    let missed = state.missed_since(before).take(GIVEN_UP_AT_ONCE);
    missed
        .filter_map(|participant| {
            let session = participant.lost?.id;
            Some(Command::CloseSession {
                meeting: participant.meeting,
                participant: participant.id,
                session,
                left: true,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_was_held_up_counts_silence_anew() {
        let mut watch = Watch::default();
        let start = now();
        assert_eq!(watch.note(start, true), Some(start));
        assert_eq!(watch.note(start + TURN, true), Some(start));
        let woken = start + Duration::from_secs(9);
        assert_eq!(watch.note(woken, true), Some(woken));
        assert_eq!(watch.note(woken + TURN, false), None);
    }
}
