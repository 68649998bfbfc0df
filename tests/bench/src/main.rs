//! `plenary-bench`: measures Plenary beside what it wants to be compared with. Run it with `scripts/bench`.
//!
//! ```text
//! media ─► plenary, plain, pion, janus ◄─ people; floor ─► journal ─► report
//! directory ─► plenary: three of this binary as `member` ─┐
//!           └► etcd: three of etcd                        ├─► load (closed, open) ─► journal ─► summary
//!                                     clients at a door ──┘
//! ```
//!
//! A measurement tells how much of the processors everybody else took meanwhile, and is void when that was much.

mod cgroup;
mod clients;
mod clock;
mod directory;
mod etcd;
mod grpc;
mod host;
mod http;
mod inside;
mod journal;
mod load;
mod media;
mod member;
mod plenary;
mod profile;
mod report;
mod run;
mod sample;
mod summary;
mod system;
mod work;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Plenary.
#[derive(Debug, Parser)]
#[command(name = "plenary-bench", bin_name = "scripts/bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes, reads and growth of the directory, beside etcd.
    Directory(directory::Directory),
    /// What a delivered packet costs, beside other servers and the floor.
    Media(media::Media),
    /// How long it takes to come in.
    Join(media::Join),
    /// What a participant costs in memory.
    Memory(media::Memory),
    /// What it costs to carry media from node to node.
    Relay(media::Relay),
    /// What a delivered packet costs by stage, and a flame graph.
    Profile(media::Profile),
    /// Prints the tables of runs of `media` again, compares two, draws plots.
    Report(media::Report),
    /// A plain forwarder over QUIC.
    #[command(hide = true)]
    Forwarder(media::Forwarder),
    /// A plain SFU.
    #[command(hide = true)]
    Plain(media::Plain),
    /// Encrypts and sends, and nothing else.
    #[command(hide = true)]
    Floor(media::Floor),
    /// A node that puts load on itself when told to.
    #[command(hide = true)]
    Member(member::Member),
    /// The `plenary` binary.
    #[command(hide = true)]
    Plenary(::plenary::cli::Cli),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Directory(directory) => block_on(directory.run()),
        Command::Media(media) => media.run(),
        Command::Join(join) => join.run(),
        Command::Memory(memory) => memory.run(),
        Command::Relay(relay) => relay.run(),
        Command::Profile(profile) => profile.run(),
        Command::Report(report) => report.run(),
        Command::Forwarder(forwarder) => forwarder.run(),
        Command::Plain(plain) => plain.run(),
        Command::Floor(floor) => floor.run(),
        Command::Member(member) => member.run(),
        Command::Plenary(cli) => return ::plenary::cli::run(cli),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::tell(format!("plenary-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}
