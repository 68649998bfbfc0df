//! A server under test: this binary again, on processor 0.

use std::fmt;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a server may take to serve, and to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A whole node, with nothing turned off.
    Plenary,
    /// [`super::Plain`].
    Plain,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plenary => "plenary",
            Self::Plain => "plain",
        })
    }
}

/// A running server. It ends with this.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) pid: u32,
    child: Child,
}

impl Server {
    /// Starts one and waits until it serves.
    pub(super) async fn start(kind: Kind) -> Result<Self> {
        let arguments = match kind {
            Kind::Plenary => &["plenary", "dev", "--port", "0"][..],
            Kind::Plain => &["plain"][..],
        };
        let mut child = on_its_processor(arguments)?.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("its standard output")?).lines();
        let serving = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(authority) = line.strip_prefix("http://") {
                    return Ok(format!("http://{}", authority.split('/').next().unwrap_or_default()));
                }
            }
            bail!("{kind} ended before it served")
        };
        let url = timeout(PATIENCE, serving).await.with_context(|| format!("{kind} does not serve"))??;
        let pid = child.id().context("it has ended")?;
        Ok(Self { url, pid, child })
    }

    /// Ends it.
    pub(super) async fn stop(mut self) -> Result<()> {
        self.child.start_kill()?;
        timeout(PATIENCE, self.child.wait()).await.context("it does not end")??;
        Ok(())
    }
}

/// What this binary prints when it is run with these arguments on processor 0.
pub(super) async fn answer(arguments: &[&str]) -> Result<String> {
    let output = on_its_processor(arguments)?.output().await?;
    ensure!(output.status.success(), "{}: {}", arguments[0], output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn on_its_processor(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(std::env::current_exe()?).args(arguments);
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}
