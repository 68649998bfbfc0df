//! Measures what could keep Raft's log: entries of 300 bytes, each answered once it would survive a power cut.
//!
//! ```text
//! this thread: answered writers append again, in one batch ─► the log's thread: sync ► mark ► answer all that waited
//! ```
//!
//! Candidates run in turns (there and back) on the same disk in one run. `cargo run -p plenary-cluster --example
//! log_candidates -- [folder] [rounds] [milliseconds]`. The figures behind ADR 3 come from here.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::codeq::{Decode, Encode};

/// Bytes of one entry.
const ENTRY: usize = 300;

/// Entries between two purges, and how many stay.
const PURGE_EVERY: u64 = 5000;
const KEEP: u64 = 1000;

/// How long the mark's file may lag behind the log where it is not synced with every batch.
const MARK_LAG: Duration = Duration::from_millis(20);

/// Whom to answer once their entries are durable.
type Writers = Vec<usize>;

/// A log with a thread that makes it durable.
trait Log {
    /// Appends an entry for each of `writers`, and answers them once all are durable.
    fn append(&self, first: u64, writers: Writers);
    fn purge(&self, upto: u64);
}

/// The file that says how far the log certainly reached.
struct Mark {
    file: File,
    with_every_batch: bool,
    synced: Instant,
}

impl Mark {
    fn create(folder: &Path, with_every_batch: bool) -> Self {
        let file = OpenOptions::new().create_new(true).write(true).open(folder.join("mark")).expect("a mark");
        file.write_all_at(&[0; 4160], 0).expect("written");
        file.sync_all().expect("synced");
        Self { file, with_every_batch, synced: now() }
    }

    fn advance(&mut self) {
        self.file.write_all_at(&[7; 64], 0).expect("written");
        if self.with_every_batch || self.synced.elapsed() > MARK_LAG {
            self.file.sync_data().expect("synced");
            self.synced = now();
        }
    }
}

/// The thread that syncs for all whose appends came in meanwhile, and answers them.
fn sync_thread(
    mut sync: impl FnMut() + Send + 'static,
    mut mark: Mark,
    answers: SyncSender<usize>,
) -> SyncSender<Writers> {
    let (requests, waiting) = sync_channel::<Writers>(4096);
    thread::spawn(move || {
        while let Ok(first) = waiting.recv() {
            let batch: Vec<Writers> = std::iter::once(first).chain(waiting.try_iter().take(1023)).collect();
            sync();
            mark.advance();
            for writer in batch.into_iter().flatten() {
                answers.send(writer).unwrap_or_default();
            }
        }
    });
    requests
}

struct Sled {
    tree: sled::Tree,
    requests: SyncSender<Writers>,
}

impl Sled {
    fn open(folder: &Path, mark: Mark, answers: SyncSender<usize>) -> Self {
        let config = sled::Config::new().path(folder.join("sled")).cache_capacity(32 << 20).flush_every_ms(Some(500));
        let db = config.open().expect("sled opens");
        let tree = db.open_tree("log").expect("a tree");
        let file = File::open(folder.join("sled/db")).expect("sled's file");
        let sync = move || {
            db.flush().expect("flushed");
            file.sync_data().expect("synced");
        };
        Self { tree, requests: sync_thread(sync, mark, answers) }
    }
}

impl Log for Sled {
    fn append(&self, first: u64, writers: Writers) {
        let mut batch = sled::Batch::default();
        for index in first..first + writers.len() as u64 {
            batch.insert(&index.to_be_bytes(), entry(index));
        }
        self.tree.apply_batch(batch).expect("appended");
        self.requests.send(writers).expect("the thread runs");
    }

    fn purge(&self, upto: u64) {
        let mut batch = sled::Batch::default();
        for key in self.tree.range(..=upto.to_be_bytes()).keys() {
            batch.remove(key.expect("a key"));
        }
        self.tree.apply_batch(batch).expect("purged");
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Types;

#[derive(Debug, Clone)]
struct Payload(Vec<u8>);

impl Encode for Payload {
    fn encode<W: io::Write>(&self, mut to: W) -> io::Result<usize> {
        to.write_all(&u32::try_from(self.0.len()).map_err(io::Error::other)?.to_be_bytes())?;
        to.write_all(&self.0)?;
        Ok(4 + self.0.len())
    }
}

impl Decode for Payload {
    fn decode<R: io::Read>(mut from: R) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        from.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }
}

impl raft_log::Types for Types {
    type LogId = u64;
    type LogPayload = Payload;
    type Vote = u64;
    type Callback = SyncSender<io::Result<()>>;
    type UserData = u64;

    fn log_index(log_id: &u64) -> u64 {
        *log_id
    }

    fn payload_size(payload: &Payload) -> u64 {
        payload.0.len() as u64
    }
}

struct Wal {
    log: Arc<Mutex<raft_log::RaftLog<Types>>>,
    requests: SyncSender<Writers>,
}

impl Wal {
    fn open(folder: &Path, mark: Mark, answers: SyncSender<usize>) -> Self {
        let folder = folder.join("wal");
        std::fs::create_dir(&folder).expect("a folder");
        let mut config = raft_log::Config::new(folder.display());
        config.wal.chunk_max_size = Some(16 << 20);
        config.wal.read_buffer_size = Some(1 << 20);
        // Requests are gathered here; left to raft-log alone, most syncs serve one request.
        config.wal.flush_batch_wait = Some(Duration::ZERO);
        config.log_cache_capacity = Some(32 << 20);
        let log = Arc::new(Mutex::new(raft_log::RaftLog::open(Arc::new(config)).expect("raft-log opens")));
        let synced = Arc::clone(&log);
        let sync = move || {
            let (sender, answer) = sync_channel::<io::Result<()>>(1);
            synced.lock().expect("no panic").flush(true, Some(sender)).expect("taken");
            answer.recv().expect("answered").expect("synced");
        };
        Self { log, requests: sync_thread(sync, mark, answers) }
    }
}

impl Log for Wal {
    fn append(&self, first: u64, writers: Writers) {
        let entries = (first..first + writers.len() as u64).map(|index| (index, Payload(entry(index))));
        self.log.lock().expect("no panic").append(entries).expect("appended");
        self.requests.send(writers).expect("the thread runs");
    }

    fn purge(&self, upto: u64) {
        self.log.lock().expect("no panic").purge(upto).expect("purged");
    }
}

fn entry(index: u64) -> Vec<u8> {
    let mut bytes = vec![0xa5; ENTRY];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    bytes
}

type Open = fn(&Path, Mark, SyncSender<usize>) -> Box<dyn Log>;

#[derive(Clone, Copy)]
struct Candidate {
    name: &'static str,
    open: Open,
    mark_with_every_batch: bool,
}

const SLED: Open = |folder, mark, answers| Box::new(Sled::open(folder, mark, answers));
const WAL: Open = |folder, mark, answers| Box::new(Wal::open(folder, mark, answers));

const CANDIDATES: [Candidate; 4] = [
    Candidate { name: "sled, mark synced", open: SLED, mark_with_every_batch: true },
    Candidate { name: "sled, mark lags", open: SLED, mark_with_every_batch: false },
    Candidate { name: "raft-log, mark synced", open: WAL, mark_with_every_batch: true },
    Candidate { name: "raft-log, mark lags", open: WAL, mark_with_every_batch: false },
];

/// What one turn of a candidate gave.
struct Turn {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn now() -> Instant {
    Instant::now()
}

fn turn(candidate: Candidate, folder: &Path, writers: usize, time: Duration) -> Turn {
    let folder = tempfile::Builder::new().prefix("log-candidates-").tempdir_in(folder).expect("a folder");
    let (answers, answered) = sync_channel(4096);
    let log = (candidate.open)(folder.path(), Mark::create(folder.path(), candidate.mark_with_every_batch), answers);
    let mut begun = vec![now(); writers];
    let mut took = Vec::new();
    let (mut next, mut purged) = (0, 0);
    let mut ready: Vec<usize> = (0..writers).collect();
    let from = now();
    while from.elapsed() < time {
        for writer in &ready {
            begun[*writer] = now();
        }
        let first = next;
        next += ready.len() as u64;
        log.append(first, std::mem::take(&mut ready));
        if next - purged > PURGE_EVERY {
            purged = next - KEEP;
            log.purge(purged);
        }
        ready.push(answered.recv().expect("the log's thread runs"));
        ready.extend(answered.try_iter());
        for writer in &ready {
            took.push(begun[*writer].elapsed());
        }
    }
    let elapsed = from.elapsed();
    drop(answered);
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
    Turn { per_second: took.len() as f64 / elapsed.as_secs_f64(), p50: at(50), p99: at(99) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let rounds: usize = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let time = Duration::from_millis(arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1000));
    for writers in [1, 16, 64, 256] {
        let mut turns: Vec<Vec<Turn>> = CANDIDATES.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..CANDIDATES.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for number in order {
                turns[number].push(turn(CANDIDATES[number], &folder, writers, time));
            }
        }
        let mut lines = String::new();
        let first = median(turns[0].iter().map(|turn| turn.per_second).collect());
        for (candidate, turns) in CANDIDATES.iter().zip(&turns) {
            let of = |read: fn(&Turn) -> f64| median(turns.iter().map(read).collect());
            let per_second = of(|turn| turn.per_second);
            let (p50, p99) = (of(|turn| turn.p50.as_secs_f64() * 1e3), of(|turn| turn.p99.as_secs_f64() * 1e3));
            let ratio = per_second / first;
            let name = candidate.name;
            writeln!(
                lines,
                "{writers:>4} writers  {name:<22} {per_second:>8.0}/s  x{ratio:.2}  p50 {p50:.2} ms  p99 {p99:.2} ms"
            )
            .map_err(io::Error::other)?;
        }
        io::stdout().write_all(lines.as_bytes())?;
    }
    Ok(())
}
