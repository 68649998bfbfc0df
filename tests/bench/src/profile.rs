//! Where a server's processor time goes: samples of its stacks, by stage of a packet's way, and as a flame graph.
//!
//! ```text
//! perf record ─► perf.data ─► perf script ─► stacks ─► stages (rules) ─► table
//!                                               └────────────────────► flame
//! ```
//!
//! Samples come from the event `cpu-clock`, a timer, so that machines without hardware counters will do. It runs on the
//! processors that the server may use, not in its threads: perf 6.1 that follows threads did not sleep, and woke 88,000
//! times a second on the processor of the people. The timer waits where interrupts are off; time spent there shows at
//! the instruction that lets them in again (`_raw_spin_unlock_irqrestore`).
//!
//! Stacks are unwound from copies of their memory by the tables of the binary (DWARF), which every build has. Frame
//! pointers (`RUSTFLAGS=-Cforce-frame-pointers=yes`) make smaller files, but functions in assembly keep none: memcpy
//! hides who called it, and no sample in AES-GCM's inner loops knew what it was for. perf looks symbols up in the binary
//! when it is read: one that was rebuilt meanwhile has others, and most samples are `unattributed`.

mod flame;
mod rules;
mod stacks;
mod stages;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity};
use tokio::process::Command;

use self::stacks::Stack;
use self::stages::{Stage, Str0m, stage, str0m};

/// Samples a second: no multiple of the rates of pictures (30), sound (50) or the kernel's ticks.
const RATE: u32 = 499;
/// Bytes of stack copied for each sample, the most that perf takes: str0m's frames are large, and of 32 KiB a quarter of
/// the stacks had no root.
const UNWIND: &str = "dwarf,65528";
/// What perf keeps on each processor until it is written: half a second of samples.
const BUFFER: &str = "16M";
/// Symbols without samples to speak of are not listed: this many are.
const HOTTEST: usize = 15;

/// Samples on disk.
#[derive(Debug)]
pub(crate) struct Recording {
    path: PathBuf,
    pid: u32,
    time: Duration,
}

impl Recording {
    /// Samples a process for a time, into `perf.data` of a folder: about 30 MB for each second of each busy processor.
    /// perf takes this process's processor, not the server's.
    pub(crate) async fn make(pid: u32, time: Duration, folder: &Path) -> Result<Self> {
        let path = folder.join("perf.data");
        let processors = processors_of(pid)?;
        let mut command = Command::new("perf");
        command.args(["record", "--quiet", "-e", "cpu-clock", "-F", &RATE.to_string(), "-m", BUFFER]);
        command.args(["--call-graph", UNWIND, "-C", &processors]).arg("-o").arg(&path);
        command.args(["--", "sleep", &time.as_secs_f64().to_string()]);
        run(&mut command).await?;
        Ok(Self { path, pid, time })
    }

    /// Reads it.
    pub(crate) async fn read(&self) -> Result<Profile> {
        let path = self.path.with_extension("stacks");
        let mut command = Command::new("perf");
        // Who was inlined where would be asked of addr2line, address by address, for minutes.
        command.args(["script", "--no-inline", "-F", "comm,tid,time,event,ip,sym", "--pid", &self.pid.to_string()]);
        command.arg("-i").arg(&self.path).stdout(File::create(&path)?);
        run(&mut command).await?;
        let text = std::fs::read(&path)?;
        let profile = Profile { stacks: stacks::parse(&String::from_utf8_lossy(&text)), time: self.time };
        ensure!(profile.samples() > 0, "process {} was never seen at work; see {}", self.pid, self.path.display());
        Ok(profile)
    }
}

/// Runs perf to its end.
async fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().context("perf does not start; on Debian it is in the package linux-perf")?;
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("perf: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// The processors that a process may use, as perf's `-C` wants them.
fn processors_of(pid: u32) -> Result<String> {
    let id = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no process has this number")?;
    let set = sched_getaffinity(Some(id)).with_context(|| format!("process {pid} has ended"))?;
    let mine = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).map(|cpu| cpu.to_string());
    Ok(mine.collect::<Vec<_>>().join(","))
}

/// Samples by stack.
#[derive(Debug)]
pub(crate) struct Profile {
    stacks: BTreeMap<Stack, u64>,
    time: Duration,
}

/// Samples of a stage.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    all: u64,
    inside: u64,
    crypto: u64,
}

impl Profile {
    /// How many samples it is made of.
    pub(crate) fn samples(&self) -> u64 {
        self.stacks.values().sum()
    }

    /// Cost by stage: the part of each is of samples, `cpu_ns` and `packets` are what the same window took and delivered.
    pub(crate) fn table(&self, packets: u64, cpu_ns: u64) -> String {
        let rows = self.rows();
        let all = self.samples();
        let each = ratio(cpu_ns, packets);
        let mut out = String::from("| stage | % | ns/packet | inside str0m, % of all |\n|---|---:|---:|---:|\n");
        for stage in Stage::ALL {
            let Row { all: of, inside, .. } = rows.get(&stage).copied().unwrap_or_default();
            if of == 0 && stage != Stage::Unattributed {
                continue;
            }
            let part = ratio(of, all);
            let name = stage.name();
            out +=
                &format!("| {name} | {:.1} | {:.0} | {:.1} |\n", part * 100.0, part * each, ratio(inside, all) * 100.0);
        }
        let inside = ratio(rows.values().map(|row| row.inside).sum(), all);
        let crypto = ratio(rows.values().map(|row| row.crypto).sum(), all);
        out += &format!("| all | 100.0 | {each:.0} | {:.1} |\n\n", inside * 100.0);
        out += &format!(
            "inside str0m: {:.1} %, {:.0} ns/packet; of that cryptography: {:.1} %, {:.0} ns/packet\n",
            inside * 100.0,
            inside * each,
            crypto * 100.0,
            crypto * each,
        );
        let (seen, told) = (ratio(all, RATE.into()), Duration::from_nanos(cpu_ns).as_secs_f64());
        let error = (0.1 * 0.9 / ratio(all, 1)).sqrt() * 100.0;
        out += &format!(
            "{all} samples in {:.0} s: {seen:.2} s at work; the kernel counted {told:.2} s. Standard error of a row of 10 %: \
             {error:.1} points\n\n",
            self.time.as_secs_f64(),
        );
        out + &self.hottest()
    }

    /// The part of samples whose stage is not known.
    pub(crate) fn unattributed(&self) -> f64 {
        ratio(self.rows().get(&Stage::Unattributed).map_or(0, |row| row.all), self.samples())
    }

    /// Writes the flame graph.
    pub(crate) fn write_svg(&self, path: &Path, headline: &str) -> Result<()> {
        std::fs::write(path, flame::svg(&self.stacks, headline)).with_context(|| format!("writing {}", path.display()))
    }

    fn rows(&self) -> BTreeMap<Stage, Row> {
        let mut rows: BTreeMap<Stage, Row> = BTreeMap::new();
        for (stack, weight) in &self.stacks {
            let row = rows.entry(stage(stack)).or_default();
            row.all += weight;
            match str0m(stack) {
                Str0m::Outside => {}
                Str0m::Inside => row.inside += weight,
                Str0m::Crypto => {
                    row.inside += weight;
                    row.crypto += weight;
                }
            }
        }
        rows
    }

    /// The functions at work in most samples, whoever called them.
    fn hottest(&self) -> String {
        let mut by_leaf: BTreeMap<&str, u64> = BTreeMap::new();
        for (stack, weight) in &self.stacks {
            *by_leaf.entry(stack.frames.last().map_or("no frame", |frame| &frame.symbol)).or_default() += weight;
        }
        let mut leaves: Vec<_> = by_leaf.into_iter().collect();
        leaves.sort_by_key(|&(_, weight)| std::cmp::Reverse(weight));
        let mut out = String::from("| itself at work | % |\n|---|---:|\n");
        for (symbol, weight) in leaves.iter().take(HOTTEST) {
            out += &format!("| `{symbol}` | {:.1} |\n", ratio(*weight, self.samples()) * 100.0);
        }
        out
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
