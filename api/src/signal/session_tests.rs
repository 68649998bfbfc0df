use plenary_cluster::model::Role;
use plenary_cluster::state::RosterEntry;
use plenary_protocol::{MeetingInfo, Member};
use uuid::Uuid;

use super::*;
use crate::port::OfferFault;

const ME: u128 = 1;
const MINE: u128 = 100;

fn participant(n: u128) -> ParticipantId {
    ParticipantId::from_uuid(Uuid::from_u128(n))
}

fn session_id(n: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(n))
}

fn meeting() -> MeetingId {
    MeetingId::from_uuid(Uuid::from_u128(7))
}

fn admission() -> Admission {
    let joined = Joined {
        participant: participant(ME).to_string(),
        session: session_id(MINE).to_string(),
        node: 1,
        meeting: MeetingInfo { id: meeting().to_string(), name: "Planning".to_owned() },
        roster: Vec::new(),
        revision: 10,
        ice_servers: Vec::new(),
        pool: PoolSize { audio: 3, video: 4 },
    };
    Admission { meeting: meeting(), participant: participant(ME), session: session_id(MINE), joined }
}

fn drain(session: &mut Session) -> Vec<Output> {
    std::iter::from_fn(|| session.poll_output()).collect()
}

fn joined() -> Session {
    let mut session = Session::default();
    session.handle_text(r#"{"v":1,"id":1,"type":"join","token":"t","meeting":"m"}"#);
    session.handle_admission(Ok(admission()));
    drain(&mut session);
    session
}

/// The one error a text is answered with.
fn fault(session: &mut Session, text: &str) -> (u64, ProtocolError) {
    session.handle_text(text);
    match drain(session).as_slice() {
        [Output::Send(ServerFrame::Reply(ReplyFrame { re, reply: Reply::Error(fault), .. })), ..] => {
            (*re, fault.clone())
        }
        other => panic!("expected one error, got {other:?}"),
    }
}

fn replies(outputs: &[Output]) -> Vec<u64> {
    let reply = |output: &Output| match output {
        Output::Send(ServerFrame::Reply(frame)) => Some(frame.re),
        Output::Send(ServerFrame::Push(_))
        | Output::Join { .. }
        | Output::Publish(_)
        | Output::Media(_)
        | Output::Close { .. } => None,
    };
    outputs.iter().filter_map(reply).collect()
}

fn changed(revision: u64, who: u128, session: Option<u128>) -> Event {
    let entry = RosterEntry {
        participant: participant(who),
        name: format!("person {who}"),
        role: Role::Attendee,
        session: session.map(session_id),
        tracks: Vec::new(),
        reconnecting: session.is_none(),
    };
    Event { revision, ordinal: 0, kind: EventKind::ParticipantChanged { meeting: meeting(), entry } }
}

#[test]
fn an_offer_may_follow_the_join_without_waiting() {
    let mut session = Session::default();
    session.handle_text(r#"{"v":1,"id":1,"type":"join","token":"t","meeting":"m"}"#);
    session.handle_text(r#"{"v":1,"id":2,"type":"offer","sdp":"s","tracks":[],"slots":["0"]}"#);
    assert_eq!(drain(&mut session), [Output::Join { token: "t".to_owned(), meeting: "m".to_owned() }]);
    session.handle_admission(Ok(admission()));
    let outputs = drain(&mut session);
    assert_eq!(replies(&outputs), [1]);
    assert!(matches!(outputs[1], Output::Media(MediaCommand::Offer { request: 2, .. })), "{outputs:?}");
}

#[test]
fn replies_keep_the_order_of_requests() {
    let mut session = joined();
    session.handle_text(r#"{"v":1,"id":2,"type":"publish","tracks":[{"source":"camera"}]}"#);
    session.handle_text(r#"{"v":1,"id":3,"type":"offer","sdp":"s","tracks":[],"slots":[]}"#);
    session.handle_text(r#"{"v":1,"id":4,"type":"ping"}"#);
    session.handle_media(MediaEvent::Answer { request: 3, result: Ok("a".to_owned()) });
    assert_eq!(replies(&drain(&mut session)), [0_u64; 0]);
    session.handle_published(Ok(()));
    assert_eq!(replies(&drain(&mut session)), [2, 3, 4]);
}

#[test]
fn a_refused_join_can_be_tried_again() {
    let mut session = Session::default();
    session.handle_text(r#"{"v":1,"id":1,"type":"join","token":"old","meeting":"m"}"#);
    session.handle_admission(Err(error(ErrorCode::TokenExpired, "`token` has expired")));
    session.handle_text(r#"{"v":1,"id":2,"type":"join","token":"new","meeting":"m"}"#);
    let outputs = drain(&mut session);
    assert_eq!(replies(&outputs), [1]);
    assert_eq!(outputs.last(), Some(&Output::Join { token: "new".to_owned(), meeting: "m".to_owned() }));
}

#[test]
fn a_join_is_awaited_only_while_none_is_in_hand() {
    let mut session = Session::default();
    assert!(session.awaits_join());
    session.handle_text(r#"{"v":1,"id":1,"type":"join","token":"old","meeting":"m"}"#);
    assert!(!session.awaits_join(), "it came, and takes as long as the directory does");
    drain(&mut session);
    session.handle_join_deadline();
    assert_eq!(drain(&mut session), []);

    session.handle_admission(Err(error(ErrorCode::TokenExpired, "`token` has expired")));
    assert!(session.awaits_join(), "a refused one does not count");
    session.handle_join_deadline();
    assert_eq!(drain(&mut session).last(), Some(&Output::Close { left: false }));
    assert!(!session.awaits_join());

    assert!(!joined().awaits_join());
}

#[test]
fn broken_frames_are_answered_with_field_and_fix() {
    let mut session = joined();
    let table = [
        ("{", 0, ErrorCode::MalformedMessage, "JSON"),
        (r#"{"id":5,"type":"ping"}"#, 5, ErrorCode::UnsupportedVersion, "`v`"),
        (r#"{"v":1,"type":"ping"}"#, 0, ErrorCode::MalformedMessage, "`id`"),
        (r#"{"v":1,"id":6}"#, 6, ErrorCode::MalformedMessage, "`type`"),
        (r#"{"v":1,"id":7,"type":"dance"}"#, 7, ErrorCode::UnknownType, "\"dance\""),
        (r#"{"v":1,"id":8,"type":"offer"}"#, 8, ErrorCode::MalformedMessage, "sdp"),
        (r#"{"v":1,"id":9,"type":"join","token":"t","meeting":"m"}"#, 9, ErrorCode::AlreadyJoined, "connection"),
        (
            r#"{"v":1,"id":10,"type":"publish","tracks":[{"source":"camera"},{"source":"camera"}]}"#,
            10,
            ErrorCode::InvalidField,
            "tracks.1.source",
        ),
        (
            r#"{"v":1,"id":11,"type":"interest","video":{"mode":"tracks","tracks":[{"participant":"x","source":"camera"}]}}"#,
            11,
            ErrorCode::InvalidField,
            "video.tracks.0.participant",
        ),
    ];
    for (text, id, code, word) in table {
        let (re, fault) = fault(&mut session, text);
        assert_eq!((re, fault.code), (id, code), "{text}");
        assert!(fault.message.contains(word), "{text}: {}", fault.message);
    }
}

#[test]
fn a_frame_above_the_limit_is_answered_and_ends_the_connection() {
    let mut session = joined();
    session.handle_text(&"x".repeat(MAX_FRAME_BYTES + 1));
    let outputs = drain(&mut session);
    assert_eq!(replies(&outputs), [0]);
    assert_eq!(outputs.last(), Some(&Output::Close { left: false }));
}

#[test]
fn nothing_but_join_and_ping_is_done_before_the_join() {
    let mut session = Session::default();
    let (_, fault) = fault(&mut session, r#"{"v":1,"id":1,"type":"leave"}"#);
    assert_eq!(fault.code, ErrorCode::NotJoined);
    session.handle_join_deadline();
    assert_eq!(drain(&mut session).last(), Some(&Output::Close { left: false }));
}

#[test]
fn a_malformed_description_is_told_and_the_session_goes_on() {
    let mut session = joined();
    session.handle_text(r#"{"v":1,"id":2,"type":"offer","sdp":"nonsense","tracks":[],"slots":[]}"#);
    drain(&mut session);
    let result = Err(OfferFault { field: "sdp", message: "not a session description".to_owned() });
    session.handle_media(MediaEvent::Answer { request: 2, result });
    let [Output::Send(ServerFrame::Reply(ReplyFrame { re: 2, reply: Reply::Error(fault), .. }))] =
        &drain(&mut session)[..]
    else {
        panic!("expected an error");
    };
    assert_eq!(fault.code, ErrorCode::MalformedSdp);
    assert!(session.place().is_some());
}

#[test]
fn roster_news_are_pushed_once_and_in_one_push() {
    let mut session = joined();
    session.handle_events(&[changed(9, 2, Some(200)), changed(11, 2, Some(200)), changed(12, 3, Some(300))]);
    let outputs = drain(&mut session);
    let [Output::Send(ServerFrame::Push(PushFrame { seq: 1, push: Push::Roster { revision: 12, changes, .. }, .. }))] =
        &outputs[..]
    else {
        panic!("expected one roster push, got {outputs:?}");
    };
    let ids: Vec<_> = changes
        .iter()
        .map(|change| match change {
            RosterChange::Set { member: Member { id, .. } } | RosterChange::Left { id } => id.clone(),
        })
        .collect();
    assert_eq!(ids, [participant(2).to_string(), participant(3).to_string()]);
}

#[test]
fn a_newer_session_of_the_same_person_ends_this_one() {
    let mut session = joined();
    session.handle_events(&[changed(11, ME, Some(MINE + 1))]);
    let outputs = drain(&mut session);
    assert_eq!(outputs.last(), Some(&Output::Close { left: false }));
    assert!(format!("{outputs:?}").contains("session_replaced"));
}

#[test]
fn the_end_of_the_meeting_ends_the_connection() {
    let mut session = joined();
    let kind = EventKind::MeetingChanged { meeting: meeting(), status: Some(MeetingStatus::Ended) };
    session.handle_events(&[Event { revision: 11, ordinal: 0, kind }]);
    let outputs = drain(&mut session);
    assert!(format!("{outputs:?}").contains("meeting_ended"));
    assert_eq!(outputs.last(), Some(&Output::Close { left: false }));
    session.handle_text(r#"{"v":1,"id":2,"type":"ping"}"#);
    assert_eq!(drain(&mut session), []);
}

#[test]
fn the_end_of_the_meeting_says_more_than_the_dismissal_that_comes_with_it() {
    let mut session = joined();
    let left = EventKind::ParticipantLeft { meeting: meeting(), participant: participant(ME) };
    let ended = EventKind::MeetingChanged { meeting: meeting(), status: Some(MeetingStatus::Ended) };
    session.handle_events(&[
        Event { revision: 11, ordinal: 0, kind: left },
        Event { revision: 11, ordinal: 1, kind: ended },
    ]);
    let said = format!("{:?}", drain(&mut session));
    assert!(said.contains("meeting_ended") && !said.contains("removed"), "{said}");
}

#[test]
fn who_was_taken_for_lost_is_asked_to_join_again() {
    let mut session = joined();
    session.handle_events(&[changed(11, ME, None)]);
    let said = format!("{:?}", drain(&mut session));
    assert!(said.contains("media_failed") && said.contains("rejoin: true"), "{said}");
}

#[test]
fn no_more_is_read_while_too_many_replies_are_owed() {
    let mut session = joined();
    for id in 2..2 + u64::try_from(MAX_LINE).unwrap() {
        assert!(session.wants_input());
        session.handle_text(&format!(r#"{{"v":1,"id":{id},"type":"publish","tracks":[]}}"#));
    }
    assert!(!session.wants_input());
    session.handle_published(Ok(()));
    assert!(session.wants_input());
}

#[test]
fn leaving_is_answered_before_the_connection_closes() {
    let mut session = joined();
    session.handle_text(r#"{"v":1,"id":2,"type":"leave"}"#);
    let outputs = drain(&mut session);
    assert_eq!(replies(&outputs), [2]);
    assert_eq!(outputs.last(), Some(&Output::Close { left: true }));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_a_session_panic(texts in proptest::collection::vec("\\PC{0,60}", 0..8), kind in "[a-z]{4,9}") {
        for mut session in [Session::default(), joined()] {
            for (id, text) in (2_u64..).zip(&texts) {
                session.handle_text(text);
                session.handle_text(&serde_json::json!({"v": 1, "id": id, "type": kind, "sdp": text}).to_string());
            }
            drain(&mut session);
        }
    }
}
