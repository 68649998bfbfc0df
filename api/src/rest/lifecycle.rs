//! `POST …/start` and `POST …/end`. Both may be repeated: the answer is the same.

use axum::extract::State;
use plenary_cluster::state::Command;
use serde_json::json;

use super::access::check;
use super::caller::{Caller, MeetingPath};
use super::problem::Problem;
use super::revision::{Revised, write};
use super::view;
use crate::app::App;
use crate::auth::Action;

/// Makes the meeting live.
pub(super) async fn start(
    State(app): State<App>,
    MeetingPath(id): MeetingPath,
    Caller(user): Caller,
) -> Result<Revised, Problem> {
    let before = check(&app, id, &user, Action::StartMeeting).await?;
    let (state, written) = write(&app, &before, id, Command::StartMeeting { meeting: id }).await?;
    let meeting = state.meeting(id).ok_or_else(Problem::meeting_not_found)?;
    let data = json!({
        "id": id,
        "status": view::status(meeting.status),
        "webrtc_config": {
            "router_id": meeting.room,
            "router_capabilities": view::router_capabilities(),
            "ice_servers": app.settings.ice_servers,
            "turn_servers": app.turn_servers(),
        },
        "live_stats": view::live_stats(&state, meeting, app.services.clock.now()),
    });
    let body = json!({"success": true, "data": data, "message": "Meeting started successfully"});
    Ok(Revised { revision: written.revision, body })
}

/// Ends the meeting for everyone.
pub(super) async fn end(
    State(app): State<App>,
    MeetingPath(id): MeetingPath,
    Caller(user): Caller,
) -> Result<Revised, Problem> {
    let before = check(&app, id, &user, Action::EndMeeting).await?;
    let (state, written) = write(&app, &before, id, Command::EndMeeting { meeting: id }).await?;
    let meeting = state.meeting(id).ok_or_else(Problem::meeting_not_found)?;
    let data = json!({
        "id": id,
        "status": view::status(meeting.status),
        "final_stats": view::final_stats(meeting, app.services.clock.now()),
    });
    let body = json!({"success": true, "data": data, "message": "Meeting ended successfully"});
    Ok(Revised { revision: written.revision, body })
}
