//! Meetings and participants as the contract shows them.

use plenary_cluster::model::{
    Meeting, MeetingStatus, MeetingType, Participant, ParticipantStatus, Role, Source, Timestamp,
};
use plenary_cluster::state::State;
use serde_json::{Map, Value, json};

use super::draft::OWN_META;

/// A meeting in a list.
pub(super) fn summary(meeting: &Meeting) -> Value {
    json!({
        "id": meeting.id,
        "meeting_name": meeting.name,
        "meeting_start_time": meeting.start_time,
        "meeting_end_time": meeting.end_time,
        "participants": meeting.invited,
        "is_active": true,
        "status": status(meeting.status),
        "meeting_type": meeting_type(meeting.meeting_type),
    })
}

/// All of a meeting's record that its members may see; never the password.
pub(super) fn record(meeting: &Meeting) -> Map<String, Value> {
    let value = json!({
        "id": meeting.id,
        "campus_id": meeting.tenant,
        "creator_id": meeting.creator,
        "meeting_name": meeting.name,
        "meeting_description": meeting.description,
        "meeting_start_time": meeting.start_time,
        "meeting_end_time": meeting.end_time,
        "meeting_location": meeting.location,
        "participants": meeting.invited,
        "meeting_meta_data": meta_data(meeting),
        "meeting_type": meeting_type(meeting.meeting_type),
        "max_participants": meeting.max_participants,
        "has_password": meeting.password_hash.is_some(),
        "waiting_room_enabled": meeting.waiting_room_enabled,
        "require_host_approval": meeting.require_host_approval,
        "guests_allowed": meeting.guests_allowed,
        "features": meeting.features,
        "recording_config": meeting.recording,
        "status": status(meeting.status),
        "started_at": meeting.started_at,
        "ended_at": meeting.ended_at,
        "is_active": true,
        "is_deleted": false,
        "created_at": meeting.created_at,
        "updated_at": meeting.updated_at,
    });
    match value {
        Value::Object(object) => object,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// The caller's own object, with the server's `webrtc_config` over it.
fn meta_data(meeting: &Meeting) -> Value {
    let mut object: Map<String, Value> = serde_json::from_str(&meeting.meta_data).unwrap_or_default();
    let options = json!({"enableUdp": true, "enableTcp": false, "preferUdp": true});
    object.insert(OWN_META.to_owned(), json!({"router_id": meeting.room, "transport_options": options}));
    Value::Object(object)
}

/// How a meeting goes at `now`. Quality is not measured yet, and so null.
pub(super) fn live_stats(state: &State, meeting: &Meeting, now: Timestamp) -> Value {
    json!({
        "participant_count": state.connected_count(meeting.id),
        "peak_participants": meeting.peak_participants,
        "duration_minutes": duration_minutes(meeting, now),
        "start_time": meeting.started_at,
        "quality_score": null,
    })
}

/// How a meeting went. There is neither chat nor recording yet.
pub(super) fn final_stats(meeting: &Meeting, now: Timestamp) -> Value {
    json!({
        "duration_minutes": duration_minutes(meeting, now),
        "max_participants": meeting.peak_participants,
        "total_chat_messages": 0,
        "recording_url": null,
    })
}

/// Whole minutes since the meeting went live, until it ended; 0 before.
fn duration_minutes(meeting: &Meeting, now: Timestamp) -> u64 {
    let Some(start) = meeting.started_at else { return 0 };
    meeting.ended_at.unwrap_or(now).millis_since(start) / 60_000
}

/// A participant, with what they send right now.
pub(super) fn participant(participant: &Participant) -> Value {
    let sends = |source| {
        let tracks = participant.session.as_ref().map_or(&[][..], |session| &session.tracks);
        tracks.iter().any(|track| track.source == source && !track.muted)
    };
    json!({
        "id": participant.id,
        "user_id": participant.user,
        "name": participant.name,
        "role": role(participant.role),
        "joined_at": participant.joined_at,
        "left_at": participant.left_at,
        "status": participant_status(participant.status),
        "media_status": {
            "audio": sends(Source::Microphone),
            "video": sends(Source::Camera),
            "screen_share": sends(Source::Screen),
        },
    })
}

/// What we route, in the shape of mediasoup's RtpCapabilities.
pub(super) fn router_capabilities() -> Value {
    let feedback = |list: &[(&str, &str)]| -> Vec<Value> {
        list.iter().map(|(kind, parameter)| json!({"type": kind, "parameter": parameter})).collect()
    };
    let video = [("nack", ""), ("nack", "pli"), ("ccm", "fir"), ("transport-cc", "")];
    json!({
        "codecs": [
            {
                "kind": "audio", "mimeType": "audio/opus", "preferredPayloadType": 111, "clockRate": 48_000,
                "channels": 2, "parameters": {"minptime": 10, "useinbandfec": 1},
                "rtcpFeedback": feedback(&[("transport-cc", "")]),
            },
            {
                "kind": "video", "mimeType": "video/VP8", "preferredPayloadType": 96, "clockRate": 90_000,
                "parameters": {}, "rtcpFeedback": feedback(&video),
            },
            {
                "kind": "video", "mimeType": "video/rtx", "preferredPayloadType": 97, "clockRate": 90_000,
                "parameters": {"apt": 96}, "rtcpFeedback": [],
            },
        ],
        "headerExtensions": [
            extension("audio", "urn:ietf:params:rtp-hdrext:sdes:mid", 1),
            extension("video", "urn:ietf:params:rtp-hdrext:sdes:mid", 1),
            extension("audio", "urn:ietf:params:rtp-hdrext:ssrc-audio-level", 2),
        ],
    })
}

fn extension(kind: &str, uri: &str, id: u8) -> Value {
    json!({"kind": kind, "uri": uri, "preferredId": id, "preferredEncrypt": false, "direction": "sendrecv"})
}

/// A role's name on the wire.
pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Host => "host",
        Role::CoHost => "co_host",
        Role::Presenter => "presenter",
        Role::Attendee => "attendee",
    }
}

/// A status's name on the wire.
pub(super) const fn status(status: MeetingStatus) -> &'static str {
    match status {
        MeetingStatus::Scheduled => "scheduled",
        MeetingStatus::Live => "live",
        MeetingStatus::Ended => "ended",
    }
}

const fn meeting_type(kind: MeetingType) -> &'static str {
    match kind {
        MeetingType::Instant => "instant",
        MeetingType::Scheduled => "scheduled",
    }
}

const fn participant_status(status: ParticipantStatus) -> &'static str {
    match status {
        ParticipantStatus::Invited => "invited",
        ParticipantStatus::Joining => "joining",
        ParticipantStatus::Connected => "connected",
        ParticipantStatus::Reconnecting => "reconnecting",
        ParticipantStatus::Left => "left",
    }
}
