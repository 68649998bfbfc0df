//! Probes: is the process alive, can it serve, what does it count.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::problem::{Code, Problem};
use crate::app::App;

/// When to look again whether there is a quorum.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The process runs and answers.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// A quorum answers, so that meetings can be created and joined here.
pub(super) async fn ready(State(app): State<App>) -> Result<Json<Value>, Problem> {
    let status = app.directory().status();
    if status.quorum {
        return Ok(Json(json!({"status": "ready", "node": status.node, "applied": status.applied})));
    }
    let message = "this node sees no quorum: running calls go on, new ones have to wait";
    Err(Problem { retry_after: Some(LOOK_AGAIN), ..Problem::new(Code::NoQuorum, message) })
}

/// Prometheus' text format.
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (app.services.metrics)())
}
