//! `plenary node`: a node of a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::{runtime, say};
use crate::config::Config;
use crate::link::JoinToken;
use crate::runtime::{Node as Running, Origin};
use crate::telemetry;

/// Starts a node of a cluster.
#[derive(Debug, Args)]
pub(super) struct Node {
    /// The configuration file (TOML).
    #[arg(long)]
    config: Option<PathBuf>,
    /// Begin a new cluster with this node as its first member.
    #[arg(long, conflicts_with = "join")]
    init: bool,
    /// Join the cluster of the node whose control endpoint is here.
    #[arg(long)]
    join: Option<SocketAddr>,
    /// The token to join with, from `plenary token` on a member; without `--join` it is of no use and not looked at.
    #[arg(long, env = "PLENARY_JOIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Overrides `data_dir`.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

impl Node {
    pub(super) fn run(self) -> anyhow::Result<()> {
        crate::prepare_process();
        let mut config = Config::load(self.config.as_deref())?;
        if let Some(folder) = self.data_dir {
            config.data_dir = folder;
        }
        telemetry::start_logging(&config.log)?;
        let origin = match (self.init, self.join) {
            (true, _) => Origin::Init,
            (false, Some(address)) => Origin::Join { address, token: join_token(self.token.as_deref())? },
            (false, None) => Origin::Resume,
        };
        runtime()?.block_on(async {
            let node = Running::start(config, origin).await?;
            say(&node.ready_line())?;
            node.run_until_signalled().await
        })
    }
}

fn join_token(given: Option<&str>) -> anyhow::Result<JoinToken> {
    let token = given.context("--join needs --token, or PLENARY_JOIN_TOKEN: `plenary token` on a member prints one")?;
    token.parse().context("--token (or PLENARY_JOIN_TOKEN)")
}
