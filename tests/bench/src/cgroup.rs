//! Processor time of a server with all its threads and children, those that have ended included: a control group of its
//! own (Linux `cgroup-v1/cpuacct.rst`, `cgroup-v2.rst`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Where version 2 is mounted, and how it is known from version 1.
const UNIFIED: (&str, &str) = ("/sys/fs/cgroup", "cgroup.controllers");
/// Where version 1 accounts processor time.
const VERSION_1: &str = "/sys/fs/cgroup/cpuacct";

/// Begins the names of all groups.
const PREFIX: &str = "plenary-bench-";

/// Where groups are made.
fn parent() -> &'static Path {
    let unified = Path::new(UNIFIED.0).join(UNIFIED.1).exists();
    Path::new(if unified { UNIFIED.0 } else { VERSION_1 })
}

/// Removes what a bench that was killed has left behind. Call it only while no other bench runs.
pub(crate) fn remove_stale() {
    for entry in fs::read_dir(parent()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            // One that still has processes stays.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// A control group. It is removed with this; its processes must have been waited for.
pub(crate) struct Account {
    folder: PathBuf,
}

impl Account {
    /// An empty group.
    pub(crate) fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = parent().join(name);
        let hint = "processor time is counted by a control group: run as root";
        fs::create_dir(&folder).with_context(|| format!("{}: {hint}", folder.display()))?;
        Ok(Self { folder })
    }

    /// The file that whoever wants to belong writes its process id to.
    pub(crate) fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// Nanoseconds so far.
    pub(crate) fn nanos(&self) -> Result<u64> {
        if let Ok(usage) = fs::read_to_string(self.folder.join("cpuacct.usage")) {
            return Ok(usage.trim().parse()?);
        }
        let stat = fs::read_to_string(self.folder.join("cpu.stat"))?;
        let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
        Ok(micros.context("cpu.stat has no usage_usec")?.parse::<u64>()? * 1000)
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // A process that has not been reaped keeps it; it is empty then, and small.
        let _ = fs::remove_dir(&self.folder);
    }
}
