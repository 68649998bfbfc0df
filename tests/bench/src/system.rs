//! What both systems under test can be asked to do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hyper::{HeaderMap, Method};
use serde::Serialize;
use tokio::process::{Child, Command};

use crate::clock::now;
use crate::host;
use crate::http::Http;
use crate::load::{Outcome, Shape};
use crate::work::{Door, Work};

/// How long a server may take to serve: it may have a million records to read.
const START_TIME: Duration = Duration::from_secs(180);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Over what time servers count as idle.
const IDLE_OVER: Duration = Duration::from_millis(500);
/// How long they may take to finish what is left over.
const IDLE_TIME: Duration = Duration::from_secs(90);

/// One line of load.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) door: Door,
    pub(crate) work: Work,
    pub(crate) clients: usize,
    pub(crate) shape: Shape,
}

/// A running cluster of one of the systems. Its processes end with it.
pub(crate) trait System: Sized {
    /// What it is called.
    const NAME: &'static str;

    /// Its doors.
    const DOORS: &'static [Door];

    /// The door through which it is filled.
    const FILL: Door;

    /// Starts `count` servers in `folder`, which is empty, and waits until all of them vote.
    async fn start(folder: &Path, count: usize) -> Result<Self>;

    /// Writes what reads will ask for.
    async fn seed(&mut self, count: usize) -> Result<()>;

    /// Lets clients work, spread over all servers, the first one at the leader.
    async fn load(&mut self, job: &Job) -> Result<Outcome>;

    /// Kills a server that does not lead, starts it again on its data, and says how long it took to serve.
    async fn cold_start(&mut self) -> Result<(usize, Duration)>;

    /// The processes, in order.
    fn pids(&self) -> Vec<u32>;

    /// What each keeps on disk.
    fn folders(&self) -> Vec<PathBuf>;

    /// Whether a file of theirs is a snapshot, or for etcd its database, which takes a snapshot's place.
    fn is_snapshot(path: &Path) -> bool;
}

/// What one server takes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Footprint {
    /// Resident memory in bytes.
    pub(crate) memory: u64,
    /// The most it ever was.
    pub(crate) peak: u64,
    /// Bytes on disk.
    pub(crate) disk: u64,
    /// Those of snapshots.
    pub(crate) snapshot: u64,
}

/// What each server takes.
pub(crate) fn footprints<S: System>(system: &S) -> Result<Vec<Footprint>> {
    let one = |(pid, folder): (u32, PathBuf)| {
        let (memory, peak) = host::memory(pid)?;
        let (disk, snapshot) = host::disk(&folder, &|path| S::is_snapshot(path));
        Ok(Footprint { memory, peak, disk, snapshot })
    };
    system.pids().into_iter().zip(system.folders()).map(one).collect()
}

/// Waits until the servers use less than a twentieth of a core: what was left over from the load is done.
pub(crate) async fn until_idle<S: System>(system: &S) -> Result<()> {
    let deadline = now() + IDLE_TIME;
    let pids = system.pids();
    while now() < deadline {
        let before = host::used(&pids);
        tokio::time::sleep(IDLE_OVER).await;
        // A tick is 10 ms.
        let used = host::used(&pids).saturating_sub(before) * 10;
        if u128::from(used) * 20 < IDLE_OVER.as_millis() * pids.len() as u128 {
            return Ok(());
        }
    }
    bail!("{} did not become idle", S::NAME)
}

/// Starts a server whose last words go to `folder/log`.
pub(crate) fn spawn(command: &mut Command, folder: &Path) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(folder.join("log"))?;
    command.stderr(Stdio::from(log)).kill_on_drop(true);
    command.spawn().with_context(|| format!("{command:?}"))
}

/// Waits until `GET path` is answered with success, and `body` contains what it should.
pub(crate) async fn until_serving(address: SocketAddr, path: &str, says: &str) -> Result<()> {
    let deadline = now() + START_TIME;
    while now() < deadline {
        if let Ok(mut http) = Http::connect(address, HeaderMap::new()).await
            && let Ok((status, body)) = http.send(Method::GET, path, bytes::Bytes::new()).await
            && status.is_success()
            && String::from_utf8_lossy(&body).contains(says)
        {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    bail!("http://{address}{path} does not say {says} after {START_TIME:?}")
}

/// Kills and reaps a server.
pub(crate) async fn kill(child: &mut Child) -> Result<()> {
    child.kill().await.context("kill")
}

/// The servers in turn, the leader first, for `clients` clients.
pub(crate) fn spread(leader: usize, servers: usize, clients: usize) -> impl Iterator<Item = usize> {
    (0..clients).map(move |client| (leader + client) % servers)
}
