//! The REST contract: one file a resource.
//!
//! A handler reads its request through [`body`] and [`caller`], asks the directory, and answers with a
//! [`view`] or a [`Problem`], which [`envelope`] gives its request id.

mod access;
mod body;
mod caller;
mod create;
mod draft;
mod envelope;
mod guest;
mod join;
mod lifecycle;
mod list;
mod meeting;
mod participants;
mod probe;
mod problem;
mod revision;
pub(crate) mod view;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::Uri;
use axum::middleware::from_fn;
use axum::routing::{get, post};

pub(crate) use problem::{Code, Problem};

use crate::app::App;

/// The largest request body.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// All routes under `/api` and the probes; whatever else the router holds by then gets the envelope too.
pub(crate) fn routes(app: &App) -> Router<App> {
    let meetings = Router::new()
        .route("/api/meeting", post(create::create).get(list::list))
        .route(
            "/api/meeting/{meeting_id}",
            get(meeting::read).put(meeting::update).patch(meeting::update).delete(meeting::delete),
        )
        .route("/api/meeting/{meeting_id}/start", post(lifecycle::start))
        .route("/api/meeting/{meeting_id}/end", post(lifecycle::end))
        .route("/api/meeting/{meeting_id}/join", post(join::join))
        .route("/api/meeting/{meeting_id}/participants", get(participants::list));
    let guests = if app.settings.guest_tokens {
        Router::new().route("/api/auth/guest", post(guest::sign_in))
    } else {
        Router::new()
    };
    let probes = Router::new()
        .route("/livez", get(probe::live))
        .route("/readyz", get(probe::ready))
        .route("/metrics", get(probe::metrics));
    meetings.merge(guests).merge(probes).layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// Adds what every answer has: a request id, security headers, and errors as JSON for routes that are not there.
pub(crate) fn finish(router: Router<App>, app: App) -> Router {
    router
        .fallback(async |uri: Uri| envelope::no_route(&uri))
        .method_not_allowed_fallback(async |request: Request| envelope::no_method(&request))
        .layer(from_fn(envelope::seal))
        .with_state(app)
}
