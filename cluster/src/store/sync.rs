//! The one thread that makes the log and the vote durable.
//!
//! ```text
//! append, vote ──► bounded queue ──► drain ► sync the log ► note the mark ► answer all ► now and then: sync the mark
//! ```
//!
//! One sync covers everything that queued up during the one before (group commit). After the first failure nothing is
//! tried again and everything is answered with an error: what a failed sync left on disk is unknown.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::mark::{Mark, MarkFile, VoteMark};
use super::space::Space;
use super::wal::Wal;
use crate::raft::types::TypeConfig;

/// Requests that may wait for the thread; a proposer waits for its own, so this many proposals are in flight at most.
const QUEUE: usize = 4096;

/// Requests that one sync answers at most.
const BATCH: usize = 1024;

/// For how long the mark's file may lag behind the log on disk. The log is durable by itself; the mark is there to tell
/// when a part of it got lost later, so a second sync before each answer would buy little and cost half the writes.
const MARK_LAG: Duration = Duration::from_millis(20);

/// How often the room on the disk is looked at when nothing is written.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whom to answer once a request is durable.
enum Answer {
    Raft(IOFlushed<TypeConfig>),
    Caller(oneshot::Sender<io::Result<()>>),
}

impl Answer {
    fn send(self, result: io::Result<()>) {
        match self {
            Self::Raft(callback) => callback.io_completed(result),
            Self::Caller(sender) => drop(sender.send(result)),
        }
    }
}

/// What holds once everything that was written before is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// The log ends at this index.
    End(u64),
    /// The log is about to be cut to this end: the mark has to be lower before.
    Lower(u64),
    Vote(VoteMark),
    /// The log was cut this often.
    Cuts(u64),
}

/// What is to be durable before the answer, beside what was written to the log.
struct Request {
    reached: Reached,
    answer: Answer,
}

/// The handle to the thread. The thread ends, and the log closes, when the last handle is gone.
#[derive(Debug, Clone)]
pub(super) struct Syncer {
    queue: SyncSender<Request>,
    durable: Durable,
}

impl Syncer {
    /// Starts the thread for a log whose end and vote are `mark`.
    pub(super) fn start(wal: Wal, mut mark_file: MarkFile, mark: Mark, space: Arc<Space>) -> io::Result<Self> {
        mark_file.write(mark)?;
        mark_file.sync()?;
        let (queue, requests) = sync_channel(QUEUE);
        let durable = Durable::new(mark.end);
        let worker = Worker { wal, mark_file, mark, mark_synced: now(), space, durable: durable.clone() };
        thread::Builder::new().name("raft-fsync".to_owned()).spawn(move || worker.run(&requests))?;
        Ok(Self { queue, durable })
    }

    /// Tells how far the log is durable.
    pub(super) fn durable(&self) -> Durable {
        self.durable.clone()
    }

    /// Has what was appended synced; the log ends at `end` then.
    pub(super) fn appended(&self, end: u64, callback: IOFlushed<TypeConfig>) -> io::Result<()> {
        self.durable.appended.store(end, Ordering::SeqCst);
        self.send(Request { reached: Reached::End(end), answer: Answer::Raft(callback) })
    }

    /// Has the vote synced.
    pub(super) async fn voted(&self, vote: VoteMark) -> io::Result<()> {
        self.wait(Reached::Vote(vote)).await
    }

    /// Lowers the mark before the log is cut.
    pub(super) async fn lowered(&self, end: u64) -> io::Result<()> {
        self.durable.appended.store(end, Ordering::SeqCst);
        self.wait(Reached::Lower(end)).await
    }

    /// Has a cut synced; it was the `cuts`th.
    pub(super) async fn cut(&self, cuts: u64) -> io::Result<()> {
        self.wait(Reached::Cuts(cuts)).await
    }

    async fn wait(&self, reached: Reached) -> io::Result<()> {
        let (sender, answer) = oneshot::channel();
        self.send(Request { reached, answer: Answer::Caller(sender) })?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    fn send(&self, request: Request) -> io::Result<()> {
        self.queue.send(request).map_err(|_| stopped())
    }
}

/// Tells how far the log is durable. Without locks: one who asks may stand back while the log is synced.
#[derive(Debug, Clone)]
pub(crate) struct Durable {
    /// Where the log ends, durable or not.
    appended: Arc<AtomicU64>,
    /// Where its durable part ends.
    end: Arc<AtomicU64>,
    /// Why it will never end later.
    failed: Arc<OnceLock<Failure>>,
}

impl Durable {
    fn new(end: u64) -> Self {
        let ends = || Arc::new(AtomicU64::new(end));
        Self { appended: ends(), end: ends(), failed: Arc::default() }
    }

    /// Whether the entry at `index` is durable, or not in the log at all.
    ///
    /// # Errors
    /// The reason why it never will be.
    pub(super) fn covers(&self, index: u64) -> io::Result<bool> {
        match self.failed.get() {
            Some(failure) => Err(failure.into()),
            None => Ok(index < self.end.load(Ordering::SeqCst) || index >= self.appended.load(Ordering::SeqCst)),
        }
    }
}

#[cfg(test)]
impl Durable {
    /// Of a log with `appended` entries, and how to say how many of them are durable.
    pub(super) fn of(appended: u64) -> (impl Fn(u64), Self) {
        let durable = Self::new(0);
        durable.appended.store(appended, Ordering::SeqCst);
        let end = Arc::clone(&durable.end);
        (move |to| end.store(to, Ordering::SeqCst), durable)
    }
}

/// What the first failure said.
#[derive(Debug, Clone)]
struct Failure {
    kind: io::ErrorKind,
    words: String,
}

impl From<&Failure> for io::Error {
    fn from(failure: &Failure) -> Self {
        Self::new(failure.kind, failure.words.clone())
    }
}

struct Worker {
    wal: Wal,
    mark_file: MarkFile,
    mark: Mark,
    /// When the mark's file was last synced.
    mark_synced: Instant,
    space: Arc<Space>,
    durable: Durable,
}

impl Worker {
    fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let pause = if self.mark_file.is_synced() { LOOK_EVERY } else { MARK_LAG };
            let first = match requests.recv_timeout(pause) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.space.full();
                    self.carry_out(Self::sync_mark).unwrap_or_default();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut batch = vec![first];
            batch.extend(requests.try_iter().take(BATCH - 1));
            let result = self.carry_out(|worker| worker.sync(&batch));
            for request in batch {
                request.answer.send(result.as_ref().map(|&()| ()).map_err(io::Error::from));
            }
        }
        self.carry_out(Self::sync_mark).unwrap_or_default();
    }

    /// Does a part of the work, unless an earlier one failed.
    fn carry_out(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) -> Result<(), Failure> {
        if let Some(failure) = self.durable.failed.get() {
            return Err(failure.clone());
        }
        work(self).map_err(|error| {
            tracing::error!(%error, "the store can't be synced; this node stops");
            let failure = Failure { kind: error.kind(), words: format!("the store can't be synced: {error}") };
            self.durable.failed.get_or_init(|| failure).clone()
        })
    }

    fn sync(&mut self, batch: &[Request]) -> io::Result<()> {
        // Makes room, should there be none.
        let _ = self.space.full();
        self.wal.sync()?;
        let mut mark = self.mark;
        let mut at_once = false;
        for request in batch {
            match request.reached {
                Reached::End(end) => mark.end = end,
                Reached::Lower(end) => {
                    mark.end = mark.end.min(end);
                    at_once = true;
                }
                Reached::Vote(vote) => mark.vote = mark.vote.max(vote),
                Reached::Cuts(cuts) => mark.cuts = cuts,
            }
        }
        if mark != self.mark {
            self.mark_file.write(mark)?;
            self.mark = mark;
        }
        if at_once || self.mark_synced.elapsed() > MARK_LAG {
            self.sync_mark()?;
        }
        self.durable.end.store(mark.end, Ordering::SeqCst);
        metrics::histogram!("plenary_raft_sync_batch").record(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        Ok(())
    }

    fn sync_mark(&mut self) -> io::Result<()> {
        self.mark_synced = now();
        self.mark_file.sync()
    }
}

#[expect(clippy::disallowed_methods, reason = "paces a sync; nothing is decided by it")]
fn now() -> Instant {
    Instant::now()
}

fn stopped() -> io::Error {
    io::Error::other("the store has stopped")
}
