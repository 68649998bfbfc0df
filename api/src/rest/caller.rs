//! Who asks: the user of the Bearer token, and the meeting in the path.

use axum::extract::{FromRequestParts, Path};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use plenary_cluster::model::MeetingId;

use super::problem::{Code, Problem};
use crate::app::App;
use crate::auth::User;

/// The signed-in caller.
#[derive(Debug)]
pub(super) struct Caller(pub(super) User);

/// The caller, or nobody when there is no token. A token that is no good is refused all the same.
#[derive(Debug)]
pub(super) struct MaybeCaller(pub(super) Option<User>);

/// The meeting id in the path; anything that can't be one is a meeting that does not exist.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeetingPath(pub(super) MeetingId);

/// There is no token, and one is needed.
pub(super) fn token_needed() -> Problem {
    let message = "a user token is needed: send `Authorization: Bearer <token>`";
    Problem::of_field(Code::AuthenticationRequired, "Authorization", "required", message)
}

impl FromRequestParts<App> for MaybeCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(AUTHORIZATION) else { return Ok(Self(None)) };
        let token = value.to_str().ok().and_then(|text| text.split_once(' '));
        let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
            let message = "`Authorization` must be `Bearer` and a user token";
            return Err(Problem::of_field(Code::InvalidToken, "Authorization", "malformed", message));
        };
        Ok(Self(Some(app.tokens.verify_user(token.trim())?)))
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let MaybeCaller(user) = MaybeCaller::from_request_parts(parts, app).await?;
        user.map(Self).ok_or_else(token_needed)
    }
}

impl FromRequestParts<App> for MeetingPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let text = Path::<String>::from_request_parts(parts, app).await;
        let Path(text) = text.map_err(|_| Problem::meeting_not_found())?;
        text.parse().map(Self).map_err(|_| Problem::meeting_not_found())
    }
}
