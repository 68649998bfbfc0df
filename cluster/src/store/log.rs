//! Raft's log and vote, as Raft works with them.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};

use super::sync::Syncer;
use super::wal::Wal;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

/// Bytes of entries that one read brings at most, so that an append request stays within the limit of its carrier.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// The log. Clones share it; Raft itself writes through one only.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    wal: Wal,
    sync: Syncer,
}

impl LogStore {
    pub(super) const fn new(wal: Wal, sync: Syncer) -> Self {
        Self { wal, sync }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.wal.read(indices(&range), usize::MAX)?)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        Ok(self.wal.read(start..end, READ_BYTES_MAX)?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.wal.vote())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(LogState { last_purged_log_id: self.wal.purged(), last_log_id: self.wal.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.wal.save_vote(vote)?;
        self.sync.voted(vote.into()).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        Ok(committed.map_or(Ok(()), |committed| self.wal.save_committed(&committed))?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.wal.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        match self.wal.append(entries.into_iter())? {
            Some(last) => self.sync.appended(last + 1, callback),
            None => {
                callback.io_completed(Ok(()));
                Ok(())
            }
        }
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        // In this order: a log that is shorter on purpose must not look damaged, and what is applied from here on must
        // not reach the disk beside the entries that it replaces.
        self.sync.lowered(last.as_ref().map_or(0, |last| last.index() + 1)).await?;
        let cuts = self.wal.truncate_after(last.as_ref())?;
        self.sync.cut(cuts).await
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        Ok(self.wal.purge(&upto)?)
    }
}

/// The indices that a range stands for.
fn indices(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(index) => index.saturating_add(1),
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}
