//! What the machine says: processor time, memory, disk.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::clock::now;
use plenary_participant::Histogram;

/// Appends that the disk is asked for.
const SYNCS: usize = 200;
/// Bytes of each.
const SYNC_BYTES: usize = 4096;

/// What figures depend on: the first line of a file of raw results.
#[derive(Debug, Serialize, serde::Deserialize)]
pub(crate) struct Conditions {
    /// The arguments of the run.
    conditions: Vec<String>,
    kernel: String,
    processor: String,
    /// What the kernel does against the processor's faults, by the fault.
    mitigations: std::collections::BTreeMap<String, String>,
}

impl Conditions {
    /// Those of this run.
    pub(crate) fn now() -> Result<Self> {
        let words = |path: &Path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let faults = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten().flatten();
        Ok(Self {
            conditions: std::env::args().skip(1).collect(),
            kernel: words(Path::new("/proc/sys/kernel/osrelease")),
            processor: model.map(|(_, model)| model.to_owned()).unwrap_or_default(),
            mitigations: faults
                .map(|fault| (fault.file_name().to_string_lossy().into_owned(), words(&fault.path())))
                .collect(),
        })
    }
}

/// Processor time since the start of the machine, in ticks.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    /// Of processes at a lowered priority, in user mode.
    lowered: u64,
    /// Taken by other guests of the same machine.
    stolen: u64,
    busy: u64,
    all: u64,
}

fn ticks() -> Result<Ticks> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    // user nice system idle iowait irq softirq steal; what follows is contained in them.
    let fields: Vec<u64> = line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
    let [_, lowered, _, idle, waiting, _, _, stolen] = fields[..] else { anyhow::bail!("/proc/stat: {line}") };
    let all = fields.iter().sum();
    Ok(Ticks { lowered, stolen, busy: all - idle - waiting - stolen, all })
}

/// Processor time of one process in ticks; 0 once it is gone.
fn ticks_of(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold anything; user and system time are 12 and 13 fields behind it.
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Shares of all cores over a time, each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Load {
    /// Of the processes under test and of the clients.
    pub(crate) own: f64,
    /// Of everybody else, and of the kernel's own threads.
    pub(crate) foreign: f64,
    /// The part of `foreign` at a lowered priority, which gives way.
    pub(crate) lowered: f64,
    /// Of other guests of the same machine: it was not there for us.
    pub(crate) stolen: f64,
}

/// Watches the processors from its making to [`Watch::end`].
pub(crate) struct Watch {
    pids: Vec<u32>,
    before: Ticks,
    own_before: u64,
}

impl Watch {
    /// `pids` and this process are not foreign.
    pub(crate) fn begin(mut pids: Vec<u32>) -> Result<Self> {
        pids.push(std::process::id());
        let own_before = pids.iter().map(|pid| ticks_of(*pid)).sum();
        Ok(Self { before: ticks()?, own_before, pids })
    }

    /// What was seen.
    #[expect(clippy::cast_precision_loss, reason = "ticks of a run are far below 2^52")]
    pub(crate) fn end(&self) -> Result<Load> {
        let after = ticks()?;
        let own: u64 = self.pids.iter().map(|pid| ticks_of(*pid)).sum();
        let own = own.saturating_sub(self.own_before);
        let all = (after.all - self.before.all).max(1) as f64;
        let busy = after.busy - self.before.busy;
        let share = |ticks: u64| ticks as f64 / all;
        Ok(Load {
            own: share(own),
            foreign: share(busy.saturating_sub(own)),
            lowered: share(after.lowered - self.before.lowered),
            stolen: share(after.stolen - self.before.stolen),
        })
    }
}

/// Processor time of all threads of a process that live, in nanoseconds.
pub(crate) fn cpu_nanos(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} has ended"))? {
        // A thread may end meanwhile.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += text.split_whitespace().next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// Processor time of these processes in ticks.
pub(crate) fn used(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| ticks_of(*pid)).sum()
}

/// Resident memory of a process in bytes: now, and at most so far.
pub(crate) fn memory(pid: u32) -> Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib * 1024).with_context(|| format!("process {pid} has no {name}"))
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// A process's memory in bytes, what it shares with others divided among them (`smaps_rollup`, proc_pid_smaps(5)).
pub(crate) fn proportional_memory(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).with_context(|| format!("process {pid} has no Pss"))
}

/// Bytes that a folder takes on disk, and those of its files that `select` names.
pub(crate) fn disk(folder: &Path, select: &dyn Fn(&Path) -> bool) -> (u64, u64) {
    let (mut all, mut selected) = (0, 0);
    // What vanishes while it is looked at takes nothing.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            let (inner, of) = disk(&path, select);
            all += inner;
            selected += of;
        } else {
            // Files may be reserved ahead or have holes: blocks are what they take.
            let bytes = std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
            all += bytes;
            selected += if select(&path) { bytes } else { 0 };
        }
    }
    (all, selected)
}

/// How long an append of 4 KiB and its sync take on the disk of `folder`: median and p99.
pub(crate) fn sync_times(folder: &Path) -> Result<(Duration, Duration)> {
    let path = folder.join("sync-probe");
    let mut file = File::create(&path)?;
    let mut times = Histogram::default();
    for _ in 0..SYNCS {
        let from = now();
        file.write_all(&[1; SYNC_BYTES])?;
        file.sync_data()?;
        times.record(from.elapsed());
    }
    fs::remove_file(path)?;
    Ok((times.per_mille(500), times.per_mille(990)))
}
