//! Which meetings a caller sees, and what they may do there.

use std::sync::Arc;

use plenary_cluster::model::{Meeting, MeetingId, Role};
use plenary_cluster::state::State;

use super::problem::{Code, Problem};
use super::revision::Promise;
use crate::app::App;
use crate::auth::{Action, User, allows};

/// A user's standing in a meeting of their tenant; `None` when it is none of theirs.
pub(super) fn role_in(state: &State, meeting: &Meeting, user: &User) -> Option<Role> {
    if meeting.tenant != user.tenant {
        return None;
    }
    if meeting.creator == user.id {
        return Some(Role::Host);
    }
    let record = state.participant_of(meeting.id, &user.id).map(|participant| participant.role);
    record.or_else(|| is_invited(meeting, user).then_some(Role::Attendee))
}

/// Whether the invitations name this user, by id or by e-mail address.
pub(super) fn is_invited(meeting: &Meeting, user: &User) -> bool {
    let by_email = |one: &str| user.email.as_ref().is_some_and(|email| email.eq_ignore_ascii_case(one));
    meeting.invited.iter().any(|one| one == user.id.as_str() || by_email(one))
}

/// The meeting, if the caller may do `action` there. Not theirs: 404, the same as for an unknown id. Theirs, but not
/// their right: 403.
fn permitted<'s>(state: &'s State, id: MeetingId, user: &User, action: Action) -> Result<&'s Meeting, Problem> {
    let meeting = state.meeting(id).ok_or_else(Problem::meeting_not_found)?;
    let role = role_in(state, meeting, user).ok_or_else(Problem::meeting_not_found)?;
    if allows(role, action) {
        return Ok(meeting);
    }
    Err(Problem::new(Code::AccessDenied, format!("you may not {}: ask a host", action.words())))
}

/// A state in which the caller may do `action`, for a write. See [`check_read`].
pub(super) async fn check(app: &App, id: MeetingId, user: &User, action: Action) -> Result<Arc<State>, Problem> {
    check_read(app, Promise::Local, id, user, action).await
}

/// A state that keeps the promise and in which the caller may do `action`. What the local state refuses, it may refuse
/// for lagging behind, so the cluster's is asked before the caller is refused.
pub(super) async fn check_read(
    app: &App,
    promise: Promise,
    id: MeetingId,
    user: &User,
    action: Action,
) -> Result<Arc<State>, Problem> {
    let asked = promise.state(app).await?;
    if permitted(&asked, id, user, action).is_ok() {
        return Ok(asked);
    }
    let state = app.directory().read_linearizable().await?;
    permitted(&state, id, user, action)?;
    Ok(state)
}
