//! `plenary cluster`: looks at the cluster, and changes it, through the node on this machine.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use plenary_cluster::model::NodeId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::say;
use crate::admin::{self, Leader, Minted, Removed, Renewed, Request, Status};

/// Looks at the cluster, and changes it, through the node on this machine.
#[derive(Debug, Args)]
pub(super) struct Cluster {
    #[command(subcommand)]
    question: Question,
    /// The node's data folder.
    #[arg(long, global = true, default_value = "plenary-data")]
    data_dir: PathBuf,
    /// The answer as JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Members, roles, workers and, when asked for, media links.
    Status {
        /// Media links with their counters, as JSON.
        #[arg(long)]
        links: bool,
    },
    /// Makes a token with which one new node can join.
    Token {
        /// Minutes that the token is good for.
        #[arg(long, default_value_t = 60)]
        minutes: u32,
    },
    /// Takes a node out of the cluster for good. Its id is never used again; to come back it joins anew.
    Remove {
        /// The node's id.
        node: NodeId,
        /// Even if it is up: its calls are dropped and its process stops.
        #[arg(long)]
        force: bool,
    },
    /// Hands leadership to another voter.
    TransferLeader {
        /// The new leader's id; any voter that is ready when left out.
        #[arg(long)]
        to: Option<NodeId>,
    },
    /// Replaces this node's certificate now. Nodes do so by themselves long before one ends.
    Rotate,
}

impl Cluster {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self.question {
            Question::Status { links } => self.status(links),
            Question::Token { minutes } => {
                self.ask(&Request::Token { minutes }, |minted: &Minted| minted.token.clone())
            }
            Question::Remove { node, force } => {
                self.ask(&Request::Remove { node, force }, |done: &Removed| format!("node {} is removed", done.removed))
            }
            Question::TransferLeader { to } => {
                self.ask(&Request::TransferLeader { to }, |done: &Leader| format!("node {} leads", done.leader))
            }
            Question::Rotate => {
                self.ask(&Request::Rotate, |done: &Renewed| format!("node {} has a new certificate", done.node))
            }
        }
    }

    fn status(&self, links: bool) -> anyhow::Result<()> {
        let status: Status = admin::ask(&self.data_dir, &Request::Status)?;
        let text = match (self.json, links) {
            (true, _) => serde_json::to_string_pretty(&status)?,
            (false, true) => serde_json::to_string_pretty(&status.links)?,
            (false, false) => table(&status)?,
        };
        say(text.trim_end())
    }

    /// Asks, and says the answer as JSON or in words.
    fn ask<T: DeserializeOwned + Serialize>(
        &self,
        request: &Request,
        words: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let answer: T = admin::ask(&self.data_dir, request)?;
        let text = if self.json { serde_json::to_string_pretty(&answer)? } else { words(&answer) };
        say(&text)
    }
}

fn table(status: &Status) -> Result<String, std::fmt::Error> {
    let raft = &status.raft;
    let mut text = String::new();
    let leader = raft.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    let quorum = if raft.quorum { "yes" } else { "no" };
    writeln!(
        text,
        "node {}  term {}  leader {leader}  quorum {quorum}  applied {}",
        status.node, raft.term, raft.applied
    )?;
    writeln!(text, "{:>6}  {:<8} {:<6} {:<22} {:<22} version", "node", "role", "status", "http", "control")?;
    for node in &status.nodes {
        // Without a quorum nobody can say so of a node: this is how it was last.
        let state = format!("{:?}{}", node.status, if raft.quorum { "" } else { "?" }).to_lowercase();
        let addresses = &node.addresses;
        let role = role(status, node.id);
        let (http, control) = (addresses.http.to_string(), addresses.control.to_string());
        writeln!(text, "{:>6}  {role:<8} {state:<6} {http:<22} {control:<22} {}", node.id, node.version)?;
    }
    for (index, worker) in status.workers.iter().enumerate() {
        let addresses: Vec<String> = worker.addresses.iter().map(ToString::to_string).collect();
        let (sessions, rooms, load) = (worker.sessions, worker.rooms, worker.load_percent);
        writeln!(text, "worker {index}  {}  sessions {sessions}  rooms {rooms}  load {load} %", addresses.join(" "))?;
    }
    Ok(text)
}

fn role(status: &Status, node: NodeId) -> &'static str {
    if status.raft.leader == Some(node) {
        "leader"
    } else if status.raft.voters.contains(&node) {
        "voter"
    } else if status.raft.learners.contains(&node) {
        "learner"
    } else {
        "none"
    }
}
