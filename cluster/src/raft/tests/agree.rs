//! Members agree, whoever is asked.

use std::sync::Arc;

use super::*;
use crate::directory::{ProposeError, ReadError};
use crate::raft::InitializeError;
use crate::raft::config::ELECTION_MAX;
use crate::state::{MeetingPatch, Rejection};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_founder_alone_serves_and_founds_only_once() {
    let cluster = Cluster::founded().await;
    let founder = cluster.node(0);
    assert!(founder.is_initialized().await.expect("runs"));
    assert_eq!(founder.initialize().await, Err(InitializeError::AlreadyInitialized(NodeId::new(1))));
    assert!(!founder.must_register());
    let written = founder.propose(None, create(1)).await.expect("writes");
    assert_eq!(founder.read_local().meeting(meeting(1)).expect("there").revision, written.revision);
    assert!(founder.read_linearizable().await.expect("reads").meeting(meeting(1)).is_some());
    let status = founder.status();
    assert_eq!((status.leader, status.quorum, status.voters), (Some(NodeId::new(1)), true, vec![NodeId::new(1)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_grows_to_three_voters_and_every_member_proposes() {
    let cluster = Cluster::of_three().await;
    cluster.leader().await;
    for (n, member) in (1..).zip(&cluster.members) {
        let written = member.node.propose(Some(meeting(n)), create(n)).await.expect("writes");
        assert!(member.node.read_local().revision() >= written.revision, "the writer sees its own write");
        for other in &cluster.members {
            let state = other.node.read_linearizable().await.expect("reads");
            assert!(state.meeting(meeting(n)).is_some(), "{} misses meeting {n}", other.node.id());
            let state = other.node.read_at_least(written.revision).await.expect("reads");
            assert!(state.revision() >= written.revision);
        }
    }
    let states: Vec<Arc<State>> = cluster.members.iter().map(|member| member.node.read_local()).collect();
    let newest = states.iter().map(|state| state.revision()).max().expect("three");
    for member in &cluster.members {
        let state = member.node.read_at_least(newest).await.expect("reads");
        assert_eq!(state.check(), Ok(()));
        assert_eq!(state.nodes().filter(|node| node.status == NodeStatus::Up).count(), 3);
        assert_eq!(member.node.epoch(), state.node(member.node.id()).expect("registered").epoch);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_come_back_from_any_member() {
    let cluster = Cluster::of_three().await;
    cluster.leader().await;
    for member in &cluster.members {
        let end = Command::EndMeeting { meeting: meeting(9) };
        assert_eq!(member.node.propose(None, end).await, Err(ProposeError::Rejected(Rejection::MeetingNotFound)));
        let patch = MeetingPatch { description: Some("x".repeat(40_000)), ..MeetingPatch::default() };
        let update = Command::UpdateMeeting { meeting: meeting(9), patch: Arc::new(patch) };
        assert_eq!(member.node.propose(None, update).await, Err(ProposeError::Rejected(Rejection::TooLarge)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proposal_whose_answers_get_lost_is_applied_once() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let follower = cluster.node((leader + 1) % 3);
    cluster.mesh.lose_answers(2);
    let written = follower.propose(None, create(1)).await.expect("writes in the end");
    assert_eq!(written.applied, Applied::Done, "a second application would have said that the id is taken");
    let state = cluster.node(leader).read_linearizable().await.expect("reads");
    assert_eq!(state.meeting(meeting(1)).expect("there").revision, written.revision, "when it took effect");
    assert!(state.revision() > written.revision, "it was sent more than once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_raft_has_stopped_answers_unavailable_and_leaves_the_leader_in_peace() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let stopped = cluster.node((leader + 1) % 3);
    stopped.raft.shutdown().await.expect("stops");
    let before = cluster.node(leader).status().last_log;
    let answer = stopped.propose(Some(meeting(1)), create(1)).await;
    assert!(matches!(answer, Err(ProposeError::Unavailable { .. })), "{answer:?}");
    let entries = cluster.node(leader).status().last_log - before;
    assert!(entries < 20, "one proposal became {entries} entries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_minority_answers_unavailable_and_catches_up_when_healed() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let alone = cluster.node(leader);
    cluster.mesh.cut(alone.id());
    assert!(matches!(alone.propose(None, create(1)).await, Err(ProposeError::Unavailable { .. })));
    assert!(matches!(alone.read_linearizable().await, Err(ReadError::Unavailable { .. })));
    until("the cut off leader notices", || !alone.status().quorum).await;
    let other = cluster.node((leader + 1) % 3);
    eventually(|| other.propose(None, create(2))).await;

    cluster.mesh.heal();
    let newest = other.read_local().revision();
    let state = eventually(|| alone.read_at_least(newest)).await;
    assert!(state.meeting(meeting(2)).is_some());
    cluster.leader().await;
    eventually(|| alone.propose(None, create(3))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_on_two_continents_keep_their_leader_and_write() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let term = cluster.node(leader).status().term;
    let epochs = || cluster.members.iter().map(|member| member.node.epoch()).collect::<Vec<_>>();
    let before = epochs();
    cluster.mesh.stretch(Duration::from_millis(150));

    // Longer than several elections and than it takes to be declared down.
    let end = Instant::now() + 8 * ELECTION_MAX;
    let mut writers = cluster.members.iter().cycle();
    for n in 1.. {
        let writer = &writers.next().expect("three, again and again").node;
        writer.propose(Some(meeting(n)), create(n)).await.expect("writes");
        for member in &cluster.members {
            let status = member.node.status();
            assert_eq!((status.term, status.leader), (term, Some(cluster.node(leader).id())), "after write {n}");
            assert!(status.quorum, "{} misses a quorum after write {n}", status.node);
        }
        if Instant::now() > end {
            break;
        }
    }
    let state = cluster.node(leader).read_linearizable().await.expect("reads");
    assert_eq!(state.nodes().filter(|node| node.status == NodeStatus::Up).count(), 3);
    assert_eq!(state.nodes().map(|node| node.epoch).collect::<Vec<_>>(), before, "nobody had to register again");
    assert_eq!(epochs(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_state_is_not_the_others_stops_and_says_why() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let victim = (leader + 1) % 3;
    let settled = cluster.node(leader).read_linearizable().await.expect("reads").revision();
    cluster.node(victim).read_at_least(settled).await.expect("reads");
    cluster.node(victim).view.corrupt(7);
    for n in 1..=1000_u128 {
        cluster.node(leader).propose(None, create(n)).await.expect("writes");
    }
    let reason = tokio::time::timeout(PATIENCE, cluster.node(victim).stopped()).await.expect("it stops");
    assert!(reason.contains("its state at log index 1000"), "{reason}");
    for place in [leader, (leader + 2) % 3] {
        let node = cluster.node(place);
        assert!(node.fingerprint(1000).is_some(), "a fingerprint was taken");
        assert!(node.unfit.borrow().is_none(), "the majority goes on");
    }
}
