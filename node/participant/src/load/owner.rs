//! Who makes the meetings of a load, and removes them.

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::LoadError;
use crate::rest::{RestError, answer_of};

/// A signed-in user.
#[derive(Debug)]
pub(super) struct Owner {
    client: reqwest::Client,
    nodes: Vec<String>,
    token: String,
    meetings: Mutex<Vec<String>>,
}

impl Owner {
    /// With a token, or as a guest user where the node allows that.
    pub(super) async fn sign_in(nodes: &[String], token: Option<&str>, patience: Duration) -> Result<Self, LoadError> {
        let nodes: Vec<String> = nodes.iter().map(|node| node.trim_end_matches('/').to_owned()).collect();
        let node = nodes.first().cloned().unwrap_or_default();
        let client = reqwest::Client::builder().no_proxy().timeout(patience).build();
        let fails = |cause| LoadError::SignIn { node: node.clone(), cause };
        let client = client.map_err(RestError::Unreachable).map_err(fails)?;
        let token = match token {
            Some(token) => token.to_owned(),
            None => guest(&client, &nodes).await.map_err(fails)?,
        };
        Ok(Self { client, nodes, token, meetings: Mutex::default() })
    }

    /// Makes a meeting for so many people and starts it; its id.
    pub(super) async fn make(&self, name: &str, capacity: usize) -> Result<String, LoadError> {
        let body = json!({
            "meeting_name": name,
            "meeting_type": "instant",
            "guests_allowed": true,
            "max_participants": capacity.max(1),
        });
        let node = self.nodes.first().map_or("", String::as_str);
        let fails = |cause| LoadError::Meeting { node: node.to_owned(), cause };
        let answer = self.ask(node, reqwest::Method::POST, "", Some(&body)).await.map_err(fails)?;
        let id = text(&answer, "id").map_err(fails)?;
        self.meetings.lock().push(id.clone());
        self.ask(node, reqwest::Method::POST, &format!("/{id}/start"), None).await.map_err(fails)?;
        Ok(id)
    }

    /// Ends and removes all that were made; how many are left.
    pub(super) async fn remove_all(&self) -> usize {
        let meetings = std::mem::take(&mut *self.meetings.lock());
        let mut left = 0;
        for id in meetings {
            left += usize::from(!self.remove(&id).await);
        }
        left
    }

    /// Through one node after the other: some may be gone by now.
    async fn remove(&self, id: &str) -> bool {
        for node in &self.nodes {
            // One that never started can't be ended, and can be removed.
            let _ = self.ask(node, reqwest::Method::POST, &format!("/{id}/end"), None).await;
            if self.ask(node, reqwest::Method::DELETE, &format!("/{id}"), None).await.is_ok() {
                return true;
            }
        }
        false
    }

    async fn ask(
        &self,
        node: &str,
        method: reqwest::Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, RestError> {
        let mut request = self.client.request(method, format!("{node}/api/meeting{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        answer_of(request.bearer_auth(&self.token)).await
    }
}

/// The token of a guest user, from the first node that gives one.
async fn guest(client: &reqwest::Client, nodes: &[String]) -> Result<String, RestError> {
    let mut given = Err(RestError::Lacks("token"));
    for node in nodes {
        let asked = client.post(format!("{node}/api/auth/guest")).json(&json!({ "name": "plenary load" }));
        given = answer_of(asked).await.and_then(|answer| text(&answer, "token"));
        if given.is_ok() {
            break;
        }
    }
    given
}

fn text(answer: &Value, field: &'static str) -> Result<String, RestError> {
    answer["data"][field].as_str().map(str::to_owned).ok_or(RestError::Lacks(field))
}
