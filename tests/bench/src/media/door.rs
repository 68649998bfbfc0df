//! The door that people come through to a server that is not Plenary: as much of our REST and signalling as
//! [`plenary_participant`] needs, so that the same people load every server.
//!
//! ```text
//! people ── REST, WebSocket ──► door ── offer, leave ──► Backend: how this server is told
//!    └──────────── UDP: ICE, DTLS, SRTP ───────────────────► the server
//! ```
//!
//! To put another server beside ours, implement [`Backend`] for it and give it a [`super::server::Kind`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::routing::{any, post};
use axum::{Json, Router};
use plenary_protocol::{
    ErrorCode, Joined, MeetingInfo, PoolSize, ProtocolError, Reply, ReplyFrame, Request, RequestFrame, VERSION,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Someone's offer: m-lines that `slots` name are recvonly, the others sendonly.
#[derive(Debug, Serialize)]
pub(super) struct Offer {
    /// Unique within the server's life.
    pub(super) client: u64,
    pub(super) meeting: String,
    /// RFC 8866, with the only candidate in it.
    pub(super) sdp: String,
    /// The mids of m-lines that others are shown in.
    pub(super) slots: Vec<String>,
}

/// How a server is told what people want. In a meeting everybody sees everybody else: who published first is in the first
/// slot of a kind.
pub(super) trait Backend: Clone + Send + Sync + 'static {
    /// Answers an offer, with all candidates in the answer.
    fn offer(&self, offer: Offer) -> impl Future<Output = Result<String>> + Send;

    /// Someone has left.
    fn leave(&self, client: u64) -> impl Future<Output = Result<()>> + Send;
}

/// What the handlers share.
#[derive(Clone)]
struct Door<B> {
    backend: B,
    next: Arc<AtomicU64>,
}

impl<B> Door<B> {
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// Lets people in for as long as it is polled.
pub(super) async fn serve<B: Backend>(listener: TcpListener, backend: B) -> Result<()> {
    // Numbers from 1: Janus takes no room 0.
    let door = Door { backend, next: Arc::new(AtomicU64::new(1)) };
    let routes = Router::new()
        .route("/api/auth/guest", post(|| async { Json(json!({"data": {"token": "anyone"}})) }))
        .route("/api/meeting", post(make::<B>))
        .route("/api/meeting/{id}/join", post(join::<B>))
        .route("/api/meeting/{id}/{verb}", any(done))
        .route("/api/meeting/{id}", any(done))
        .route("/ws", any(upgrade::<B>));
    axum::serve(listener, routes.with_state(door)).await.context("serving")
}

async fn make<B: Backend>(State(door): State<Door<B>>) -> Json<Value> {
    Json(json!({"data": {"id": door.number().to_string()}}))
}

async fn join<B: Backend>(State(door): State<Door<B>>, Path(_): Path<String>) -> Json<Value> {
    Json(json!({"data": {"access_token": "anyone", "participant_id": door.number().to_string()}}))
}

/// Starting, ending and removing change nothing here.
async fn done() -> Json<Value> {
    Json(json!({"data": {}}))
}

async fn upgrade<B: Backend>(State(door): State<Door<B>>, socket: WebSocketUpgrade) -> axum::response::Response {
    socket.on_upgrade(move |socket| async move {
        let client = door.number();
        if let Err(error) = talk(&door.backend, client, socket).await {
            tracing::debug!(%error, "signalling ended");
        }
        if let Err(error) = door.backend.leave(client).await {
            tracing::debug!(%error, "the server was not told that someone left");
        }
    })
}

async fn talk(backend: &impl Backend, client: u64, mut socket: WebSocket) -> Result<()> {
    let mut meeting = String::new();
    while let Some(message) = socket.recv().await {
        let Message::Text(text) = message? else { continue };
        let RequestFrame { id, request, .. } = serde_json::from_str(&text)?;
        let reply = match request {
            Request::Join { meeting: joined, .. } => {
                meeting = joined;
                Reply::Joined(Box::new(welcome(client, &meeting)))
            }
            Request::Offer { sdp, slots, .. } => {
                match backend.offer(Offer { client, meeting: meeting.clone(), sdp, slots }).await {
                    Ok(sdp) => Reply::Answer { sdp },
                    Err(error) => Reply::Error(ProtocolError {
                        code: ErrorCode::Internal,
                        message: format!("{error:#}"),
                        errors: Vec::new(),
                        retry_after_ms: None,
                    }),
                }
            }
            Request::Leave
            | Request::Candidate { .. }
            | Request::Publish { .. }
            | Request::Interest(_)
            | Request::Keyframe { .. }
            | Request::Ping => Reply::Ok,
        };
        let frame = ReplyFrame { v: VERSION, re: id, reply };
        socket.send(Message::Text(serde_json::to_string(&frame)?.into())).await?;
    }
    Ok(())
}

fn welcome(client: u64, meeting: &str) -> Joined {
    Joined {
        participant: client.to_string(),
        session: client.to_string(),
        node: 1,
        meeting: MeetingInfo { id: meeting.to_owned(), name: meeting.to_owned() },
        roster: Vec::new(),
        revision: 1,
        ice_servers: Vec::new(),
        pool: PoolSize { audio: 0, video: 0 },
    }
}
