//! A proposal that is sent twice is carried out once.

use std::sync::Arc;

use super::*;
use crate::state::REPEATS_CAP;

fn id(epoch: u64, sequence: u64) -> ProposalId {
    ProposalId { proposer: NodeId::new(1), epoch, sequence }
}

#[test]
fn a_repeat_gets_the_first_outcome() {
    let mut log = Log::with_node();
    let epoch = log.epoch(1);
    let admit = Command::AdmitNode { token: 1, expires: Timestamp::from_millis(i64::MAX), control: address(1) };
    let first = log.run_as(id(epoch, 40), admit.clone());
    assert_eq!(first, Applied::Admitted { node: NodeId::new(2) });
    assert_eq!(log.run_as(id(epoch, 40), admit.clone()), first);
    assert_eq!(log.run_as(id(epoch, 41), admit), refused(Rejection::TokenSpent));
}

#[test]
fn a_repeat_names_the_entry_that_took_effect() {
    let mut log = Log::with_node();
    let epoch = log.epoch(1);
    let create = Command::CreateMeeting(Arc::new(new_meeting(1)));
    let made = log.run_as(id(epoch, 40), create.clone());
    let first = log.state.outcome(id(epoch, 40), made);
    assert_eq!(first.revision, log.state.revision());
    log.run_as(id(epoch, 41), Command::StartMeeting { meeting: meeting(1) });
    let again = log.run_as(id(epoch, 40), create);
    assert_eq!(log.state.outcome(id(epoch, 40), again), first);
    assert!(first.revision < log.state.revision());
}

#[test]
fn a_repeated_registration_gets_the_same_epoch() {
    let mut log = Log::default();
    let first = log.run_as(id(0, 12), register(1));
    assert_eq!(log.run_as(id(0, 12), register(1)), first);
    assert_ne!(log.run_as(id(0, 13), register(1)), first);
}

#[test]
fn a_proposal_of_an_older_epoch_is_refused() {
    let mut log = Log::with_node();
    let old = log.epoch(1);
    log.run(register(1));
    let create = Command::CreateMeeting(Arc::new(new_meeting(1)));
    assert_eq!(log.run_as(id(old, 1), create), refused(Rejection::ProposalExpired));
    assert_eq!(log.state.meetings().count(), 0);
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_forgotten_is_refused() {
    let mut log = Log::with_node();
    let epoch = log.epoch(1);
    let start = Command::StartMeeting { meeting: meeting(1) };
    for sequence in 0..=u64::from(REPEATS_CAP) {
        log.run_as(id(epoch, sequence), start.clone());
    }
    assert_eq!(log.state.sequences(NodeId::new(1)).count(), REPEATS_CAP as usize);
    assert_eq!(log.run_as(id(epoch, 0), start.clone()), refused(Rejection::ProposalExpired));
    assert_eq!(log.run_as(id(epoch, 1), start), refused(Rejection::MeetingNotFound));
}
