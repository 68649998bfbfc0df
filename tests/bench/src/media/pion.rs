//! The plain SFU on Pion (`tests/bench/peers/pion`) as a backend of the [`door`](super::door).

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::door::{Backend, Offer};
use crate::http::Http;

/// The way to a running one.
#[derive(Clone)]
pub(super) struct Pion(Arc<Mutex<Http>>);

impl Pion {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Http::connect(address, HeaderMap::new()).await?))))
    }

    async fn ask(&self, path: &str, body: &Value) -> Result<Value> {
        let body = Bytes::from(serde_json::to_vec(body)?);
        let (status, answer) = self.0.lock().await.send(Method::POST, path, body).await?;
        let answer: Value = serde_json::from_slice(&answer).with_context(|| format!("{path}: {status}"))?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{error}");
        }
        Ok(answer)
    }
}

impl Backend for Pion {
    async fn offer(&self, offer: Offer) -> Result<String> {
        let answer = self.ask("/offer", &serde_json::to_value(&offer)?).await?;
        answer["sdp"].as_str().map(str::to_owned).context("the answer has no description")
    }

    async fn leave(&self, client: u64) -> Result<()> {
        self.ask("/leave", &json!({"client": client})).await.map(drop)
    }
}
