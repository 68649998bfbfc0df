//! What a delivered packet costs: workloads W1 to W3 on Plenary, its peers and the floor, on loopback and over a veth pair.
//!
//! ```text
//! CPU 0: the server under test, started anew for each measurement, in the order A B C D D C B A
//! CPU 1: this process: the people (`plenary_participant`), who check every packet; the doors of servers that need one
//! ```
//!
//! Cost is the processor time of all of the server's threads over a time, divided by the packets that subscribers received
//! meanwhile. A measurement is void when the people had no time to spare, packets were lost, or others took part of the
//! processors ([`cell`]).
//!
//! On the same [`stage`], with the same servers and people: [`memory`] (W4), [`join`] (W5), [`relay`] (W6), and [`profile`].

mod cell;
mod door;
mod floor;
mod forwarder;
mod janus;
mod join;
mod memory;
mod network;
mod pion;
mod plain;
mod plot;
mod profile;
mod relay;
mod server;
mod sink;
mod spread;
mod stage;
mod table;
mod window;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use plenary_participant::Profiles;
use plenary_participant::load::Summary;

pub(crate) use floor::Floor;
pub(crate) use forwarder::Forwarder;
pub(crate) use join::Join;
pub(crate) use memory::Memory;
pub(crate) use plain::Plain;
pub(crate) use profile::Profile;
pub(crate) use relay::Relay;
pub(crate) use table::Report;

use self::cell::{Cell, Step, Who};
use self::floor::Taken;
use self::network::{Network, Path};
use self::server::{Kind, Server, Tuning};
use self::sink::Sink;
use self::stage::Stage;
use self::table::Table;
use self::window::{Sitting, Window};
use self::workload::Workload;
use crate::clock::{now, seconds};
use crate::host::{Conditions, Watch};
use crate::journal::Journal;
use crate::report::{say, tell};

/// How often a void measurement is made again.
const REPEATS: usize = 1;

/// Compares what a delivered packet costs.
#[derive(Debug, Args)]
pub(crate) struct Media {
    /// Where raw results go.
    #[arg(long, default_value = ".run/bench")]
    folder: PathBuf,
    /// Workloads, separated by commas; W4, W5 and W6 are `memory`, `join` and `relay`.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Workload::ALL)]
    workloads: Vec<Workload>,
    /// Servers, separated by commas; Plenary is compared with the others. Janus is not measured on lo.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Plenary, Kind::Plain, Kind::Pion, Kind::Janus])]
    servers: Vec<Kind>,
    /// Ways between people and servers.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Path::Lo, Path::Veth])]
    paths: Vec<Path>,
    /// Sizes instead of each workload's own: subscribers, or rooms.
    #[arg(long, value_delimiter = ',')]
    sizes: Option<Vec<u16>>,
    /// Seconds of each measurement; 6, or 60 with --full.
    #[arg(long)]
    seconds: Option<u32>,
    /// Times forth and back at the last size, once at the others; 2, or 7 with --full.
    #[arg(long)]
    rounds: Option<u32>,
    /// All sizes, and long enough for figures to be quoted: hours.
    #[arg(long)]
    full: bool,
    /// Goes on with an earlier run, of the same arguments, that was cut short: its file of raw results.
    #[arg(long)]
    resume: Option<PathBuf>,
    #[command(flatten)]
    tuning: Tuning,
}

impl Media {
    pub(crate) fn run(&self) -> Result<()> {
        ensure!(self.rounds != Some(0), "--rounds: at least 1");
        ensure!(self.seconds != Some(0), "--seconds: at least 1");
        let stage = Stage::set(Network::enter)?;
        let (mut journal, mut cells) = self.journal()?;
        tell(format!("raw results: {}; --resume goes on with them", journal.path().display()));
        // A void measurement is made again, and not for ever.
        let done = |step: &Step| {
            let tries: Vec<&Cell> = cells.iter().filter(|cell| cell.step == *step).collect();
            tries.len() > REPEATS || tries.iter().any(|cell| !cell.is_void())
        };
        let steps: Vec<Step> = self.steps().filter(|step| !done(step)).collect();
        tell(format!(
            "{} measurements, about {} minutes",
            steps.len(),
            (steps.len() * (self.seconds() as usize + 8)).div_ceil(60)
        ));
        for step in steps {
            for _ in 0..=REPEATS {
                let cell = match stage.run(self.measure(step, &stage.network))? {
                    Ok(cell) => cell.judged(),
                    Err(error) => Cell { void: vec![format!("{error:#}")], ..Cell::empty(step) },
                };
                tell(cell.words());
                journal.write(&cell)?;
                let void = cell.is_void();
                cells.push(cell);
                if !void {
                    break;
                }
            }
        }
        say(Table::new(&cells));
        Ok(())
    }

    fn seconds(&self) -> u32 {
        self.seconds.unwrap_or(if self.full { 60 } else { 6 })
    }

    /// How long people and server may take to settle once all see something.
    const fn settle(&self) -> Duration {
        Duration::from_secs(if self.full { 10 } else { 1 })
    }

    /// The file of results, and those that are in it already.
    fn journal(&self) -> Result<(Journal, Vec<Cell>)> {
        if let Some(path) = &self.resume {
            let cells = table::read(path).context("--resume")?;
            return Ok((Journal::append(path)?, cells));
        }
        let mut journal = Journal::new(&self.folder, &format!("media-{}-{}.jsonl", seconds(), std::process::id()))?;
        journal.write(&Conditions::now()?)?;
        Ok((journal, Vec::new()))
    }

    /// All measurements in their order: for each workload, path and size all who take part, forth and back.
    fn steps(&self) -> impl Iterator<Item = Step> {
        let places = self.workloads.iter().flat_map(|workload| self.paths.iter().map(move |path| (*workload, *path)));
        places.flat_map(move |(workload, path)| {
            let sizes = self.sizes.as_deref().unwrap_or_else(|| workload.sizes(path, self.full));
            let last = sizes.last().copied();
            sizes.iter().flat_map(move |&size| {
                let rounds = if Some(size) == last || self.full {
                    self.rounds.unwrap_or(if self.full { 7 } else { 2 })
                } else {
                    1
                };
                self.round(path, rounds).map(move |(leg, who)| Step { workload, path, size, leg, who })
            })
        })
    }

    /// All who can take part on a path, forth and back so many times, each time with the number of the leg.
    fn round(&self, path: Path, rounds: u32) -> impl Iterator<Item = (u32, Who)> {
        let servers = self.servers.iter().filter(|kind| kind.runs_on(path)).map(|kind| Who::Server(*kind));
        let forth: Vec<Who> = servers.chain([Who::Floor]).collect();
        (0..rounds * 2).flat_map(move |leg| {
            let mut all = forth.clone();
            if leg % 2 == 1 {
                all.reverse();
            }
            all.into_iter().map(move |who| (leg, who))
        })
    }

    async fn measure(&self, step: Step, network: &Network) -> Result<Cell> {
        match step.who {
            Who::Server(kind) => self.measure_server(step, kind, network).await,
            Who::Floor => self.measure_floor(step, network).await,
        }
    }

    async fn measure_server(&self, step: Step, kind: Kind, network: &Network) -> Result<Cell> {
        let server = Server::start(kind, step.path, network, &self.tuning).await?;
        let profiles = Profiles::so_far();
        let plan = step.workload.plan(step.size, kind, &server.url);
        let mut sitting = Sitting::begin(server, &plan, self.settle()).await?;
        let time = tokio::time::sleep(Duration::from_secs(self.seconds().into()));
        let ((), window) = sitting.watch(time).await?;
        let Summary { delay_ms, .. } = sitting.end().await?;
        let Window { packets, lost, cpu_ns, seconds, generator, load, .. } = window;
        Ok(Cell {
            packets,
            lost,
            cpu_ns,
            seconds,
            generator,
            foreign: load.foreign,
            stolen: load.stolen,
            delay_p50_ms: delay_ms.p50,
            delay_p99_ms: delay_ms.p99,
            srtp: Profiles::so_far().names_since(&profiles).into_iter().map(str::to_owned).collect(),
            ..Cell::empty(step)
        })
    }

    /// What encrypting and sending alone takes.
    async fn measure_floor(&self, step: Step, network: &Network) -> Result<Cell> {
        let sink = Sink::open()?;
        let traffic = step.workload.traffic();
        let to = std::net::SocketAddr::new(network.people(step.path), sink.port);
        let arguments = [
            ("--to", to.to_string()),
            ("--subscribers", step.workload.receivers(step.size).to_string()),
            ("--seconds", self.seconds().to_string()),
            ("--pictures", traffic.pictures.to_string()),
            ("--kbps", traffic.kbps.to_string()),
            ("--voices", traffic.voices.to_string()),
        ];
        let arguments = arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        let arguments: Vec<String> = std::iter::once("floor".to_owned()).chain(arguments).collect();
        let began = now();
        let watch = Watch::begin(Vec::new())?;
        let answer = server::answer(&arguments, step.path, network).await?;
        let (load, seconds) = (watch.end()?, began.elapsed().as_secs_f64());
        let Taken { packets: sent, cpu_ns } = serde_json::from_str(&answer)?;
        let packets = sink.close()?;
        // It has ended, and so its own processor time counts as somebody else's.
        let cpus = f64::from(u32::try_from(std::thread::available_parallelism()?.get())?);
        let own = Duration::from_nanos(cpu_ns).as_secs_f64() / seconds / cpus;
        Ok(Cell {
            packets,
            lost: sent.saturating_sub(packets),
            cpu_ns,
            seconds,
            foreign: (load.foreign - own).max(0.0),
            stolen: load.stolen,
            srtp: vec!["AEAD_AES_256_GCM".to_owned()],
            ..Cell::empty(step)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Words {
        #[command(flatten)]
        media: Media,
    }

    fn steps(arguments: &[&str]) -> Vec<Step> {
        Words::parse_from([&["media"], arguments].concat()).media.steps().collect()
    }

    #[test]
    fn a_round_goes_forth_and_back() {
        let steps = steps(&["--workloads", "w1", "--paths", "veth", "--sizes", "25", "--rounds", "1"]);
        let names: Vec<&str> = steps.iter().map(|step| step.who.name()).collect();
        assert_eq!(names, ["plenary", "plain", "pion", "janus", "floor", "floor", "janus", "pion", "plain", "plenary"]);
    }

    #[test]
    fn janus_is_not_asked_on_loopback_and_the_largest_size_is_measured_most() {
        let steps = steps(&[]);
        let janus = Who::Server(Kind::Janus);
        assert!(steps.iter().all(|step| step.path == Path::Veth || step.who != janus));
        let count = |size| {
            let of = |step: &&Step| {
                (step.workload, step.path, step.who, step.size) == (Workload::W1, Path::Veth, janus, size)
            };
            steps.iter().filter(of).count()
        };
        assert_eq!((count(100), count(200)), (2, 4));
        let mut unique = steps.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), steps.len(), "each can be told from the others, to go on with a run");
    }
}
