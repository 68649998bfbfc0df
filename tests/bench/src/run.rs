//! One run: its folders, the only one on this machine, and cells measured while nobody else takes the processors.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::clock::{now, seconds};
use crate::host::{Load, Watch};
use crate::journal::Journal;
use crate::load::Outcome;
use crate::report::{millis, tell};
use crate::system::{Job, System};
use crate::work::{Door, Work};

/// Over what time the machine is looked at before a cell.
const LOOK: Duration = Duration::from_millis(300);
/// How often a void cell is measured again.
const REPEATS: u32 = 2;

/// Waits for nobody: a second bench on this machine is an error.
pub(crate) fn alone() -> Result<File> {
    let path = std::env::temp_dir().join("plenary-bench.lock");
    let lock = File::options().create(true).append(true).open(&path)?;
    lock.try_lock().with_context(|| format!("another bench is running on this machine ({})", path.display()))?;
    Ok(lock)
}

/// How a run treats its neighbours.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    /// Share of all processors that others may take before a cell is void.
    pub(crate) foreign: f64,
    /// How long to wait for less.
    pub(crate) wait: Duration,
}

/// A run under way.
pub(crate) struct Run {
    pub(crate) journal: Journal,
    pub(crate) cells: Vec<Cell>,
    pub(crate) patience: Patience,
    data: PathBuf,
    _lock: File,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cell {
    /// `cell`.
    pub(crate) line: &'static str,
    pub(crate) door: Door,
    pub(crate) work: Work,
    pub(crate) clients: usize,
    /// The rate that was asked for; none for a closed loop.
    pub(crate) rate: Option<f64>,
    /// Counts the starts of clusters.
    pub(crate) block: usize,
    pub(crate) per_second: f64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) load: Load,
    /// Others took too much, or a client could not go on.
    pub(crate) void: bool,
    pub(crate) outcome: Outcome,
}

impl Run {
    /// Begins one, if it is the only one.
    pub(crate) fn begin(folder: &Path, patience: Patience) -> Result<Self> {
        let lock = alone()?;
        let journal = Journal::new(folder, &format!("directory-{}-{}.jsonl", seconds(), std::process::id()))?;
        let data = folder.join(format!("data-{}", std::process::id()));
        Ok(Self { journal, cells: Vec::new(), patience, data, _lock: lock })
    }

    /// A new, empty folder for servers.
    pub(crate) fn fresh(&self) -> Result<PathBuf> {
        if self.data.exists() {
            std::fs::remove_dir_all(&self.data)?;
        }
        std::fs::create_dir_all(&self.data)?;
        Ok(self.data.clone())
    }

    /// Measures one cell, again when others took too much of the processors meanwhile.
    pub(crate) async fn measure<S: System>(&mut self, system: &mut S, block: usize, job: &Job) -> Result<()> {
        for _ in 0..=REPEATS {
            let cell = self.measure_once(system, block, job).await?;
            let void = cell.void;
            self.cells.push(cell);
            if !void {
                break;
            }
        }
        Ok(())
    }

    async fn measure_once<S: System>(&mut self, system: &mut S, block: usize, job: &Job) -> Result<Cell> {
        self.until_quiet(system.pids()).await?;
        let watch = Watch::begin(system.pids())?;
        let outcome = system.load(job).await?;
        let load = watch.end()?;
        let nanos = |part| u64::try_from(outcome.latencies.per_mille(part).as_nanos()).unwrap_or(u64::MAX);
        let cell = Cell {
            line: "cell",
            door: job.door,
            work: job.work,
            clients: job.clients,
            rate: job.shape.rate,
            block,
            per_second: outcome.per_second(),
            p50_ns: nanos(500),
            p99_ns: nanos(990),
            load,
            void: load.foreign > self.patience.foreign || outcome.fault.is_some(),
            outcome,
        };
        self.journal.write(&cell)?;
        tell(Progress(&cell));
        Ok(cell)
    }

    /// Until others take little, or for as long as patience lasts.
    async fn until_quiet(&self, pids: Vec<u32>) -> Result<()> {
        let deadline = now() + self.patience.wait;
        while now() < deadline {
            let watch = Watch::begin(pids.clone())?;
            tokio::time::sleep(LOOK).await;
            if watch.end()?.foreign <= self.patience.foreign {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // The servers have ended; what they wrote is of no use to anyone.
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

struct Progress<'c>(&'c Cell);

impl std::fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Cell { door, work, clients, per_second, load, .. } = self.0;
        let rate = self.0.rate.map_or_else(String::new, |rate| format!(" at {rate:.0}/s"));
        let (p50, p99) = (Duration::from_nanos(self.0.p50_ns), Duration::from_nanos(self.0.p99_ns));
        let (p50, p99) = (millis(p50), millis(p99));
        write!(f, "{door}: {work}, {clients} clients{rate}: {per_second:.0}/s, p50 {p50} ms, p99 {p99} ms, ")?;
        write!(f, "own CPU {:.0} %, foreign {:.0} %", load.own * 100.0, load.foreign * 100.0)?;
        if self.0.outcome.refused > 0 {
            write!(f, ", {} refused", self.0.outcome.refused)?;
        }
        if let Some(fault) = &self.0.outcome.fault {
            write!(f, ", fault: {fault}")?;
        }
        if self.0.void { write!(f, " (void)") } else { Ok(()) }
    }
}
