//! The directory against etcd: three processes each, on the same disk, in the same run, in the order ABBA.
//!
//! First as fast as the servers answer, then at a rate that both sustain, then growing to many meetings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::clock::now;
use crate::etcd::Etcd;
use crate::host;
use crate::load::Shape;
use crate::plenary::Plenary;
use crate::report::tell;
use crate::run::{Patience, Run};
use crate::sample;
use crate::summary;
use crate::system::{Footprint, Job, System, footprints, until_idle};
use crate::work::{Door, Work};

/// Servers of each system.
const SERVERS: usize = 3;
/// Records that are there to be read.
const SEEDS: usize = 500;
/// Clients that keep a rate, and those who fill.
const MANY: usize = 256;
/// Clients who read.
const READERS: usize = 64;
/// The rate that both are asked for, as a part of what the slower one manages with [`READERS`] clients.
const SUSTAINED: f64 = 0.5;
/// How often a server is started again.
const COLD_STARTS: usize = 3;

/// Compares the directory with etcd, or with itself.
#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// Where raw results go, and the servers' data meanwhile: its disk is the one that is measured.
    #[arg(long, default_value = ".run/bench")]
    folder: PathBuf,
    /// Fewer and shorter: to see that it works, and roughly where things stand.
    #[arg(long)]
    quick: bool,
    /// Seconds of each measurement.
    #[arg(long)]
    seconds: Option<u64>,
    /// Times ABBA.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Meetings to grow to.
    #[arg(long, value_delimiter = ',')]
    grow: Option<Vec<u64>>,
    /// Seconds that growing one system may take.
    #[arg(long, default_value_t = 900)]
    grow_seconds: u64,
    /// Servers of each system while growing.
    #[arg(long, default_value_t = SERVERS)]
    grow_servers: usize,
    /// Only grow.
    #[arg(long)]
    only_grow: bool,
    /// Percent of all processors that others may take before a measurement is void.
    #[arg(long, default_value_t = 10)]
    foreign: u32,
    /// Seconds to wait for others to take less, before each measurement.
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// Leave etcd out.
    #[arg(long)]
    alone: bool,
}

/// The head of a run's results.
#[derive(Serialize)]
struct Head<'h> {
    line: &'static str,
    plenary: &'static str,
    value_bytes: usize,
    sync_p50_ns: u128,
    sync_p99_ns: u128,
    processors: usize,
    arguments: &'h [String],
}

/// One size of growing.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Growth {
    line: &'static str,
    pub(crate) system: &'static str,
    pub(crate) servers: usize,
    /// How many records were asked for.
    pub(crate) wanted: u64,
    /// How many there were when time was up.
    pub(crate) reached: u64,
    /// How long the records since the last size took.
    pub(crate) seconds: f64,
    pub(crate) added: u64,
    pub(crate) refused: u64,
    /// Of each server, once they were idle.
    pub(crate) servers_take: Vec<Footprint>,
    /// From starting a killed server to its serving.
    pub(crate) cold_starts: Vec<Duration>,
    /// Memory of the server that was started last.
    pub(crate) memory_after: u64,
}

impl Directory {
    pub(crate) async fn run(self) -> Result<()> {
        ensure!(self.rounds > 0 && self.grow_servers > 0, "--rounds and --grow-servers: expected at least 1");
        let patience = Patience { foreign: f64::from(self.foreign) / 100.0, wait: Duration::from_secs(self.patience) };
        let mut run = Run::begin(&self.folder, patience)?;
        self.head(&mut run)?;
        if !self.only_grow {
            self.speed(&mut run).await?;
        }
        let mut growths = Vec::new();
        let sizes = self.sizes();
        if !sizes.is_empty() {
            self.grow::<Plenary>(&mut run, &sizes, &mut growths).await?;
            if !self.alone {
                self.grow::<Etcd>(&mut run, &sizes, &mut growths).await?;
            }
        }
        summary::print(&run, &growths);
        Ok(())
    }

    fn head(&self, run: &mut Run) -> Result<()> {
        let (p50, p99) = host::sync_times(&run.fresh()?)?;
        let value_bytes = sample::proposal_bytes();
        tell(format!(
            "a proposal and a value are {value_bytes} bytes; an append of 4 KiB with its sync takes {p50:.0?} here, p99 {p99:.0?}"
        ));
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        run.journal.write(&Head {
            line: "head",
            plenary: env!("CARGO_PKG_VERSION"),
            value_bytes,
            sync_p50_ns: p50.as_nanos(),
            sync_p99_ns: p99.as_nanos(),
            processors: std::thread::available_parallelism()?.get(),
            arguments: &arguments,
        })
    }

    fn sizes(&self) -> Vec<u64> {
        let usual = if self.quick { vec![10_000] } else { vec![10_000, 100_000, 1_000_000] };
        self.grow.clone().unwrap_or(usual).into_iter().filter(|size| *size > 0).collect()
    }

    fn counts(&self) -> &'static [usize] {
        if self.quick { &[1, 64, 256] } else { &[1, 16, 64, 256] }
    }

    fn shape(&self, rate: Option<f64>) -> Shape {
        let usual = if self.quick { 2 } else { 5 };
        let measure = Duration::from_secs(self.seconds.unwrap_or(usual));
        Shape { warm_up: Duration::from_secs(1), measure, rate, limit: None }
    }

    /// Throughput first; what it comes to sets the rate for latency.
    async fn speed(&self, run: &mut Run) -> Result<()> {
        let mut jobs = Vec::new();
        for door in [Door::Rest, Door::Inside, Door::Gateway, Door::Grpc] {
            for work in door.works() {
                let counts = if *work == Work::Write { self.counts() } else { &[READERS] };
                let job = |clients: &usize| Job { door, work: *work, clients: *clients, shape: self.shape(None) };
                jobs.extend(counts.iter().map(job));
            }
        }
        self.abba(run, &jobs).await?;
        let write = |door, rate| Job { door, work: Work::Write, clients: MANY, shape: self.shape(Some(rate)) };
        let mut jobs = Vec::new();
        for (ours, theirs) in summary::PAIRS {
            let both = [*ours, *theirs].map(|door| summary::throughput(&run.cells, door, Work::Write, READERS));
            let slower = both.into_iter().flatten().fold(f64::INFINITY, f64::min);
            if slower.is_finite() {
                let rate = (slower * SUSTAINED).round();
                jobs.extend([write(*ours, rate), write(*theirs, rate)]);
                // Two pairs may come to the same rate.
                jobs.sort_by(|a, b| {
                    (a.door, a.shape.rate).partial_cmp(&(b.door, b.shape.rate)).expect("rates are finite")
                });
                jobs.dedup_by_key(|job| (job.door, job.shape.rate.map(f64::to_bits)));
            }
        }
        self.abba(run, &jobs).await
    }

    /// Each system starts anew, does its jobs and ends: Plenary, etcd, etcd, Plenary.
    async fn abba(&self, run: &mut Run, jobs: &[Job]) -> Result<()> {
        for round in 0..self.rounds {
            for (place, ours) in [true, false, false, true].into_iter().enumerate() {
                let block = round * 4 + place;
                if ours {
                    block_of::<Plenary>(run, block, jobs).await?;
                } else if !self.alone {
                    block_of::<Etcd>(run, block, jobs).await?;
                }
            }
        }
        Ok(())
    }

    async fn grow<S: System>(&self, run: &mut Run, sizes: &[u64], growths: &mut Vec<Growth>) -> Result<()> {
        let mut system = S::start(&run.fresh()?, self.grow_servers).await?;
        let deadline = now() + Duration::from_secs(self.grow_seconds);
        let mut reached = 0;
        for wanted in sizes {
            let left = deadline.saturating_duration_since(now());
            let shape = Shape {
                warm_up: Duration::ZERO,
                measure: left,
                rate: None,
                limit: Some(wanted.saturating_sub(reached)),
            };
            let job = Job { door: S::FILL, work: Work::Write, clients: MANY, shape };
            let outcome = system.load(&job).await?;
            ensure!(outcome.fault.is_none(), "filling {}: {:?}", S::NAME, outcome.fault);
            let added = outcome.latencies.total();
            reached += added;
            until_idle(&system).await?;
            let servers_take = footprints(&system)?;
            let (mut cold_starts, mut memory_after) = (Vec::new(), 0);
            for _ in 0..COLD_STARTS {
                let (index, took) = system.cold_start().await?;
                cold_starts.push(took);
                until_idle(&system).await?;
                memory_after = footprints(&system)?[index].memory;
            }
            let growth = Growth {
                line: "growth",
                system: S::NAME,
                servers: self.grow_servers,
                wanted: *wanted,
                reached,
                seconds: outcome.seconds,
                added,
                refused: outcome.refused,
                servers_take,
                cold_starts,
                memory_after,
            };
            run.journal.write(&growth)?;
            tell(summary::growth_line(&growth));
            growths.push(growth);
            if now() >= deadline {
                break;
            }
        }
        Ok(())
    }
}

/// Starts a system and has it do those jobs that come through its doors.
async fn block_of<S: System>(run: &mut Run, block: usize, jobs: &[Job]) -> Result<()> {
    let folder: &Path = &run.fresh()?;
    let mut system = S::start(folder, SERVERS).await?;
    system.seed(SEEDS).await?;
    for job in jobs.iter().filter(|job| S::DOORS.contains(&job.door)) {
        run.measure(&mut system, block, job).await?;
    }
    Ok(())
}
