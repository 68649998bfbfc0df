//! What a delivered packet costs: one publisher, many subscribers, Plenary beside a plain SFU and the floor.
//!
//! ```text
//! CPU 0: the server under test, started anew for each measurement, in the order ABBA
//! CPU 1: this process: the people (`plenary_participant`), who check every packet
//! ```
//!
//! Cost is the processor time of all of the server's threads over a time, divided by the packets that subscribers received
//! meanwhile. A measurement is void when the people had no time to spare, packets were lost, or others took part of the
//! processors.

mod floor;
mod plain;
mod server;
mod spread;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use futures_util::FutureExt;
use plenary_participant::Video;
use plenary_participant::load::{Plan, Summary};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;

pub(crate) use floor::Floor;
pub(crate) use plain::Plain;

use self::floor::Taken;
use self::server::{Kind, Server};
use self::spread::{Interval, interval};
use crate::clock::{now, seconds};
use crate::host::{Watch, cpu_nanos};
use crate::journal::Journal;
use crate::report::{median, say, tell};
use crate::run::alone;

/// Opus frames a second, of 20 ms each.
const AUDIO_EACH_SECOND: u64 = 50;
/// Bytes of an Opus frame, about.
const AUDIO_BYTES: usize = 70;
/// Pictures a second.
const FRAMES_EACH_SECOND: u64 = 30;
/// Bytes of a picture in one packet at most: what `plenary_participant` makes of it.
const PACKET_BYTES: usize = 1084;
/// How long people and server may take to settle once all see something.
const SETTLE: Duration = Duration::from_secs(1);
/// Joins a second.
const JOINS: f64 = 20.0;

/// Share of its processor that the generator may take.
const GENERATOR: f64 = 0.85;
/// Part of packets that may be lost.
const LOST: f64 = 0.001;
/// Share of all processors that others may take.
const FOREIGN: f64 = 0.05;

/// What the publisher sends.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Traffic {
    /// Kilobits a second of the picture.
    #[arg(long, default_value_t = 1500)]
    kbps: u32,
}

impl Traffic {
    /// Packets of a frame, and the bytes of each.
    fn frame(self) -> (usize, usize) {
        let bytes = usize::try_from(u64::from(self.kbps) * 125 / FRAMES_EACH_SECOND).unwrap_or(usize::MAX);
        let count = bytes.div_ceil(PACKET_BYTES);
        (count, bytes.checked_div(count).unwrap_or(0))
    }
}

/// Compares what a delivered packet costs.
#[derive(Debug, Args)]
pub(crate) struct Media {
    /// Where raw results go.
    #[arg(long, default_value = ".run/bench")]
    folder: PathBuf,
    /// Subscribers of the one publisher.
    #[arg(long, value_delimiter = ',', default_value = "25,100")]
    subscribers: Vec<u16>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Times ABBA.
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    #[command(flatten)]
    traffic: Traffic,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
struct Cell {
    line: &'static str,
    server: Kind,
    subscribers: u16,
    /// Packets that subscribers received.
    packets: u64,
    lost: u64,
    cpu_ns: u64,
    /// Processor time for a delivered packet.
    ns_per_packet: f64,
    /// The generator's share of its processor.
    generator: f64,
    /// Others' share of all processors.
    foreign: f64,
    delay_p50_ms: Option<f64>,
    delay_p99_ms: Option<f64>,
    void: bool,
}

impl Media {
    pub(crate) fn run(&self) -> Result<()> {
        let cpus = std::thread::available_parallelism()?.get();
        ensure!(cpus >= 2, "the server and its clients need a processor each, and there is {cpus}");
        ensure!(self.rounds > 0 && self.seconds > 0, "--rounds, --seconds: at least 1");
        let mut second = CpuSet::new();
        second.set(1);
        sched_setaffinity(None, &second).context("staying on processor 1")?;
        plenary::prepare_process();
        let _lock = alone()?;
        let mut journal = Journal::new(&self.folder, &format!("media-{}-{}.jsonl", seconds(), std::process::id()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut cells = Vec::new();
        let mut floors = Vec::new();
        for &subscribers in &self.subscribers {
            for _ in 0..self.rounds {
                floors.push((subscribers, runtime.block_on(self.floor(subscribers))?));
                for kind in [Kind::Plenary, Kind::Plain, Kind::Plain, Kind::Plenary] {
                    let cell = runtime.block_on(self.measure(kind, subscribers))?;
                    tell(cell.words());
                    journal.write(&cell)?;
                    cells.push(cell);
                }
            }
        }
        say(self.table(&cells, &floors));
        tell(format!("raw results: {}", journal.path().display()));
        Ok(())
    }

    async fn measure(&self, kind: Kind, subscribers: u16) -> Result<Cell> {
        let server = Server::start(kind).await?;
        let plan = Plan {
            nodes: vec![server.url.clone()],
            user_token: None,
            rooms: 1,
            publishers: 1,
            subscribers: subscribers.into(),
            joins_per_second: JOINS,
            hold: Duration::ZERO,
            video: Video { bitrate: self.traffic.kbps * 1000, ..Video::default() },
            pictures: 1,
            deadline: Duration::from_secs(20),
        };
        let mut never = pin!(std::future::pending::<()>().fuse());
        let mut crowd = plan.gather(&mut never).await?;
        tokio::time::sleep(SETTLE).await;
        crowd.measure().await;
        let watch = Watch::begin(vec![server.pid])?;
        let before = (crowd.packets().await, cpu_nanos(server.pid)?, cpu_nanos(std::process::id())?, now());
        tokio::time::sleep(Duration::from_secs(self.seconds.into())).await;
        let after = (crowd.packets().await, cpu_nanos(server.pid)?, cpu_nanos(std::process::id())?, now());
        let load = watch.end()?;
        let (summary, _) = crowd.leave().await;
        server.stop().await?;
        let Summary { failed, faults, delay_ms, ref each, .. } = summary;
        let why = each.iter().find_map(|person| person.failure.as_deref()).unwrap_or_default();
        ensure!(failed == 0, "{failed} people could not be kept by {kind}: {why}");
        ensure!(faults == 0, "{faults} packets were changed on the way by {kind}");
        let packets = after.0.0 - before.0.0;
        let lost = after.0.1.saturating_sub(before.0.1);
        let cpu_ns = after.1 - before.1;
        ensure!(packets > 0, "no packets came from {kind}");
        let generator = Duration::from_nanos(after.2 - before.2).as_secs_f64() / (after.3 - before.3).as_secs_f64();
        let part = ratio(lost, packets + lost);
        Ok(Cell {
            line: "cell",
            server: kind,
            subscribers,
            packets,
            lost,
            cpu_ns,
            ns_per_packet: ratio(cpu_ns, packets),
            generator,
            foreign: load.foreign,
            delay_p50_ms: delay_ms.p50,
            delay_p99_ms: delay_ms.p99,
            void: generator > GENERATOR || part > LOST || load.foreign > FOREIGN,
        })
    }

    /// What encrypting and sending alone takes.
    async fn floor(&self, subscribers: u16) -> Result<f64> {
        let sink = Sink::open()?;
        let to = sink.address.to_string();
        let (count, seconds) = (subscribers.to_string(), self.seconds.to_string());
        let kbps = self.traffic.kbps.to_string();
        let arguments = ["floor", "--to", &to, "--subscribers", &count, "--seconds", &seconds, "--kbps", &kbps];
        let answer = server::answer(&arguments).await?;
        sink.close()?;
        let taken: Taken = serde_json::from_str(&answer)?;
        Ok(ratio(taken.cpu_ns, taken.packets))
    }

    fn table(&self, cells: &[Cell], floors: &[(u16, f64)]) -> String {
        let mut out = format!(
            "\none publisher of {} kbit/s and sound, {} s each; processor time of the server for a delivered packet\n\n",
            self.traffic.kbps, self.seconds
        );
        out += "| subscribers | server | µs/packet | packets/s | delay p50 / p99 ms | generator % | n | void |\n";
        out += "|---:|---|---:|---:|---:|---:|---:|---:|\n";
        for &subscribers in &self.subscribers {
            for kind in [Kind::Plenary, Kind::Plain] {
                let of: Vec<&Cell> =
                    cells.iter().filter(|cell| (cell.server, cell.subscribers) == (kind, subscribers)).collect();
                let good: Vec<&Cell> = of.iter().copied().filter(|cell| !cell.void).collect();
                let middle = |figure: &dyn Fn(&Cell) -> f64| {
                    median(good.iter().map(|cell| figure(cell)).collect()).unwrap_or(f64::NAN)
                };
                let rate = middle(&|cell| ratio(cell.packets, u64::from(self.seconds)));
                out += &format!(
                    "| {subscribers} | {kind} | {:.2} | {rate:.0} | {:.2} / {:.2} | {:.0} | {} | {} |\n",
                    middle(&|cell| cell.ns_per_packet / 1000.0),
                    middle(&|cell| cell.delay_p50_ms.unwrap_or(f64::NAN)),
                    middle(&|cell| cell.delay_p99_ms.unwrap_or(f64::NAN)),
                    middle(&|cell| cell.generator * 100.0),
                    of.len(),
                    of.len() - good.len(),
                );
            }
            let floor = floors.iter().filter(|(of, _)| *of == subscribers).map(|(_, ns)| *ns).collect();
            out += &format!(
                "| {subscribers} | floor | {:.2} | | | | {} | |\n",
                median(floor).unwrap_or(f64::NAN) / 1000.0,
                self.rounds
            );
        }
        out += "\nratios, with the 95 % interval of 2,000 resamplings\n\n";
        for &subscribers in &self.subscribers {
            let of = |kind| costs(cells, kind, subscribers);
            let (ours, plain) = (of(Kind::Plenary), of(Kind::Plain));
            let floor: Vec<f64> = floors.iter().filter(|(of, _)| *of == subscribers).map(|(_, ns)| *ns).collect();
            for (name, below) in [("plain", &plain), ("floor", &floor)] {
                match interval(&ours, below) {
                    Some(Interval { ratio, low, high }) => {
                        out += &format!(
                            "  {subscribers} subscribers, plenary / {name}: {ratio:.2} ({low:.2} to {high:.2})\n"
                        );
                    }
                    None => out += &format!("  {subscribers} subscribers, plenary / {name}: all void\n"),
                }
            }
        }
        let void = cells.iter().filter(|cell| cell.void).count();
        out += &format!("\n{} measurements, {void} void", cells.len());
        out
    }
}

impl Cell {
    fn words(&self) -> String {
        let Self { server, subscribers, ns_per_packet, generator, foreign, packets, lost, void, .. } = self;
        let void = if *void { ", void" } else { "" };
        format!(
            "{server}, {subscribers} subscribers: {:.2} µs/packet, {packets} packets, {lost} lost, generator {:.0} %, \
             foreign {:.0} %{void}",
            ns_per_packet / 1000.0,
            generator * 100.0,
            foreign * 100.0
        )
    }
}

/// Takes in what the floor sends.
struct Sink {
    address: SocketAddr,
    done: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Sink {
    fn open() -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(20)))?;
        let (address, done) = (socket.local_addr()?, Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&done);
        let thread = std::thread::Builder::new().name("sink".to_owned()).spawn(move || {
            let mut buffer = [0; 2048];
            while !told.load(Ordering::Relaxed) {
                match socket.recv(&mut buffer) {
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })?;
        Ok(Self { address, done, thread })
    }

    fn close(self) -> Result<()> {
        self.done.store(true, Ordering::Relaxed);
        Ok(self.thread.join().map_err(|_| anyhow::anyhow!("the sink panicked"))??)
    }
}

/// What a packet cost in each measurement that counts.
fn costs(cells: &[Cell], kind: Kind, subscribers: u16) -> Vec<f64> {
    let of = |cell: &&Cell| (cell.server, cell.subscribers, cell.void) == (kind, subscribers, false);
    cells.iter().filter(of).map(|cell| cell.ns_per_packet).collect()
}

#[expect(clippy::cast_precision_loss, reason = "52 bits of nanoseconds are weeks")]
fn ratio(part: u64, all: u64) -> f64 {
    part as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_as_the_participant_cuts_it() {
        assert_eq!(Traffic { kbps: 1500 }.frame(), (6, 1041));
        assert_eq!(Traffic { kbps: 0 }.frame(), (0, 0));
    }
}
