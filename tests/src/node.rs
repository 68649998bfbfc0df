//! One `plenary node` process.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Rest, binary, until};

/// How many of a log's last lines a failure shows.
const TAIL: usize = 30;

/// How soon the operator's door answers.
const DOOR_WITHIN: Duration = Duration::from_secs(2);

/// Where a node listens, as its `ready` line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// REST, signalling and the web client.
    pub http: SocketAddr,
    /// QUIC: Raft and joining.
    pub control: SocketAddr,
    /// QUIC: relayed media.
    pub media_link: SocketAddr,
    /// UDP of each worker.
    pub media: Vec<SocketAddr>,
    /// The id that the cluster gave it.
    pub node: u64,
}

impl Ports {
    /// Reads `ready http=… control=… media_link=… media=…[,…] node=…`.
    fn parse(line: &str) -> Result<Self> {
        let field = |name: &str| {
            let mut words = line.split_whitespace();
            words
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                .with_context(|| format!("no {name} in: {line}"))
        };
        Ok(Self {
            http: field("http")?.parse()?,
            control: field("control")?.parse()?,
            media_link: field("media_link")?.parse()?,
            media: field("media")?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            node: field("node")?.parse()?,
        })
    }
}

/// Where a node runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// The network namespace; none is that of the test.
    pub namespace: Option<String>,
    /// The address it listens on.
    pub address: IpAddr,
    /// Environment variables it is started with.
    pub environment: Vec<(String, String)>,
}

impl Default for Place {
    /// On loopback, beside the test.
    fn default() -> Self {
        Self { namespace: None, address: Ipv4Addr::LOCALHOST.into(), environment: Vec::new() }
    }
}

/// A node: its folder outlives its process, so that it can come back.
#[derive(Debug)]
pub struct Node {
    folder: PathBuf,
    child: Option<Child>,
    ports: Option<Ports>,
    workers: u16,
    media: &'static str,
    place: Place,
}

impl Node {
    /// A node in a new folder, not started yet.
    ///
    /// # Errors
    /// When the folder or the configuration can't be written.
    pub(crate) fn new(folder: PathBuf, workers: u16, media: &'static str, place: Place) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        let node = Self { folder, child: None, ports: None, workers, media, place };
        node.write_config()?;
        Ok(node)
    }

    /// Its configuration: free ports at first, later those it had.
    fn write_config(&self) -> Result<()> {
        let free = || SocketAddr::new(self.place.address, 0).to_string();
        let at =
            |port: fn(&Ports) -> SocketAddr| self.ports.as_ref().map_or_else(free, |ports| port(ports).to_string());
        let media = if self.workers == 1 { at(|ports| ports.media[0]) } else { free() };
        let text = format!(
            "data_dir = {:?}\n[http]\nlisten = {:?}\n[control]\nlisten = {:?}\n[media_link]\nlisten = {:?}\n\
             [media]\nlisten = {media:?}\nworkers = {}\n{}[auth]\nguest_users = true\n\
             [log]\nfilter = \"info\"\nformat = \"text\"\n",
            self.data_dir(),
            at(|ports| ports.http),
            at(|ports| ports.control),
            at(|ports| ports.media_link),
            self.workers,
            self.media,
        );
        fs::write(self.folder.join("node.toml"), text).context("node.toml")
    }

    /// Starts the process and waits for its `ready` line. `how` is `--init`, `--join ADDR --token T` or nothing.
    ///
    /// # Errors
    /// When it ends or is not ready in time, with the end of its log.
    pub(crate) async fn start(&mut self, how: &[&str]) -> Result<()> {
        self.launch(how)?;
        self.until_started().await
    }

    /// Starts the process, as [`Node::start`], and waits for nothing.
    pub(crate) fn launch(&mut self, how: &[&str]) -> Result<()> {
        ensure!(self.child.is_none(), "the node runs already");
        let out = File::create(self.folder.join("out"))?;
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let plenary = binary::plenary()?;
        let mut command = match &self.place.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(plenary);
                command
            }
            None => Command::new(plenary),
        };
        command.arg("node").arg("--config").arg(self.folder.join("node.toml")).args(how);
        command.envs(self.place.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(out).stderr(log);
        self.child = Some(command.spawn().context("plenary node")?);
        Ok(())
    }

    /// Waits for the `ready` line of a process that was launched.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub(crate) async fn until_started(&mut self) -> Result<()> {
        let line = until("the node says it is ready", async || Ok(self.ready_or_ended().transpose()))
            .await
            .and_then(std::convert::identity)
            .with_context(|| format!("the end of its log:\n{}", self.tail()))?;
        let ports = Ports::parse(&line)?;
        self.ports = Some(ports);
        self.write_config()
    }

    /// The `ready` line once it is said; an error once the process has ended.
    fn ready_or_ended(&mut self) -> Result<Option<String>> {
        let said = read(&self.folder.join("out"));
        if let Some(line) = said.lines().find(|line| line.starts_with("ready ")).filter(|_| said.ends_with('\n')) {
            return Ok(Some(line.to_owned()));
        }
        match self.child.as_mut().context("the node was started")?.try_wait()? {
            Some(status) => bail!("the node ended with {status}"),
            None => Ok(None),
        }
    }

    /// Where it listens, or listened before it was killed.
    ///
    /// # Panics
    /// When it was never started.
    #[must_use]
    pub const fn ports(&self) -> &Ports {
        self.ports.as_ref().expect("a node of a cluster was started")
    }

    /// Its HTTP side, without a token.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn rest(&self) -> Result<Rest> {
        Rest::new(self.ports().http)
    }

    /// The process's id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<u32> {
        self.child.as_ref().map(Child::id).context("the node does not run")
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How the process ended by itself; nothing while it runs, or when it was killed or never started.
    pub(crate) fn end_status(&mut self) -> Option<std::process::ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("the node does not run")?;
        kill_process(Pid::from_child(child), signal).context("kill")
    }

    /// Kills the process as `kill -9` does and reaps it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends the process as an operator does and waits for it.
    ///
    /// # Errors
    /// When it does not end in time or ends with a fault.
    pub async fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        self.ended().await
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// When it does not in time or ends with a fault.
    pub async fn ended(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the node does not run")?;
        let ended = until("the node ends", async || Ok(child.try_wait()?)).await;
        match ended {
            Ok(status) => ensure!(status.success(), "the node ended with {status}:\n{}", self.tail()),
            Err(error) => {
                self.child = Some(child);
                bail!(error.context(self.tail()));
            }
        }
        Ok(())
    }

    /// What `plenary` with these arguments and this node's data folder prints.
    ///
    /// # Errors
    /// When the command fails, with what it says.
    pub async fn command(&self, arguments: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(binary::plenary()?);
        command.args(arguments).arg("--data-dir").arg(self.data_dir()).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await?;
        ensure!(output.status.success(), "plenary {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// The cluster as this node sees it, with its links.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn status(&self) -> Result<Value> {
        let text = self.command(&["cluster", "status", "--links", "--json"]).await?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// What the node answers at the operator's door, without a process in between.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask(&self, request: &Value) -> Result<Value> {
        let conversation = async {
            let mut door = tokio::net::UnixStream::connect(self.data_dir().join("admin.sock")).await?;
            door.write_all(format!("{request}\n").as_bytes()).await?;
            let mut answer = Vec::new();
            door.read_to_end(&mut answer).await?;
            anyhow::Ok(serde_json::from_slice(&answer)?)
        };
        tokio::time::timeout(DOOR_WITHIN, conversation).await.context("the operator's door does not answer")?
    }

    /// Where its data is.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// All it ever logged.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log_file())
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let all = self.log() + &read(&self.folder.join("out"));
        let lines: Vec<&str> = all.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_is_read() {
        let line =
            "ready http=127.0.0.1:1 control=127.0.0.1:2 media_link=127.0.0.1:3 media=127.0.0.1:4,127.0.0.1:5 node=7";
        let ports = Ports::parse(line).expect("it is whole");
        assert_eq!((ports.control.port(), ports.media.len(), ports.node), (2, 2, 7));
        assert!(Ports::parse("ready http=127.0.0.1:1").is_err());
    }
}
