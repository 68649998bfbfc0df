//! `POST …/join`: a place in a meeting, and the room token that opens it.

use axum::extract::State;
use plenary_cluster::model::{Device, Meeting, MeetingId, MeetingStatus, MeetingType, ParticipantId, Role};
use plenary_cluster::state::{Applied, Command, Rejection, State as Agreed};
use serde_json::{Value, json};
use uuid::Uuid;

use super::access::{is_invited, role_in};
use super::body::Object;
use super::caller::{MaybeCaller, MeetingPath, token_needed};
use super::problem::{Code, Problem};
use super::revision::Revised;
use super::view;
use crate::app::App;
use crate::auth::{Grant, User};
use crate::fields::Fields;

/// What the person sent.
#[derive(Debug)]
struct Wish {
    name: String,
    password: Option<String>,
    device: Device,
}

/// Gives the caller a place, if the meeting's rules let them in.
pub(super) async fn join(
    State(app): State<App>,
    MeetingPath(id): MeetingPath,
    MaybeCaller(user): MaybeCaller,
    body: Object,
) -> Result<Revised, Problem> {
    let wish = body.read(|fields| Wish::read(fields, user.as_ref()))?;
    admit(&app, id, user.as_ref(), wish.password.as_deref()).await?;
    let command = Command::JoinMeeting {
        meeting: id,
        participant: ParticipantId::from_uuid(Uuid::now_v7()),
        user: user.map(|user| user.id),
        name: wish.name.clone(),
        role: Role::Attendee,
        device: wish.device,
    };
    let written = app.directory().propose(Some(id), command).await?;
    let Applied::Joined { participant, role } = written.applied else { return Err(Problem::internal()) };
    let state = app.directory().read_local();
    let meeting = state.meeting(id).ok_or_else(Problem::meeting_not_found)?;
    let grant = Grant { meeting: id, room: meeting.room, participant, role, name: wish.name };
    let token = app.tokens.issue_room(&grant, app.services.clock.now()).map_err(|_| Problem::internal())?;
    Ok(Revised { revision: written.revision, body: answer(&app, meeting, &grant, &token) })
}

impl Wish {
    fn read(fields: &mut Fields<'_>, user: Option<&User>) -> Option<Self> {
        let given = fields.text("participant_name", 1..=100);
        let known = || user.map(|user| user.name.clone().unwrap_or_else(|| user.id.to_string()));
        let name = given.or_else(known);
        let name = fields.require("participant_name", name);
        let password = fields.text("meeting_password", 0..=128);
        let device = fields.object("device_info", |inner| Device {
            platform: inner.text("platform", 0..=100).unwrap_or_default(),
            browser: inner.text("browser", 0..=100).unwrap_or_default(),
        });
        name.map(|name| Self { name, password, device: device.unwrap_or_default() })
    }
}

/// Lets the caller in or says why not. A refusal by the local state, which may lag, is confirmed by the cluster's;
/// only a wrong password is not tried twice.
async fn admit(app: &App, id: MeetingId, user: Option<&User>, password: Option<&str>) -> Result<(), Problem> {
    let local = app.directory().read_local();
    match admit_by(app, &local, id, user, password).await {
        Ok(()) => Ok(()),
        Err(problem) if problem.code == Code::InvalidMeetingPassword => Err(problem),
        Err(_) => {
            let state = app.directory().read_linearizable().await?;
            admit_by(app, &state, id, user, password).await
        }
    }
}

async fn admit_by(
    app: &App,
    state: &Agreed,
    id: MeetingId,
    user: Option<&User>,
    password: Option<&str>,
) -> Result<(), Problem> {
    let meeting = state.meeting(id).ok_or_else(Problem::meeting_not_found)?;
    let standing = Standing::of(state, meeting, user)?;
    if let (Some(hash), false) = (&meeting.password_hash, standing.invited) {
        let given = password.filter(|given| !given.is_empty());
        let right = match given {
            Some(given) => app.passwords.verify(given.to_owned(), hash.clone()).await?,
            None => false,
        };
        if !right {
            return Err(wrong_password(given.is_some()));
        }
    }
    standing.enter(state, meeting, user)
}

fn wrong_password(given: bool) -> Problem {
    let (fault, message) = if given {
        ("wrong", "`meeting_password` is wrong: ask the host for it")
    } else {
        ("required", "this meeting has a password: send it as `meeting_password`")
    };
    Problem::of_field(Code::InvalidMeetingPassword, "meeting_password", fault, message)
}

/// How the caller stands to the meeting.
#[derive(Debug, Clone, Copy)]
struct Standing {
    /// Host or co-host.
    host: bool,
    /// Invited, or already a member, and signed in.
    invited: bool,
}

impl Standing {
    fn of(state: &Agreed, meeting: &Meeting, user: Option<&User>) -> Result<Self, Problem> {
        let Some(user) = user else {
            if !meeting.guests_allowed {
                return Err(token_needed());
            }
            return Ok(Self { host: false, invited: false });
        };
        if user.tenant != meeting.tenant {
            return Err(Problem::meeting_not_found());
        }
        let role = role_in(state, meeting, user);
        let host = matches!(role, Some(Role::Host | Role::CoHost));
        Ok(Self { host, invited: host || is_invited(meeting, user) })
    }

    /// The rules behind the password: over, waiting, not begun, full.
    fn enter(self, state: &Agreed, meeting: &Meeting, user: Option<&User>) -> Result<(), Problem> {
        if meeting.status == MeetingStatus::Ended {
            return Err(Rejection::MeetingEnded.into());
        }
        let waits = meeting.require_host_approval || (meeting.waiting_room_enabled && !self.invited);
        if waits && !self.host {
            let message = "a host has to let you in, and this server has no waiting room yet: ask to be invited";
            return Err(Problem::new(Code::AdmissionRequired, message));
        }
        let starts = self.host && meeting.meeting_type == MeetingType::Instant;
        if meeting.status == MeetingStatus::Scheduled && !starts {
            return Err(Rejection::MeetingNotLive.into());
        }
        let record = user.and_then(|user| state.participant_of(meeting.id, &user.id));
        let here = record.is_some_and(|participant| participant.session.is_some());
        if !here && state.connected_count(meeting.id) >= meeting.max_participants {
            return Err(Rejection::MeetingFull.into());
        }
        Ok(())
    }
}

fn answer(app: &App, meeting: &Meeting, grant: &Grant, token: &str) -> Value {
    let features = meeting.features;
    let data = json!({
        "access_token": token,
        "participant_id": grant.participant,
        "role": view::role(grant.role),
        "status": view::status(meeting.status),
        "webrtc_config": {
            "router_id": meeting.room,
            "ice_servers": app.settings.ice_servers,
            "router_capabilities": view::router_capabilities(),
        },
        "meeting_info": {
            "id": meeting.id,
            "name": meeting.name,
            "host": meeting.creator,
            "features_enabled": {
                "audio": features.audio_enabled,
                "video": features.video_enabled,
                "chat": features.chat_enabled,
                "screen_share": features.screen_sharing_enabled,
                "recording": features.recording_enabled,
            },
        },
    });
    json!({"success": true, "data": data, "message": "Successfully joined meeting"})
}
