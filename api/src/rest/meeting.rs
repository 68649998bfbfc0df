//! `/api/meeting/:meeting_id`: read, change, delete.

use std::sync::Arc;

use axum::extract::State;
use plenary_cluster::model::MeetingId;
use plenary_cluster::state::{Command, MeetingPatch};
use serde_json::json;

use super::access::{check, check_read};
use super::body::Object;
use super::caller::{Caller, MeetingPath};
use super::draft::{Base, Draft};
use super::problem::Problem;
use super::revision::{Promise, Revised, write};
use super::view;
use crate::app::App;
use crate::auth::Action;

/// `GET`: the record with live figures.
pub(super) async fn read(
    State(app): State<App>,
    MeetingPath(id): MeetingPath,
    Caller(user): Caller,
    promise: Promise,
) -> Result<Revised, Problem> {
    let state = check_read(&app, promise, id, &user, Action::ViewMeeting).await?;
    answer(&app, &state, id, None)
}

/// `PUT` and `PATCH`: changes what is sent and leaves the rest.
pub(super) async fn update(
    State(app): State<App>,
    MeetingPath(id): MeetingPath,
    Caller(user): Caller,
    body: Object,
) -> Result<Revised, Problem> {
    let state = check(&app, id, &user, Action::UpdateMeeting).await?;
    let meeting = state.meeting(id).ok_or_else(Problem::meeting_not_found)?;
    let base = Base {
        start_time: meeting.start_time,
        end_time: meeting.end_time,
        features: meeting.features,
        recording: meeting.recording.clone(),
    };
    let draft = body.read(|fields| Some(Draft::read(fields, &base)))?;
    let password_hash = match draft.password.clone() {
        Some(Some(password)) => Some(Some(app.passwords.hash(password).await?)),
        Some(None) => Some(None),
        None => None,
    };
    let patch = Arc::new(patch(draft, password_hash));
    let (after, written) = write(&app, &state, id, Command::UpdateMeeting { meeting: id, patch }).await?;
    let answer = answer(&app, &after, id, Some("Meeting updated successfully"))?;
    Ok(Revised { revision: written.revision, ..answer })
}

/// `DELETE`: for good; a live meeting has to be ended first.
pub(super) async fn delete(
    State(app): State<App>,
    MeetingPath(id): MeetingPath,
    Caller(user): Caller,
) -> Result<Revised, Problem> {
    check(&app, id, &user, Action::DeleteMeeting).await?;
    let written = app.directory().propose(Some(id), Command::DeleteMeeting { meeting: id }).await?;
    let body = json!({"success": true, "message": "Meeting deleted successfully"});
    Ok(Revised { revision: written.revision, body })
}

fn answer(
    app: &App,
    state: &plenary_cluster::state::State,
    id: MeetingId,
    message: Option<&str>,
) -> Result<Revised, Problem> {
    let meeting = state.meeting(id).ok_or_else(Problem::meeting_not_found)?;
    let mut data = view::record(meeting);
    data.insert("live_stats".to_owned(), view::live_stats(state, meeting, app.services.clock.now()));
    let mut body = json!({"success": true, "data": data});
    if let Some(message) = message {
        body["message"] = message.into();
    }
    Ok(Revised { revision: state.revision(), body })
}

fn patch(draft: Draft, password_hash: Option<Option<String>>) -> MeetingPatch {
    MeetingPatch {
        name: draft.name,
        description: draft.description,
        start_time: draft.start_time,
        end_time: draft.end_time,
        location: draft.location,
        invited: draft.invited,
        meta_data: draft.meta_data,
        max_participants: draft.max_participants,
        password_hash,
        waiting_room_enabled: draft.waiting_room_enabled,
        require_host_approval: draft.require_host_approval,
        features: draft.features,
        recording: draft.recording,
    }
}
