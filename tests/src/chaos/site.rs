//! A cluster whose nodes are hosts of a network of their own, and can be disturbed in every way.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::future::join_all;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::{Cluster, Disturbance, Lan, Library, Node, Place, Rest, until_within};

/// MiB of the volume under one node's data.
const VOLUME: u64 = 512;

/// How long a node may take to say who leads.
const STATUS_WITHIN: Duration = Duration::from_secs(1);

/// How long a cluster that nobody disturbs may take to be whole again.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// The nodes and the hosts they run on.
#[derive(Debug)]
pub struct Site<'l> {
    pub(super) lan: &'l Lan,
    pub(super) cluster: Cluster,
    pub(super) disturbances: Vec<Disturbance>,
    /// Under the last node's data, if it is there.
    pub(super) volume: Option<crate::Volume>,
    /// Nodes that were killed and not started again.
    pub(super) down: BTreeSet<usize>,
    /// Nodes that stand still.
    pub(super) paused: BTreeSet<usize>,
    /// Whether the volume was full since its node last took a write: then the node may have stopped.
    pub(super) filled: bool,
    /// Nodes that ended though nobody killed them, with what they logged last.
    pub(super) deaths: Vec<String>,
}

impl<'l> Site<'l> {
    /// Founds a cluster with a node on each host of the network. Call it as a client ([`as_client`]).
    ///
    /// # Errors
    /// When a node does not come up.
    pub async fn found(lan: &'l Lan, count: usize) -> Result<Self> {
        Self::build(lan, count, None).await
    }

    /// As [`Site::found`], with a small volume under the last node's data, which can be filled.
    ///
    /// # Errors
    /// As [`Site::found`], and when the volume can't be made.
    pub async fn with_volume(lan: &'l Lan, count: usize) -> Result<Self> {
        Self::build(lan, count, Some(VOLUME)).await
    }

    async fn build(lan: &'l Lan, count: usize, mib: Option<u64>) -> Result<Self> {
        let folder = Cluster::folder()?;
        let library = Library::build(folder.path())?;
        let (mut nodes, mut disturbances) = (Vec::new(), Vec::new());
        for number in 1..=count {
            let home = Cluster::home(&folder, number);
            std::fs::create_dir_all(&home)?;
            let disturbance = Disturbance::new(&home, &library)?;
            let place = Place {
                namespace: Some(lan.namespace(number)),
                address: lan.address(number).into(),
                environment: disturbance.environment(),
            };
            nodes.push(Node::new(home, 1, "", place)?);
            disturbances.push(disturbance);
        }
        let data = nodes[count - 1].data_dir();
        let image = folder.path().join("volume.ext4");
        let volume = mib.map(|mib| crate::Volume::mount(&data, &image, mib)).transpose()?;
        let mut cluster = Cluster::found(folder, nodes).await?;
        cluster.expect_errors();
        Ok(Self {
            lan,
            cluster,
            disturbances,
            volume,
            down: BTreeSet::new(),
            paused: BTreeSet::new(),
            filled: false,
            deaths: Vec::new(),
        })
    }

    /// How many nodes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cluster.nodes().len()
    }

    /// The nodes that run and do not stand still.
    #[must_use]
    pub fn awake(&self) -> Vec<usize> {
        (1..=self.count()).filter(|node| !self.down.contains(node) && !self.paused.contains(node)).collect()
    }

    /// The node that leads, by the latest term that any awake node knows of.
    pub async fn leader(&self) -> Option<usize> {
        let ask = async |number| {
            let status = timeout(STATUS_WITHIN, self.cluster.node(number).status()).await.ok()?.ok()?;
            let (term, leader) = (status["raft"]["term"].as_u64()?, status["raft"]["leader"].as_u64()?);
            Some((term, leader))
        };
        let known = join_all(self.awake().into_iter().map(ask)).await.into_iter().flatten().max();
        let (_, leader) = known?;
        self.cluster.nodes().iter().position(|node| node.ports().node == leader).map(|index| index + 1)
    }

    /// Waits until all nodes vote, as every one of them knows. Until then the others can't do without the founder.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn until_all_vote(&self) -> Result<()> {
        let votes = async |node: &Node| {
            let raft = node.status().await.ok()?["raft"].take();
            Some(raft["voters"].as_array()?.len() == self.count())
        };
        until_within(WHOLE_WITHIN, "all nodes vote", async || {
            let voting = join_all(self.cluster.nodes().iter().map(votes)).await;
            Ok(voting.into_iter().all(|votes| votes == Some(true)).then_some(()))
        })
        .await
    }

    /// The HTTP side of every node, as the user who owns all meetings.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn doors(&self) -> Result<Vec<Rest>> {
        (1..=self.count()).map(|number| self.cluster.host(number)).collect()
    }

    /// Leaves the logs in the folder that `CHAOS_KEEP` names, for who looks for a reason.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn keep_logs(&self) -> Result<()> {
        let Some(folder) = std::env::var_os("CHAOS_KEEP").map(PathBuf::from) else { return Ok(()) };
        std::fs::create_dir_all(&folder)?;
        for number in 1..=self.count() {
            let name = format!("{}-{number}.log", self.lan.namespace(0));
            std::fs::write(folder.join(name), self.cluster.node(number).log())?;
        }
        Ok(())
    }

    /// Kills a node.
    pub fn kill(&mut self, number: usize) {
        self.cluster.kill(number);
        self.down.insert(number);
        self.paused.remove(&number);
    }

    /// Starts a killed node again, without waiting for it.
    ///
    /// # Errors
    /// When the process can't be started.
    pub fn launch(&mut self, number: usize) -> Result<()> {
        if self.down.remove(&number) {
            self.cluster.node_mut(number).launch(&[])?;
        }
        Ok(())
    }

    /// Lets a node stand still.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&mut self, number: usize) -> Result<()> {
        self.paused.insert(number);
        self.cluster.pause(number)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&mut self, number: usize) -> Result<()> {
        if self.paused.remove(&number) { self.cluster.resume(number) } else { Ok(()) }
    }

    /// Starts nodes that ended by themselves; a full disk may be their reason, anything else is written down.
    ///
    /// # Errors
    /// When a process can't be started.
    pub fn revive(&mut self) -> Result<()> {
        let last = self.count();
        for number in 1..=last {
            if let Some(status) = self.cluster.node_mut(number).end_status() {
                if !(number == last && self.filled) {
                    let tail = self.cluster.node(number).tail();
                    self.deaths.push(format!("node {number} ended with {status}:\n{tail}"));
                }
                self.down.insert(number);
            }
        }
        let down: Vec<usize> = self.down.iter().copied().collect();
        down.into_iter().try_for_each(|number| self.launch(number))
    }

    /// Waits until every node serves requests. A node that ends meanwhile, because it had been told to stop by a full
    /// disk a moment ago, is started again.
    ///
    /// # Errors
    /// When one does not, with the end of its log.
    pub async fn until_whole(&mut self) -> Result<()> {
        let doors: Vec<Rest> =
            self.doors()?.into_iter().map(|door| door.with_patience(Duration::from_secs(1))).collect();
        let look = async |door: &Rest| door.get("/readyz").await.is_ok_and(|answer| answer.status.is_success());
        let ready = until_within(WHOLE_WITHIN, "every node is ready", async || {
            self.revive()?;
            Ok(join_all(doors.iter().map(look)).await.into_iter().all(|ready| ready).then_some(()))
        });
        ready.await.with_context(|| {
            let tail = |node: &Node| format!("node {}, the end of its log:\n{}", node.ports().node, node.tail());
            self.cluster.nodes().iter().map(tail).collect::<Vec<_>>().join("\n")
        })
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        for number in 1..=self.count() {
            self.cluster.kill(number);
        }
        self.volume = None;
    }
}

/// Runs `work` at the clients' host of a network of so many nodes, until it is done or this process is told to stop.
///
/// # Errors
/// As `work`, and when the network can't be made.
pub fn as_client<T: Send>(label: &str, nodes: usize, work: impl AsyncFnOnce(&Lan) -> Result<T> + Send) -> Result<T> {
    let lan = Lan::new(label, nodes)?;
    lan.as_client(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(stoppable(work(&lan)))
    })
}

async fn stoppable<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        result = work => result,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("told to stop"),
    }
}
