//! How long it takes to come in: workload W5. People join a live room of four, one after the other and then all at once,
//! over networks of several round-trip times.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use futures_util::future::join_all;
use plenary_participant::load::{Person, Plan};
use serde::Serialize;

use super::network::{Network, Path};
use super::server::{Kind, Server, Tuning};
use super::stage::Stage;
use super::window::Sitting;
use super::workload::{SETTLE, Workload};
use crate::clock::seconds;
use crate::journal::Journal;
use crate::report::{median, say, tell};

/// Compares how long it takes to come in.
#[derive(Debug, Args)]
pub(crate) struct Join {
    /// Where raw results go.
    #[arg(long, default_value = ".run/bench")]
    folder: PathBuf,
    /// Round-trip times in milliseconds.
    #[arg(long, value_delimiter = ',', default_value = "0,50,100,200")]
    round_trips: Vec<u64>,
    /// Servers.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Plenary, Kind::Plain, Kind::Pion, Kind::Janus])]
    servers: Vec<Kind>,
    /// People who join one after the other.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    sequential: u16,
    /// People who then join all at once.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=200))]
    simultaneous: u16,
    #[command(flatten)]
    tuning: Tuning,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
struct Cell {
    server: Kind,
    round_trip_ms: u64,
    /// From the first request to the answered offer, one after the other.
    joins_ms: Vec<f64>,
    /// From the first request to the first whole picture.
    pictures_ms: Vec<f64>,
    /// The same, of those who came all at once.
    pictures_at_once_ms: Vec<f64>,
}

impl Join {
    pub(crate) fn run(&self) -> Result<()> {
        ensure!(!self.round_trips.is_empty(), "--round-trips: at least one");
        let mut stage = Stage::set(Network::enter_switched)?;
        let mut journal = Journal::new(&self.folder, &format!("join-{}-{}.jsonl", seconds(), std::process::id()))?;
        let mut cells = Vec::new();
        for &round_trip_ms in &self.round_trips {
            stage.network.set_round_trip(Duration::from_millis(round_trip_ms))?;
            for &server in &self.servers {
                let cell = stage.run(self.measure(server, round_trip_ms, &stage.network))??;
                tell(format!("{server}, {round_trip_ms} ms: first picture after {} ms", middle(&cell.pictures_ms)));
                journal.write(&cell)?;
                cells.push(cell);
            }
        }
        say(self.table(&cells)?);
        tell(format!("raw results: {}", journal.path().display()));
        Ok(())
    }

    async fn measure(&self, kind: Kind, round_trip_ms: u64, network: &Network) -> Result<Cell> {
        let server = Server::start(kind, Path::Veth, network, &self.tuning).await?;
        let spare = usize::from(self.sequential + self.simultaneous);
        let plan = Plan { spare, ..Workload::W2.plan(1, kind, &server.url) };
        let sitting = Sitting::begin(server, &plan, SETTLE).await?;
        let mut people = Vec::new();
        for _ in 0..self.sequential {
            people.push(sitting.crowd.newcomer().await.map_err(|why| anyhow!("{kind}: {why}"))?);
        }
        let at_once = join_all((0..self.simultaneous).map(|_| sitting.crowd.newcomer())).await;
        let at_once: Result<Vec<Person>, String> = at_once.into_iter().collect();
        let at_once = at_once.map_err(|why| anyhow!("{kind}: {why}"))?;
        sitting.end().await?;
        let millis = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1000.0);
        let pictures = |people: &[Person]| people.iter().filter_map(|person| millis(person.first_picture)).collect();
        Ok(Cell {
            server: kind,
            round_trip_ms,
            joins_ms: people.iter().filter_map(|person| millis(person.join)).collect(),
            pictures_ms: pictures(&people),
            pictures_at_once_ms: pictures(&at_once),
        })
    }

    fn table(&self, cells: &[Cell]) -> Result<String> {
        let mut out = String::from("\njoining a live room of four, ms from the first request, p50 / max\n\n");
        writeln!(
            out,
            "| round trip | server | answered | first picture | first picture, {} at once |",
            self.simultaneous
        )?;
        writeln!(out, "|---:|---|---:|---:|---:|")?;
        for Cell { server, round_trip_ms, joins_ms, pictures_ms, pictures_at_once_ms } in cells {
            let words = |times: &[f64]| format!("{} / {:.0}", middle(times), times.iter().copied().fold(0.0, f64::max));
            let [joins, pictures, at_once] = [joins_ms, pictures_ms, pictures_at_once_ms].map(|times| words(times));
            writeln!(out, "| {round_trip_ms} | {server} | {joins} | {pictures} | {at_once} |")?;
        }
        if let (Some(low), Some(high)) = (self.round_trips.iter().min(), self.round_trips.iter().max())
            && low < high
        {
            out += "\nround trips to the first picture: how much later it is on the longest than on the shortest\n\n";
            for &server in &self.servers {
                let at = |round_trip| {
                    let cell = cells.iter().find(|cell| (cell.server, cell.round_trip_ms) == (server, round_trip))?;
                    median(cell.pictures_ms.clone())
                };
                let (Some(near), Some(far)) = (at(*low), at(*high)) else { continue };
                #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
                let trips = (far - near) / (high - low) as f64;
                writeln!(out, "  {server}: {trips:.1}")?;
            }
        }
        Ok(out)
    }
}

fn middle(times: &[f64]) -> String {
    median(times.to_vec()).map_or_else(|| "-".to_owned(), |middle| format!("{middle:.0}"))
}
