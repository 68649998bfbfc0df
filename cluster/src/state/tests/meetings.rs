//! Meetings live and end.

use std::sync::Arc;

use super::*;
use crate::model::{MeetingStatus, ParticipantStatus, PublishedTrack, Source};
use crate::state::{MeetingPatch, OUTBOX_CAP, Resync};

fn update(patch: MeetingPatch) -> Command {
    Command::UpdateMeeting { meeting: meeting(1), patch: Arc::new(patch) }
}

#[test]
fn start_and_end_give_the_same_answer_twice() {
    let mut log = Log::with_node();
    let start = Command::StartMeeting { meeting: meeting(1) };
    let end = Command::EndMeeting { meeting: meeting(1) };
    assert_eq!(log.run(start.clone()), refused(Rejection::MeetingNotFound));
    log.run(Command::CreateMeeting(Arc::new(new_meeting(1))));
    assert_eq!(log.run(Command::CreateMeeting(Arc::new(new_meeting(1)))), refused(Rejection::AlreadyExists));
    assert_eq!(log.run(end.clone()), refused(Rejection::MeetingNotLive));
    assert_eq!(log.run(start.clone()), Applied::Done);
    let started_at = log.state.meeting(meeting(1)).expect("known").started_at;
    assert_eq!(log.run(start.clone()), Applied::Done);
    assert_eq!(log.state.meeting(meeting(1)).expect("known").started_at, started_at);
    assert_eq!(log.run(end.clone()), Applied::Done);
    assert_eq!(log.run(end), Applied::Done);
    assert!(log.told().is_empty());
    assert_eq!(log.run(start), refused(Rejection::MeetingEnded));
}

#[test]
fn ending_sends_everyone_away() {
    let mut log = Log::with_node();
    log.live(3);
    log.close(3, false);
    assert_eq!(log.run(Command::EndMeeting { meeting: meeting(1) }), Applied::Done);
    assert!(log.state.participants(meeting(1)).all(|one| one.status == ParticipantStatus::Left));
    let left = log.told().iter().filter(|kind| matches!(kind, EventKind::ParticipantLeft { .. })).count();
    assert_eq!(left, 3);
    let record = log.state.meeting(meeting(1)).expect("known");
    assert_eq!((record.status, record.peak_participants), (MeetingStatus::Ended, 3));
}

#[test]
fn a_live_meeting_is_not_deleted_and_an_ended_one_leaves_nothing() {
    let mut log = Log::with_node();
    log.live(2);
    let delete = Command::DeleteMeeting { meeting: meeting(1) };
    assert_eq!(log.run(delete.clone()), refused(Rejection::MeetingLive));
    log.run(Command::EndMeeting { meeting: meeting(1) });
    assert_eq!(log.run(delete), Applied::Done);
    assert_eq!(log.told(), vec![EventKind::MeetingChanged { meeting: meeting(1), status: None }]);
    assert_eq!(log.state.meetings().count(), 0);
    assert_eq!(log.state.participants(meeting(1)).count(), 0);
    assert_eq!(log.state.room(room(1)), None);
}

#[test]
fn a_patch_changes_what_it_names_and_raises_the_revision() {
    let mut log = Log::with_node();
    log.run(Command::CreateMeeting(Arc::new(new_meeting(1))));
    let before = log.state.meeting(meeting(1)).expect("known").clone();
    assert_eq!(
        log.run(update(MeetingPatch { name: Some("Retro".to_owned()), ..MeetingPatch::default() })),
        Applied::Done
    );
    let after = log.state.meeting(meeting(1)).expect("known").clone();
    assert_eq!(after.name, "Retro");
    assert_eq!(after.location, before.location);
    assert!(after.revision > before.revision && after.updated_at > before.updated_at);
    assert_eq!(log.run(update(MeetingPatch::default())), Applied::Done);
    assert_eq!(log.state.meeting(meeting(1)).expect("known").revision, after.revision);
}

#[test]
fn features_taken_away_withdraw_what_is_published() {
    let mut log = Log::with_node();
    log.live(1);
    let tracks = vec![
        PublishedTrack { source: Source::Camera, muted: false },
        PublishedTrack { source: Source::Microphone, muted: false },
    ];
    log.run(Command::PublishTracks { meeting: meeting(1), participant: person(1), session: session(1), tracks });
    let features = Features { video_enabled: false, ..Features::default() };
    log.run(update(MeetingPatch { features: Some(features), ..MeetingPatch::default() }));
    let roster: Vec<_> = log.state.roster(meeting(1)).collect();
    assert_eq!(roster[0].tracks, vec![PublishedTrack { source: Source::Microphone, muted: false }]);
}

#[test]
fn a_record_that_would_outgrow_the_store_is_refused() {
    let mut log = Log::with_node();
    log.run(Command::CreateMeeting(Arc::new(new_meeting(1))));
    let long = |len: usize| MeetingPatch { description: Some("x".repeat(len)), ..MeetingPatch::default() };
    assert_eq!(log.run(update(long(20 * 1024))), Applied::Done);
    let meta = MeetingPatch { meta_data: Some("x".repeat(16 * 1024)), ..MeetingPatch::default() };
    assert_eq!(log.run(update(meta)), refused(Rejection::TooLarge));
}

#[test]
fn a_follower_who_fell_behind_the_outbox_is_told_to_reload() {
    let mut log = Log::with_node();
    log.run(Command::CreateMeeting(Arc::new(new_meeting(1))));
    let first = log.state.revision();
    for n in 0..=OUTBOX_CAP {
        log.run(update(MeetingPatch { name: Some(n.to_string()), ..MeetingPatch::default() }));
    }
    let now = log.state.revision();
    assert_eq!(log.state.events_since(first - 1).err(), Some(Resync { revision: now }));
    assert_eq!(log.state.events_since(now - 10).expect("kept").count(), 10);
}
