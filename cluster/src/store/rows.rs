//! Where the rows of the applied state are kept, as the state machine sees it; and how sled keeps them.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sled::Batch;

use super::{StorageFault, snapshot};
use crate::record::{decode, encode_value};
use crate::state::{Change, Row};

/// sled's page cache. The state is served from memory, so the cache is only for writes in flight and a restart.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// How often sled's own flusher runs; it also collects garbage and is all that syncs the rows.
const FLUSH_EVERY_MS: u64 = 500;

/// In the tree `meta`: file name of the snapshot that is being installed.
const INSTALLING: &str = "installing";

/// In the tree `sm`: the [`Sum`] of all other rows.
const SUM: &[u8] = b"\0\0sum";

/// Rows by key. A write is atomic and follows the ones before it; none is synced by itself.
pub(crate) trait Rows: std::fmt::Debug + Send + Sync + 'static {
    /// The value under `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageFault>;

    /// All rows whose key is not below `first`, in the order of their keys.
    fn from(&self, first: &[u8]) -> Box<dyn Iterator<Item = Result<Row, StorageFault>> + '_>;

    /// Carries out all of `changes`, or none.
    fn write(&self, changes: Vec<Change>) -> Result<(), StorageFault>;

    /// Fails once something that was written did not get to the disk: much is carried there after `write` has returned.
    /// Waits for nothing.
    fn check(&self) -> Result<(), StorageFault>;

    /// The snapshot that is being installed.
    fn installing(&self) -> Result<Option<String>, StorageFault>;

    /// Notes that a snapshot is being installed, or no longer.
    fn set_installing(&self, name: Option<&str>) -> Result<(), StorageFault>;
}

/// How many rows there are, and the sum of their checksums: sled may come back with a row missing and not say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Sum {
    rows: u64,
    checksums: u64,
}

impl Sum {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.checksums = self.checksums.wrapping_add(checksum(key, value));
    }

    fn take(&mut self, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.checksums = self.checksums.wrapping_sub(checksum(key, value));
    }
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    u64::from(hasher.finalize())
}

/// Rows in sled.
#[derive(Debug)]
pub(super) struct SledRows {
    /// Knows of the first failure of what sled does on its own.
    config: sled::Config,
    rows: sled::Tree,
    meta: sled::Tree,
    sum: Mutex<Sum>,
}

impl SledRows {
    /// Opens the folder, or makes it. Every row is read and has to be there as it was written.
    pub(super) fn open(folder: &Path) -> Result<Self, StorageFault> {
        let config = sled::Config::new().path(folder).cache_capacity(CACHE_BYTES).flush_every_ms(Some(FLUSH_EVERY_MS));
        // sled panics on some damaged files instead of saying so.
        catch_unwind(AssertUnwindSafe(|| Self::read(config.clone(), &config.open()?)))
            .unwrap_or_else(|_| Err(StorageFault::Inconsistent("sled can't read it".to_owned())))
            .and_then(|rows| {
                snapshot::sync_folder(&folder.join("db"))?;
                snapshot::sync_folder(folder)?;
                Ok(rows)
            })
    }

    /// Removes the folder. What it held follows from the log and the snapshots.
    pub(super) fn remove(folder: &Path) -> io::Result<()> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => snapshot::sync_folder(folder),
        }
    }

    fn read(config: sled::Config, db: &sled::Db) -> Result<Self, StorageFault> {
        let (rows, meta) = (db.open_tree("sm")?, db.open_tree("meta")?);
        let said = rows.get(SUM)?.map(|value| decode::<Sum>(&value)).transpose()?.unwrap_or_default();
        let mut sum = Sum::default();
        for row in &rows {
            let (key, value) = row?;
            if key != SUM {
                sum.add(&key, &value);
            }
        }
        if sum != said {
            return Err(StorageFault::Inconsistent(format!("sled holds {sum:?} and should hold {said:?}")));
        }
        Ok(Self { config, rows, meta, sum: Mutex::new(sum) })
    }
}

impl Rows for SledRows {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageFault> {
        Ok(self.rows.get(key)?.map(|value| value.to_vec()))
    }

    fn from(&self, first: &[u8]) -> Box<dyn Iterator<Item = Result<Row, StorageFault>> + '_> {
        let rows = self.rows.range(first..).filter(|row| !matches!(row, Ok((key, _)) if key == SUM));
        Box::new(rows.map(|row| match row {
            Ok((key, value)) => Ok((key.to_vec(), value.to_vec())),
            Err(error) => Err(error.into()),
        }))
    }

    fn write(&self, changes: Vec<Change>) -> Result<(), StorageFault> {
        let mut batch = Batch::default();
        let mut sum = self.sum.lock();
        for Change { key, before, after } in changes {
            // The rows of the store itself, unlike those of the state, come without what they were.
            let own = key.first() == Some(&0);
            let before = if own { self.rows.get(&key)?.map(|value| value.to_vec()) } else { before };
            if let Some(before) = before {
                sum.take(&key, &before);
            }
            match after {
                Some(value) => {
                    sum.add(&key, &value);
                    batch.insert(key, value);
                }
                None => batch.remove(key),
            }
        }
        batch.insert(SUM, encode_value(&*sum)?);
        Ok(self.rows.apply_batch(batch)?)
    }

    fn check(&self) -> Result<(), StorageFault> {
        // Not in sled's documentation; the version is locked and is the last one. It is what every write asks first.
        Ok(self.config.global_error()?)
    }

    fn installing(&self) -> Result<Option<String>, StorageFault> {
        Ok(self.meta.get(INSTALLING)?.map(|name| String::from_utf8_lossy(&name).into_owned()))
    }

    fn set_installing(&self, name: Option<&str>) -> Result<(), StorageFault> {
        match name {
            Some(name) => self.meta.insert(INSTALLING, name.as_bytes())?,
            None => self.meta.remove(INSTALLING)?,
        };
        Ok(())
    }
}
