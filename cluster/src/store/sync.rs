//! The one thread that makes things durable.
//!
//! ```text
//! append, vote ──► bounded queue ──► drain ► db.flush() ► sync_data(db file) ► mark ► answer all
//! ```
//!
//! One sync covers everything that queued up during the one before (group commit). After the first failure nothing is
//! tried again and everything is answered with an error: what a failed sync left on disk is unknown.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use openraft::storage::IOFlushed;
use tokio::sync::oneshot;

use super::mark::{Mark, MarkFile, VoteMark};
use crate::raft::types::TypeConfig;

/// Requests that may wait for the thread; a proposer waits for its own, so this many proposals are in flight at most.
const QUEUE: usize = 4096;

/// Requests that one sync answers at most.
const BATCH: usize = 1024;

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

/// What is to be durable before the answer, beside what was written to sled.
struct Request {
    end: Option<u64>,
    vote: Option<VoteMark>,
    answer: Answer,
}

/// The handle to the thread. The thread ends, and sled closes, when the last handle is gone.
#[derive(Debug, Clone)]
pub(super) struct Syncer {
    queue: SyncSender<Request>,
}

impl Syncer {
    /// Starts the thread for a database in `folder`.
    pub(super) fn start(db: sled::Db, folder: &Path, mark_file: MarkFile, mark: Mark) -> io::Result<Self> {
        let file = File::open(folder.join("db"))?;
        let (queue, requests) = sync_channel(QUEUE);
        let mut worker = Worker { db, file, mark_file, mark, failed: None };
        // What was written and not synced before a crash counts as durable from here on: make it so.
        worker.db.flush().map_err(io::Error::from)?;
        worker.file.sync_data()?;
        worker.mark_file.write(mark)?;
        thread::Builder::new().name("raft-fsync".to_owned()).spawn(move || worker.run(&requests))?;
        Ok(Self { queue })
    }

    /// Has what was appended synced; the log ends at `end` then.
    pub(super) fn appended(&self, end: u64, callback: IOFlushed<TypeConfig>) -> io::Result<()> {
        self.send(Request { end: Some(end), vote: None, answer: Answer::Raft(callback) })
    }

    /// Has the vote synced.
    pub(super) async fn voted(&self, vote: VoteMark) -> io::Result<()> {
        self.wait(None, Some(vote)).await
    }

    /// Lowers the mark before the log is cut: a log that is shorter on purpose must not look damaged.
    pub(super) async fn lower(&self, end: u64) -> io::Result<()> {
        self.wait(Some(end), None).await
    }

    async fn wait(&self, end: Option<u64>, vote: Option<VoteMark>) -> io::Result<()> {
        let (sender, answer) = oneshot::channel();
        self.send(Request { end, vote, answer: Answer::Caller(sender) })?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    fn send(&self, request: Request) -> io::Result<()> {
        self.queue.send(request).map_err(|_| stopped())
    }
}

struct Worker {
    db: sled::Db,
    /// A second handle to sled's file, to sync what sled wrote.
    file: File,
    mark_file: MarkFile,
    mark: Mark,
    /// What the first failure said.
    failed: Option<(io::ErrorKind, String)>,
}

impl Worker {
    fn run(mut self, requests: &Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let mut batch = vec![first];
            batch.extend(requests.try_iter().take(BATCH - 1));
            let result = self.make_durable(&batch);
            for request in batch {
                request.answer.send(match &result {
                    Ok(()) => Ok(()),
                    Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                });
            }
        }
    }

    fn make_durable(&mut self, batch: &[Request]) -> io::Result<()> {
        if let Some((kind, words)) = &self.failed {
            return Err(io::Error::new(*kind, words.clone()));
        }
        let result = self.sync(batch);
        if let Err(error) = &result {
            tracing::error!(%error, "the store can't be synced; this node stops");
            self.failed = Some((error.kind(), format!("an earlier sync failed: {error}")));
        }
        result
    }

    fn sync(&mut self, batch: &[Request]) -> io::Result<()> {
        self.db.flush().map_err(io::Error::from)?;
        self.file.sync_data()?;
        let mut mark = self.mark;
        for request in batch {
            mark.end = request.end.unwrap_or(mark.end);
            mark.vote = request.vote.map_or(mark.vote, |vote| vote.max(mark.vote));
        }
        if mark != self.mark {
            self.mark_file.write(mark)?;
            self.mark = mark;
        }
        metrics::histogram!("plenary_raft_sync_batch").record(u32::try_from(batch.len()).unwrap_or(u32::MAX));
        Ok(())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the store has stopped")
}
