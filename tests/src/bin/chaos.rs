//! `scripts/chaos`: faults upon real clusters, and what clients saw meanwhile.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use plenary_tests::chaos::{Failover, Limits, Quorum, Report, as_client, stage};
use plenary_tests::faults::Kind;
use plenary_tests::say;

/// Real nodes in network namespaces, real faults, and a checker of what clients saw. Needs root.
#[derive(Debug, Parser)]
#[command(name = "scripts/chaos")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Run>,
    #[command(flatten)]
    faults: Faults,
}

#[derive(Debug, Args)]
struct Faults {
    /// So many faults, half of them on three nodes and half on five.
    #[arg(long, default_value_t = 150)]
    faults: usize,
    /// Draw from this; without it from the clock.
    #[arg(long)]
    seed: Option<u64>,
    /// Stop after so many minutes, whatever the count.
    #[arg(long)]
    minutes: Option<u64>,
    /// Only these faults.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
}

#[derive(Debug, Subcommand)]
enum Run {
    /// Loses the leader by kill, stop and cut, and etcd's beside it.
    Failover {
        /// How often by each.
        #[arg(long, default_value_t = 20)]
        rounds: usize,
    },
    /// Loses the quorum during a call.
    Quorum {
        /// For how long.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let good = match arguments.command {
        None => chaos(arguments.faults)?,
        Some(Run::Failover { rounds }) => failover(rounds)?,
        Some(Run::Quorum { seconds }) => quorum(seconds)?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chaos(wanted: Faults) -> Result<bool> {
    let seed = wanted.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let kinds = if wanted.only.is_empty() { Kind::ALL.to_vec() } else { wanted.only };
    let time = wanted.minutes.map_or(Duration::MAX, |minutes| Duration::from_secs(minutes * 60));
    if wanted.faults < 2 {
        bail!("--faults {}: at least 2, one for each size of cluster", wanted.faults);
    }
    say(format!("chaos: seed {seed}"));
    let first = wanted.faults / 2;
    let mut report = Report::default();
    for (nodes, faults) in [(3, first), (5, wanted.faults - first)] {
        let limits = Limits { faults, time: time / 2, seed, kinds: kinds.clone() };
        report.add(as_client(&format!("chaos{nodes}"), nodes, async |lan| stage(lan, nodes, &limits).await)?);
    }
    say(&report);
    say(report.json());
    Ok(report.complaints().is_empty())
}

fn failover(rounds: usize) -> Result<bool> {
    let measured = as_client("failover", Failover::HOSTS, async |lan| Failover::measure(lan, rounds).await)?;
    say(&measured);
    say(measured.json());
    Ok(measured.meets_goals())
}

fn quorum(seconds: u64) -> Result<bool> {
    let lost = as_client("quorum", 5, async |lan| Quorum::lose(lan, Duration::from_secs(seconds)).await)?;
    say(&lost);
    say(lost.json());
    Ok(lost.is_good())
}
