//! `GET …/participants`.

use axum::extract::State;
use serde_json::{Value, json};

use super::access::check_read;
use super::caller::{Caller, MeetingPath};
use super::problem::Problem;
use super::revision::{Promise, Revised};
use super::view;
use crate::app::App;
use crate::auth::Action;

/// Everyone with a place in the meeting, whether here or gone.
pub(super) async fn list(
    State(app): State<App>,
    MeetingPath(id): MeetingPath,
    Caller(user): Caller,
    promise: Promise,
) -> Result<Revised, Problem> {
    let state = check_read(&app, promise, id, &user, Action::ViewParticipants).await?;
    let meeting = state.meeting(id).ok_or_else(Problem::meeting_not_found)?;
    let participants: Vec<Value> = state.participants(id).map(view::participant).collect();
    let data = json!({
        "total_count": participants.len(),
        "connected_count": state.connected_count(id),
        "max_participants": meeting.max_participants,
        "participants": participants,
    });
    Ok(Revised { revision: state.revision(), body: json!({"success": true, "data": data}) })
}
