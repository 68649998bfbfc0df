//! The signalling WebSocket, as rough as a test wants it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// No answer of a healthy node takes this long.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One connection; sends what it is told, be it nonsense.
pub struct Signalling {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last: u64,
}

impl std::fmt::Debug for Signalling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signalling").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Signalling {
    /// Connects to a node's HTTP side.
    ///
    /// # Errors
    /// When the node does not take the connection.
    pub async fn open(node: SocketAddr) -> Result<Self> {
        let (socket, _) = connect_async(format!("ws://{node}/ws")).await.context("WebSocket")?;
        Ok(Self { socket, last: 0 })
    }

    /// Connects and joins.
    ///
    /// # Errors
    /// When the node refuses, with its answer.
    pub async fn join(node: SocketAddr, meeting: &str, token: &str) -> Result<Self> {
        let mut signalling = Self::open(node).await?;
        let reply = signalling.request(json!({ "type": "join", "meeting": meeting, "token": token })).await?;
        if reply["type"] != "joined" {
            bail!("join: {reply}");
        }
        Ok(signalling)
    }

    /// Sends a request under the next number and waits for its reply.
    ///
    /// # Errors
    /// When the connection closes or stays silent.
    pub async fn request(&mut self, mut request: Value) -> Result<Value> {
        self.last += 1;
        request["v"] = json!(1);
        request["id"] = json!(self.last);
        self.send(&request.to_string()).await?;
        let number = self.last;
        self.until(|frame| frame["re"] == number).await
    }

    /// Sends a text as it is.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// Passes over frames until one fits.
    ///
    /// # Errors
    /// When the connection closes or stays silent.
    pub async fn until(&mut self, mut fits: impl FnMut(&Value) -> bool) -> Result<Value> {
        loop {
            let frame = self.next().await?.context("the node closed the connection")?;
            if fits(&frame) {
                return Ok(frame);
            }
        }
    }

    /// The next frame; `None` when the node has closed.
    ///
    /// # Errors
    /// When it stays silent, or says what is not JSON.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Text(text))) => break serde_json::from_str(&text).map(Some).context("not JSON"),
                    // A reset after the node's last word is as good as a close.
                    None | Some(Ok(Message::Close(_)) | Err(_)) => break Ok(None),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                }
            }
        };
        tokio::time::timeout(ANSWER_WITHIN, next).await.context("the node stays silent")?
    }

    /// What the node says until it closes.
    ///
    /// # Errors
    /// When it does not close.
    pub async fn remainder(&mut self) -> Result<Vec<Value>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await? {
            frames.push(frame);
        }
        Ok(frames)
    }
}
