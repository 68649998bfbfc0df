//! Raft's log and vote on sled.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sled::Batch;

use super::sync::Syncer;
use super::{StorageFault, Trees};
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};
use crate::record::{decode, encode_value};

/// Key of the vote.
pub(super) const VOTE: &str = "vote";
/// Key of the last log id known to be committed.
pub(super) const COMMITTED: &str = "committed";
/// Key of the last log id that was purged.
pub(super) const PURGED: &str = "purged";

/// Bytes of entries that one read brings at most, so that an append request stays within the limit of its carrier.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// The log. Clones share it; Raft itself writes through one only.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    trees: Trees,
    sync: Syncer,
}

impl LogStore {
    /// Finishes a purge that a crash cut short.
    pub(super) fn open(trees: Trees, sync: Syncer) -> Result<Self, StorageFault> {
        let store = Self { trees, sync };
        if let Some(purged) = store.read_meta::<LogId>(PURGED)? {
            store.remove(..=index_key(purged.index()))?;
        }
        Ok(store)
    }

    fn read_meta<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StorageFault> {
        self.trees.meta.get(key)?.map(|value| decode(&value)).transpose().map_err(StorageFault::from)
    }

    fn write_meta<T: Serialize>(&self, key: &str, value: &T) -> Result<(), StorageFault> {
        self.trees.meta.insert(key, encode_value(value)?)?;
        Ok(())
    }

    fn remove(&self, range: impl RangeBounds<[u8; 8]>) -> Result<(), StorageFault> {
        let mut batch = Batch::default();
        for key in self.trees.log.range(range).keys() {
            batch.remove(key?);
        }
        self.trees.log.apply_batch(batch)?;
        Ok(())
    }

    fn insert(&self, entries: impl Iterator<Item = Entry>) -> Result<Option<u64>, StorageFault> {
        let mut batch = Batch::default();
        let mut last = None;
        for entry in entries {
            last = Some(entry.log_id.index());
            batch.insert(&index_key(entry.log_id.index()), encode_value(&entry)?);
        }
        self.trees.log.apply_batch(batch)?;
        Ok(last)
    }

    fn last(&self) -> Result<Option<LogId>, StorageFault> {
        match self.trees.log.last()? {
            Some((_, value)) => Ok(Some(decode::<Entry>(&value)?.log_id)),
            None => self.read_meta(PURGED),
        }
    }

    /// Entries of `range`, as many as fit into `bytes` but at least one.
    fn read(&self, range: impl RangeBounds<u64>, bytes: usize) -> Result<Vec<Entry>, StorageFault> {
        let start = range.start_bound().map(|index| index_key(*index));
        let end = range.end_bound().map(|index| index_key(*index));
        if is_empty(start, end) {
            return Ok(Vec::new());
        }
        let mut entries = Vec::new();
        let mut size = 0;
        for row in self.trees.log.range((start, end)) {
            let (key, value) = row?;
            size += value.len();
            if size > bytes && !entries.is_empty() {
                break;
            }
            let entry: Entry = decode(&value)?;
            let expected = entries.last().map_or(index_of(&key)?, |last: &Entry| last.log_id.index() + 1);
            if entry.log_id.index() != expected || index_of(&key)? != expected {
                return Err(StorageFault::Inconsistent(format!("the log lacks entry {expected}")));
            }
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<Entry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.read(range, usize::MAX)?)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        Ok(self.read(start..end, READ_BYTES_MAX)?)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.read_meta(VOTE)?)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(LogState { last_purged_log_id: self.read_meta(PURGED)?, last_log_id: self.last()? })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.write_meta(VOTE, vote)?;
        self.sync.voted(vote.into()).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        Ok(self.write_meta(COMMITTED, &committed)?)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.read_meta::<Option<LogId>>(COMMITTED)?.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = <TypeConfig as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        match self.insert(entries.into_iter())? {
            Some(last) => self.sync.appended(last + 1, callback),
            None => {
                callback.io_completed(Ok(()));
                Ok(())
            }
        }
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let end = last.map_or(0, |last| last.index() + 1);
        self.sync.lower(end).await?;
        Ok(self.remove(index_key(end)..)?)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.write_meta(PURGED, &upto)?;
        Ok(self.remove(..=index_key(upto.index()))?)
    }
}

/// The key of an entry.
pub(super) const fn index_key(index: u64) -> [u8; 8] {
    index.to_be_bytes()
}

/// The index that a key stands for.
pub(super) fn index_of(key: &[u8]) -> Result<u64, StorageFault> {
    let key = <[u8; 8]>::try_from(key);
    key.map(u64::from_be_bytes).map_err(|_| StorageFault::Inconsistent("a key of the log is malformed".to_owned()))
}

/// Whether a range holds nothing; sled panics on one that ends before it starts.
fn is_empty(start: Bound<[u8; 8]>, end: Bound<[u8; 8]>) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start > end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => start >= end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
    }
}
