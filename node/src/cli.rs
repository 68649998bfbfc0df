//! The command line: one file a subcommand.

mod cluster;
mod dev;
mod load;
mod node;
mod token;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Video meetings on a cluster of identical nodes.
#[derive(Debug, Parser)]
#[command(name = "plenary", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Starts one node with built-in settings and prints the URL of a ready meeting.
    Dev(dev::Dev),
    /// Starts a node of a cluster.
    Node(node::Node),
    /// Makes a token: for a node to join with, or for a user.
    Token(token::Token),
    /// Looks at the cluster through the node on this machine.
    Cluster(cluster::Cluster),
    /// Puts participants on a cluster and says whether it keeps them well.
    Load(load::Load),
}

/// Runs a command to its end.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Subcommands::Dev(dev) => dev.run(),
        Subcommands::Node(node) => node.run(),
        Subcommands::Token(token) => token.run(),
        Subcommands::Cluster(cluster) => cluster.run(),
        Subcommands::Load(load) => match load.run() {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => {
                complain(&error);
                return ExitCode::from(2);
            }
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// The last words go to standard error even when logging never began.
fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "plenary: {error:#}");
}

/// Says something to whoever started us. Unlike a log line, this is an interface: scripts read it.
fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
