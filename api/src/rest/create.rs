//! `POST /api/meeting`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use plenary_cluster::model::{MeetingId, MeetingType, RoomId};
use plenary_cluster::state::{Command, NewMeeting};
use serde_json::json;
use uuid::Uuid;

use super::body::Object;
use super::caller::Caller;
use super::draft::{Base, Draft};
use super::problem::Problem;
use super::revision::{Revised, write};
use super::view;
use crate::app::App;
use crate::auth::User;

/// Most people connected at once, unless the creator says otherwise.
const DEFAULT_MAX_PARTICIPANTS: u32 = 100;

/// Creates a meeting whose host is the caller.
pub(super) async fn create(
    State(app): State<App>,
    Caller(user): Caller,
    body: Object,
) -> Result<(StatusCode, Revised), Problem> {
    let (name, draft) = body.read(|fields| {
        let mut draft = Draft::read(fields, &Base::default());
        let name = draft.name.take();
        fields.require("meeting_name", name).map(|name| (name, draft))
    })?;
    let password_hash = match draft.password.clone().flatten() {
        Some(password) => Some(app.passwords.hash(password).await?),
        None => None,
    };
    let new = new_meeting(user, name, draft, password_hash);
    let (id, words) = (new.id, type_words(new.meeting_type));
    let before = app.directory().read_local();
    let (state, written) = write(&app, &before, id, Command::CreateMeeting(Arc::new(new))).await?;
    let meeting = state.meeting(id).ok_or_else(Problem::meeting_not_found)?;
    let message = format!("{words} meeting created successfully");
    let body = json!({"success": true, "data": view::record(meeting), "message": message});
    Ok((StatusCode::CREATED, Revised { revision: written.revision, body }))
}

fn new_meeting(user: User, name: String, draft: Draft, password_hash: Option<String>) -> NewMeeting {
    let by_time = if draft.start_time.is_some() { MeetingType::Scheduled } else { MeetingType::Instant };
    let waiting_room = draft.waiting_room_enabled.unwrap_or(false);
    // Guests come where something keeps strangers out, unless the creator says otherwise.
    let guarded = password_hash.is_some() || waiting_room;
    NewMeeting {
        id: MeetingId::from_uuid(Uuid::now_v7()),
        room: RoomId::from_uuid(Uuid::now_v7()),
        tenant: user.tenant,
        creator: user.id,
        name,
        description: draft.description.unwrap_or_default(),
        start_time: draft.start_time,
        end_time: draft.end_time,
        location: draft.location.unwrap_or_default(),
        invited: draft.invited.unwrap_or_default(),
        meta_data: draft.meta_data.unwrap_or_else(|| "{}".to_owned()),
        meeting_type: draft.meeting_type.unwrap_or(by_time),
        max_participants: draft.max_participants.unwrap_or(DEFAULT_MAX_PARTICIPANTS),
        password_hash,
        waiting_room_enabled: waiting_room,
        require_host_approval: draft.require_host_approval.unwrap_or(false),
        guests_allowed: draft.guests_allowed.unwrap_or(guarded),
        features: draft.features.unwrap_or_default(),
        recording: draft.recording.unwrap_or_default(),
    }
}

const fn type_words(kind: MeetingType) -> &'static str {
    match kind {
        MeetingType::Instant => "Instant",
        MeetingType::Scheduled => "Scheduled",
    }
}
