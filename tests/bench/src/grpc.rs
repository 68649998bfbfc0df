//! Just enough gRPC for etcd's key-value service: unary calls over HTTP/2, messages written by hand.
//!
//! ```text
//! message: | compressed: u8 = 0 | length: u32 BE | protobuf |        the status comes in the trailers
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, TE};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::Answer;

/// gRPC's codes that mean "not now": deadline exceeded, resource exhausted, unavailable.
const NOT_NOW: [&str; 3] = ["4", "8", "14"];

/// A connection that several clients share, as is usual with gRPC; it ends with its last clone.
#[derive(Clone)]
pub(crate) struct Grpc {
    sender: SendRequest<Full<Bytes>>,
    base: String,
    _driver: Arc<JoinSet<()>>,
}

impl Grpc {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        // How the connection ended is told by the call that finds it closed.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { sender, base: format!("http://{address}"), _driver: Arc::new(driver) })
    }

    /// Calls `method`, such as `/etcdserverpb.KV/Put`.
    pub(crate) async fn call(&mut self, method: &str, message: &[u8]) -> Result<Answer> {
        let mut body = BytesMut::with_capacity(message.len() + 5);
        body.put_u8(0);
        body.put_u32(u32::try_from(message.len())?);
        body.put_slice(message);
        let request = Request::post(format!("{}{method}", self.base));
        let request = request.header(CONTENT_TYPE, "application/grpc").header(TE, "trailers");
        self.sender.ready().await.context("the connection was closed")?;
        let response = self.sender.send_request(request.body(Full::new(body.freeze()))?).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        // An answer without a message carries its status in the head.
        let status = body.trailers().and_then(status).or_else(|| status(&head.headers));
        match status {
            Some("0") => Ok(Answer::Done),
            Some(code) if NOT_NOW.contains(&code) => Ok(Answer::Refused),
            other => anyhow::bail!("{method}: HTTP {}, gRPC status {other:?}", head.status),
        }
    }
}

fn status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}

/// `PutRequest { key = 1, value = 2 }`.
pub(crate) fn put(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(key.len() + value.len() + 8);
    field(&mut message, 1, key);
    field(&mut message, 2, value);
    message
}

/// `RangeRequest { key = 1, serializable = 7 }`: one key; serializable means as this member has it.
pub(crate) fn range(key: &[u8], serializable: bool) -> Vec<u8> {
    let mut message = Vec::with_capacity(key.len() + 8);
    field(&mut message, 1, key);
    if serializable {
        message.extend([7 << 3, 1]);
    }
    message
}

/// A length-delimited field.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push((number << 3) | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).expect("less than eight bits"));
    message.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_protobuf() {
        assert_eq!(range(b"k", true), [0x0a, 1, b'k', 0x38, 1]);
        assert_eq!(range(b"k", false), [0x0a, 1, b'k']);
        let message = put(b"k", &[7; 300]);
        assert_eq!(message[..6], [0x0a, 1, b'k', 0x12, 0xac, 0x02]);
        assert_eq!(message.len(), 306);
    }
}
