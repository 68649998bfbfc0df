//! The wire is a promise: every message, as JSON, word for word; and no bytes make a decoder panic.

use plenary_protocol::{
    ClientInfo, Close, ErrorCode, FieldError, IceServer, Interest, Joined, MeetingInfo, MeetingState, Member,
    OfferedTrack, Pool, PoolSize, ProtocolError, Push, PushFrame, Reply, ReplyFrame, Request, RequestFrame,
    RosterChange, ServerFrame, SlotAnnouncement, SourceName, TrackInfo, VERSION, VideoInterest, WantedTrack,
};
use proptest::prelude::{any, prop_assert, proptest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T, golden: &Value) {
    assert_eq!(&serde_json::to_value(message).expect("a message serialises"), golden);
    assert_eq!(&serde_json::from_str::<T>(&golden.to_string()).expect("a golden message parses"), message, "{golden}");
}

fn request(request: Request, golden: &Value) {
    same(&RequestFrame { v: VERSION, id: 7, request }, golden);
}

fn reply(reply: Reply, golden: &Value) {
    let frame = ReplyFrame { v: VERSION, re: 7, reply };
    same(&frame, golden);
    same(&ServerFrame::Reply(frame), golden);
}

fn push(push: Push, golden: &Value) {
    let frame = PushFrame { v: VERSION, seq: 3, push };
    same(&frame, golden);
    same(&ServerFrame::Push(frame), golden);
}

fn text(value: &str) -> String {
    value.to_owned()
}

fn ada() -> Member {
    Member {
        id: text("participant_1"),
        name: text("Ada"),
        role: text("host"),
        tracks: vec![TrackInfo { source: SourceName::ScreenAudio, muted: true }],
        reconnecting: false,
    }
}

#[test]
fn requests() {
    let client = ClientInfo { name: text("plenary-web"), version: text("0.1.0") };
    request(
        Request::Join { token: text("eyJ"), meeting: text("meeting_1"), client },
        &json!({"v": 1, "id": 7, "type": "join", "token": "eyJ", "meeting": "meeting_1",
                "client": {"name": "plenary-web", "version": "0.1.0"}}),
    );
    let tracks = vec![OfferedTrack { mid: text("0"), source: SourceName::Microphone }];
    request(
        Request::Offer { sdp: text("v=0"), tracks, slots: vec![text("4")] },
        &json!({"v": 1, "id": 7, "type": "offer", "sdp": "v=0", "tracks": [{"mid": "0", "source": "microphone"}],
                "slots": ["4"]}),
    );
    request(
        Request::Candidate { candidate: text("candidate:1") },
        &json!({"v": 1, "id": 7, "type": "candidate", "candidate": "candidate:1"}),
    );
    request(
        Request::Publish { tracks: vec![TrackInfo { source: SourceName::Camera, muted: false }] },
        &json!({"v": 1, "id": 7, "type": "publish", "tracks": [{"source": "camera", "muted": false}]}),
    );
    request(
        Request::Interest(Interest { video: VideoInterest::Speakers { max: 9 }, audio: true }),
        &json!({"v": 1, "id": 7, "type": "interest", "video": {"mode": "speakers", "max": 9}, "audio": true}),
    );
    let wanted =
        WantedTrack { participant: text("participant_1"), source: SourceName::Screen, width: 640, height: 360 };
    request(
        Request::Interest(Interest { video: VideoInterest::Tracks { tracks: vec![wanted] }, audio: false }),
        &json!({"v": 1, "id": 7, "type": "interest", "audio": false, "video": {"mode": "tracks", "tracks": [
                {"participant": "participant_1", "source": "screen", "width": 640, "height": 360}]}}),
    );
    request(Request::Keyframe { mid: text("4") }, &json!({"v": 1, "id": 7, "type": "keyframe", "mid": "4"}));
    request(Request::Leave, &json!({"v": 1, "id": 7, "type": "leave"}));
    request(Request::Ping, &json!({"v": 1, "id": 7, "type": "ping"}));
}

#[test]
fn replies() {
    reply(Reply::Ok, &json!({"v": 1, "re": 7, "type": "ok"}));
    let turn = IceServer { urls: vec![text("turn:t")], username: Some(text("u")), credential: Some(text("c")) };
    reply(
        Reply::Joined(Box::new(Joined {
            participant: text("participant_1"),
            session: text("session_1"),
            node: 2,
            meeting: MeetingInfo { id: text("meeting_1"), name: text("Weekly") },
            roster: vec![ada()],
            revision: 41,
            ice_servers: vec![turn],
            pool: PoolSize { audio: 3, video: 4 },
        })),
        &json!({"v": 1, "re": 7, "type": "joined", "participant": "participant_1", "session": "session_1", "node": 2,
                "meeting": {"id": "meeting_1", "name": "Weekly"},
                "roster": [{"id": "participant_1", "name": "Ada", "role": "host", "reconnecting": false,
                            "tracks": [{"source": "screen_audio", "muted": true}]}],
                "revision": 41, "ice_servers": [{"urls": ["turn:t"], "username": "u", "credential": "c"}],
                "pool": {"audio": 3, "video": 4}}),
    );
    reply(Reply::Answer { sdp: text("v=0") }, &json!({"v": 1, "re": 7, "type": "answer", "sdp": "v=0"}));
    let field = FieldError { path: text("sdp"), code: text("malformed"), message: text("send an offer") };
    reply(
        Reply::Error(ProtocolError {
            code: ErrorCode::MalformedSdp,
            message: text("`sdp` can't be read"),
            errors: vec![field],
            retry_after_ms: Some(500),
        }),
        &json!({"v": 1, "re": 7, "type": "error", "code": "MALFORMED_SDP", "message": "`sdp` can't be read",
                "errors": [{"path": "sdp", "code": "malformed", "message": "send an offer"}], "retry_after_ms": 500}),
    );
}

#[test]
fn pushes() {
    push(
        Push::Roster {
            revision: 42,
            reset: false,
            changes: vec![RosterChange::Set { member: ada() }, RosterChange::Left { id: text("participant_2") }],
        },
        &json!({"v": 1, "seq": 3, "type": "roster", "revision": 42, "reset": false, "changes": [
                {"change": "set", "member": {"id": "participant_1", "name": "Ada", "role": "host",
                 "reconnecting": false, "tracks": [{"source": "screen_audio", "muted": true}]}},
                {"change": "left", "id": "participant_2"}]}),
    );
    let shown = SlotAnnouncement {
        mid: text("4"),
        generation: 2,
        participant: Some(text("participant_1")),
        source: Some(SourceName::Camera),
        rtp_timestamp: Some(90_000),
    };
    let idle = SlotAnnouncement { mid: text("5"), generation: 3, participant: None, source: None, rtp_timestamp: None };
    push(
        Push::Slots { slots: vec![shown, idle] },
        &json!({"v": 1, "seq": 3, "type": "slots", "slots": [
                {"mid": "4", "generation": 2, "participant": "participant_1", "source": "camera",
                 "rtp_timestamp": 90000},
                {"mid": "5", "generation": 3}]}),
    );
    push(
        Push::Switching { mids: vec![text("4"), text("6")] },
        &json!({"v": 1, "seq": 3, "type": "switching", "mids": ["4", "6"]}),
    );
    push(
        Push::Pool(Pool { size: PoolSize { audio: 3, video: 9 } }),
        &json!({"v": 1, "seq": 3, "type": "pool", "size": {"audio": 3, "video": 9}}),
    );
    push(
        Push::Speakers { speakers: vec![text("participant_1")] },
        &json!({"v": 1, "seq": 3, "type": "speakers", "speakers": ["participant_1"]}),
    );
    push(Push::MediaConnected, &json!({"v": 1, "seq": 3, "type": "media_connected"}));
    push(Push::Meeting { state: MeetingState::Ended }, &json!({"v": 1, "seq": 3, "type": "meeting", "state": "ended"}));
    push(
        Push::Closed(Close { code: text("meeting_ended"), message: text("over"), rejoin: false }),
        &json!({"v": 1, "seq": 3, "type": "closed", "code": "meeting_ended", "message": "over", "rejoin": false}),
    );
}

#[test]
fn what_may_be_left_out_has_its_default() {
    let join = json!({"v": 1, "id": 1, "type": "join", "token": "t", "meeting": "m", "later": {"added": true}});
    let frame: RequestFrame = serde_json::from_value(join).unwrap();
    assert!(matches!(frame.request, Request::Join { client, .. } if client == ClientInfo::default()));
    let interest = json!({"v": 1, "id": 1, "type": "interest", "video": {"mode": "speakers", "max": 4}});
    let frame: RequestFrame = serde_json::from_value(interest).unwrap();
    assert!(matches!(frame.request, Request::Interest(Interest { audio: true, .. })));
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in any::<Vec<u8>>()) {
        drop(serde_json::from_slice::<RequestFrame>(&bytes));
        drop(serde_json::from_slice::<ServerFrame>(&bytes));
    }

    #[test]
    fn no_json_of_nearly_the_right_shape_makes_a_decoder_panic(kind in "[a-z_]{0,9}", tail in "\\PC{0,40}", id in any::<i64>()) {
        let text = format!(r#"{{"v":1,"id":{id},"re":{id},"type":"{kind}",{tail}}}"#);
        drop(serde_json::from_str::<RequestFrame>(&text));
        drop(serde_json::from_str::<ServerFrame>(&text));
        prop_assert!(!text.is_empty());
    }
}
