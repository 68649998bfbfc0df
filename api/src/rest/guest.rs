//! User tokens for people without an account, where the operator allows it.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use uuid::Uuid;

use super::body::Object;
use super::problem::Problem;
use crate::app::App;
use crate::auth::User;

/// `POST /api/auth/guest`: a user token under a new id.
pub(super) async fn sign_in(State(app): State<App>, body: Object) -> Result<Json<Value>, Problem> {
    let name = body.read(|fields| {
        let name = fields.text("name", 1..=100);
        fields.require("name", name)
    })?;
    let id = format!("guest_{}", Uuid::new_v4().as_simple());
    let user = User {
        id: id.parse().map_err(|_| Problem::internal())?,
        tenant: "default".parse().map_err(|_| Problem::internal())?,
        name: Some(name.clone()),
        email: None,
        user_type: Some("guest".to_owned()),
    };
    let lifetime = app.settings.guest_lifetime;
    let token = app.tokens.issue_user(&user, app.services.clock.now(), lifetime).map_err(|_| Problem::internal())?;
    Ok(Json(json!({
        "success": true,
        "data": {"token": token, "token_type": "Bearer", "expires_in": lifetime.as_secs(), "user_id": id, "name": name},
        "message": "Signed in as a guest",
    })))
}
