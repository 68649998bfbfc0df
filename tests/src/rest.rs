//! A node's HTTP side, as an application uses it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

/// No answer of a healthy node takes this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Speaks to one node as one user, or as nobody.
#[derive(Debug, Clone)]
pub struct Rest {
    client: Client,
    node: SocketAddr,
    token: Option<String>,
}

/// What a node answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; null when it is empty or not JSON.
    pub body: Value,
}

impl Answer {
    /// The body, when the status is one of success.
    ///
    /// # Errors
    /// With the status and the whole body.
    pub fn success(self) -> Result<Value> {
        ensure!(self.status.is_success(), "{}: {}", self.status, self.body);
        Ok(self.body)
    }

    /// The stable error code in the body, empty when there is none.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Rest {
    /// Speaks to `node` without a token.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(node: SocketAddr) -> Result<Self> {
        let client = Client::builder().timeout(ANSWER_WITHIN).no_proxy().build().context("HTTP client")?;
        Ok(Self { client, node, token: None })
    }

    /// The same, with a user token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// Asks with GET.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// Asks with POST.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    /// Asks with any method and a body that need not be JSON.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<Answer> {
        let mut request = self.client.request(method, format!("http://{}{path}", self.node));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
    }

    /// The page at `path` as text: metrics, the web client.
    ///
    /// # Errors
    /// When nothing answers or the status is not one of success.
    pub async fn text(&self, path: &str) -> Result<String> {
        let answer = self.client.get(format!("http://{}{path}", self.node)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }
}
