//! Clients that come through a door, each with what it asks for.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::grpc::{self, Grpc};
use crate::http::Http;
use crate::load::{Answer, Client};
use crate::sample;
use crate::work::Work;

/// What is read: ids of meetings, or keys.
pub(crate) type Known = Arc<[String]>;

/// Someone at Plenary's REST interface.
pub(crate) struct RestClient {
    http: Http,
    work: Work,
    known: Known,
    body: Bytes,
    next: usize,
}

impl RestClient {
    pub(crate) fn new(http: Http, work: Work, known: &Known, first: usize) -> Self {
        Self { http, work, known: Arc::clone(known), body: sample::body().to_string().into(), next: first }
    }

    /// Creates a meeting; what was answered, unless it was refused.
    async fn create(&mut self) -> Result<Option<Bytes>> {
        let (status, answer) = self.http.send(Method::POST, "/api/meeting", self.body.clone()).await?;
        if refused(status) {
            return Ok(None);
        }
        ensure!(status == StatusCode::CREATED, "create: {status}: {}", String::from_utf8_lossy(&answer));
        Ok(Some(answer))
    }

    /// Creates a meeting and says which.
    pub(crate) async fn create_known(&mut self) -> Result<String> {
        let answer = self.create().await?.context("a meeting was refused")?;
        let answer: Value = serde_json::from_slice(&answer)?;
        Ok(answer["data"]["id"].as_str().context("the answer has no data.id")?.to_owned())
    }

    async fn read(&mut self) -> Result<Answer> {
        self.next += 1;
        let path = format!("/api/meeting/{}", self.known[self.next % self.known.len()]);
        let (status, answer) = self.http.send(Method::GET, &path, Bytes::new()).await?;
        if refused(status) {
            return Ok(Answer::Refused);
        }
        ensure!(status == StatusCode::OK, "read: {status}: {}", String::from_utf8_lossy(&answer));
        Ok(Answer::Done)
    }
}

impl Client for RestClient {
    async fn call(&mut self) -> Result<Answer> {
        match self.work {
            Work::Write => Ok(self.create().await?.map_or(Answer::Refused, |_| Answer::Done)),
            // Which of the two is said in the headers of the connection.
            Work::ReadLocal | Work::ReadLinearizable => self.read().await,
        }
    }
}

fn refused(status: StatusCode) -> bool {
    matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS | StatusCode::GATEWAY_TIMEOUT)
}

/// What is written to etcd: as many bytes as Plenary's proposal, none of them like its neighbour.
pub(crate) fn value() -> Bytes {
    let mut seed = 0x9e37_79b9_u32;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed.to_le_bytes()[0]
    };
    (0..sample::proposal_bytes()).map(|_| next()).collect()
}

fn new_key() -> String {
    Uuid::now_v7().to_string()
}

/// Someone at etcd's JSON gateway.
pub(crate) struct GatewayClient {
    http: Http,
    work: Work,
    known: Known,
    value: String,
    next: usize,
}

impl GatewayClient {
    pub(crate) fn new(http: Http, work: Work, known: &Known, first: usize) -> Self {
        Self { http, work, known: Arc::clone(known), value: STANDARD.encode(value()), next: first }
    }

    async fn ask(&mut self, path: &str, body: String) -> Result<Answer> {
        let (status, answer) = self.http.send(Method::POST, path, body.into()).await?;
        if refused(status) {
            return Ok(Answer::Refused);
        }
        ensure!(status == StatusCode::OK, "{path}: {status}: {}", String::from_utf8_lossy(&answer));
        Ok(Answer::Done)
    }
}

impl Client for GatewayClient {
    async fn call(&mut self) -> Result<Answer> {
        self.next += 1;
        if self.work == Work::Write {
            let body = format!(r#"{{"key":"{}","value":"{}"}}"#, STANDARD.encode(new_key()), self.value);
            return self.ask("/v3/kv/put", body).await;
        }
        let key = STANDARD.encode(&self.known[self.next % self.known.len()]);
        let body = format!(r#"{{"key":"{key}","serializable":{}}}"#, self.work == Work::ReadLocal);
        self.ask("/v3/kv/range", body).await
    }
}

/// Someone at etcd's gRPC interface.
pub(crate) struct GrpcClient {
    grpc: Grpc,
    work: Work,
    known: Known,
    value: Bytes,
    next: usize,
}

impl GrpcClient {
    pub(crate) fn new(grpc: Grpc, work: Work, known: &Known, first: usize) -> Self {
        Self { grpc, work, known: Arc::clone(known), value: value(), next: first }
    }

    /// Puts one key.
    pub(crate) async fn put(&mut self, key: &str) -> Result<Answer> {
        self.grpc.call("/etcdserverpb.KV/Put", &grpc::put(key.as_bytes(), &self.value)).await
    }
}

impl Client for GrpcClient {
    async fn call(&mut self) -> Result<Answer> {
        self.next += 1;
        if self.work == Work::Write {
            return self.put(&new_key()).await;
        }
        let key = &self.known[self.next % self.known.len()];
        let message = grpc::range(key.as_bytes(), self.work == Work::ReadLocal);
        self.grpc.call("/etcdserverpb.KV/Range", &message).await
    }
}

/// A JSON answer of etcd's gateway.
pub(crate) async fn ask_gateway(http: &mut Http, path: &str) -> Result<Value> {
    let (status, answer) = http.send(Method::POST, path, json!({}).to_string().into()).await?;
    ensure!(status == StatusCode::OK, "{path}: {status}");
    Ok(serde_json::from_slice(&answer)?)
}
