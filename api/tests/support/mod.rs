//! A server over an in-memory directory and a media plane that only takes notes.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use parking_lot::Mutex;
use plenary_api::auth::{Tokens, User};
use plenary_api::port::{Media, MediaCommand, MediaError, MediaEvent, SessionHandle, SessionRequest, WorkerStatus};
use plenary_api::{Server, Services, Settings};
use plenary_cluster::clock::Clock;
use plenary_cluster::directory::Directory;
use plenary_cluster::local::Local;
use plenary_cluster::model::{NodeId, SessionId};
use plenary_cluster::state::Command;
use serde_json::Value;
use tokio::sync::mpsc;
use tower::ServiceExt;

pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Answers every offer with a fixed answer, and keeps what it was asked.
pub(crate) struct FakeMedia {
    epoch: u64,
    pub(crate) sessions: Mutex<HashMap<SessionId, mpsc::Sender<MediaEvent>>>,
    pub(crate) commands: Mutex<Vec<(SessionId, MediaCommand)>>,
}

impl Media for FakeMedia {
    fn open(&self, request: SessionRequest) -> Result<SessionHandle, MediaError> {
        let (sender, events) = mpsc::channel(64);
        self.sessions.lock().insert(request.session, sender);
        Ok(SessionHandle { worker: 0, events })
    }

    fn command(&self, session: SessionId, command: MediaCommand) -> Result<(), MediaError> {
        let mut sessions = self.sessions.lock();
        let events = sessions.get(&session).ok_or(MediaError::Gone)?;
        if let MediaCommand::Offer { request, sdp, .. } = &command {
            let result = if sdp.starts_with("v=0") {
                Ok("v=0 answer".to_owned())
            } else {
                let message = "`sdp` must begin with `v=0`: send what createOffer made".to_owned();
                Err(plenary_api::port::OfferFault { field: "sdp", message })
            };
            events.try_send(MediaEvent::Answer { request: *request, result }).map_err(|_| MediaError::Full)?;
        }
        if matches!(command, MediaCommand::Close) {
            sessions.remove(&session);
        }
        self.commands.lock().push((session, command));
        Ok(())
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        vec![WorkerStatus { sessions: 0, rooms: 0, load_percent: 0 }]
    }

    fn node(&self) -> (NodeId, u64) {
        (NodeId::new(1), self.epoch)
    }
}

/// One server and its surroundings.
pub(crate) struct World {
    pub(crate) directory: Arc<Local>,
    pub(crate) media: Arc<FakeMedia>,
    pub(crate) tokens: Tokens,
    pub(crate) services: Services,
    pub(crate) settings: Settings,
    router: Router,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["path"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::over(|directory| directory)
    }

    /// A server over what `face` makes of the directory.
    pub(crate) fn over<D: Directory>(face: impl FnOnce(Arc<Local>) -> Arc<D>) -> Self {
        let directory = Arc::new(Local::single(Clock::system(), 1));
        let (sessions, commands) = (Mutex::default(), Mutex::default());
        let media = Arc::new(FakeMedia { epoch: directory.epoch(), sessions, commands });
        let settings = Settings { guest_tokens: true, ..Settings::new(SECRET.to_vec()) };
        let services = Services {
            directory: face(Arc::clone(&directory)) as _,
            media: Arc::clone(&media) as _,
            metrics: Arc::new(|| "up 1\n".to_owned()),
            clock: Clock::system(),
        };
        let router = Server::new(settings.clone(), services.clone()).router();
        Self { directory, media, tokens: Tokens::new(SECRET), services, settings, router }
    }

    /// A user token for someone of tenant `campus_123`.
    pub(crate) fn token(&self, user: &str) -> String {
        self.token_of(user, "campus_123")
    }

    pub(crate) fn token_of(&self, user: &str, tenant: &str) -> String {
        let user = User {
            id: user.parse().expect("a user id"),
            tenant: tenant.parse().expect("a tenant id"),
            name: Some(user.to_owned()),
            email: Some(format!("{user}@example.org")),
            user_type: None,
        };
        let lifetime = Duration::from_mins(5);
        self.tokens.issue_user(&user, Clock::system().now(), lifetime).expect("a token")
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("the router answers");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("a text");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
        self.send(request(method, path, token, body.map(Value::to_string))).await
    }

    /// Creates a meeting and gives its id.
    pub(crate) async fn meeting(&self, token: &str, body: &Value) -> String {
        let answer = self.ask("POST", "/api/meeting", Some(token), Some(body)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.json()["data"]["id"].as_str().expect("an id").to_owned()
    }

    /// A live meeting and its host's user token.
    pub(crate) async fn live(&self) -> (String, String) {
        let host = self.token("host");
        let body = serde_json::json!({"meeting_name": "Standup", "participants": ["bob"]});
        let id = self.meeting(&host, &body).await;
        let answer = self.ask("POST", &format!("/api/meeting/{id}/start"), Some(&host), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        (id, host)
    }

    /// Gives a participant a session, as signalling would.
    pub(crate) async fn connect(&self, meeting: &str, participant: &str) {
        let (node, node_epoch) = self.media.node();
        let meeting = meeting.parse().expect("a meeting id");
        let command = Command::OpenSession {
            meeting,
            participant: participant.parse().expect("a participant id"),
            session: SessionId::from_uuid(uuid::Uuid::now_v7()),
            node,
            node_epoch,
            worker: 0,
        };
        self.directory.propose(Some(meeting), command).await.expect("a session");
    }

    /// Someone's room token.
    pub(crate) async fn place(&self, meeting: &str, user: &str) -> String {
        let path = format!("/api/meeting/{meeting}/join");
        let answer = self.ask("POST", &path, Some(&self.token(user)), Some(&serde_json::json!({}))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["data"]["access_token"].as_str().expect("a room token").to_owned()
    }
}

pub(crate) fn request(method: &str, path: &str, token: Option<&str>, body: Option<String>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    request.body(body.map_or_else(Body::empty, Body::from)).expect("a request")
}
