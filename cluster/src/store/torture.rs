//! What the store keeps when the power goes, when its process is killed, and when its files are damaged.
//!
//! ```text
//! child process: workload ── preloaded shim ──► journal ──► disk as of any cut ──► opened and compared with what was
//!                        └─ acknowledgements ─────────────────────────────────►   acknowledged until then
//! ```
//!
//! A child is this very test binary, told by its environment to run one workload. `scripts/torture` runs more rounds of
//! the same tests. That the harness finds what it looks for is a test of its own: a store that acknowledges too early and
//! one that never syncs have to be found out.

#![expect(clippy::disallowed_methods, reason = "children are told what to do by their environment")]

mod disk;
mod history;
mod workload;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use self::disk::{Disk, Fate, Record, records};
use self::history::History;
use self::workload::Plan;
use super::tests::closed;
use super::{Store, StoreError};
use crate::model::NodeId;

/// Steps of a child that runs until it is killed.
const ENDLESS: u64 = u64::MAX;

/// How many rounds to run: what `scripts/torture` asks for, or a share that suits every test run.
fn rounds(usual: u64) -> u64 {
    env::var("PLENARY_TORTURE_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

fn seed() -> u64 {
    env::var("PLENARY_TORTURE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// A folder for what is only looked at: in memory where there is such a file system, because nothing there is at stake.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("plenary-torture-");
    if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() }.expect("a folder")
}

/// How a store may treat a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Care {
    /// As the product does.
    Full,
    /// Acknowledges before the sync.
    AcknowledgesEarly,
    /// Leaves its syncs to the operating system.
    NeverSyncs,
    /// As the product does, on a disk whose sync of this number fails.
    Failing(u64),
}

/// Runs a workload in a child process, whose file operations go to a journal if there is one.
fn child(plan: &Plan, journal: Option<(&Path, &Path, Care)>) -> Child {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.args(["--exact", "store::torture::a_child_runs_what_it_is_told", "--nocapture", "--test-threads=1"]);
    command.env("PLENARY_TORTURE_CHILD", format!("{}:{}:{}", plan.seed, plan.steps, u8::from(plan.naive)));
    command.env("PLENARY_TORTURE_FOLDER", &plan.folder).env("PLENARY_TORTURE_ACKS", &plan.acks);
    if let Some((shim, journal, care)) = journal {
        command.env("LD_PRELOAD", shim).env("JOURNAL_FILE", journal);
        command.env("JOURNAL_ROOT", &plan.folder).env("JOURNAL_ACKS", &plan.acks);
        match care {
            Care::Full | Care::AcknowledgesEarly => {}
            Care::NeverSyncs => {
                command.env("JOURNAL_NOSYNC", "1");
            }
            Care::Failing(number) => {
                command.env("JOURNAL_FAIL", number.to_string());
            }
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("a child")
}

/// In a child, the workload; else a short one, so that it is known to work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_runs_what_it_is_told() {
    let Ok(told) = env::var("PLENARY_TORTURE_CHILD") else {
        let folder = scratch();
        let acks = folder.path().join("acks");
        let data = folder.path().join("data");
        workload::run(&Plan { folder: data.clone(), acks: acks.clone(), seed: seed(), steps: 60, naive: false }).await;
        closed(&data).await;
        assert_eq!(judge(&data, &History::of(&fs::read_to_string(acks).expect("read")), true).await, Outcome::Whole);
        return;
    };
    let mut words = told.split(':').map(|word| word.parse::<u64>().expect("a number"));
    let mut next = || words.next().expect("three numbers");
    let path = |name| PathBuf::from(env::var_os(name).expect("a path"));
    let (seed, steps, naive) = (next(), next(), next() == 1);
    let plan = Plan { folder: path("PLENARY_TORTURE_FOLDER"), acks: path("PLENARY_TORTURE_ACKS"), seed, steps, naive };
    workload::run(&plan).await;
    // As if killed: nothing is closed, nothing that is under way is waited for.
    std::process::abort();
}

/// What a folder turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// All that was promised is there.
    Whole,
    /// The store does not open.
    Refused(String),
    /// It opened and something is missing or wrong.
    Lost(String),
}

/// Opens a folder and compares it with what was promised.
async fn judge(folder: &Path, history: &History, snapshots: bool) -> Outcome {
    let opened = catch_unwind(AssertUnwindSafe(|| Store::open(folder, NodeId::new(1))));
    let mut store = match opened {
        Ok(Ok(store)) => store,
        Ok(Err(error @ (StoreError::Damaged { .. } | StoreError::Schema { .. } | StoreError::OtherNode { .. }))) => {
            return Outcome::Refused(error.to_string());
        }
        Ok(Err(error @ (StoreError::Folder { .. } | StoreError::InUse { .. }))) => {
            return Outcome::Lost(format!("refused for a reason that is none: {error}"));
        }
        Err(_) => return Outcome::Lost("opening it panicked".to_owned()),
    };
    let broken = history.broken_by(&mut store, snapshots).await;
    drop(store);
    closed(folder).await;
    broken.map_or(Outcome::Whole, Outcome::Lost)
}

/// What a number of trials came to.
#[derive(Debug, Default)]
struct Tally {
    trials: u64,
    whole: u64,
    refused: Vec<String>,
    lost: Vec<String>,
}

impl Tally {
    fn add(&mut self, trial: impl FnOnce() -> String, outcome: Outcome) {
        self.trials += 1;
        match outcome {
            Outcome::Whole => self.whole += 1,
            Outcome::Refused(reason) => self.refused.push(format!("{}: {reason}", trial())),
            Outcome::Lost(reason) => self.lost.push(format!("{}: {reason}", trial())),
        }
    }

    #[expect(clippy::print_stdout, reason = "figures of a test run")]
    fn report(&self, what: &str) {
        let Self { trials, whole, refused, lost } = self;
        println!("{what}: {trials} trials, {whole} whole, {} refused, {} lost", refused.len(), lost.len());
        for line in refused.iter().take(5).chain(lost.iter().take(20)) {
            println!("  {line}");
        }
    }
}

/// The shim, compiled.
fn shim(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shim/journal.c");
    let shim = folder.join("journal.so");
    let compiler =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&shim).arg(source).arg("-ldl").status();
    assert!(compiler.expect("a C compiler").success(), "the shim does not compile");
    shim
}

/// Runs a workload under the journal, several processes one after the other, and cuts the power at `cuts` moments.
async fn cut_power(care: Care, cuts: u64, seed: u64, tally: &mut Tally) {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, acks, journal) = (folder.path().join("data"), folder.path().join("acks"), folder.path().join("journal"));
    fs::create_dir(&data).expect("a folder");
    let shim = shim(folder.path());
    let mut random = SmallRng::seed_from_u64(seed);
    for session in 0..3 {
        let steps = random.random_range(40..600);
        let naive = care == Care::AcknowledgesEarly;
        let plan = Plan { folder: data.clone(), acks: acks.clone(), seed: seed * 10 + session, steps, naive };
        let status = child(&plan, Some((&shim, &journal, care))).wait().expect("it ends");
        assert_eq!(status.signal(), Some(6), "the child did not get to its end");
    }
    let journal = fs::read(journal).expect("a journal");
    let records = records(&journal);
    assert!(records.iter().any(|record| matches!(record, Record::Acknowledge { .. })), "nothing was acknowledged");
    let mut moments: Vec<usize> = (0..cuts).map(|_| random.random_range(0..=records.len())).collect();
    moments.sort_unstable();
    let mut disk = Disk::new(fs::metadata(&data).expect("the folder").ino());
    let mut history = History::default();
    let mut played = 0;
    let scratch = scratch();
    for (number, moment) in moments.into_iter().enumerate() {
        for record in &records[played..moment] {
            disk.play(record).into_iter().for_each(|fact| history.add(fact));
        }
        played = moment;
        let fate = match random.random_range(0..8) {
            0 | 1 => Fate::Lost,
            2 => Fate::Kept,
            3 => Fate::NamesKept,
            _ => Fate::Torn(random.random()),
        };
        let found = scratch.path().join(number.to_string());
        disk.cut(fate, &found);
        let outcome = judge(&found, &history, true).await;
        tally.add(|| format!("seed {seed}, cut at {moment} of {}, {fate:?}", records.len()), outcome);
        fs::remove_dir_all(&found).expect("removed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let mut tally = Tally::default();
    let cuts = rounds(250);
    for part in 0..cuts.div_ceil(125) {
        cut_power(Care::Full, 125.min(cuts - part * 125), seed() + part, &mut tally).await;
    }
    tally.report("power cuts");
    assert!(tally.lost.is_empty() && tally.refused.is_empty());
}

/// A kernel reports a failed write once, and may have dropped what it was about: whoever syncs again and goes on has lost
/// it. So after the first failure nothing more may be acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_sync_that_failed_nothing_is_acknowledged() {
    let mut tally = Tally::default();
    let mut random = SmallRng::seed_from_u64(seed());
    let (mut ended, mut acknowledged) = (0, 0);
    for number in 0..rounds(24) {
        let folder = scratch();
        let (data, acks, journal) =
            (folder.path().join("data"), folder.path().join("acks"), folder.path().join("journal"));
        fs::create_dir(&data).expect("a folder");
        let care = Care::Failing(random.random_range(12..120));
        let plan = Plan { folder: data.clone(), acks, seed: seed() + number, steps: 400, naive: false };
        let mut child = child(&plan, Some((&shim(folder.path()), &journal, care)));
        // A sync of the rows may fail as well: they are a copy, and the workload comes to its end.
        ended += u64::from(child.wait().expect("it ends").signal() != Some(6));
        let journal = fs::read(journal).expect("a journal");
        let mut disk = Disk::new(fs::metadata(&data).expect("the folder").ino());
        let mut history = History::default();
        for record in records(&journal) {
            disk.play(&record).into_iter().for_each(|fact| history.add(fact));
        }
        acknowledged += history.acknowledged;
        let found = folder.path().join("found");
        disk.cut(Fate::Lost, &found);
        tally.add(|| format!("{care:?}"), judge(&found, &history, true).await);
    }
    tally.report(&format!("failed syncs, {ended} ended the node, {acknowledged} entries acknowledged before"));
    assert!(tally.lost.is_empty() && tally.refused.is_empty() && ended > 0 && acknowledged > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_wait_for_its_syncs_is_found_out() {
    for care in [Care::AcknowledgesEarly, Care::NeverSyncs] {
        let mut tally = Tally::default();
        cut_power(care, 40, seed(), &mut tally).await;
        tally.report(&format!("power cuts, {care:?}"));
        assert!(!tally.lost.is_empty(), "{care:?} was not found out");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let mut tally = Tally::default();
    let mut random = SmallRng::seed_from_u64(seed());
    let kills = rounds(40);
    let mut acknowledged = 0;
    for part in 0..kills.div_ceil(20) {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, acks) = (folder.path().join("data"), folder.path().join("acks"));
        for round in 0..20.min(kills - part * 20) {
            let seed = seed() + part * 1000 + round;
            let before = fs::metadata(&acks).map_or(0, |file| file.len());
            let plan = Plan { folder: data.clone(), acks: acks.clone(), seed, steps: ENDLESS, naive: false };
            let mut child = child(&plan, None);
            grown(&acks, before + random.random_range(1..4000), &mut child).await;
            child.kill().expect("killed");
            child.wait().expect("it ends");
            let history = History::of(&fs::read_to_string(&acks).expect("acknowledgements"));
            acknowledged = history.acknowledged;
            let outcome = judge(&data, &history, true).await;
            tally.add(|| format!("kill {round} of folder {part}, seed {seed}"), outcome);
        }
        tally.report(&format!("kill -9, {acknowledged} entries acknowledged in the last folder"));
    }
    assert!(tally.lost.is_empty() && tally.refused.is_empty());
}

/// Waits until a child has written this much down.
async fn grown(acks: &Path, length: u64, child: &mut Child) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    while fs::metadata(acks).map_or(0, |file| file.len()) < length {
        assert!(child.try_wait().expect("asked").is_none(), "the child ended by itself");
        assert!(tokio::time::Instant::now() < deadline, "the child does not get on");
        looks.tick().await;
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("it is below"));
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(file, target).expect("copied");
    }
}

/// Flips a bit, cuts the end off, or blanks a part of a file; says what it did.
fn harm(path: &Path, random: &mut SmallRng) -> String {
    let mut content = fs::read(path).expect("read");
    if content.is_empty() {
        return "nothing to harm".to_owned();
    }
    let at = random.random_range(0..content.len());
    let what = match random.random_range(0..5) {
        0 => {
            content.truncate(at);
            format!("cut to {at} bytes")
        }
        1 => {
            let end = (at + 512).min(content.len());
            content[at..end].fill(0);
            format!("bytes {at}..{end} blanked")
        }
        _ => {
            let bit = random.random_range(0..8);
            content[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
    };
    fs::write(path, content).expect("written");
    what
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_are_refused_or_do_not_matter() {
    let trials = rounds(300);
    let mut random = SmallRng::seed_from_u64(seed());
    let mut tallies: BTreeMap<PathBuf, Tally> = BTreeMap::new();
    for part in 0..trials.div_ceil(100) {
        let folder = scratch();
        let (data, acks) = (folder.path().join("data"), folder.path().join("acks"));
        for session in 0..2 {
            let seed = seed() + part * 10 + session;
            let plan = Plan { folder: data.clone(), acks: acks.clone(), seed, steps: 300, naive: false };
            child(&plan, None).wait().expect("it ends");
        }
        let history = History::of(&fs::read_to_string(&acks).expect("acknowledgements"));
        // Opened once, so that the mark has caught up: it lags a little when the process is killed.
        assert_eq!(judge(&data, &history, true).await, Outcome::Whole);
        let mut kinds: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
        for file in files(&data).into_iter().filter(|path| !path.ends_with("LOCK")) {
            let kind = file.strip_prefix(&data).expect("it is below").iter().next().expect("a name");
            kinds.entry(kind.into()).or_default().push(file);
        }
        for trial in 0..100.min(trials - part * 100) {
            let place = folder.path().join(format!("trial-{trial}"));
            copy(&data, &place);
            let kind = usize::try_from(trial).expect("small") % kinds.len();
            let (kind, members) = kinds.iter().nth(kind).expect("a kind");
            let file = &members[random.random_range(0..members.len())];
            let name = file.strip_prefix(&data).expect("it is below");
            let what = harm(&place.join(name), &mut random);
            let outcome = judge(&place, &history, false).await;
            tallies.entry(kind.clone()).or_default().add(|| format!("{}: {what}", name.display()), outcome);
            fs::remove_dir_all(&place).expect("removed");
        }
    }
    for (kind, tally) in &tallies {
        tally.report(&format!("damage to {}", kind.display()));
    }
    assert!(tallies.values().all(|tally| tally.lost.is_empty()));
    assert!(["mark", "raft.sled", "snapshots", "wal"].iter().all(|kind| tallies.contains_key(Path::new(kind))));
}

/// Without the mark a log that lost its end opens as if nothing were missing, and the harness says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_its_mark_is_found_out() {
    // In some runs the rows are ahead of the cut log, and that alone is noticed; in others only the mark would tell.
    let mut lost = 0;
    for run in 0..8 {
        let folder = scratch();
        let (data, acks) = (folder.path().join("data"), folder.path().join("acks"));
        let plan = Plan { folder: data.clone(), acks: acks.clone(), seed: seed() + run, steps: 100, naive: false };
        child(&plan, None).wait().expect("it ends");
        let history = History::of(&fs::read_to_string(&acks).expect("acknowledgements"));
        assert_eq!(judge(&data, &history, true).await, Outcome::Whole);
        let log = files(&data.join("wal")).pop().expect("a chunk");
        let length = fs::metadata(&log).expect("read").len();
        fs::OpenOptions::new().write(true).open(&log).expect("opens").set_len(length * 9 / 10).expect("cut");
        assert!(matches!(judge(&data, &history, false).await, Outcome::Refused(_)));
        super::mark::MarkFile::open(&data.join("mark")).expect("a mark").0.reset().expect("reset");
        lost += usize::from(matches!(judge(&data, &history, false).await, Outcome::Lost(_)));
    }
    assert!(lost > 0, "no run was served short without its mark");
}
