//! What a node keeps on disk: the log and the vote, the applied state, snapshots. Nobody else touches sled.
//!
//! ```text
//! <data>/node                    whose folder this is
//! <data>/mark                    durable high-water mark: last log index and vote, two slots, each with a checksum
//! <data>/raft.sled/              one sled::Db, one LSN-ordered log for all trees
//!   raft_log    index, u64 BE                      record of the entry
//!   raft_meta   "vote" "committed" "purged" "installing"
//!   sm          0x00 "applied", 0x00 "member"; rows of the state (see `state::rows`)
//! <data>/snapshots/<index>-<term>-<node>.snap      written, synced, renamed, folder synced
//! ```
//!
//! **Invariant:** nothing is acknowledged before one sync covers it. sled's `flush` alone does not reach the disk on
//! Linux, so [`sync`]'s one thread follows it with `sync_data` on sled's file, then writes the mark, then answers.
//! **Invariant:** a store that is damaged, or shorter than its mark says, refuses to open.
//! **Invariant:** no value is larger than 32 KiB; snapshots are plain files.

mod check;
mod fingerprint;
mod log;
mod machine;
mod mark;
mod snapshot;
mod sync;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use fingerprint::Fingerprints;
pub(crate) use log::LogStore;
pub(crate) use machine::{StateMachine, View};
pub(crate) use snapshot::{SnapshotFile, Snapshots, Upload};

use crate::model::NodeId;
use crate::record::RecordError;
use crate::state::RowError;
use mark::MarkError;

/// sled's page cache. The state is served from memory, so the cache is only for writes in flight and a restart.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// How often sled's own flusher runs; it also collects garbage, so it stays on though we sync ourselves.
const FLUSH_EVERY_MS: u64 = 500;

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder can't be used.
    #[error("can't use data folder {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder belongs to another node.
    #[error("data folder {path} belongs to node {owner}, not to node {node}: start with the folder of node {node}")]
    OtherNode {
        /// Which folder.
        path: PathBuf,
        /// Whose it is.
        owner: String,
        /// Who opened it.
        node: NodeId,
    },
    /// Another process has it open.
    #[error("data folder {path} is in use by another process")]
    InUse {
        /// Which folder.
        path: PathBuf,
    },
    /// What is there is not what was acknowledged. Serving or voting from it could lose what others rely on.
    #[error(
        "data folder {path} is damaged: {reason}; this node must neither serve nor vote from it: \
         move the node's whole `data_dir` away, its identity included, and join the cluster anew (it gets a new id)"
    )]
    Damaged {
        /// Which folder.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
}

/// An opened store: the two halves that Raft works with.
pub(crate) struct Store {
    pub(crate) log: LogStore,
    pub(crate) machine: StateMachine,
}

impl Store {
    /// Opens the data folder of a node, or makes it.
    pub(crate) fn open(folder: &Path, node: NodeId) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Folder { path: folder.to_owned(), source };
        let damaged = |reason: String| StoreError::Damaged { path: folder.to_owned(), reason };
        fs::create_dir_all(folder).map_err(unusable)?;
        claim(folder, node)?;
        let db = open_sled(folder)?;
        let trees = Trees::open(&db).map_err(|error| damaged(error.to_string()))?;
        let (mark, seen) = mark::MarkFile::open(&folder.join("mark")).map_err(|error| match error {
            MarkError::Io(source) => unusable(source),
            MarkError::Damaged => damaged(error.to_string()),
        })?;
        let found = check::check(&trees, seen).map_err(|error| damaged(error.to_string()))?;
        let snapshots = Snapshots::open(&folder.join("snapshots")).map_err(unusable)?;
        let sync = sync::Syncer::start(db, &folder.join("raft.sled"), mark, found).map_err(unusable)?;
        let machine =
            StateMachine::open(trees.clone(), Arc::new(snapshots)).map_err(|error| damaged(error.to_string()))?;
        let log = LogStore::open(trees, sync).map_err(|error| damaged(error.to_string()))?;
        Ok(Self { log, machine })
    }
}

/// The trees of the store.
#[derive(Debug, Clone)]
pub(crate) struct Trees {
    log: sled::Tree,
    meta: sled::Tree,
    machine: sled::Tree,
}

impl Trees {
    fn open(db: &sled::Db) -> Result<Self, sled::Error> {
        Ok(Self { log: db.open_tree("raft_log")?, meta: db.open_tree("raft_meta")?, machine: db.open_tree("sm")? })
    }
}

/// What went wrong under way. Any of these is fatal to the node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StorageFault {
    #[error("sled: {0}")]
    Sled(#[from] sled::Error),
    #[error("{0}")]
    Record(#[from] RecordError),
    #[error("{0}")]
    Row(#[from] RowError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Inconsistent(String),
}

impl From<StorageFault> for io::Error {
    fn from(fault: StorageFault) -> Self {
        match fault {
            StorageFault::Io(error) => error,
            StorageFault::Sled(_) | StorageFault::Record(_) | StorageFault::Row(_) | StorageFault::Inconsistent(_) => {
                Self::other(fault.to_string())
            }
        }
    }
}

/// Writes down whose folder this is, or compares.
fn claim(folder: &Path, node: NodeId) -> Result<(), StoreError> {
    let unusable = |source| StoreError::Folder { path: folder.to_owned(), source };
    let path = folder.join("node");
    match fs::read_to_string(&path) {
        Ok(owner) if owner.trim() == node.to_string() => Ok(()),
        Ok(owner) => Err(StoreError::OtherNode { path: folder.to_owned(), owner: owner.trim().to_owned(), node }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            snapshot::write_durably(&path, node.to_string().as_bytes()).map_err(unusable)
        }
        Err(error) => Err(unusable(error)),
    }
}

fn open_sled(folder: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new()
        .path(folder.join("raft.sled"))
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(FLUSH_EVERY_MS));
    let path = folder.to_owned();
    // sled panics on some damaged files instead of saying so.
    match catch_unwind(AssertUnwindSafe(|| config.open())) {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if error.kind() == io::ErrorKind::WouldBlock => Err(StoreError::InUse { path }),
        Ok(Err(sled::Error::Io(error))) if error.to_string().contains("could not acquire lock") => {
            Err(StoreError::InUse { path })
        }
        Ok(Err(sled::Error::Io(source))) => Err(StoreError::Folder { path, source }),
        Ok(Err(error)) => Err(StoreError::Damaged { path, reason: error.to_string() }),
        Err(_) => Err(StoreError::Damaged { path, reason: "sled can't read it".to_owned() }),
    }
}
