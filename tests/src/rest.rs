//! A node's HTTP side, as an application uses it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;

use crate::history::Promise;

/// No answer of a healthy node takes this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Speaks to one node as one user, or as nobody.
#[derive(Debug, Clone)]
pub struct Rest {
    client: Client,
    node: SocketAddr,
    token: Option<String>,
    patience: Duration,
}

/// What a node answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; null when it is empty or not JSON.
    pub body: Value,
    /// The revision it speaks of: a write's own, or that of the state that a read saw.
    pub revision: Option<u64>,
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
        let client = Client::builder().no_proxy().build().context("HTTP client")?;
        Ok(Self { client, node, token: None, patience: ANSWER_WITHIN })
    }

    /// The same, with a user token.
    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// The same, with another limit for an answer.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// Asks with GET for a state of some freshness.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn read(&self, path: &str, promise: Promise) -> Result<Answer, reqwest::Error> {
        let request = self.request(Method::GET, path);
        Self::answer(match promise {
            Promise::Local => request,
            Promise::AtLeast(revision) => request.header("plenary-at-least", revision),
            Promise::Linearizable => request.header("plenary-consistency", "linearizable"),
        })
        .await
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
        Ok(self.write(method, path, body).await?)
    }

    /// As [`Rest::send`], with what kept an answer away as it is.
    ///
    /// # Errors
    /// When nothing answers.
    pub async fn write(&self, method: Method, path: &str, body: Option<String>) -> Result<Answer, reqwest::Error> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        Self::answer(request).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}{path}", self.node)).timeout(self.patience);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn answer(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
        let answer = request.send().await?;
        let status = answer.status();
        let revision = answer.headers().get("plenary-revision").and_then(|value| value.to_str().ok()?.parse().ok());
        let text = answer.text().await?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), revision })
    }

    /// The page at `path` as text: metrics, the web client.
    ///
    /// # Errors
    /// When nothing answers or the status is not one of success.
    pub async fn text(&self, path: &str) -> Result<String> {
        let answer = self.request(Method::GET, path).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }
}
