//! The operator's door: a Unix socket in the data folder, open to whoever may read that folder.
//!
//! One request is one line of JSON ([`Request`]); the answer is one JSON document, what was asked for or
//! `{"error": "…"}`, then the connection closes.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plenary_api::port::Media;
use plenary_cluster::directory::{Directory, ProposeError, RaftStatus};
use plenary_cluster::model::{Node, NodeId, Timestamp};
use plenary_cluster::raft::RaftNode;
use plenary_cluster::state::{Command, Rejection};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::identity::now;
use crate::link::{Identity, JoinToken, LinkStats, MediaLink};
use crate::port::MediaPort;
use crate::renewal::Renewal;

/// How long one conversation may take.
const CONVERSATION: Duration = Duration::from_secs(10);

/// How soon the door opens again after the system refused to open it.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// How long a removal is tried: it may have to wait for an election.
const REMOVE_TIME: Duration = Duration::from_secs(6);

/// The longest request, in bytes.
const LONGEST_REQUEST: u64 = 1024;

/// Where a node with this data folder listens.
#[must_use]
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
}

/// What an operator may ask of a running node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// [`Status`].
    Status,
    /// A token with which one new node can join: [`Minted`].
    Token {
        /// Minutes that it is good for.
        minutes: u32,
    },
    /// Takes a node out of the cluster for good: [`Removed`].
    Remove {
        /// Which.
        node: NodeId,
        /// Even if it is up.
        force: bool,
    },
    /// Hands leadership to a voter: [`Leader`].
    TransferLeader {
        /// Which; any that is ready when none is named.
        to: Option<NodeId>,
    },
    /// Replaces this node's certificate: [`Renewed`].
    Rotate,
}

/// A join token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Minted {
    /// Its text.
    pub token: String,
    /// When it expires.
    pub expires: Timestamp,
}

/// A node that is no member any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Removed {
    /// Which.
    pub removed: NodeId,
}

/// Who leads now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leader {
    /// Which node.
    pub leader: NodeId,
}

/// A node whose certificate is new.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Renewed {
    /// Which.
    pub node: NodeId,
}

/// What went wrong, in words for the operator.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Failure {
    error: String,
}

/// This node, and the cluster as it sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// Its epoch.
    pub epoch: u64,
    /// The Raft group.
    pub raft: RaftStatus,
    /// All nodes that registered and were not removed.
    pub nodes: Vec<Node>,
    /// This node's media workers.
    pub workers: Vec<Worker>,
    /// This node's media links.
    pub links: Vec<LinkStats>,
}

/// One media worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Worker {
    /// What it offers to clients.
    pub addresses: Vec<SocketAddr>,
    /// Sessions it serves.
    pub sessions: u32,
    /// Rooms it has a shard of.
    pub rooms: u32,
    /// Share of one core used over the last second.
    pub load_percent: u8,
}

/// What the door can tell about.
pub struct Admin {
    /// The directory.
    pub directory: Arc<RaftNode>,
    /// This node's identity, for join tokens.
    pub identity: Arc<Identity>,
    /// Replaces this node's certificate.
    pub renewal: Arc<Renewal>,
    /// The media plane.
    pub media: Arc<MediaPort>,
    /// The media links.
    pub links: Arc<MediaLink>,
    /// What each worker offers to clients.
    pub addresses: Vec<Vec<SocketAddr>>,
}

impl Admin {
    /// Listens until cancelled.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub async fn run(self, data_dir: PathBuf, cancelled: CancellationToken) -> std::io::Result<()> {
        let path = socket_path(&data_dir);
        // A socket file outlives a killed process; only one process can have the data folder open.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        loop {
            tokio::select! {
                () = cancelled.cancelled() => break,
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else {
                        // Out of descriptors, most likely: an operator's question must not end the node.
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                        continue;
                    };
                    // One at a time: an operator asks seldom, and a slow one is cut off.
                    if tokio::time::timeout(CONVERSATION, self.converse(stream)).await.is_err() {
                        tracing::debug!("operator's request timed out");
                    }
                }
            }
        }
        let _ = std::fs::remove_file(&path);
        Ok(())
    }

    async fn converse(&self, stream: UnixStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut line = String::new();
        let mut reader = tokio::io::AsyncReadExt::take(BufReader::new(reader), LONGEST_REQUEST);
        reader.read_line(&mut line).await?;
        let answer = match serde_json::from_str(&line) {
            Ok(request) => self.answer(request).await,
            Err(error) => Err(format!("not a request: {error}; use a `plenary` of the node's version")),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => serde_json::to_value(Failure { error })?,
        };
        writer.write_all(&serde_json::to_vec(&answer)?).await?;
        writer.shutdown().await
    }

    async fn answer(&self, request: Request) -> Result<Value, String> {
        match request {
            Request::Status => json(self.status()),
            Request::Token { minutes } => {
                let expires = Timestamp::from_millis(now().millis().saturating_add(i64::from(minutes) * 60_000));
                let token = JoinToken::mint(&self.identity, rand::random(), expires).to_string();
                json(Minted { token, expires })
            }
            Request::Remove { node, force } => json(self.remove(node, force).await?),
            Request::TransferLeader { to } => {
                let leader = self.directory.transfer_leadership(to).await.map_err(|error| error.to_string())?;
                json(Leader { leader })
            }
            Request::Rotate => {
                self.renewal.renew().map_err(|error| format!("the certificate was not replaced: {error}"))?;
                json(Renewed { node: self.identity.node() })
            }
        }
    }

    async fn remove(&self, node: NodeId, force: bool) -> Result<Removed, String> {
        let until = Instant::now() + REMOVE_TIME;
        loop {
            let proposed = self.directory.propose(None, Command::RemoveNode { node, while_up: force }).await;
            let Err(error) = proposed else { return Ok(Removed { removed: node }) };
            // An attempt whose answer got lost may have done it.
            if self.directory.read_local().is_removed(node) {
                return Ok(Removed { removed: node });
            }
            return Err(match error {
                ProposeError::Rejected(Rejection::NodeNotFound) => {
                    format!("there is no node {node}; `plenary cluster status` lists them")
                }
                ProposeError::Rejected(Rejection::NodeUp) => {
                    format!("node {node} is up: stop it first, or say --force to drop its calls now")
                }
                ProposeError::Rejected(Rejection::LastNode) => {
                    format!("node {node} is the last one that is up; without it there is no cluster")
                }
                ProposeError::Rejected(Rejection::QuorumNeedsNode) => format!(
                    "without node {node} too few voters would answer to agree on anything: start the others first, or add \
                     a node and wait until it votes (`plenary cluster status`)"
                ),
                ProposeError::Rejected(rejection) => rejection.to_string(),
                full @ ProposeError::StorageFull { .. } => full.to_string(),
                ProposeError::Unavailable { .. } if Instant::now() < until => continue,
                ProposeError::Unavailable { .. } => {
                    "no majority of the members answers; a node can be removed once one does".to_owned()
                }
            });
        }
    }

    fn status(&self) -> Status {
        let (node, epoch) = self.media.node();
        let workers = self.media.workers().into_iter().zip(&self.addresses).map(|(worker, addresses)| Worker {
            addresses: addresses.clone(),
            sessions: worker.sessions,
            rooms: worker.rooms,
            load_percent: worker.load_percent,
        });
        Status {
            node,
            epoch,
            raft: self.directory.status(),
            nodes: self.directory.read_local().nodes().cloned().collect(),
            workers: workers.collect(),
            links: self.links.stats(),
        }
    }
}

fn json(answer: impl Serialize) -> Result<Value, String> {
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

/// Asks the node that runs on this data folder.
///
/// # Errors
/// When no node answers there, or what it says went wrong.
pub fn ask<T: DeserializeOwned>(data_dir: &Path, request: &Request) -> anyhow::Result<T> {
    let path = socket_path(data_dir);
    let mut stream = BlockingStream::connect(&path).map_err(|error| {
        anyhow::anyhow!(
            "--data-dir: no node runs on {} ({error}); start it, or name another folder",
            data_dir.display()
        )
    })?;
    stream.set_read_timeout(Some(CONVERSATION))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if let Ok(Failure { error }) = serde_json::from_slice(&answer) {
        anyhow::bail!(error);
    }
    Ok(serde_json::from_slice(&answer)?)
}
