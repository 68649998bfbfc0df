//! Raft's log and vote on a simulated disk, with group commit as the store has it.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::disk::{Disk, Op, Stored, read_vote};
use super::executor::{Handle, sleep};
use super::planted::{Bug, is_planted};
use super::replica::Entry as SeenEntry;
use super::seen::Ballot;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// The log of one life of a disk. Clones share it.
#[derive(Clone)]
pub(super) struct Log {
    disk: Disk,
    life: u64,
    queue: Arc<Queue>,
}

/// Who waits for a sync.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Vec<Request>>,
    more: Notify,
}

struct Request {
    ballot: Option<Ballot>,
    answer: Answer,
}

enum Answer {
    Raft(IOFlushed<TypeConfig>),
    Caller(oneshot::Sender<()>),
}

impl Log {
    /// The log of this life; its syncs are a task of the caller's group.
    pub(super) fn start(disk: Disk, life: u64) -> Self {
        let log = Self { disk, life, queue: Arc::default() };
        if let Some(handle) = Handle::current() {
            drop(handle.spawn(log.clone().sync()));
        }
        log
    }

    /// One sync after another; each answers those who came before it began.
    async fn sync(self) {
        loop {
            let requests = std::mem::take(&mut *self.queue.waiting.lock());
            if requests.is_empty() {
                self.queue.more.notified().await;
                continue;
            }
            let (upto, time) = self.disk.begin_sync();
            sleep(time).await;
            let ballot = requests.iter().filter_map(|request| request.ballot).max();
            if !self.disk.end_sync(self.life, upto, ballot) {
                return;
            }
            for request in requests {
                match request.answer {
                    Answer::Raft(callback) => callback.io_completed(Ok(())),
                    Answer::Caller(sender) => drop(sender.send(())),
                }
            }
        }
    }

    fn ask(&self, request: Request) {
        self.queue.waiting.lock().push(request);
        self.queue.more.notify_one();
    }

    fn write(&self, op: Op) -> Result<(), io::Error> {
        Ok(self.disk.write(self.life, op)?)
    }

    async fn synced(&self, ballot: Option<Ballot>) -> Result<(), io::Error> {
        let (sender, answer) = oneshot::channel();
        self.ask(Request { ballot, answer: Answer::Caller(sender) });
        answer.await.map_err(|_| io::Error::other("the disk was taken away"))
    }
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let content = self.disk.content.lock();
        let entries = content.cache.entries.iter();
        Ok(entries.filter(|(index, _)| range.contains(index)).map(|(_, stored)| Entry::clone(&stored.raft)).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(read_vote(&self.disk.content.lock().cache))
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let content = self.disk.content.lock();
        Ok(LogState { last_purged_log_id: content.cache.purged, last_log_id: content.cache.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let ballot = Ballot::of(vote);
        self.write(Op::Vote(*vote))?;
        if !is_planted(Bug::VoteNotSynced) {
            self.synced(Some(ballot)).await?;
        }
        self.disk.voted(ballot);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.write(Op::Committed(committed))
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let content = self.disk.content.lock();
        Ok(if is_planted(Bug::CommittedTooFar) { content.cache.last() } else { content.cache.committed })
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        for entry in entries {
            let seen = Arc::new(SeenEntry::of(&entry));
            self.write(Op::Append(Stored { raft: Arc::new(entry), seen }))?;
        }
        if is_planted(Bug::AcknowledgeBeforeSync) {
            callback.io_completed(Ok(()));
        } else {
            self.ask(Request { ballot: None, answer: Answer::Raft(callback) });
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let end = last.map_or(0, |last| last.index() + 1);
        self.disk.lower_mark(end);
        self.write(Op::Cut(end))
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.write(Op::Purge(upto))
    }
}
