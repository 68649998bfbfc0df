//! What every measurement of media needs: a processor for the people, the network, and nobody else measuring.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use tokio::runtime::Runtime;

use super::network::Network;
use crate::run::alone;

/// Files that this process may have open: two sockets for each of a thousand people, and more.
const FILES: u64 = 8192;

/// The set-up of a run.
pub(crate) struct Stage {
    pub(crate) network: Network,
    pub(crate) runtime: Runtime,
    _lock: File,
}

impl Stage {
    /// Sets up; this thread and all that it starts stay on processor 1.
    pub(crate) fn set() -> Result<Self> {
        let cpus = std::thread::available_parallelism()?.get();
        ensure!(cpus >= 2, "the server and its clients need a processor each, and there is {cpus}");
        let network = Network::enter()?;
        let mut second = CpuSet::new();
        second.set(1);
        sched_setaffinity(None, &second).context("staying on processor 1")?;
        plenary::prepare_process();
        plenary::allow_files(FILES);
        let lock = alone()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { network, runtime, _lock: lock })
    }
}
