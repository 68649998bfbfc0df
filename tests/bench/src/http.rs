//! One keep-alive HTTP/1.1 connection, with one request under way.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// A connection; it ends with this.
pub(crate) struct Http {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    headers: HeaderMap,
    _driver: JoinSet<()>,
}

impl Http {
    /// Connects; `headers` go along with every request.
    pub(crate) async fn connect(address: SocketAddr, headers: HeaderMap) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        // How the connection ended is told by the request that finds it closed.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { sender, host: address.to_string(), headers, _driver: driver })
    }

    /// Sends a request and takes its answer in whole.
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, &self.host);
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        self.sender.ready().await.context("the connection was closed")?;
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}
