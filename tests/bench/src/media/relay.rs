//! What it costs to carry media from node to node: workload W6 with two nodes, beside a plain forwarder over QUIC.
//!
//! ```text
//! together:  publisher ─► node 1 ─► subscriber        (node 2 is idle)      ─► pass ─►
//! apart:     publisher ─► node 1 ══► node 2 ─► subscriber                   ─► enter ══► leave ─►
//! ```
//!
//! The difference, over what was carried, is the cost of the link. All servers share processor 0, on loopback.

mod link;
mod nodes;

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;

use super::network::Network;
use super::stage::Stage;
use super::workload::Traffic;
use crate::clock::seconds;
use crate::journal::Journal;
use crate::report::{median, say, tell};

/// Compares what it costs to carry media from node to node.
#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// Where raw results go.
    #[arg(long, default_value = ".run/bench")]
    folder: PathBuf,
    /// Rooms, with one publisher and one subscriber each.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=200))]
    rooms: u16,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Times forth and back.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// What each room carries: the picture and the voice of workload W1.
const ROOM: Traffic = Traffic { pictures: 1, kbps: 1500, voices: 1 };

/// Who carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Carrier {
    /// Two whole nodes.
    Plenary,
    /// Datagrams on quinn ([`super::Forwarder`]).
    Quinn,
}

/// Where subscribers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// Where their publisher is.
    Together,
    /// On the other side of the link.
    Apart,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
struct Cell {
    carrier: Carrier,
    place: Place,
    /// Packets that subscribers received, and their bytes without headers.
    packets: u64,
    bytes: u64,
    lost: u64,
    /// Processor time of all servers.
    cpu_ns: u64,
    delay_p50_ms: Option<f64>,
    delay_p99_ms: Option<f64>,
}

impl Relay {
    pub(crate) fn run(&self) -> Result<()> {
        let stage = Stage::set(Network::enter)?;
        let mut journal = Journal::new(&self.folder, &format!("relay-{}-{}.jsonl", seconds(), std::process::id()))?;
        let mut cells = Vec::new();
        let forth =
            [Carrier::Plenary, Carrier::Quinn].map(|carrier| [Place::Together, Place::Apart].map(|at| (carrier, at)));
        for leg in 0..self.rounds * 2 {
            let mut order = forth.concat();
            if leg % 2 == 1 {
                order.reverse();
            }
            for (carrier, place) in order {
                let cell = stage.run(self.measure(carrier, place))??;
                tell(format!(
                    "{} {}: {:.2} µs/packet, {} lost",
                    carrier.name(),
                    place.name(),
                    cell.micros(),
                    cell.lost
                ));
                journal.write(&cell)?;
                cells.push(cell);
            }
        }
        say(self.table(&cells)?);
        tell(format!("raw results: {}", journal.path().display()));
        Ok(())
    }

    async fn measure(&self, carrier: Carrier, place: Place) -> Result<Cell> {
        let cell = match carrier {
            Carrier::Plenary => nodes::measure(place, self.rooms, self.seconds, &self.folder).await?,
            Carrier::Quinn => link::measure(place, self.rooms, self.seconds).await?,
        };
        ensure!(cell.packets > 0, "nothing was carried by {}", carrier.name());
        Ok(cell)
    }

    fn table(&self, cells: &[Cell]) -> Result<String> {
        let mut out = format!("\n{} rooms of one publisher and one subscriber\n\n", self.rooms);
        writeln!(
            out,
            "| | together, µs/packet | apart | the link, µs/packet | CPU-s / Gbit | delay p50 / p99 ms together | apart |"
        )?;
        writeln!(out, "|---|---:|---:|---:|---:|---:|---:|")?;
        for carrier in [Carrier::Plenary, Carrier::Quinn] {
            let middle = |place, figure: &dyn Fn(&Cell) -> f64| {
                let of = cells.iter().filter(|cell| (cell.carrier, cell.place) == (carrier, place));
                median(of.map(figure).collect()).unwrap_or(f64::NAN)
            };
            let delay = |place| {
                let of = |delay: Option<f64>| delay.unwrap_or(f64::NAN);
                let middles =
                    [middle(place, &|cell| of(cell.delay_p50_ms)), middle(place, &|cell| of(cell.delay_p99_ms))];
                if middles[0].is_nan() { String::from("-") } else { format!("{:.1} / {:.1}", middles[0], middles[1]) }
            };
            let [together, apart] = [Place::Together, Place::Apart].map(|place| middle(place, &Cell::micros));
            let link = apart - together;
            let per_gbit = link / middle(Place::Apart, &Cell::bits_per_packet) * 1e3;
            let (near, far) = (delay(Place::Together), delay(Place::Apart));
            writeln!(
                out,
                "| {} | {together:.2} | {apart:.2} | {link:.2} | {per_gbit:.2} | {near} | {far} |",
                carrier.name()
            )?;
        }
        Ok(out)
    }
}

impl Cell {
    /// Processor time for a delivered packet, in µs.
    fn micros(&self) -> f64 {
        super::cell::ratio(self.cpu_ns, self.packets) / 1000.0
    }

    fn bits_per_packet(&self) -> f64 {
        super::cell::ratio(self.bytes * 8, self.packets)
    }
}

impl Carrier {
    const fn name(self) -> &'static str {
        match self {
            Self::Plenary => "plenary",
            Self::Quinn => "quinn",
        }
    }
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Self::Together => "together",
            Self::Apart => "apart",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_costs_what_apart_costs_more() {
        let cell = |carrier, place, micros: u64| Cell {
            carrier,
            place,
            packets: 1_000_000,
            bytes: 1_000_000_000,
            lost: 0,
            cpu_ns: micros * 1_000_000_000,
            delay_p50_ms: None,
            delay_p99_ms: None,
        };
        let cells = [
            cell(Carrier::Plenary, Place::Together, 10),
            cell(Carrier::Plenary, Place::Apart, 18),
            cell(Carrier::Quinn, Place::Together, 3),
            cell(Carrier::Quinn, Place::Apart, 9),
        ];
        let relay = Relay { folder: PathBuf::new(), rooms: 1, seconds: 1, rounds: 1 };
        let table = relay.table(&cells).expect("a table");
        // 8 µs for 8,000 bits are 1 s for a Gbit.
        assert!(table.contains("| plenary | 10.00 | 18.00 | 8.00 | 1.00 | - | - |"), "{table}");
        assert!(table.contains("| quinn | 3.00 | 9.00 | 6.00 | 0.75 |"), "{table}");
    }
}
