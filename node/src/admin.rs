//! The operator's door: a Unix socket in the data folder, open to whoever may read that folder.
//!
//! One request is one line; the answer is one JSON document, then the connection closes. `status` is the only request.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plenary_api::port::Media;
use plenary_cluster::directory::{Directory, RaftStatus};
use plenary_cluster::model::{Node, NodeId};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::link::{LinkStats, MediaLink};
use crate::port::MediaPort;

/// How long one conversation may take.
const CONVERSATION: Duration = Duration::from_secs(5);

/// How soon the door opens again after the system refused to open it.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The longest request, in bytes.
const LONGEST_REQUEST: u64 = 1024;

/// Where a node with this data folder listens.
#[must_use]
pub fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.sock")
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
    /// All nodes that ever registered.
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
    pub directory: Arc<dyn Directory>,
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
        let answer = match line.trim() {
            "status" => serde_json::to_vec(&self.status())?,
            other => serde_json::to_vec(&serde_json::json!({
                "error": format!("unknown request {other:?}; the known one is \"status\""),
            }))?,
        };
        writer.write_all(&answer).await?;
        writer.shutdown().await
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

/// Asks the node that runs on this data folder.
///
/// # Errors
/// When no node answers there.
pub fn ask_status(data_dir: &Path) -> anyhow::Result<Status> {
    let path = socket_path(data_dir);
    let mut stream = BlockingStream::connect(&path).map_err(|error| {
        anyhow::anyhow!(
            "--data-dir: no node runs on {} ({error}); start it, or name another folder",
            data_dir.display()
        )
    })?;
    stream.set_read_timeout(Some(CONVERSATION))?;
    stream.write_all(b"status\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}
