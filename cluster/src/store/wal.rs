//! The write-ahead log that holds Raft's log and vote: the `raft-log` crate, and nobody else sees it.
//!
//! ```text
//! wal/r-<offset>.wal    chunks; each begins with a checkpoint (vote, first, last, committed), then records
//! record                kind, content, checksum: an entry, a vote, a commit, a cut, a purge; how many cuts there were
//! ```
//!
//! Files only grow, so nothing that was once synced is written over, and a record is trusted for its checksum alone. What
//! is incomplete at the very end was never acknowledged and is cut off at the start; damage anywhere else is refused.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use openraft::vote::RaftLeaderId;
use parking_lot::Mutex;
use raft_log::api::raft_log_writer::RaftLogWriter;
use raft_log::codeq::{Decode, Encode};
use raft_log::{Config, RaftLog, Types};

use super::StorageFault;
use super::mark::VoteMark;
use super::recent::Recent;
use crate::model::NodeId;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};
use crate::record::{VALUE_MAX, decode, encode_value};

/// Bytes of a chunk. A purge removes whole chunks, so this is what stays on disk beyond the entries that are kept. Tests
/// have small ones, so that they see many.
const CHUNK_BYTES: usize = if cfg!(test) { 64 * 1024 } else { 8 * 1024 * 1024 };

/// Bytes of entries kept in memory. The chunk that is written is kept whatever this says.
const CACHE_BYTES: usize = 2 * CHUNK_BYTES;

/// Bytes read at once when a chunk is read at the start.
const READ_BYTES: usize = 1024 * 1024;

/// The log. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Wal(Arc<Mutex<Log>>);

/// The log as it is on disk, and its latest entries as Raft knows them: each is read some times soon after it was written,
/// to be sent and to be applied.
#[derive(Debug)]
struct Log {
    disk: RaftLog<Kinds>,
    recent: Recent,
}

impl Wal {
    /// Opens the folder, or makes it; reads all of it. What an earlier process wrote and did not sync is synced here,
    /// before anything counts on it.
    pub(super) fn open(folder: &Path) -> Result<Self, StorageFault> {
        std::fs::create_dir_all(folder)?;
        super::snapshot::sync_folder(folder)?;
        let mut config = Config::new(folder.display());
        config.wal.chunk_max_size = Some(CHUNK_BYTES);
        config.wal.read_buffer_size = Some(READ_BYTES);
        // The sync thread gathers what waits. Left to the crate's own wait, most syncs would serve one request.
        config.wal.flush_batch_wait = Some(Duration::ZERO);
        config.log_cache_capacity = Some(CACHE_BYTES);
        let disk = RaftLog::open(Arc::new(config))?;
        let wal = Self(Arc::new(Mutex::new(Log { disk, recent: Recent::default() })));
        wal.sync()?;
        Ok(wal)
    }

    /// Makes everything written so far durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        let (sender, answer) = sync_channel(1);
        self.0.lock().disk.flush(true, Some(sender))?;
        answer.recv().map_err(|_| io::Error::other("the log's thread has stopped"))?
    }

    /// Appends entries; the index of the last. They can be read from now on, and are durable after the next sync.
    pub(super) fn append(&self, entries: impl Iterator<Item = Entry>) -> Result<Option<u64>, StorageFault> {
        let (mut records, mut written) = (Vec::new(), Vec::new());
        for entry in entries {
            let record = encode_value(&entry)?;
            written.push((entry.clone(), record.len()));
            records.push((Id::from(&entry.log_id), Payload(record)));
        }
        let last = records.last().map(|(id, _)| id.index);
        let mut log = self.0.lock();
        log.disk.append(records)?;
        written.into_iter().for_each(|(entry, bytes)| log.recent.push(entry, bytes));
        Ok(last)
    }

    pub(super) fn save_vote(&self, vote: &Vote) -> Result<(), StorageFault> {
        self.0.lock().disk.save_vote(VoteMark::from(vote))?;
        Ok(())
    }

    /// Notes what is known to be committed. It becomes durable with a later sync.
    pub(super) fn save_committed(&self, committed: &LogId) -> Result<(), StorageFault> {
        let log = &mut self.0.lock().disk;
        let id = Id::from(committed);
        if log.log_state().committed().is_none_or(|before| *before < id) {
            log.commit(id)?;
        }
        Ok(())
    }

    /// Cuts the log behind `last`; how often it was cut by now.
    pub(super) fn truncate_after(&self, last: Option<&LogId>) -> Result<u64, StorageFault> {
        let mut log = self.0.lock();
        let end = last.map_or(0, |last| last.index() + 1);
        log.recent.cut(end);
        let log = &mut log.disk;
        let mut cuts = log.log_state().user_data.unwrap_or(0);
        if log.log_state().last().is_some_and(|last| last.index >= end) {
            cuts += 1;
            // In this order: a log that ends in between knows of one cut less, not of one that it lacks.
            log.truncate(end)?;
            log.save_user_data(Some(cuts))?;
        }
        Ok(cuts)
    }

    /// Forgets entries up to `upto`. Files are removed once a sync has covered that.
    pub(super) fn purge(&self, upto: &LogId) -> Result<(), StorageFault> {
        let mut log = self.0.lock();
        log.recent.purge(upto.index());
        let log = &mut log.disk;
        log.purge(Id::from(upto))?;
        log.flush(true, None)?;
        Ok(())
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.0.lock().disk.log_state().vote().map(Vote::from)
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        self.0.lock().disk.log_state().committed().map(LogId::from)
    }

    /// How often the log was cut on purpose.
    pub(super) fn cuts(&self) -> u64 {
        self.0.lock().disk.log_state().user_data.unwrap_or(0)
    }

    pub(super) fn purged(&self) -> Option<LogId> {
        self.0.lock().disk.log_state().purged().map(LogId::from)
    }

    /// The last entry, or what was purged if there is none.
    pub(super) fn last(&self) -> Option<LogId> {
        self.0.lock().disk.log_state().last().map(LogId::from)
    }

    /// Entries of `range`, as many as fit into `bytes` but at least one.
    pub(super) fn read(&self, range: Range<u64>, bytes: usize) -> Result<Vec<Entry>, StorageFault> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (mut records, mut size) = (Vec::new(), 0);
        let log = self.0.lock();
        if let Some(entries) = log.recent.read(&range, bytes) {
            return Ok(entries);
        }
        for record in log.disk.read(range.start, range.end) {
            let (id, Payload(record)) = record?;
            size += record.len();
            if size > bytes && !records.is_empty() {
                break;
            }
            records.push((id, record));
        }
        drop(log);
        let mut before: Option<u64> = None;
        records
            .into_iter()
            .map(|(id, record)| {
                let entry = whole(id, &record)?;
                if before.is_some_and(|before| before + 1 != id.index) {
                    return Err(StorageFault::Inconsistent(format!("the log lacks an entry before {}", id.index)));
                }
                before = Some(id.index);
                Ok(entry)
            })
            .collect()
    }
}

/// The entry of a record that stands under `id`.
fn whole(id: Id, record: &[u8]) -> Result<Entry, StorageFault> {
    let entry: Entry = decode(record)?;
    if Id::from(&entry.log_id) != id {
        return Err(StorageFault::Inconsistent(format!("entry {} stands at {}", entry.log_id, LogId::from(&id))));
    }
    Ok(entry)
}

/// What the crate's records are made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Kinds;

impl Types for Kinds {
    type LogId = Id;
    type LogPayload = Payload;
    type Vote = VoteMark;
    type Callback = SyncSender<io::Result<()>>;
    /// How often the log was cut.
    type UserData = u64;

    fn log_index(id: &Id) -> u64 {
        id.index
    }

    fn payload_size(payload: &Payload) -> u64 {
        payload.0.len() as u64
    }
}

/// A log id in the order in which log ids grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    term: u64,
    node: u64,
    index: u64,
}

impl From<&LogId> for Id {
    fn from(id: &LogId) -> Self {
        let leader = id.committed_leader_id();
        Self { term: leader.term, node: leader.node_id.number(), index: id.index() }
    }
}

impl From<&Id> for LogId {
    fn from(id: &Id) -> Self {
        let leader = <openraft::alias::LeaderIdOf<TypeConfig> as RaftLeaderId>::new(id.term, NodeId::new(id.node));
        Self::new(leader.to_committed(), id.index)
    }
}

impl Encode for Id {
    fn encode<W: io::Write>(&self, mut to: W) -> io::Result<usize> {
        Ok(self.term.encode(&mut to)? + self.node.encode(&mut to)? + self.index.encode(&mut to)?)
    }
}

impl Decode for Id {
    fn decode<R: io::Read>(mut from: R) -> io::Result<Self> {
        let mut next = || u64::decode(&mut from);
        Ok(Self { term: next()?, node: next()?, index: next()? })
    }
}

impl Encode for VoteMark {
    fn encode<W: io::Write>(&self, mut to: W) -> io::Result<usize> {
        let committed = u64::from(self.committed);
        Ok(self.term.encode(&mut to)? + self.candidate.encode(&mut to)? + committed.encode(&mut to)?)
    }
}

impl Decode for VoteMark {
    fn decode<R: io::Read>(mut from: R) -> io::Result<Self> {
        let mut next = || u64::decode(&mut from);
        Ok(Self { term: next()?, candidate: next()?, committed: next()? != 0 })
    }
}

/// An entry's record (see [`crate::record`]), behind its length.
#[derive(Debug, Clone)]
struct Payload(Vec<u8>);

impl Encode for Payload {
    fn encode<W: io::Write>(&self, mut to: W) -> io::Result<usize> {
        let length = u32::try_from(self.0.len()).map_err(io::Error::other)?;
        to.write_all(&length.to_be_bytes())?;
        to.write_all(&self.0)?;
        Ok(4 + self.0.len())
    }
}

impl Decode for Payload {
    fn decode<R: io::Read>(mut from: R) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > VALUE_MAX {
            // Not `UnexpectedEof`: a length that was never written is damage, not an end that is missing.
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an entry of {length} bytes")));
        }
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }
}
