//! A whole node, as `plenary node` runs it, that also puts load on its own directory when told to.
//!
//! ```text
//! stdin:  one JSON order a line        stdout: the `ready` line, then one JSON report a line
//! ```

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use plenary::config::Config;
use plenary::link::JoinToken;
use plenary::runtime::{Node, Origin};
use plenary::telemetry;
use plenary_cluster::directory::{Directory, RaftStatus};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::inside::Inside;
use crate::load::{self, Outcome, Shape};
use crate::work::Work;

/// Runs a node under the bench's orders.
#[derive(Debug, Args)]
pub(crate) struct Member {
    /// The node's configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Begin a new cluster.
    #[arg(long)]
    init: bool,
    /// Join the cluster of the node whose control endpoint is here.
    #[arg(long, requires = "token")]
    join: Option<SocketAddr>,
    /// The token to join with.
    #[arg(long)]
    token: Option<JoinToken>,
}

/// What the bench wants of a member.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// How it sees the Raft group.
    Status,
    /// Load from clients inside it.
    Load { work: Work, clients: usize, shape: Shape },
}

/// What a member answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// To [`Order::Status`]: and how many meetings it holds.
    Status { raft: RaftStatus, meetings: usize },
    /// To [`Order::Load`].
    Load(Outcome),
    /// The order could not be carried out.
    Failed(String),
}

impl Member {
    pub(crate) fn run(self) -> Result<()> {
        plenary::prepare_process();
        let config = Config::load(Some(&self.config))?;
        telemetry::start_logging(&config.log)?;
        let origin = match (self.init, self.join, self.token) {
            (true, ..) => Origin::Init,
            (false, Some(address), Some(token)) => Origin::Join { address, token },
            (false, ..) => Origin::Resume,
        };
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
            let node = Node::start(config, origin).await?;
            let directory = node.directory();
            say(&node.ready_line())?;
            tokio::select! {
                ended = node.run_until_signalled() => ended,
                obeyed = obey(directory) => obeyed,
            }
        })
    }
}

/// Carries out orders until there are no more: the bench has ended then.
async fn obey(directory: Arc<dyn Directory>) -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let order = serde_json::from_str(&line).with_context(|| format!("not an order: {line}"))?;
        say(&serde_json::to_string(&carry_out(&directory, order).await)?)?;
    }
    Ok(())
}

async fn carry_out(directory: &Arc<dyn Directory>, order: Order) -> Report {
    match order {
        Order::Status => {
            Report::Status { raft: directory.status(), meetings: directory.read_local().meetings().count() }
        }
        Order::Load { work, clients, shape } => {
            let outcome = load::run(Inside::clients(directory, work, clients), &shape).await;
            outcome.map_or_else(|error| Report::Failed(format!("{error:#}")), Report::Load)
        }
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
