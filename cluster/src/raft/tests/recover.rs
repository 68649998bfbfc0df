//! Members die, come back, and join late.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt};
use openraft::ChangeMembers;
use openraft::raft::VoteRequest;
use openraft::vote::RaftLeaderId;
use tokio::task::JoinSet;

use super::*;
use crate::directory::ProposeError;
use crate::model::{Device, ParticipantId, ParticipantStatus, Role, SessionId};
use crate::raft::config::{KEEP_BEHIND, SNAPSHOT_EVERY};
use crate::raft::types::{TypeConfig, Vote};
use crate::raft::wire::{Kind, encode_request};
use crate::state::{Rejection, Standing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_leader_dies_the_next_write_takes_less_than_two_seconds() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    cluster.node(leader).propose(None, create(1)).await.expect("writes");
    let id = cluster.node(leader).id();
    let died = Instant::now();
    let folder = cluster.kill(leader).await;
    let survivor = cluster.node(0);
    eventually(|| survivor.propose(None, create(2))).await;
    let gap = died.elapsed();
    assert!(gap < Duration::from_secs(2), "a new write {gap:?} after the leader died");

    let down = || survivor.read_local().node(id).is_some_and(|node| node.status == NodeStatus::Down);
    until("the dead node is declared down", down).await;
    let back = start(&cluster.mesh, id.number(), &folder).await;
    assert!(back.must_register());
    let epoch = register(&back).await;
    let state = back.read_linearizable().await.expect("reads");
    assert_eq!(state.node(id).map(|node| (node.epoch, node.status)), Some((epoch, NodeStatus::Up)));
    assert!(state.meeting(meeting(1)).is_some() && state.meeting(meeting(2)).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_came_back_is_not_judged_by_its_silence_before() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let victim = (leader + 1) % 3;
    let id = cluster.node(victim).id();
    let watcher = Arc::clone(cluster.node(leader));
    let status = || watcher.read_local().node(id).map(|node| node.status);
    let folder = cluster.kill(victim).await;
    until("it is declared down", || status() == Some(NodeStatus::Down)).await;

    // It can speak and is not heard to answer: to the leader its silence goes on, but a new life has begun.
    cluster.mesh.deafen(id);
    let back = start(&cluster.mesh, id.number(), &folder).await;
    let mut speaking = JoinSet::new();
    speaking.spawn(async move { register(&back).await });
    until("it is up again", || status() == Some(NodeStatus::Up)).await;
    let up = Instant::now();
    until("it is declared down again", || status() == Some(NodeStatus::Down)).await;
    assert!(up.elapsed() > Duration::from_millis(500), "down again after {:?}", up.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_a_dead_node_are_reconnecting() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let victim = (leader + 1) % 3;
    let (node, node_epoch) = (cluster.node(victim).id(), cluster.node(victim).epoch());
    let participant = ParticipantId::from_uuid(uuid::Uuid::from_u128(5));
    let session = SessionId::from_uuid(uuid::Uuid::from_u128(6));
    let id = meeting(1);
    let join = Command::JoinMeeting {
        meeting: id,
        participant,
        user: None,
        name: "Bob".to_owned(),
        role: Role::Attendee,
        device: Device::default(),
    };
    let open = Command::OpenSession { meeting: id, participant, session, node, node_epoch, worker: 0 };
    for command in [create(1), Command::StartMeeting { meeting: id }, join, open] {
        cluster.node(victim).propose(Some(id), command).await.expect("writes");
    }
    cluster.kill(victim).await;
    let survivor = cluster.node(0);
    let status = || survivor.read_local().participant(id, participant).map(|one| one.status);
    until("Bob is reconnecting", || status() == Some(ParticipantStatus::Reconnecting)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_everyone_keeps_every_meeting() {
    let mut cluster = Cluster::of_three().await;
    cluster.leader().await;
    for n in 1..=20 {
        cluster.node(usize::try_from(n % 3).expect("small")).propose(None, create(n)).await.expect("writes");
    }
    let ids: Vec<u64> = cluster.members.iter().map(|member| member.node.id().number()).collect();
    let mut folders = Vec::new();
    while !cluster.members.is_empty() {
        folders.push(cluster.kill(0).await);
    }
    for (id, folder) in ids.into_iter().zip(folders) {
        let node = start(&cluster.mesh, id, &folder).await;
        cluster.members.push(Member { node, folder });
    }
    for member in &cluster.members {
        member.node.wait_recovered(PATIENCE).await.expect("recovers");
        let state = eventually(|| member.node.read_linearizable()).await;
        assert_eq!(state.meetings().count(), 20);
        assert_eq!(state.check(), Ok(()));
        assert!(member.node.must_register(), "a new process is a new epoch");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_gets_what_the_log_no_longer_holds_as_a_snapshot() {
    let mut cluster = Cluster::founded().await;
    for n in 1..=50 {
        cluster.node(0).propose(None, create(n)).await.expect("writes");
    }
    let founder = Arc::clone(cluster.node(0));
    let last = founder.status().applied;
    founder.raft.trigger().snapshot().await.expect("runs");
    until("a snapshot", || founder.with_metrics(|metrics| metrics.snapshot.is_some())).await;
    founder.raft.trigger().purge_log(last).await.expect("runs");
    until("the log is purged", || founder.with_metrics(|metrics| metrics.purged.is_some())).await;

    let place = cluster.admit().await;
    let newcomer = cluster.node(place);
    let state = newcomer.read_linearizable().await.expect("reads");
    assert_eq!(state.meetings().count(), 50);
    assert_eq!(*state, *founder.read_at_least(state.revision()).await.expect("reads"));
    assert!(newcomer.with_metrics(|metrics| metrics.snapshot.is_some()), "it came as a snapshot");

    let id = newcomer.id().number();
    let folder = cluster.kill(place).await;
    let again = start(&cluster.mesh, id, &folder).await;
    assert_eq!(again.read_local().meetings().count(), 50, "and it is on its disk");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_write_their_state_down_by_themselves_and_the_log_before_it_goes() {
    let cluster = Cluster::founded().await;
    let node = cluster.node(0);
    // What is refused is in the log as well, and makes the state no larger.
    let refused = || node.propose(None, Command::DeleteMeeting { meeting: meeting(1) });
    let mut all = stream::iter(0..*SNAPSHOT_EVERY.start() + KEEP_BEHIND).map(|_| refused()).buffer_unordered(256);
    while let Some(answer) = all.next().await {
        assert!(matches!(answer, Err(ProposeError::Rejected(Rejection::MeetingNotFound))), "{answer:?}");
    }
    until("the log is purged", || node.with_metrics(|metrics| metrics.purged.is_some())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_missed_its_leader_for_a_while_is_loyal_again_and_no_longer_than_it_hears_it() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let (voter, other) = (cluster.node((leader + 1) % 3), cluster.node((leader + 2) % 3));
    let ask = async || {
        let vote = voter.with_metrics(|metrics| metrics.vote);
        let later = Vote::new(vote.leader_id.term() + 1, other.id());
        let request = VoteRequest::<TypeConfig>::new(later, voter.with_metrics(|metrics| metrics.last_applied));
        voter.handle(other.id(), encode_request(Kind::PreVote, &request).expect("encodes")).await
    };
    let laid_down = |node: &RaftNode| matches!(*node.released.lock(), Some((_, true)));

    cluster.mesh.cut(voter.id());
    until("it lays its lease down", || laid_down(voter)).await;
    ask().await.expect("it would consider another");
    cluster.mesh.heal();
    until("it hears the leader again", || !laid_down(voter)).await;
    assert_eq!(ask().await.expect_err("it has a leader"), "the leader is heard");

    cluster.mesh.cut(cluster.node(leader).id());
    let follows = || voter.status().leader.filter(|now| *now != cluster.node(leader).id());
    until("the two others agree on another leader", || follows().is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_can_be_handed_over() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let next = cluster.node((leader + 1) % 3);
    cluster.node(leader).transfer_leadership(Some(next.id())).await.expect("handed over");
    until("the other one leads", || next.status().leader == Some(next.id())).await;
    next.propose(None, create(1)).await.expect("writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_membership_that_lost_its_caller_halfway_is_brought_to_its_end() {
    let mut cluster = Cluster::founded().await;
    let place = cluster.admit().await;
    let (founder, second) = (Arc::clone(cluster.node(0)), cluster.node(place).id());
    let joint = |node: &RaftNode| node.with_metrics(|metrics| metrics.membership_config.get_joint_config().len() == 2);

    // Two members are too few for the upkeep to want a second voter: nobody but this caller changes anything.
    cluster.mesh.cut(second);
    let mut caller = JoinSet::new();
    let raft = founder.raft.clone();
    caller
        .spawn(async move { raft.change_membership(ChangeMembers::AddVoterIds(BTreeSet::from([second])), true).await });
    until("the change has begun", || joint(&founder)).await;
    caller.shutdown().await;
    cluster.mesh.heal();

    let ended = || {
        founder.with_metrics(|metrics| {
            let committed = metrics.committed_membership_config.membership();
            committed.get_joint_config().len() == 1 && committed.voter_ids().eq([founder.id(), second])
        })
    };
    until("two voters and no joint membership", ended).await;
    eventually(|| cluster.node(place).propose(None, create(1))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_the_quorum_needs_is_not_removed() {
    let mut cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let (lead, dead, other) = {
        let id = |offset: usize| cluster.node((leader + offset) % 3).id();
        (id(0), id(1), id(2))
    };
    cluster.kill((leader + 1) % 3).await;
    let at = |cluster: &Cluster, id| {
        let member = cluster.members.iter().find(|member| member.node.id() == id).expect("it lives");
        Arc::clone(&member.node)
    };
    let (leader, follower) = (at(&cluster, lead), at(&cluster, other));
    let down = || leader.read_local().node(dead).is_some_and(|node| node.status == NodeStatus::Down);
    until("the dead one is declared down", down).await;
    for going in [lead, other] {
        let remove = Command::RemoveNode { node: going, while_up: true };
        let refused = follower.propose(None, remove).await;
        assert_eq!(refused, Err(ProposeError::Rejected(Rejection::QuorumNeedsNode)), "node {going}");
    }
    let remove = Command::RemoveNode { node: dead, while_up: false };
    follower.propose(None, remove).await.expect("the dead one can go");
    leader.propose(None, create(1)).await.expect("writes go on");
    assert_eq!(leader.standing(NodeId::new(u64::MAX)), Standing::Stranger, "a leader knows every id there is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_is_left_alone_has_its_quorum() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let last = cluster.node(leader);
    let members = || last.with_metrics(|metrics| metrics.membership_config.membership().nodes().count());
    for (left, offset) in [(2, 1), (1, 2)] {
        let remove = Command::RemoveNode { node: cluster.node((leader + offset) % 3).id(), while_up: true };
        eventually(|| last.propose(None, remove.clone())).await;
        until("the membership lets go of it", || members() == left).await;
    }
    let silence = || last.with_metrics(|metrics| metrics.last_quorum_acked.as_deref().map(openraft::Instant::elapsed));
    until("nobody acknowledged for long", || silence().is_none_or(|silence| silence > Duration::from_secs(2))).await;
    assert!(last.status().quorum, "it needs nobody else");
    assert_eq!(last.status().leader, Some(last.id()));
}
