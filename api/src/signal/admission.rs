//! Decides a join: who the token speaks for, whether the meeting runs, a place on a media worker, and the directory's word.

use std::sync::Arc;

use plenary_cluster::model::{Meeting, MeetingId, MeetingStatus, SessionId};
use plenary_cluster::state::{Command, State};
use plenary_protocol::{ErrorCode, Joined, MeetingInfo, PoolSize, ProtocolError};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::hub::Subscription;
use super::session::Admission;
use super::wire::{error, field_error, member_of, propose_error};
use crate::app::App;
use crate::auth::{Grant, TokenError};
use crate::port::{MediaCommand, MediaError, MediaEvent, SessionRequest};

/// How many slots a client offers first: three speakers heard, four pictures seen.
const FIRST_POOL: PoolSize = PoolSize { audio: 3, video: 4 };

/// What an admitted connection holds on to.
pub(super) struct Opened {
    pub(super) admission: Admission,
    pub(super) events: mpsc::Receiver<MediaEvent>,
    pub(super) subscription: Subscription,
}

pub(super) async fn admit(app: &App, token: &str, meeting: &str) -> Result<Opened, ProtocolError> {
    let grant = verify(app, token, meeting)?;
    let state = find(app, &grant).await?;
    let record = running(&state, grant.meeting)?;
    // Before the session opens, so that nothing is missed after.
    let subscription = app.hub.subscribe(grant.meeting);
    let session = SessionId::from_uuid(Uuid::now_v7());
    let room = record.room;
    let request = SessionRequest { session, participant: grant.participant, meeting: grant.meeting, room };
    let handle = app.media().open(request).map_err(|fault| match fault {
        MediaError::Full | MediaError::Gone => {
            error(ErrorCode::NodeFull, "this node takes no more sessions; join through another, or try again")
        }
    })?;
    let (node, node_epoch) = app.media().node();
    let command = Command::OpenSession {
        meeting: grant.meeting,
        participant: grant.participant,
        session,
        node,
        node_epoch,
        worker: handle.worker,
    };
    let written = match app.directory().propose(Some(grant.meeting), command).await {
        Ok(written) => written,
        Err(fault) => {
            // The session may be gone already; either way it is not open.
            let _ = app.media().command(session, MediaCommand::Close);
            return Err(propose_error(&fault));
        }
    };
    let state = app.directory().read_local();
    debug_assert!(state.revision() >= written.revision, "a write returns after it is applied here");
    let joined = Joined {
        participant: grant.participant.to_string(),
        session: session.to_string(),
        node: node.number(),
        meeting: MeetingInfo { id: grant.meeting.to_string(), name: record.name.clone() },
        roster: state.roster(grant.meeting).map(|entry| member_of(&entry)).collect(),
        revision: state.revision(),
        ice_servers: app.settings.ice_servers.clone(),
        pool: FIRST_POOL,
    };
    let admission = Admission { meeting: grant.meeting, participant: grant.participant, session, joined };
    Ok(Opened { admission, events: handle.events, subscription })
}

fn verify(app: &App, token: &str, meeting: &str) -> Result<Grant, ProtocolError> {
    const FIX: &str = "get a room token with POST /api/meeting/:id/join and send its `access_token`";
    if token.is_empty() {
        let message = format!("`token` is missing: {FIX}");
        return Err(field_error(ErrorCode::InvalidToken, "token", "required", message));
    }
    let grant = app.tokens.verify_room(token).map_err(|fault| match fault {
        TokenError::Expired => {
            let message = format!("`token` has expired: {FIX}");
            field_error(ErrorCode::TokenExpired, "token", "expired", message)
        }
        TokenError::Invalid => {
            let message = format!("`token` is no room token of this cluster: {FIX}");
            field_error(ErrorCode::InvalidToken, "token", "invalid", message)
        }
    })?;
    let Ok(meeting) = meeting.parse::<MeetingId>() else {
        let message = "`meeting` is no meeting id: send the id that the token was issued for";
        return Err(field_error(ErrorCode::MeetingNotFound, "meeting", "invalid", message));
    };
    if meeting != grant.meeting {
        let message = "`token` is for another meeting than `meeting`: get one for this meeting";
        return Err(field_error(ErrorCode::TokenMeetingMismatch, "token", "mismatch", message));
    }
    Ok(grant)
}

/// The state as known here if it knows the participant, else as agreed on: the token may come from another node.
async fn find(app: &App, grant: &Grant) -> Result<Arc<State>, ProtocolError> {
    let local = app.directory().read_local();
    let live = local.meeting(grant.meeting).is_some_and(|meeting| meeting.status == MeetingStatus::Live);
    if live && local.participant(grant.meeting, grant.participant).is_some() {
        return Ok(local);
    }
    app.directory()
        .read_linearizable()
        .await
        .map_err(|_| error(ErrorCode::NoQuorum, "no quorum of nodes answers; try again"))
}

fn running(state: &State, id: MeetingId) -> Result<&Meeting, ProtocolError> {
    let meeting = state.meeting(id).ok_or_else(|| error(ErrorCode::MeetingNotFound, "no such meeting"))?;
    match meeting.status {
        MeetingStatus::Live => Ok(meeting),
        MeetingStatus::Scheduled => {
            Err(error(ErrorCode::MeetingNotLive, "the meeting has not begun; join again when its host has started it"))
        }
        MeetingStatus::Ended => {
            Err(error(ErrorCode::MeetingEnded, "the meeting has ended; it can't be joined any more"))
        }
    }
}
