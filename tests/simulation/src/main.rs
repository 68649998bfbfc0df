//! `simulate`: runs seeds, replays one, hunts planted bugs. See `scripts/simulate --help`.

use std::io::Write;
use std::ops::Range;
use std::process::ExitCode;

use anyhow::{Context, bail};
use plenary_cluster::simulation::Bug;
use plenary_simulation::planted::hunt;
use plenary_simulation::{Counts, Report, Settings, simulate};

const HELP: &str = "\
simulate --seeds A..B [--twice]      run the seeds; with --twice each two times, and compare the traces
simulate --seed N [--trace]          replay one; --trace prints every line of it
simulate --planted [--seeds A..B]    plant each bug in turn and tell which seed catches it
  --bug NAME                         plant this bug (with --seed, --seeds or --planted)
  --log FILTER                       what the nodes log, to stderr, such as plenary_cluster=debug,openraft=info
";

#[derive(Debug, Default)]
struct Arguments {
    seeds: Option<Range<u64>>,
    twice: bool,
    trace: bool,
    planted: bool,
    bug: Option<Bug>,
}

fn arguments() -> anyhow::Result<Option<Arguments>> {
    let mut parsed = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seeds" => parsed.seeds = Some(range(&value()?)?),
            "--seed" => {
                let seed: u64 = value()?.parse().context("--seed takes a number")?;
                parsed.seeds = Some(seed..seed + 1);
            }
            "--bug" => {
                let name = value()?;
                let bug = Bug::ALL.iter().find(|bug| bug.name() == name);
                parsed.bug = Some(*bug.with_context(|| format!("no bug is called {name}"))?);
            }
            "--log" => log(&value()?)?,
            "--twice" => parsed.twice = true,
            "--trace" => parsed.trace = true,
            "--planted" => parsed.planted = true,
            "-h" | "--help" => return Ok(None),
            other => bail!("unknown argument '{other}'\n{HELP}"),
        }
    }
    Ok(Some(parsed))
}

fn log(filter: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter).context("--log takes a filter")?;
    tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    Ok(())
}

fn range(text: &str) -> anyhow::Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("--seeds takes A..B")?;
    Ok(from.parse().context("A is a number")?..to.parse().context("B is a number")?)
}

fn main() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let Some(arguments) = arguments()? else {
        write!(out, "{HELP}")?;
        return Ok(ExitCode::SUCCESS);
    };
    // A panic of a simulated node is a finding, told with its seed; its backtrace would drown it.
    std::panic::set_hook(Box::new(|_| {}));
    let fine = if arguments.planted { planted(&arguments, &mut out)? } else { seeds(&arguments, &mut out)? };
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn planted(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<bool> {
    let seeds = arguments.seeds.clone().unwrap_or(0..200);
    let mut missed = 0;
    for bug in Bug::ALL.iter().filter(|bug| arguments.bug.is_none_or(|only| only == **bug)) {
        let catch = hunt(*bug, seeds.clone());
        missed += u32::from(catch.caught.is_none());
        writeln!(out, "{catch}")?;
        out.flush()?;
    }
    writeln!(out, "{missed} not caught")?;
    Ok(missed == 0)
}

fn seeds(arguments: &Arguments, out: &mut impl Write) -> anyhow::Result<bool> {
    let seeds = arguments.seeds.clone().unwrap_or(0..100);
    let (mut failed, mut differ, mut all) = (Vec::new(), Vec::new(), Total::default());
    for seed in seeds.clone() {
        let settings = Settings { seed, bug: arguments.bug, keep_trace: arguments.trace };
        let report = simulate(settings);
        for line in &report.trace {
            writeln!(out, "{line}")?;
        }
        if arguments.twice && simulate(settings).hash != report.hash {
            differ.push(seed);
        }
        if let Some(violation) = &report.violation {
            failed.push(seed);
            writeln!(out, "seed {seed}: {violation}\n  replay: scripts/simulate --seed {seed} --trace")?;
        }
        all.add(&report);
        if seeds.end - seeds.start == 1 {
            writeln!(out, "seed {seed}: trace {} of {} lines", report.hash, report.counts.lines)?;
        }
        if (seed + 1 - seeds.start).is_multiple_of(100) {
            writeln!(out, "{} seeds, {} violations", seed + 1 - seeds.start, failed.len())?;
            out.flush()?;
        }
    }
    writeln!(out, "{all}")?;
    if arguments.twice {
        writeln!(out, "run twice: {} seeds, {} with another trace {differ:?}", seeds.end - seeds.start, differ.len())?;
    }
    writeln!(out, "seeds {seeds:?}: {} violations {failed:?}", failed.len())?;
    Ok(failed.is_empty() && differ.is_empty())
}

/// Sums over all seeds.
#[derive(Debug, Default)]
struct Total(Counts);

impl Total {
    fn add(&mut self, report: &Report) {
        let Counts { lines, steps, committed, asked, unknown, installed, leaders, faults, time } = &report.counts;
        self.0.lines += lines;
        self.0.steps += steps;
        self.0.committed += committed;
        self.0.asked += asked;
        self.0.unknown += unknown;
        self.0.installed += installed;
        self.0.leaders += leaders;
        self.0.time += *time;
        for (kind, count) in faults {
            *self.0.faults.entry(*kind).or_default() += count;
        }
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { lines, steps, committed, asked, unknown, installed, leaders, faults, time } = &self.0;
        writeln!(
            f,
            "{:.2} simulated hours, {committed} entries committed, {asked} questions asked ({unknown} unknown), \
             {leaders} leaders, {installed} snapshots installed, {steps} steps, {lines} lines",
            time.as_secs_f64() / 3600.0
        )?;
        write!(f, "faults:")?;
        faults.iter().try_for_each(|(kind, count)| write!(f, " {kind:?} {count}"))
    }
}
