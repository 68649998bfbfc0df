//! Who makes the meetings of a load, and removes them.

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::LoadError;
use crate::rest::{RestError, answer_of};

/// A signed-in user of one node.
#[derive(Debug)]
pub(super) struct Owner {
    client: reqwest::Client,
    node: String,
    token: String,
    meetings: Mutex<Vec<String>>,
}

impl Owner {
    /// With a token, or as a guest user where the node allows that.
    pub(super) async fn sign_in(node: &str, token: Option<&str>, patience: Duration) -> Result<Self, LoadError> {
        let node = node.trim_end_matches('/').to_owned();
        let client = reqwest::Client::builder().no_proxy().timeout(patience).build();
        let fails = |cause| LoadError::SignIn { node: node.clone(), cause };
        let client = client.map_err(RestError::Unreachable).map_err(fails)?;
        let token = match token {
            Some(token) => token.to_owned(),
            None => {
                let asked = client.post(format!("{node}/api/auth/guest")).json(&json!({ "name": "plenary load" }));
                let answer = answer_of(asked).await.map_err(fails)?;
                text(&answer, "token").map_err(fails)?
            }
        };
        Ok(Self { client, node, token, meetings: Mutex::default() })
    }

    /// Makes a meeting for so many people and starts it; its id.
    pub(super) async fn make(&self, name: &str, capacity: usize) -> Result<String, LoadError> {
        let body = json!({
            "meeting_name": name,
            "meeting_type": "instant",
            "guests_allowed": true,
            "max_participants": capacity.max(1),
        });
        let fails = |cause| LoadError::Meeting { node: self.node.clone(), cause };
        let answer = self.ask(reqwest::Method::POST, "", Some(&body)).await.map_err(fails)?;
        let id = text(&answer, "id").map_err(fails)?;
        self.meetings.lock().push(id.clone());
        self.ask(reqwest::Method::POST, &format!("/{id}/start"), None).await.map_err(fails)?;
        Ok(id)
    }

    /// Ends and removes all that were made; how many are left.
    pub(super) async fn remove_all(&self) -> usize {
        let meetings = std::mem::take(&mut *self.meetings.lock());
        let mut left = 0;
        for id in meetings {
            // One that never started can't be ended, and can be removed.
            let _ = self.ask(reqwest::Method::POST, &format!("/{id}/end"), None).await;
            left += usize::from(self.ask(reqwest::Method::DELETE, &format!("/{id}"), None).await.is_err());
        }
        left
    }

    async fn ask(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Result<Value, RestError> {
        let mut request = self.client.request(method, format!("{}/api/meeting{path}", self.node));
        if let Some(body) = body {
            request = request.json(body);
        }
        answer_of(request.bearer_auth(&self.token)).await
    }
}

fn text(answer: &Value, field: &'static str) -> Result<String, RestError> {
    answer["data"][field].as_str().map(str::to_owned).ok_or(RestError::Lacks(field))
}
