//! What every measurement of media needs: a processor for the people, the network, and nobody else measuring.

use std::fs::File;

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::network::Network;
use crate::run::alone;

/// Files that this process may have open: two sockets for each of a thousand people, and more.
const FILES: u64 = 8192;

/// The processors.
const SERVERS: usize = 0;
const PEOPLE: usize = 1;

/// The set-up of a run.
pub(crate) struct Stage {
    pub(crate) network: Network,
    runtime: Runtime,
    _lock: File,
}

impl Stage {
    /// Sets up; this thread and all that it starts stay on processor 1.
    pub(crate) fn set(network: impl FnOnce() -> Result<Network>) -> Result<Self> {
        let cpus = std::thread::available_parallelism()?.get();
        ensure!(cpus >= 2, "the server and its clients need a processor each, and there is {cpus}");
        let network = network()?;
        stay_on(PEOPLE)?;
        plenary::prepare_process();
        plenary::allow_files(FILES);
        let lock = alone()?;
        crate::cgroup::remove_stale();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { network, runtime, _lock: lock })
    }

    /// Runs something to its end, or until this process is told to end; what it has started ends then, too.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        self.runtime.block_on(async {
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            tokio::select! {
                done = work => Ok(done),
                _ = interrupt.recv() => bail!("stopped"),
                _ = terminate.recv() => bail!("stopped"),
            }
        })
    }
}

/// Has processes that `start` begins run on the servers' processor.
pub(super) async fn on_processor_of_servers<T>(start: impl Future<Output = Result<T>>) -> Result<T> {
    stay_on(SERVERS)?;
    let started = start.await;
    stay_on(PEOPLE)?;
    started
}

/// Keeps this thread, and what it starts from now on, on one processor.
fn stay_on(processor: usize) -> Result<()> {
    let mut only = CpuSet::new();
    only.set(processor);
    sched_setaffinity(None, &only).with_context(|| format!("staying on processor {processor}"))
}
