//! `plenary cluster`: the cluster as the node on this machine sees it.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use plenary_cluster::model::NodeId;

use super::say;
use crate::admin::{self, Status};

/// Looks at the cluster through the node on this machine.
#[derive(Debug, Args)]
pub(super) struct Cluster {
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Members, roles, workers and, when asked for, media links.
    Status {
        /// The node's data folder.
        #[arg(long, default_value = "plenary-data")]
        data_dir: PathBuf,
        /// Media links with their counters, as JSON.
        #[arg(long)]
        links: bool,
        /// All of it as JSON.
        #[arg(long)]
        json: bool,
    },
}

impl Cluster {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Question::Status { data_dir, links, json } = self.question;
        let status = admin::ask_status(&data_dir)?;
        let text = match (json, links) {
            (true, _) => serde_json::to_string_pretty(&status)?,
            (false, true) => serde_json::to_string_pretty(&status.links)?,
            (false, false) => table(&status)?,
        };
        say(text.trim_end())
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
        let state = format!("{:?}", node.status).to_lowercase();
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
