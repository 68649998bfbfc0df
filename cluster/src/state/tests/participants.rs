//! People come, publish, lose their connection and leave.

use std::sync::Arc;

use super::*;
use crate::model::{MeetingStatus, ParticipantStatus, PublishedTrack, Source};

#[test]
fn a_signed_in_user_keeps_their_record_and_a_guest_gets_a_new_one() {
    let mut log = Log::with_node();
    log.live(0);
    let first = log.run(join(1, 10, Some("bob"), Role::Attendee));
    assert_eq!(first, Applied::Joined { participant: person(10), role: Role::Attendee });
    let again = log.run(join(1, 11, Some("bob"), Role::Presenter));
    assert_eq!(again, first);
    assert_eq!(log.run(join(1, 10, None, Role::Attendee)), refused(Rejection::AlreadyExists));
    log.run(join(1, 12, None, Role::Attendee));
    assert_eq!(log.state.participants(meeting(1)).count(), 2);
}

#[test]
fn the_creator_is_host_and_their_join_starts_an_instant_meeting() {
    let mut log = Log::with_node();
    let mut instant = new_meeting(1);
    instant.meeting_type = MeetingType::Instant;
    log.run(Command::CreateMeeting(Arc::new(instant)));
    log.run(join(1, 1, Some("bob"), Role::Attendee));
    assert_eq!(log.state.meeting(meeting(1)).expect("known").status, MeetingStatus::Scheduled);
    let joined = log.run(join(1, 2, Some("ada"), Role::Attendee));
    assert_eq!(joined, Applied::Joined { participant: person(2), role: Role::Host });
    assert_eq!(log.state.meeting(meeting(1)).expect("known").status, MeetingStatus::Live);
    assert_eq!(log.state.room(room(1)).expect("known").home, Some(NodeId::new(1)));
}

#[test]
fn a_full_meeting_takes_nobody_more_but_a_new_session_of_someone_inside() {
    let mut log = Log::with_node();
    log.live(3);
    log.run(join(1, 4, None, Role::Attendee));
    assert_eq!(log.open(4, 4), refused(Rejection::MeetingFull));
    assert_eq!(log.open(3, 33), Applied::Done);
    assert_eq!(log.close(3, true), refused(Rejection::SessionNotCurrent));
    assert_eq!(log.close(1, true), Applied::Done);
    assert_eq!(log.open(4, 4), Applied::Done);
}

#[test]
fn a_session_opens_only_in_a_live_meeting_for_a_known_participant() {
    let mut log = Log::with_node();
    log.run(Command::CreateMeeting(Arc::new(new_meeting(1))));
    log.run(join(1, 1, None, Role::Attendee));
    assert_eq!(log.open(1, 1), refused(Rejection::MeetingNotLive));
    log.run(Command::StartMeeting { meeting: meeting(1) });
    assert_eq!(log.open(2, 2), refused(Rejection::ParticipantNotFound));
    assert_eq!(log.open(1, 1), Applied::Done);
    assert_eq!(log.open(1, 1), Applied::Done, "the same session again is the same answer");
}

#[test]
fn a_lost_session_is_missed_until_it_is_resumed_or_given_up() {
    let mut log = Log::with_node();
    log.live(2);
    assert_eq!(log.close(1, false), Applied::Done);
    let roster: Vec<_> = log.state.roster(meeting(1)).collect();
    assert!(roster[0].reconnecting && roster[0].session.is_none());
    assert_eq!(log.state.missed_since(Timestamp::from_millis(i64::MAX)).count(), 1);
    assert_eq!(log.open(1, 11), Applied::Done);
    assert_eq!(log.state.missed_since(Timestamp::from_millis(i64::MAX)).count(), 0);

    assert_eq!(log.close(2, false), Applied::Done);
    assert_eq!(log.close(2, true), Applied::Done);
    assert_eq!(log.told(), vec![EventKind::ParticipantLeft { meeting: meeting(1), participant: person(2) }]);
    let left = log.state.participant(meeting(1), person(2)).expect("known");
    assert_eq!((left.status, left.lost), (ParticipantStatus::Left, None));
}

#[test]
fn tracks_are_published_by_source_and_told_once() {
    let mut log = Log::with_node();
    log.live(1);
    let track = |source, muted| PublishedTrack { source, muted };
    let publish = |session_n, tracks: Vec<PublishedTrack>| Command::PublishTracks {
        meeting: meeting(1),
        participant: person(1),
        session: session(session_n),
        tracks,
    };
    let twice = vec![track(Source::Camera, false), track(Source::Microphone, false), track(Source::Camera, true)];
    assert_eq!(log.run(publish(1, twice)), Applied::Done);
    let told = log.told();
    let [EventKind::ParticipantChanged { entry, .. }] = told.as_slice() else { panic!("one event, not {told:?}") };
    assert_eq!(entry.tracks, vec![track(Source::Microphone, false), track(Source::Camera, true)]);
    assert_eq!(log.run(publish(1, entry.tracks.clone())), Applied::Done);
    assert!(log.told().is_empty());
    assert_eq!(log.run(publish(2, Vec::new())), refused(Rejection::SessionNotCurrent));
}

#[test]
fn a_source_that_the_meeting_forbids_is_refused() {
    let mut log = Log::with_node();
    let mut silent = new_meeting(1);
    silent.features.screen_sharing_enabled = false;
    log.run(Command::CreateMeeting(Arc::new(silent)));
    log.run(Command::StartMeeting { meeting: meeting(1) });
    log.run(join(1, 1, None, Role::Attendee));
    log.open(1, 1);
    let tracks = vec![PublishedTrack { source: Source::ScreenAudio, muted: false }];
    let publish = Command::PublishTracks { meeting: meeting(1), participant: person(1), session: session(1), tracks };
    assert_eq!(log.run(publish), refused(Rejection::SourceNotAllowed));
}
