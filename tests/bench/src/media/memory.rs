//! What a participant costs in memory: workload W4. The slope over several sizes, so that what a server takes without anybody
//! does not count.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use plenary_participant::Video;
use plenary_participant::load::Plan;
use serde::Serialize;

use super::network::{Network, Path};
use super::server::{Kind, Server, Tuning};
use super::stage::Stage;
use super::window::Sitting;
use super::workload::{JOINS, PATIENCE, TRACE};
use crate::clock::seconds;
use crate::host::proportional_memory;
use crate::journal::Journal;
use crate::report::{mib, say, tell};

/// Connections in a room.
const ROOM: u16 = 50;
/// A picture that costs little time: memory is what counts.
const BITRATE: u32 = 100_000;

/// Compares what a participant costs in memory.
#[derive(Debug, Args)]
pub(crate) struct Memory {
    /// Where raw results go.
    #[arg(long, default_value = ".run/bench")]
    folder: PathBuf,
    /// Connections, in rooms of fifty.
    #[arg(long, value_delimiter = ',', default_value = "50,200,350,500")]
    sizes: Vec<u16>,
    /// Servers.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Plenary, Kind::Plain, Kind::Pion, Kind::Janus])]
    servers: Vec<Kind>,
    /// Seconds from when all are there to when memory is looked at.
    #[arg(long, default_value_t = 10)]
    settle: u64,
    /// Times that each size is measured.
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    #[command(flatten)]
    tuning: Tuning,
}

/// What the connections do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// They could send sound and a picture, and nothing is sent.
    Idle,
    /// Each is sent one picture and one voice.
    Subscribed,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
struct Cell {
    server: Kind,
    state: State,
    connections: u16,
    /// Proportional set size, in bytes.
    pss: u64,
    /// Why it does not count.
    void: Option<String>,
}

impl Memory {
    pub(crate) fn run(&self) -> Result<()> {
        let mut sizes = self.sizes.clone();
        sizes.sort_unstable();
        sizes.dedup();
        ensure!(
            sizes.len() >= 2 && sizes.len() == self.sizes.len(),
            "--sizes: a slope needs two sizes at least, each named once"
        );
        ensure!(
            sizes.iter().all(|size| *size > 0 && size % ROOM == 0),
            "--sizes: multiples of {ROOM}, such as 50,200: rooms have so many connections each"
        );
        ensure!(self.rounds > 0, "--rounds: at least 1");
        let stage = Stage::set(Network::enter)?;
        let mut journal = Journal::new(&self.folder, &format!("memory-{}-{}.jsonl", seconds(), std::process::id()))?;
        let mut cells = Vec::new();
        for round in 0..self.rounds {
            for state in [State::Idle, State::Subscribed] {
                for &size in &self.sizes {
                    let mut servers = self.servers.clone();
                    if round % 2 == 1 {
                        servers.reverse();
                    }
                    for server in servers {
                        let measured = stage.run(self.measure(server, state, size, &stage.network))?;
                        let (pss, void) = match measured {
                            Ok(pss) => (pss, None),
                            Err(error) => (0, Some(format!("{error:#}"))),
                        };
                        let why = void.as_ref().map(|why| format!("; VOID: {why}")).unwrap_or_default();
                        tell(format!("{server}, {size} {}: {} MiB{why}", state.words(), mib(pss)));
                        let cell = Cell { server, state, connections: size, pss, void };
                        journal.write(&cell)?;
                        cells.push(cell);
                    }
                }
            }
        }
        say(self.table(&cells)?);
        tell(format!("raw results: {}", journal.path().display()));
        Ok(())
    }

    async fn measure(&self, kind: Kind, state: State, size: u16, network: &Network) -> Result<u64> {
        let server = Server::start(kind, Path::Veth, network, &self.tuning).await?;
        // Janus connects nobody who neither publishes nor has somebody to watch.
        let publishers = if state == State::Idle { ROOM } else { 1 };
        let plan = Plan {
            nodes: vec![server.url.clone()],
            user_token: None,
            rooms: (size / ROOM).into(),
            publishers: publishers.into(),
            subscribers: usize::from(ROOM - publishers),
            spare: 0,
            joins_per_second: JOINS,
            hold: Duration::ZERO,
            video: Some(Video { bitrate: BITRATE, trace: TRACE, ..Video::default() }),
            pictures: 1,
            voices: 1,
            apart: true,
            silent: state == State::Idle,
            deadline: PATIENCE,
        };
        let sitting = Sitting::begin(server, &plan, Duration::from_secs(self.settle)).await?;
        let pss = proportional_memory(sitting.server.pid)?;
        sitting.end().await?;
        Ok(pss)
    }

    fn table(&self, cells: &[Cell]) -> Result<String> {
        let mut out =
            String::from("\nmemory of the server (Pss); KiB a connection: the slope of a line through all sizes\n\n");
        let sizes: String = self.sizes.iter().map(|size| format!(" {size}: MiB |")).collect();
        writeln!(out, "| server | connections | KiB each | Plenary / it |{sizes}")?;
        writeln!(out, "|---|---|---:|---:|{}", "---:|".repeat(self.sizes.len()))?;
        for state in [State::Idle, State::Subscribed] {
            for &server in &self.servers {
                let of = |kind: Kind| {
                    cells.iter().filter(move |cell| (cell.server, cell.state) == (kind, state) && cell.void.is_none())
                };
                let each = slope(of(server)) / 1024.0;
                let ratio = slope(of(Kind::Plenary)) / 1024.0 / each;
                write!(out, "| {server} | {} | {each:.0} | {ratio:.2} |", state.words())?;
                for size in &self.sizes {
                    let all: Vec<u64> =
                        of(server).filter(|cell| cell.connections == *size).map(|cell| cell.pss).collect();
                    let words: Vec<String> = all.into_iter().map(mib).collect();
                    write!(out, " {} |", words.join(", "))?;
                }
                out.push('\n');
            }
        }
        writeln!(
            out,
            "\n{} measurements, {} void",
            cells.len(),
            cells.iter().filter(|cell| cell.void.is_some()).count()
        )?;
        Ok(out)
    }
}

impl State {
    const fn words(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Subscribed => "subscribed to one",
        }
    }
}

/// Bytes for each connection more: least squares.
#[expect(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^52")]
fn slope<'c>(cells: impl Iterator<Item = &'c Cell>) -> f64 {
    let points: Vec<(f64, f64)> = cells.map(|cell| (f64::from(cell.connections), cell.pss as f64)).collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    both / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_takes_without_anybody_does_not_count() {
        let cell = |connections: u16| Cell {
            server: Kind::Pion,
            state: State::Idle,
            connections,
            pss: 50_000_000 + u64::from(connections) * 2_048,
            void: None,
        };
        let cells = [50, 200, 500].map(cell);
        assert!((slope(cells.iter()) - 2_048.0).abs() < 1e-6);
    }
}
