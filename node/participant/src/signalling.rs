//! A signalling connection: text frames over a WebSocket. Usable alone, for tests of what a node does with a broken
//! client.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use plenary_protocol::{MAX_FRAME_BYTES, Reply, Request, RequestFrame, ServerFrame, VERSION};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// How long to connect, to send or to wait for a reply.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open connection to `/ws` of a node.
#[derive(Debug)]
pub struct Signalling {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_request: u64,
}

/// What a node sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// A reply or a push.
    Frame(Box<ServerFrame>),
    /// A message that is neither; its text, or what it was.
    Unknown(String),
    /// The node closed the connection.
    Closed {
        /// RFC 6455 §7.4 code, where one was given.
        code: Option<u16>,
        /// The reason that came with it.
        reason: String,
    },
}

/// What went wrong with a signalling connection.
#[derive(Debug, thiserror::Error)]
pub enum SignallingError {
    /// Only `http://` is spoken.
    #[error("base url {0} does not begin with http://")]
    Scheme(String),
    /// The connection failed or broke.
    #[error("the signalling connection broke")]
    Broken(#[source] Box<WebSocketError>),
    /// The connection ended before a reply came.
    #[error("the node closed the connection (code {code:?}, {reason:?}) before it replied")]
    Closed {
        /// RFC 6455 §7.4 code, where one was given.
        code: Option<u16>,
        /// The reason that came with it.
        reason: String,
    },
    /// Nothing happened in time.
    #[error("{what} took longer than {PATIENCE:?}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
    },
}

impl From<WebSocketError> for SignallingError {
    fn from(error: WebSocketError) -> Self {
        Self::Broken(Box::new(error))
    }
}

impl Signalling {
    /// Connects to the node whose HTTP is at `base_url`.
    ///
    /// # Errors
    ///
    /// [`SignallingError`] when there is no connection.
    pub async fn connect(base_url: &str) -> Result<Self, SignallingError> {
        let Some(authority) = base_url.strip_prefix("http://") else {
            return Err(SignallingError::Scheme(base_url.to_owned()));
        };
        let url = format!("ws://{}/ws", authority.trim_end_matches('/'));
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MAX_FRAME_BYTES))
            .max_frame_size(Some(MAX_FRAME_BYTES))
            .max_write_buffer_size(64 << 20);
        let connecting = connect_async_with_config(url, Some(limits), true);
        let (socket, _) = in_time("connecting", connecting).await??;
        Ok(Self { socket, last_request: 0 })
    }

    /// Sends a numbered request.
    ///
    /// # Errors
    ///
    /// [`SignallingError`] when the connection is broken or stuck.
    pub async fn send(&mut self, frame: &RequestFrame) -> Result<(), SignallingError> {
        let text = serde_json::to_string(frame).expect("strings, numbers and lists always serialise");
        self.send_text(text).await
    }

    /// Sends any text, well-formed or not.
    ///
    /// # Errors
    ///
    /// [`SignallingError`] when the connection is broken or stuck.
    pub async fn send_text(&mut self, text: impl Into<String>) -> Result<(), SignallingError> {
        in_time("sending", self.socket.send(Message::text(text.into()))).await??;
        Ok(())
    }

    /// Sends a binary message, which no node expects.
    ///
    /// # Errors
    ///
    /// [`SignallingError`] when the connection is broken or stuck.
    pub async fn send_binary(&mut self, bytes: Vec<u8>) -> Result<(), SignallingError> {
        in_time("sending", self.socket.send(Message::binary(bytes))).await??;
        Ok(())
    }

    /// Waits for the next message, however long that takes. May be dropped while it waits.
    ///
    /// # Errors
    ///
    /// [`SignallingError::Broken`] when the connection ends without a close.
    pub async fn receive(&mut self) -> Result<Received, SignallingError> {
        loop {
            let Some(message) = self.socket.next().await else {
                return Ok(Received::Closed { code: None, reason: String::new() });
            };
            return Ok(match message? {
                Message::Text(text) => match serde_json::from_str(&text) {
                    Ok(frame) => Received::Frame(Box::new(frame)),
                    Err(_) => Received::Unknown(text.as_str().to_owned()),
                },
                Message::Binary(bytes) => Received::Unknown(format!("{} binary bytes", bytes.len())),
                Message::Close(close) => Received::Closed {
                    code: close.as_ref().map(|close| close.code.into()),
                    reason: close.map(|close| close.reason.as_str().to_owned()).unwrap_or_default(),
                },
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            });
        }
    }

    /// Waits for the next reply; pushes and unknown messages before it are dropped.
    ///
    /// # Errors
    ///
    /// [`SignallingError`] when none comes.
    pub async fn reply(&mut self) -> Result<Reply, SignallingError> {
        in_time("a reply", async {
            loop {
                match self.receive().await? {
                    Received::Frame(frame) => match *frame {
                        ServerFrame::Reply(reply) => return Ok(reply.reply),
                        ServerFrame::Push(_) => {}
                    },
                    Received::Unknown(_) => {}
                    Received::Closed { code, reason } => return Err(SignallingError::Closed { code, reason }),
                }
            }
        })
        .await?
    }

    /// Sends a request under the next number and waits for the reply.
    ///
    /// # Errors
    ///
    /// [`SignallingError`] when no reply comes; an error reply is a [`Reply`].
    pub async fn ask(&mut self, request: Request) -> Result<Reply, SignallingError> {
        self.last_request += 1;
        self.send(&RequestFrame { v: VERSION, id: self.last_request, request }).await?;
        self.reply().await
    }
}

async fn in_time<T>(what: &'static str, wait: impl Future<Output = T>) -> Result<T, SignallingError> {
    timeout(PATIENCE, wait).await.map_err(|_| SignallingError::TimedOut { what })
}
