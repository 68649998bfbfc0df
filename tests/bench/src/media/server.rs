//! A server under test: a process on processor 0, in a control group of its own.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path as FilePath, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::door::{self, Backend};
use super::janus::Janus;
use super::network::{Network, Path};
use super::pion::Pion;
use super::window::Served;
use crate::cgroup::Account;
use crate::system::until_serving;

/// How long a server may take to serve, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where Janus's HTTP API is (`janus.transport.http.jcfg`).
const JANUS_PORT: u16 = 8088;
/// Janus's configuration, with holes.
const JANUS: [(&str, &str); 3] = [
    ("janus.jcfg", include_str!("../../peers/janus/janus.jcfg")),
    ("janus.transport.http.jcfg", include_str!("../../peers/janus/janus.transport.http.jcfg")),
    ("janus.plugin.videoroom.jcfg", include_str!("../../peers/janus/janus.plugin.videoroom.jcfg")),
];

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A whole node, with nothing turned off.
    Plenary,
    /// An SFU on str0m that optimises nothing, one thread.
    Plain,
    /// An SFU on Pion 3.1.56.
    Pion,
    /// Debian's Janus with VideoRoom.
    Janus,
}

impl Kind {
    /// Janus gathers no loopback candidate.
    pub(crate) const fn runs_on(self, path: Path) -> bool {
        !matches!((self, path), (Self::Janus, Path::Lo))
    }

    /// Whether who publishes and watches needs a connection for each.
    pub(crate) const fn comes_twice(self) -> bool {
        matches!(self, Self::Janus)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plenary => "plenary",
            Self::Plain => "plain",
            Self::Pion => "pion",
            Self::Janus => "janus",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the servers that have settings are set.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Tuning {
    /// The plain SFU on Pion, built (`scripts/bench` does that).
    #[arg(long, default_value = ".run/bench/pion")]
    pion: PathBuf,
    /// Janus's `event_loops`.
    #[arg(long, default_value_t = 1)]
    janus_loops: u32,
    /// VideoRoom's `threads`.
    #[arg(long, default_value_t = 0)]
    janus_helpers: u32,
}

/// A running server. It ends with this.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) pid: u32,
    child: Child,
    account: Account,
    /// Ours, where it has none of its own.
    _door: JoinSet<Result<()>>,
    _folder: TempDir,
}

impl Server {
    /// Starts one and waits until it serves.
    pub(crate) async fn start(kind: Kind, path: Path, network: &Network, tuning: &Tuning) -> Result<Self> {
        let address = network.address(path).to_string();
        let this = std::env::current_exe()?.display().to_string();
        let folder = tempfile::Builder::new().prefix("plenary-bench-").tempdir()?;
        let program = match kind {
            Kind::Plenary => {
                // It is killed in the end, and would leave a folder of its own.
                let data = folder.path().join("data").display().to_string();
                let words = [&this, "plenary", "dev", "--port", "0", "--bind", &address, "--data", &data];
                words.map(str::to_owned).into()
            }
            Kind::Plain => vec![this, "plain".into(), "--listen".into(), address],
            Kind::Pion => vec![tuning.pion.display().to_string(), "--listen".into(), address],
            Kind::Janus => {
                configure_janus(folder.path(), &address, tuning)?;
                vec!["janus".into(), "-F".into(), folder.path().display().to_string()]
            }
        };
        let account = Account::new()?;
        let mut child = command(&program, path, network, &account).stdout(Stdio::piped()).spawn()?;
        let pid = child.id().context("it has ended")?;
        let stdout = child.stdout.take().context("its standard output")?;
        let mut door = JoinSet::new();
        let url = match kind {
            Kind::Plenary | Kind::Plain => format!("http://{}", announced(kind, stdout, &mut door).await?),
            Kind::Pion => {
                let backend = Pion::connect(announced(kind, stdout, &mut door).await?).await?;
                open(&mut door, network.people(path), backend).await?
            }
            Kind::Janus => {
                read_on(stdout, &mut door);
                let at = SocketAddr::new(network.address(path), JANUS_PORT);
                tokio::select! {
                    serving = timeout(PATIENCE, until_serving(at, "/janus/info", "janus.plugin.videoroom")) => serving??,
                    ended = child.wait() => bail!("{kind} ended before it served: {}", ended?),
                }
                open(&mut door, network.people(path), Janus::connect(at, tuning.janus_helpers).await?).await?
            }
        };
        Ok(Self { url, pid, child, account, _door: door, _folder: folder })
    }
}

impl Served for Server {
    fn pids(&self) -> Vec<u32> {
        vec![self.pid]
    }

    fn cpu_nanos(&self) -> Result<u64> {
        self.account.nanos()
    }

    async fn stop(mut self) -> Result<()> {
        self.child.start_kill()?;
        timeout(PATIENCE, self.child.wait()).await.context("it does not end")??;
        Ok(())
    }
}

/// The address in the first line `http://ADDRESS` that a server prints.
async fn announced(
    kind: Kind,
    stdout: tokio::process::ChildStdout,
    rest: &mut JoinSet<Result<()>>,
) -> Result<SocketAddr> {
    let mut lines = BufReader::new(stdout).lines();
    let serving = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(authority) = line.strip_prefix("http://") {
                return Ok(authority.split('/').next().unwrap_or_default().parse()?);
            }
        }
        bail!("{kind} ended before it served")
    };
    let address = timeout(PATIENCE, serving).await.with_context(|| format!("{kind} does not serve"))??;
    read_on(lines.into_inner().into_inner(), rest);
    Ok(address)
}

/// Takes in what else it prints: a full pipe would stop it.
fn read_on(stdout: tokio::process::ChildStdout, tasks: &mut JoinSet<Result<()>>) {
    tasks.spawn(async move {
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            tracing::debug!(line, "server");
        }
        Ok(())
    });
}

/// Opens our door to a server that does not speak as we do, at people's end of the path: where they find the door is where
/// their media leaves from.
async fn open(door: &mut JoinSet<Result<()>>, at: IpAddr, backend: impl Backend) -> Result<String> {
    let listener = TcpListener::bind((at, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    door.spawn(door::serve(listener, backend));
    Ok(url)
}

/// What this binary prints when it is run with these arguments as a server would.
pub(crate) async fn answer(arguments: &[String], path: Path, network: &Network) -> Result<String> {
    let account = Account::new()?;
    let program = [&[std::env::current_exe()?.display().to_string()], arguments].concat();
    let output = command(&program, path, network, &account).output().await?;
    ensure!(output.status.success(), "{}: {}", arguments[0], output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// A program on processor 0, at this end of the path, counted in a group from its first instruction on.
fn command(program: &[String], path: Path, network: &Network, account: &Account) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"echo $$ >"$0" && exec "$@""#]).arg(account.processes());
    // It ends with this process, however that ends.
    command.args(network.prefix(path)).args(["setpriv", "--pdeathsig", "KILL", "taskset", "-c", "0"]).args(program);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Writes Janus's configuration.
fn configure_janus(folder: &FilePath, address: &str, tuning: &Tuning) -> Result<()> {
    for (name, text) in JANUS {
        let text = text.replace("@ADDRESS@", address).replace("@LOOPS@", &tuning.janus_loops.to_string());
        std::fs::write(folder.join(name), text.replace("@FOLDER@", &folder.display().to_string()))?;
    }
    Ok(())
}
