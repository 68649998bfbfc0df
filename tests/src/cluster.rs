//! A cluster of real processes on loopback.

use std::path::PathBuf;

use anyhow::{Context, Result};
use plenary_participant::Options;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Node, Place, Rest, error_lines, until};

/// A meeting that was created and started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// Its id.
    pub id: String,
}

/// Nodes 1 … n in the order they joined, in one temporary folder named for this process.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    host: String,
    media: &'static str,
    workers: u16,
    /// Whether an error in a log is a failure.
    flawless: bool,
    folder: TempDir,
}

impl Cluster {
    /// Starts `count` nodes with one worker each: the first founds the cluster, the others join it.
    ///
    /// # Errors
    /// When a node does not come up, with the end of its log.
    pub async fn start(count: usize) -> Result<Self> {
        Self::start_with(count, 1, "").await
    }

    /// Starts `count` nodes with `workers` workers each and more lines for the configuration's `[media]` part.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn start_with(count: usize, workers: u16, media: &'static str) -> Result<Self> {
        let folder = Self::folder()?;
        let new = |number| Node::new(Self::home(&folder, number), workers, media, Place::default());
        let nodes = (1..=count).map(new).collect::<Result<_>>()?;
        let mut cluster = Self::found(folder, nodes).await?;
        (cluster.media, cluster.workers) = (media, workers);
        Ok(cluster)
    }

    /// A folder for a cluster, named for this process.
    pub(crate) fn folder() -> Result<TempDir> {
        Ok(tempfile::Builder::new().prefix(&format!("plenary-{}-", std::process::id())).tempdir()?)
    }

    /// Where node `number` lives in the cluster's folder.
    pub(crate) fn home(folder: &TempDir, number: usize) -> PathBuf {
        folder.path().join(format!("node-{number}"))
    }

    /// Starts these nodes: the first founds the cluster, the others join it.
    pub(crate) async fn found(folder: TempDir, nodes: Vec<Node>) -> Result<Self> {
        let mut cluster = Self { nodes, host: String::new(), media: "", workers: 1, flawless: true, folder };
        cluster.nodes[0].start(&["--init"]).await.context("node 1")?;
        let control = cluster.node(1).ports().control.to_string();
        for number in 2..=cluster.nodes.len() {
            let token = cluster.node(1).command(&["token"]).await.context("join token")?;
            let node = &mut cluster.nodes[number - 1];
            node.start(&["--join", &control, "--token", &token]).await.with_context(|| format!("node {number}"))?;
        }
        cluster.host = cluster.user_token("host").await.context("user token")?;
        for number in 1..=cluster.nodes.len() {
            cluster.until_ready(number).await?;
        }
        Ok(cluster)
    }

    /// Starts one more node, which joins through node `via`. Its number.
    ///
    /// # Errors
    /// When it does not come up, with the end of its log.
    pub async fn add(&mut self, via: usize) -> Result<usize> {
        let token = self.node(via).command(&["cluster", "token"]).await.context("join token")?;
        self.add_with(via, &token).await
    }

    /// Starts one more node, which joins through node `via` with `token`. Its number.
    ///
    /// # Errors
    /// When it does not come up, with the end of its log.
    pub async fn add_with(&mut self, via: usize, token: &str) -> Result<usize> {
        let number = self.nodes.len() + 1;
        let mut node = self.new_node(&format!("node-{number}"))?;
        let control = self.node(via).ports().control.to_string();
        node.start(&["--join", &control, "--token", token]).await.with_context(|| format!("node {number}"))?;
        self.nodes.push(node);
        self.until_ready(number).await?;
        Ok(number)
    }

    /// Has a newcomer try to join through node `via` with a token that must not let it in. What it says at its end.
    ///
    /// # Errors
    /// When it is let in.
    pub async fn refused_newcomer(&self, via: usize, label: &str, token: &str) -> Result<String> {
        let mut node = self.new_node(label)?;
        let control = self.node(via).ports().control.to_string();
        match node.start(&["--join", &control, "--token", token]).await {
            Ok(()) => anyhow::bail!("the newcomer was let in"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    fn new_node(&self, label: &str) -> Result<Node> {
        Node::new(self.folder.path().join(label), self.workers, self.media, Place::default())
    }

    /// Waits until the process of node `number` has ended by itself, without a fault.
    ///
    /// # Errors
    /// When it does not in time, or ends with a fault.
    pub async fn until_ended(&mut self, number: usize) -> Result<()> {
        self.nodes[number - 1].ended().await
    }

    /// From now on an error in a log is for the caller to judge.
    pub(crate) const fn expect_errors(&mut self) {
        self.flawless = false;
    }

    pub(crate) fn node_mut(&mut self, number: usize) -> &mut Node {
        &mut self.nodes[number - 1]
    }

    /// Waits until node `number` serves requests.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn until_ready(&self, number: usize) -> Result<()> {
        let rest = self.node(number).rest()?;
        until(&format!("node {number} is ready"), async || {
            Ok(rest.get("/readyz").await?.status.is_success().then_some(()))
        })
        .await
    }

    /// Node `number`, counted from 1.
    ///
    /// # Panics
    /// When there is no such node.
    #[must_use]
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number - 1]
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The HTTP side of node `number` as the user who owns the meetings made here.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn host(&self, number: usize) -> Result<Rest> {
        Ok(self.node(number).rest()?.with_token(&self.host))
    }

    /// Where the HTTP side of node `number` is, for participants.
    #[must_use]
    pub fn base_url(&self, number: usize) -> String {
        format!("http://{}", self.node(number).ports().http)
    }

    /// Someone who joins `meeting` through node `number`.
    #[must_use]
    pub fn person(&self, number: usize, meeting: &Meeting, name: &str) -> Options {
        Options::new(self.base_url(number), &meeting.id, name)
    }

    /// The node that leads the Raft group, as node `asked` believes.
    ///
    /// # Errors
    /// When there is none.
    pub async fn leader_seen_by(&self, asked: usize) -> Result<usize> {
        until("a leader is known", async || {
            let leader = self.node(asked).status().await?["raft"]["leader"].as_u64();
            Ok(self.nodes.iter().position(|node| Some(node.ports().node) == leader).map(|index| index + 1))
        })
        .await
    }

    /// What node `from` handed to its media link to node `to` so far, in bytes.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn relayed_bytes(&self, from: usize, to: usize) -> Result<u64> {
        let status = self.node(from).status().await?;
        let peer = self.node(to).ports().node;
        let links = status["links"].as_array().context("links")?;
        let bytes = |link: &Value| Some(link["datagram_bytes_sent"].as_u64()? + link["reliable_bytes_sent"].as_u64()?);
        // No link yet, nothing sent.
        let of = links.iter().find(|link| link["peer"].as_u64() == Some(peer));
        of.map_or(Ok(0), |link| bytes(link).context("a link without counters"))
    }

    /// A token for `user`.
    ///
    /// # Errors
    /// When the command fails.
    pub async fn user_token(&self, user: &str) -> Result<String> {
        self.node(1).command(&["token", "user", "--user", user]).await
    }

    /// Whether the process of node `number` still runs.
    pub fn is_running(&mut self, number: usize) -> bool {
        self.nodes[number - 1].is_running()
    }

    /// Kills node `number` as `kill -9` does.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number - 1].kill();
    }

    /// Stops node `number` without ending it (SIGSTOP), until [`Cluster::resume`].
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self, number: usize) -> Result<()> {
        self.node(number).signal(Signal::STOP)
    }

    /// Lets a paused node go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self, number: usize) -> Result<()> {
        self.node(number).signal(Signal::CONT)
    }

    /// Starts a killed node again, on its data and its ports.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self, number: usize) -> Result<()> {
        self.nodes[number - 1].start(&[]).await.with_context(|| format!("node {number} again"))?;
        self.until_ready(number).await
    }

    /// Creates and starts a meeting on node `number`.
    ///
    /// # Errors
    /// When the node refuses.
    pub async fn live_meeting_on(&self, number: usize) -> Result<Meeting> {
        let host = self.host(number)?;
        let body = json!({ "meeting_name": "Test", "meeting_type": "instant", "guests_allowed": true });
        let created = host.post("/api/meeting", body).await?.success().context("create")?;
        let id = created["data"]["id"].as_str().context("data.id")?.to_owned();
        host.post(&format!("/api/meeting/{id}/start"), json!({})).await?.success().context("start")?;
        Ok(Meeting { id })
    }

    /// Creates and starts a meeting, known to every running node when this returns.
    ///
    /// # Errors
    /// When a node refuses or does not learn of it.
    pub async fn create_live_meeting(&self) -> Result<Meeting> {
        let meeting = self.live_meeting_on(1).await?;
        for number in 1..=self.nodes.len() {
            if self.node(number).pid().is_ok() {
                self.until_known(number, &meeting).await?;
            }
        }
        Ok(meeting)
    }

    /// Waits until node `number` knows a meeting.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn until_known(&self, number: usize, meeting: &Meeting) -> Result<()> {
        let host = self.host(number)?;
        let path = format!("/api/meeting/{}", meeting.id);
        until(&format!("node {number} knows {}", meeting.id), async || {
            Ok(host.get(&path).await?.status.is_success().then_some(()))
        })
        .await
    }
}

/// Ends every node. A line at ERROR in a log fails the test; a failed test shows the end of every log.
impl Drop for Cluster {
    fn drop(&mut self) {
        let mut errors = Vec::new();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.kill();
            if std::thread::panicking() {
                report(index + 1, &node.tail());
            }
            errors.extend(error_lines(&node.log()).iter().map(|line| format!("node {}: {line}", index + 1)));
        }
        if self.flawless && !std::thread::panicking() {
            assert!(errors.is_empty(), "errors in the logs:\n{}", errors.join("\n"));
        }
    }
}

#[expect(clippy::print_stderr, reason = "a failed test says why")]
fn report(number: usize, tail: &str) {
    eprintln!("-- node {number}, end of its log:\n{tail}");
}
