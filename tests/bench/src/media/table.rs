//! What a run came to, as tables, and two runs beside each other: `scripts/bench report`.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path as FilePath, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::cell::{Cell, Who};
use super::network::Path;
use super::plot;
use super::server::Kind;
use super::spread::{Interval, interval};
use super::workload::Workload;
use crate::host::Conditions;
use crate::report::{median, say, tell};

/// Prints the tables of runs of `media` again; of two runs, how far their ratios are apart.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Files of raw results.
    #[arg(required = true, num_args = 1..)]
    runs: Vec<PathBuf>,
    /// Draws µs a packet over sizes into this folder, an SVG for each workload and path of the first run.
    #[arg(long)]
    plots: Option<PathBuf>,
}

impl Report {
    pub(crate) fn run(&self) -> Result<()> {
        let runs: Vec<Vec<Cell>> = self.runs.iter().map(|path| read(path)).collect::<Result<_>>()?;
        for (path, cells) in self.runs.iter().zip(&runs) {
            tell(path.display());
            say(Table::new(cells));
        }
        match &runs[..] {
            [first, second] => say(Difference { first, second }),
            [_] => {}
            _ => tell("two runs are compared; of more, each is printed"),
        }
        if let (Some(folder), [first, ..]) = (&self.plots, &runs[..]) {
            for path in plot::draw(&Table::new(first), folder)? {
                tell(path.display());
            }
        }
        Ok(())
    }
}

/// The measurements in a file of raw results.
pub(super) fn read(path: &FilePath) -> Result<Vec<Cell>> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    ensure!(file.metadata()?.is_file(), "{} is no file of raw results", path.display());
    let mut cells = Vec::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let at = || format!("{}, line {}", path.display(), number + 1);
        let line = line.with_context(at)?;
        if serde_json::from_str::<Conditions>(&line).is_err() {
            cells.push(serde_json::from_str(&line).with_context(|| {
                format!("{} is no measurement of `scripts/bench media`, which is what is read", at())
            })?);
        }
    }
    Ok(cells)
}

/// One row of a table: who did what at which size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) workload: Workload,
    pub(super) path: Path,
    pub(super) size: u16,
    pub(super) who: Who,
}

/// The measurements of a run by rows.
pub(super) struct Table<'c> {
    cells: &'c [Cell],
}

impl<'c> Table<'c> {
    pub(super) const fn new(cells: &'c [Cell]) -> Self {
        Self { cells }
    }

    pub(super) fn rows(&self) -> BTreeSet<Row> {
        self.cells.iter().map(row).collect()
    }

    fn good(&self, of: Row) -> impl Iterator<Item = &'c Cell> {
        self.cells.iter().filter(move |cell| row(cell) == of && !cell.is_void())
    }

    fn count(&self, of: Row) -> (usize, usize) {
        let all = self.cells.iter().filter(|cell| row(cell) == of);
        all.fold((0, 0), |(all, void), cell| (all + 1, void + usize::from(cell.is_void())))
    }

    /// µs a packet of two rows in each leg in which both count.
    fn pairs(&self, one: Row, other: Row) -> Vec<(f64, f64)> {
        let pair = |cell: &'c Cell| {
            let of_same_leg = self.good(other).find(|other| other.step.leg == cell.step.leg)?;
            Some((cell.micros(), of_same_leg.micros()))
        };
        self.good(one).filter_map(pair).collect()
    }

    pub(super) fn middle(&self, of: Row, figure: impl Fn(&Cell) -> f64) -> Option<f64> {
        median(self.good(of).map(figure).collect())
    }

    /// Plenary's cost beside that of `of`.
    fn ratio(&self, of: Row) -> Option<Interval> {
        let ours = Row { who: Who::Server(Kind::Plenary), ..of };
        interval(&self.pairs(ours, of)).filter(|_| of != ours)
    }

    fn write_row(&self, f: &mut fmt::Formatter<'_>, of: Row) -> fmt::Result {
        let figure = |digits: usize, figure: &dyn Fn(&Cell) -> f64| {
            let middle = self.middle(of, figure).filter(|middle| middle.is_finite());
            middle.map_or_else(|| "-".to_owned(), |middle| format!("{middle:.digits$}"))
        };
        let (count, void) = self.count(of);
        let ratio = self.ratio(of).map_or_else(String::new, |ratio| ratio.to_string());
        let srtp: BTreeSet<&str> = self.good(of).flat_map(|cell| &cell.srtp).map(String::as_str).collect();
        let srtp: Vec<&str> = srtp.into_iter().collect();
        #[expect(clippy::cast_precision_loss, reason = "packets of a minute")]
        let rate = |cell: &Cell| cell.packets as f64 / cell.seconds;
        writeln!(
            f,
            "| {} | {} | {} | {ratio} | {} | {} / {} | {} | {} | {} | {void} |",
            of.size,
            of.who.name(),
            figure(2, &Cell::micros),
            if of.who == Who::Floor { String::new() } else { figure(0, &rate) },
            figure(1, &|cell| cell.delay_p50_ms.unwrap_or(f64::NAN)),
            figure(1, &|cell| cell.delay_p99_ms.unwrap_or(f64::NAN)),
            figure(0, &|cell| cell.generator * 100.0),
            srtp.join(" "),
            count - void,
        )
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows();
        let tables: BTreeSet<(Workload, Path)> = rows.iter().map(|row| (row.workload, row.path)).collect();
        for (workload, path) in tables {
            writeln!(f, "\n{workload}, {}: {}\n", path.name(), workload.words())?;
            writeln!(
                f,
                "| {} | server | µs/packet | Plenary / it (95 %) | packets/s | delay p50 / p99 ms | generator % | SRTP | n | void |",
                workload.unit()
            )?;
            writeln!(f, "|---:|---|---:|---:|---:|---:|---:|---|---:|---:|")?;
            for row in rows.iter().filter(|row| (row.workload, row.path) == (workload, path)) {
                self.write_row(f, *row)?;
            }
        }
        let void: Vec<&Cell> = self.cells.iter().filter(|cell| cell.is_void()).collect();
        writeln!(f, "\n{} measurements, {} void", self.cells.len(), void.len())?;
        void.iter().try_for_each(|cell| writeln!(f, "  {}", cell.words()))
    }
}

/// How far the ratios of two runs are apart.
struct Difference<'c> {
    first: &'c [Cell],
    second: &'c [Cell],
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = (Table::new(self.first), Table::new(self.second));
        writeln!(f, "\nratios of both runs\n")?;
        writeln!(f, "| workload | path | size | Plenary / | first | second | apart | intervals |")?;
        writeln!(f, "|---|---|---:|---|---:|---:|---:|---|")?;
        if first.rows().is_disjoint(&second.rows()) {
            return writeln!(f, "they have no workload, path and size in common");
        }
        for row in first.rows() {
            let (Some(one), Some(other)) = (first.ratio(row), second.ratio(row)) else { continue };
            let Row { workload, path, size, who } = row;
            let apart = (other.ratio / one.ratio - 1.0) * 100.0;
            let overlap = if one.overlaps(&other) { "overlap" } else { "DO NOT OVERLAP" };
            let (path, who) = (path.name(), who.name());
            writeln!(f, "| {workload} | {path} | {size} | {who} | {one} | {other} | {apart:+.1} % | {overlap} |")?;
        }
        Ok(())
    }
}

fn row(cell: &Cell) -> Row {
    let super::cell::Step { workload, path, size, who, .. } = cell.step;
    Row { workload, path, size, who }
}

#[cfg(test)]
mod tests {
    use super::super::cell::Step;
    use super::*;

    fn cell(who: Who, leg: u32, micros: u64) -> Cell {
        let step = Step { workload: Workload::W1, path: Path::Veth, size: 25, leg, who };
        let (packets, cpu_ns) = (1_000, micros * 1_000_000);
        Cell { packets, cpu_ns, seconds: 1.0, ..Cell::empty(step) }
    }

    fn run(ours: u64, theirs: u64) -> Vec<Cell> {
        let each = |leg| [cell(Who::Server(Kind::Plenary), leg, ours), cell(Who::Server(Kind::Janus), leg, theirs)];
        (0..4).flat_map(each).collect()
    }

    #[test]
    fn a_ratio_is_of_what_counts() {
        let mut cells = run(5, 20);
        let mut broken = cell(Who::Server(Kind::Janus), 9, 90);
        broken.void.push("nobody came".to_owned());
        cells.push(broken);
        let text = Table::new(&cells).to_string();
        assert!(text.contains("| 25 | janus | 20.00 | 0.25 (0.25 to 0.25) | 1000 |"), "{text}");
        assert!(text.contains("9 measurements, 1 void") && text.contains("nobody came"), "{text}");
    }

    #[test]
    fn runs_that_differ_are_told_apart() {
        let difference = |second: &[Cell]| Difference { first: &run(5, 20), second }.to_string();
        assert!(difference(&run(5, 20)).contains("+0.0 % | overlap"));
        assert!(difference(&run(6, 20)).contains("+20.0 % | DO NOT OVERLAP"));
    }
}
