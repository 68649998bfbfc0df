//! Nodes come, restart and go.

use super::*;
use crate::model::{NodeStatus, ParticipantStatus};
use crate::state::Standing;

fn admit(token: u128, expires_s: i64) -> Command {
    Command::AdmitNode { token, expires: Timestamp::from_millis(expires_s * 1000), control: address(9) }
}

#[test]
fn a_newcomer_gets_the_log_index_as_its_id_and_the_token_is_spent() {
    let mut log = Log::with_node();
    assert_eq!(log.run(admit(5, 100)), Applied::Admitted { node: NodeId::new(2) });
    assert_eq!(log.run(admit(5, 100)), refused(Rejection::TokenSpent));
    assert_eq!(log.run(admit(6, 1)), refused(Rejection::TokenSpent));
    assert_eq!(log.state.control_address(NodeId::new(2)), Some(address(9)));
    assert_eq!(log.run(register(2)), Applied::Registered { epoch: 5 });
    assert_eq!(log.state.control_address(NodeId::new(2)), Some(address(2)));
}

#[test]
fn a_node_that_was_never_admitted_cannot_register() {
    let mut log = Log::with_node();
    assert_eq!(log.run(register(77)), refused(Rejection::NodeNotCurrent));
}

#[test]
fn a_restarted_node_takes_a_new_epoch_and_its_sessions_reconnect() {
    let mut log = Log::with_node();
    log.live(2);
    let old = log.epoch(1);
    assert!(matches!(log.run(register(1)), Applied::Registered { epoch } if epoch > old));
    for n in 1..=2 {
        let participant = log.state.participant(meeting(1), person(n)).expect("still a member");
        assert_eq!(participant.status, ParticipantStatus::Reconnecting);
        assert_eq!(participant.lost.map(|lost| lost.id), Some(session(n)));
    }
    assert_eq!(log.state.connected_count(meeting(1)), 0);
    assert_eq!(log.told().len(), 3);
    let stale = Command::OpenSession {
        meeting: meeting(1),
        participant: person(1),
        session: session(9),
        node: NodeId::new(1),
        node_epoch: old,
        worker: 0,
    };
    assert_eq!(log.run(stale), refused(Rejection::NodeNotCurrent));
}

#[test]
fn a_dead_node_loses_its_sessions_and_its_rooms() {
    let mut log = Log::with_node();
    log.run(admit(5, 1000));
    log.run(register(2));
    log.live(1);
    let epoch = log.epoch(1);
    assert_eq!(
        log.run(Command::NodeDown { node: NodeId::new(1), epoch: epoch + 1 }),
        refused(Rejection::NodeNotCurrent)
    );
    assert_eq!(log.run(Command::NodeDown { node: NodeId::new(1), epoch }), Applied::Done);
    assert_eq!(log.state.node(NodeId::new(1)).expect("known").status, NodeStatus::Down);
    assert_eq!(log.state.room(room(1)).expect("known").home, Some(NodeId::new(2)));
    assert_eq!(log.state.connected_count(meeting(1)), 0);
    let before = log.state.revision();
    assert_eq!(log.run(Command::NodeDown { node: NodeId::new(1), epoch }), Applied::Done);
    assert_eq!(log.state.events_since(before).expect("kept").count(), 0);
}

#[test]
fn a_live_room_without_any_node_gets_a_home_when_one_comes_back() {
    let mut log = Log::with_node();
    log.live(0);
    let epoch = log.epoch(1);
    log.run(Command::NodeDown { node: NodeId::new(1), epoch });
    assert_eq!(log.state.room(room(1)).expect("known").home, None);
    log.run(register(1));
    let room = log.state.room(room(1)).expect("known");
    assert_eq!((room.home, room.home_epoch), (Some(NodeId::new(1)), log.epoch(1)));
}

#[test]
fn time_never_runs_backwards() {
    let mut log = Log::with_node();
    log.live(0);
    let now = log.state.now();
    let id = ProposalId { proposer: NodeId::new(1), epoch: 0, sequence: 0 };
    let index = log.state.revision() + 1;
    let command = Command::EndMeeting { meeting: meeting(1) };
    log.state.apply(index, &Proposal { id, time: Timestamp::from_millis(-5), command });
    assert_eq!(log.state.now(), now);
    assert_eq!(log.state.meeting(meeting(1)).expect("known").ended_at, Some(now));
}

#[test]
fn a_removed_node_is_gone_with_its_sessions_and_never_comes_back() {
    let mut log = Log::with_node();
    let Applied::Admitted { node: two } = log.run(admit(5, 1000)) else { panic!("not admitted") };
    log.run(register(two.number()));
    log.live(1);
    let (one, epoch) = (NodeId::new(1), log.epoch(1));
    let remove = |while_up| Command::RemoveNode { node: one, while_up };
    assert_eq!(log.run(remove(false)), refused(Rejection::NodeUp));
    assert_eq!(log.run(remove(true)), Applied::Done);
    assert!(log.state.is_removed(one) && !log.state.is_member(one));
    assert_eq!(log.state.node(one), None);
    let participant = log.state.participant(meeting(1), person(1)).expect("still a member of the meeting");
    assert_eq!(participant.status, ParticipantStatus::Reconnecting);
    assert_eq!(log.state.room(room(1)).expect("known").home, Some(two));
    assert_eq!(log.run(register(1)), refused(Rejection::NodeNotCurrent));
    assert_eq!(log.run(Command::NodeDown { node: one, epoch }), refused(Rejection::NodeNotCurrent));
    assert_eq!(log.run(remove(true)), refused(Rejection::NodeNotFound));
    let late = ProposalId { proposer: one, epoch, sequence: 3 };
    assert_eq!(log.run_as(late, Command::EndMeeting { meeting: meeting(1) }), refused(Rejection::ProposalExpired));
}

#[test]
fn a_node_is_a_stranger_only_once_its_admission_would_be_known() {
    let standing = |log: &Log, id| log.state.standing(NodeId::new(id));
    assert_eq!(standing(&Log::default(), 1), Standing::NotKnownYet);
    let mut log = Log::with_node();
    let Applied::Admitted { node: two } = log.run(admit(5, 1000)) else { panic!("not admitted") };
    assert_eq!((standing(&log, 1), standing(&log, two.number())), (Standing::Member, Standing::Member));
    assert_eq!(standing(&log, 3), Standing::NotKnownYet);
    log.run(Command::RemoveNode { node: two, while_up: false });
    assert_eq!((standing(&log, two.number()), standing(&log, 3)), (Standing::Removed, Standing::Stranger));
}

#[test]
fn the_last_node_that_is_up_cannot_be_removed() {
    let mut log = Log::with_node();
    let Applied::Admitted { node: two } = log.run(admit(5, 1000)) else { panic!("not admitted") };
    let remove = |node| Command::RemoveNode { node, while_up: true };
    assert_eq!(log.run(remove(NodeId::new(1))), refused(Rejection::LastNode));
    assert_eq!(log.run(remove(NodeId::new(77))), refused(Rejection::NodeNotFound));
    assert_eq!(log.run(remove(two)), Applied::Done, "a newcomer that never came");
    assert_eq!(log.state.control_address(two), None);
}
