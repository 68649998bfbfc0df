//! What a node keeps on disk: the log and the vote, the applied state, snapshots. Nobody else touches these files.
//!
//! ```text
//! <data>/schema              version of this layout
//! <data>/node                whose folder this is
//! <data>/reserve             room that is given up when the disk is full (see [`space`])
//! <data>/wal/                the log and the vote: a write-ahead log in chunks (see [`wal`])
//! <data>/mark                high-water mark: last log index and vote, two slots, each with a checksum
//! <data>/raft.sled/          the applied state, one sled::Db
//!   sm          0x00 "applied", 0x00 "member"; rows of the state (see `state::rows`); the sum of them all; during a
//!               write, how to take it back (see [`rows`])
//!   meta        "installing"
//! <data>/snapshots/<index>-<term>-<node>.snap      written, synced, renamed, folder synced
//! ```
//!
//! **Invariant:** nothing is acknowledged before one sync of the log covers it ([`sync`]).
//! **Invariant:** a log that is damaged, or shorter than the mark says, refuses to open. Damaged rows are dropped and had
//! again from a snapshot and the log, or refused where these do not reach.
//! **Invariant:** the rows on disk are never ahead of the log on disk.
//! **Invariant:** no value of the state is larger than 32 KiB; snapshots are plain files.

mod behind;
mod check;
mod fingerprint;
mod log;
mod machine;
mod mark;
mod recent;
mod rows;
mod snapshot;
mod space;
mod sync;
mod wal;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod torture;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) use fingerprint::Fingerprints;
pub(crate) use log::LogStore;
pub(crate) use machine::{StateMachine, View};
pub(crate) use snapshot::{SnapshotFile, Snapshots, Upload};
pub(crate) use space::Space;
#[cfg(feature = "simulation")]
pub(crate) use {
    machine::{APPLIED, MEMBER},
    rows::{Changes, Rows},
};

use crate::model::NodeId;
use crate::record::RecordError;
use crate::state::RowError;
use mark::{MarkError, MarkFile};
use rows::SledRows;
use sync::Syncer;
use wal::Wal;

/// The version of the layout above. Version 1 kept the log in sled.
const SCHEMA: &str = "2";

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
    /// It was written in another layout.
    #[error(
        "data folder {path} has layout {found}, this program reads layout {SCHEMA}: start the version of the program \
         that wrote it, or move the node's whole `data_dir` away and join the cluster anew"
    )]
    Schema {
        /// Which folder.
        path: PathBuf,
        /// Its layout.
        found: String,
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
        snapshot::sync_folder(folder).map_err(unusable)?;
        claim(folder, node)?;
        let refused = |fault: StorageFault| {
            if fault.is_in_use() {
                return StoreError::InUse { path: folder.to_owned() };
            }
            match fault {
                StorageFault::Io(source) if !is_damage(source.kind()) => unusable(source),
                StorageFault::Io(source) => damaged(source.to_string()),
                StorageFault::Sled(_)
                | StorageFault::Record(_)
                | StorageFault::Row(_)
                | StorageFault::Inconsistent(_) => damaged(fault.to_string()),
            }
        };
        // First, since it makes room for the others, should there be none.
        let space = Arc::new(Space::of(folder).map_err(unusable)?);
        let wal = Wal::open(&folder.join("wal")).map_err(refused)?;
        let (mark, seen) = MarkFile::open(&folder.join("mark")).map_err(|error| match error {
            MarkError::Io(source) => unusable(source),
            MarkError::Damaged => damaged(error.to_string()),
        })?;
        let found = check::check(&wal, seen).map_err(refused)?;
        let snapshots = Arc::new(Snapshots::open(&folder.join("snapshots")).map_err(unusable)?);
        snapshots.forget_before(wal.purged());
        let mut machine = open_machine(&folder.join("raft.sled"), &wal, &snapshots).map_err(refused)?;
        let sync = Syncer::start(wal.clone(), mark, found, Arc::clone(&space)).map_err(unusable)?;
        machine.follow(sync.durable(), space);
        Ok(Self { log: LogStore::new(wal, sync), machine })
    }
}

/// Opens the applied state. If its rows are not what was written, they are dropped, and Raft has them again from the
/// newest snapshot and the log.
fn open_machine(folder: &Path, wal: &Wal, snapshots: &Arc<Snapshots>) -> Result<StateMachine, StorageFault> {
    let open = || StateMachine::open(Arc::new(SledRows::open(folder)?), Arc::clone(snapshots));
    let snapshot = snapshots.current().and_then(|(meta, _)| meta.last_log_id);
    let machine = match open() {
        Ok(machine) => machine,
        Err(fault) if fault.is_in_use() || fault.is_of_another_version() || fault.is_of_the_disk() => {
            return Err(fault);
        }
        Err(fault) => {
            check::covers(wal, None, snapshot)
                .map_err(|uncovered| StorageFault::Inconsistent(format!("{fault}, and {uncovered}")))?;
            tracing::warn!(%fault, "the applied state is damaged; it is had again from a snapshot and the log");
            SledRows::remove(folder)?;
            open()?
        }
    };
    check::covers(wal, machine.applied(), snapshot)?;
    Ok(machine)
}

/// Whether an error of reading speaks of what was read.
const fn is_damage(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other)
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

impl StorageFault {
    /// Whether another process has the files open.
    fn is_in_use(&self) -> bool {
        match self {
            Self::Io(error) | Self::Sled(sled::Error::Io(error)) => {
                error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
            }
            Self::Sled(_) | Self::Record(_) | Self::Row(_) | Self::Inconsistent(_) => false,
        }
    }

    /// Whether the disk does not let us, which says nothing about what is on it.
    fn is_of_the_disk(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        match self {
            Self::Io(error) | Self::Sled(sled::Error::Io(error)) => {
                matches!(error.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
            }
            Self::Sled(_) | Self::Record(_) | Self::Row(_) | Self::Inconsistent(_) => false,
        }
    }

    /// Whether a newer program may have written this.
    const fn is_of_another_version(&self) -> bool {
        matches!(
            self,
            Self::Record(RecordError::Version(_))
                | Self::Row(RowError::UnknownTable(_) | RowError::Record(_, RecordError::Version(_)))
        )
    }
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

/// Writes down whose folder this is and in which layout, or compares.
fn claim(folder: &Path, node: NodeId) -> Result<(), StoreError> {
    let unusable = |source| StoreError::Folder { path: folder.to_owned(), source };
    let schema = written_before(&folder.join("schema")).map_err(unusable)?;
    let owner = written_before(&folder.join("node")).map_err(unusable)?;
    match schema {
        Some(found) if found == SCHEMA => {}
        Some(found) => return Err(StoreError::Schema { path: folder.to_owned(), found }),
        // The first layout did not say which it was.
        None if owner.is_some() => return Err(StoreError::Schema { path: folder.to_owned(), found: "1".to_owned() }),
        None => snapshot::write_durably(&folder.join("schema"), SCHEMA.as_bytes()).map_err(unusable)?,
    }
    match owner {
        Some(owner) if owner == node.to_string() => Ok(()),
        Some(owner) => Err(StoreError::OtherNode { path: folder.to_owned(), owner, node }),
        None => snapshot::write_durably(&folder.join("node"), node.to_string().as_bytes()).map_err(unusable),
    }
}

/// The line that a file holds, if there is such a file.
fn written_before(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
