//! The tables at the end of a run: medians of what was not void, and ratios.

use std::time::Duration;

use crate::directory::Growth;
use crate::report::{median, mib, say};
use crate::run::{Cell, Run};
use crate::work::{Door, Work};

/// What is compared: the same protocol on both sides, each by its own usual door, and with as little door as there is.
pub(crate) const PAIRS: &[(Door, Door)] =
    &[(Door::Rest, Door::Gateway), (Door::Rest, Door::Grpc), (Door::Inside, Door::Grpc)];

const DOORS: [Door; 4] = [Door::Rest, Door::Inside, Door::Gateway, Door::Grpc];
const WORKS: [Work; 3] = [Work::Write, Work::ReadLocal, Work::ReadLinearizable];

/// The median throughput of a closed loop; `None` when there is no cell that is not void.
pub(crate) fn throughput(cells: &[Cell], door: Door, work: Work, clients: usize) -> Option<f64> {
    let fits = |cell: &&Cell| !cell.void && cell.rate.is_none() && cell.door == door && cell.work == work;
    median(cells.iter().filter(fits).filter(|cell| cell.clients == clients).map(|cell| cell.per_second).collect())
}

/// The median p99 at a rate, in nanoseconds, and what came of the rate.
fn at_rate(cells: &[Cell], door: Door, rate: f64) -> Option<(f64, f64)> {
    let near =
        |cell: &&Cell| !cell.void && cell.door == door && cell.rate.is_some_and(|asked| (asked - rate).abs() < 0.5);
    let of = |value: fn(&Cell) -> f64| median(cells.iter().filter(near).map(value).collect());
    Some((of(|cell| nanos(cell.p99_ns))?, of(|cell| cell.per_second)?))
}

#[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^52 ns")]
const fn nanos(value: u64) -> f64 {
    value as f64
}

/// Prints all of it.
pub(crate) fn print(run: &Run, growths: &[Growth]) {
    if !run.cells.is_empty() {
        closed(&run.cells);
        open(&run.cells);
        let void = run.cells.iter().filter(|cell| cell.void).count();
        let foreign = median(run.cells.iter().map(|cell| cell.load.foreign * 100.0).collect()).unwrap_or(0.0);
        say(format!(
            "\n{} measurements, {void} void (foreign load over {:.0} % of all processors); median foreign load {foreign:.0} %",
            run.cells.len(),
            run.patience.foreign * 100.0
        ));
    }
    if !growths.is_empty() {
        say("\ngrowth (servers' medians; cold start: kill -9 of one server to its serving again)\n");
        say(
            "| system | servers | records | filled at /s | memory MiB | peak MiB | disk MiB | snapshot MiB | cold start s | memory then MiB |",
        );
        say("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
        growths.iter().for_each(|growth| say(growth_row(growth)));
    }
    say(format!("\nraw results: {}", run.journal.path().display()));
}

/// As fast as the servers answer.
fn closed(cells: &[Cell]) {
    say("as fast as they are answered (medians)\n");
    say("| work | clients | door | per second | p50 ms | p99 ms | own CPU % | refused | n | void |");
    say("|---|---:|---|---:|---:|---:|---:|---:|---:|---:|");
    let mut counts: Vec<usize> = cells.iter().map(|cell| cell.clients).collect();
    counts.sort_unstable();
    counts.dedup();
    for work in WORKS {
        for clients in &counts {
            for door in DOORS {
                let mine: Vec<&Cell> = cells
                    .iter()
                    .filter(|cell| {
                        cell.rate.is_none() && (cell.work, cell.clients, cell.door) == (work, *clients, door)
                    })
                    .collect();
                closed_row(&mine, work, *clients, door);
            }
        }
    }
    say("\nratios of throughput, ours to etcd's\n");
    for (ours, theirs) in PAIRS {
        for work in WORKS {
            let ratio = |clients: &usize| {
                let (one, other) =
                    (throughput(cells, *ours, work, *clients)?, throughput(cells, *theirs, work, *clients)?);
                Some(format!("{clients} clients {:.2}", one / other))
            };
            let ratios: Vec<String> = counts.iter().filter_map(ratio).collect();
            if !ratios.is_empty() {
                say(format!("  {ours} / {theirs}, {work}: {}", ratios.join(", ")));
            }
        }
    }
}

fn closed_row(cells: &[&Cell], work: Work, clients: usize, door: Door) {
    if cells.is_empty() {
        return;
    }
    let good: Vec<&&Cell> = cells.iter().filter(|cell| !cell.void).collect();
    let void = cells.len() - good.len();
    let of = |value: fn(&Cell) -> f64| median(good.iter().map(|cell| value(cell)).collect());
    let show = |value: Option<f64>, digits| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
    let refused: u64 = good.iter().map(|cell| cell.outcome.refused).sum();
    say(format!(
        "| {work} | {clients} | {door} | {} | {} | {} | {} | {refused} | {} | {void} |",
        show(of(|cell| cell.per_second), 0),
        show(of(|cell| nanos(cell.p50_ns) / 1e6), 2),
        show(of(|cell| nanos(cell.p99_ns) / 1e6), 2),
        show(of(|cell| cell.load.own * 100.0), 0),
        good.len()
    ));
}

/// At a rate.
fn open(cells: &[Cell]) {
    let mut rates: Vec<f64> = cells.iter().filter_map(|cell| cell.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    if rates.is_empty() {
        return;
    }
    say("\nwrites at a rate (medians; a latency counts from when the call was due)\n");
    say("| asked /s | door | answered /s | p99 ms |");
    say("|---:|---|---:|---:|");
    for rate in &rates {
        for door in DOORS {
            if let Some((p99, answered)) = at_rate(cells, door, *rate) {
                say(format!("| {rate:.0} | {door} | {answered:.0} | {:.2} |", p99 / 1e6));
            }
        }
    }
    say("\nratios of p99, ours to etcd's\n");
    for rate in &rates {
        for (ours, theirs) in PAIRS {
            if let (Some((one, _)), Some((other, _))) = (at_rate(cells, *ours, *rate), at_rate(cells, *theirs, *rate)) {
                say(format!("  {ours} / {theirs}, {rate:.0}/s: {:.2}", one / other));
            }
        }
    }
}

/// One size as a line of progress.
pub(crate) fn growth_line(growth: &Growth) -> String {
    format!("growth: {}", growth_row(growth))
}

fn growth_row(growth: &Growth) -> String {
    let middle = |values: Vec<u64>| {
        let mut values = values;
        values.sort_unstable();
        mib(values.get(values.len() / 2).copied().unwrap_or(0))
    };
    let take = &growth.servers_take;
    let mut starts = growth.cold_starts.clone();
    starts.sort_unstable();
    let start = starts.get(starts.len() / 2).copied().unwrap_or(Duration::ZERO);
    format!(
        "| {} | {} | {} | {:.0} | {} | {} | {} | {} | {:.2} | {} |",
        growth.system,
        growth.servers,
        growth.reached,
        nanos(growth.added) / growth.seconds.max(0.001),
        middle(take.iter().map(|one| one.memory).collect()),
        middle(take.iter().map(|one| one.peak).collect()),
        middle(take.iter().map(|one| one.disk).collect()),
        middle(take.iter().map(|one| one.snapshot).collect()),
        start.as_secs_f64(),
        mib(growth.memory_after),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Load;
    use crate::load::Outcome;

    fn cell(door: Door, per_second: f64, void: bool) -> Cell {
        Cell {
            line: "cell",
            door,
            work: Work::Write,
            clients: 64,
            rate: None,
            block: 0,
            per_second,
            p50_ns: 1,
            p99_ns: 2,
            load: Load::default(),
            void,
            outcome: Outcome::default(),
        }
    }

    #[test]
    fn what_is_void_counts_for_nothing() {
        let cells = [cell(Door::Rest, 10.0, false), cell(Door::Rest, 99.0, true), cell(Door::Rest, 20.0, false)];
        assert_eq!(throughput(&cells, Door::Rest, Work::Write, 64), Some(15.0));
        assert_eq!(throughput(&cells, Door::Grpc, Work::Write, 64), None);
        assert_eq!(throughput(&cells, Door::Rest, Work::Write, 16), None);
    }
}
