//! One measurement, and what makes it void.

use serde::{Deserialize, Serialize};

use super::network::Path;
use super::server::Kind;
use super::workload::Workload;

/// Share of its processor that the generator may take.
const GENERATOR: f64 = 0.85;
/// Part of packets that may be lost.
const LOST: f64 = 0.001;
/// Share of all processors that others may take.
const FOREIGN: f64 = 0.05;
/// Share of all processors that other guests of the machine may take.
const STOLEN: f64 = 0.02;

/// Who works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Who {
    /// What no forwarder can do with less.
    Floor,
    #[serde(untagged)]
    Server(Kind),
}

impl Who {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Server(kind) => kind.name(),
            Self::Floor => "floor",
        }
    }
}

/// Which measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) workload: Workload,
    pub(super) path: Path,
    /// Subscribers, or rooms.
    pub(super) size: u16,
    /// Counts through the measurements of one size.
    pub(super) leg: u32,
    pub(super) who: Who,
}

/// One measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Cell {
    #[serde(flatten)]
    pub(super) step: Step,
    /// Packets that subscribers received.
    pub(super) packets: u64,
    pub(super) lost: u64,
    /// Processor time of the server.
    pub(super) cpu_ns: u64,
    pub(super) seconds: f64,
    /// The generator's share of its processor.
    pub(super) generator: f64,
    /// Others' share of all processors.
    pub(super) foreign: f64,
    pub(super) stolen: f64,
    pub(super) delay_p50_ms: Option<f64>,
    pub(super) delay_p99_ms: Option<f64>,
    /// SRTP protection profiles that were agreed on.
    pub(super) srtp: Vec<String>,
    /// Why it does not count.
    pub(super) void: Vec<String>,
}

impl Cell {
    /// Says what makes it void.
    pub(super) fn judged(mut self) -> Self {
        let lost = ratio(self.lost, (self.packets + self.lost).max(1));
        let limits = [
            ("the generator's processor", self.generator, GENERATOR),
            ("packets lost", lost, LOST),
            ("processors taken by others", self.foreign, FOREIGN),
            ("processors stolen", self.stolen, STOLEN),
        ];
        for (what, is, limit) in limits {
            if is > limit {
                self.void.push(format!("{what}: {:.2} %, limit {} %", is * 100.0, limit * 100.0));
            }
        }
        if self.packets == 0 {
            self.void.push("no packets".to_owned());
        }
        self
    }

    /// One in which nothing happened.
    pub(super) const fn empty(step: Step) -> Self {
        Self {
            step,
            packets: 0,
            lost: 0,
            cpu_ns: 0,
            seconds: 0.0,
            generator: 0.0,
            foreign: 0.0,
            stolen: 0.0,
            delay_p50_ms: None,
            delay_p99_ms: None,
            srtp: Vec::new(),
            void: Vec::new(),
        }
    }

    pub(super) fn is_void(&self) -> bool {
        !self.void.is_empty()
    }

    /// Processor time for a delivered packet, in µs.
    pub(super) fn micros(&self) -> f64 {
        ratio(self.cpu_ns, self.packets) / 1000.0
    }

    pub(super) fn words(&self) -> String {
        let Step { workload, path, size, who, .. } = self.step;
        let void = if self.is_void() { format!("; VOID: {}", self.void.join(", ")) } else { String::new() };
        format!(
            "{workload} {size} {}, {}: {:.2} µs/packet, {} packets, {} lost, generator {:.0} %, foreign {:.1} %, stolen \
             {:.1} %, {}{void}",
            path.name(),
            who.name(),
            self.micros(),
            self.packets,
            self.lost,
            self.generator * 100.0,
            self.foreign * 100.0,
            self.stolen * 100.0,
            self.srtp.join(" "),
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "52 bits of nanoseconds are weeks")]
pub(super) fn ratio(part: u64, all: u64) -> f64 {
    part as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> Cell {
        let who = Who::Server(Kind::Pion);
        let step = Step { workload: Workload::W1, path: Path::Lo, size: 25, leg: 1, who };
        Cell { packets: 1_000_000, cpu_ns: 8_000_000_000, ..Cell::empty(step) }
    }

    #[test]
    fn each_limit_makes_void() {
        assert!(!cell().judged().is_void());
        let bad = [
            Cell { generator: 0.9, ..cell() },
            Cell { lost: 1_100, ..cell() },
            Cell { foreign: 0.06, ..cell() },
            Cell { stolen: 0.03, ..cell() },
            Cell { packets: 0, ..cell() },
        ];
        for cell in bad {
            assert_eq!(cell.clone().judged().void.len(), 1, "{cell:?}");
        }
    }

    #[test]
    fn a_line_of_a_journal_is_read_back() {
        for who in [Who::Server(Kind::Pion), Who::Floor] {
            let cell = Cell { step: Step { who, ..cell().step }, ..cell() };
            let line = serde_json::to_string(&cell).expect("it is plain");
            let back: Cell = serde_json::from_str(&line).expect(&line);
            assert_eq!((back.step, back.micros()), (cell.step, 8.0));
        }
    }
}
