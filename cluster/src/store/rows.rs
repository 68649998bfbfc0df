//! Where the rows of the applied state are kept, as the state machine sees it; and how sled keeps them.
//!
//! ```text
//! write ─► part 1 and the way back from it ─► part 2 and .. ─► last part, the new sum, no way back any more
//! ```
//!
//! Each part is atomic in sled. A write that was cut short is taken back at the next start, so all of it is atomic.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sled::Batch;

use super::{StorageFault, snapshot};
use crate::record::{decode, encode, encode_value};
use crate::state::{Change, Row};

/// sled's page cache. The state is served from memory, so the cache is only for writes in flight and a restart.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// How often sled's own flusher runs; it also collects garbage and is all that syncs the rows.
const FLUSH_EVERY_MS: u64 = 500;

/// In the tree `meta`: file name of the snapshot that is being installed.
const INSTALLING: &str = "installing";

/// In the tree `sm`: the [`Sum`] of all other rows.
const SUM: &[u8] = b"\0\0sum";

/// In the tree `sm`, with a number behind it: how to take a [`Part`] back, until the last one is written.
const UNDO: &[u8] = b"\0\0undo";

/// Changes in a part at most. Until the end of a batch sled keeps every version of every page that it touches, ten KiB a
/// row and more.
const PART: usize = if cfg!(test) { 16 } else { 512 };

/// Bytes that it takes to take a part back at most, unless one row alone takes more. Ways back are neighbours, sled puts
/// up to 16 of those on one page, and a page from [`BLOB`] on goes to a file of its own, which sled neither syncs nor
/// removes.
const UNDO_BYTES: usize = 6 * 1024;

/// See [`UNDO_BYTES`].
const BLOB: usize = 128 * 1024;

/// What a row adds to its key and value in the way back.
const UNDO_HEAD: usize = 8;

const _: () = assert!(17 * UNDO_BYTES < BLOB);

/// Changes on their way to the rows, made one at a time.
pub(crate) type Changes<'c> = &'c mut dyn Iterator<Item = Result<Change, StorageFault>>;

/// Rows by key. A write is atomic and follows the ones before it; none is synced by itself.
pub(crate) trait Rows: std::fmt::Debug + Send + Sync + 'static {
    /// The value under `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageFault>;

    /// All rows whose key is not below `first`, in the order of their keys.
    fn from(&self, first: &[u8]) -> Box<dyn Iterator<Item = Result<Row, StorageFault>> + '_>;

    /// Carries out all of `changes`, or none: one that failed half-way is taken back at the next start.
    fn write(&self, changes: Changes<'_>) -> Result<(), StorageFault>;

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

/// Some of the changes of a write: one of sled's batches, and what its rows were before.
#[derive(Debug, Default)]
struct Part {
    batch: Batch,
    before: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    bytes: usize,
}

impl Part {
    fn add(&mut self, Change { key, before, after }: Change) {
        self.bytes += undo_bytes(&key, before.as_ref());
        match after {
            Some(value) => self.batch.insert(key.as_slice(), value),
            None => self.batch.remove(key.as_slice()),
        }
        self.before.push((key, before));
    }

    fn takes(&self, Change { key, before, .. }: &Change) -> bool {
        let fits = self.bytes + undo_bytes(key, before.as_ref()) <= UNDO_BYTES;
        self.before.is_empty() || (self.before.len() < PART && fits)
    }

    /// The batch, with the way back.
    fn undoable(mut self, number: u32) -> Result<Batch, StorageFault> {
        self.batch.insert(undo_key(number), encode(&self.before)?);
        Ok(self.batch)
    }
}

fn undo_bytes(key: &[u8], before: Option<&Vec<u8>>) -> usize {
    UNDO_HEAD + key.len() + before.map_or(0, Vec::len)
}

fn undo_key(number: u32) -> Vec<u8> {
    [UNDO, &number.to_be_bytes()].concat()
}

/// Takes back the parts of a write that was cut short, the last one first.
fn take_back(rows: &sled::Tree) -> Result<(), StorageFault> {
    while let Some(last) = rows.scan_prefix(UNDO).next_back() {
        let (name, undo) = last?;
        let mut batch = Batch::default();
        for (key, before) in decode::<Vec<(Vec<u8>, Option<Vec<u8>>)>>(&undo)?.into_iter().rev() {
            match before {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch.remove(name);
        rows.apply_batch(batch)?;
    }
    Ok(())
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
        take_back(&rows)?;
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
        let own = |key: &[u8]| key == SUM || key.starts_with(UNDO);
        let rows = self.rows.range(first..).filter(move |row| !matches!(row, Ok((key, _)) if own(key)));
        Box::new(rows.map(|row| match row {
            Ok((key, value)) => Ok((key.to_vec(), value.to_vec())),
            Err(error) => Err(error.into()),
        }))
    }

    fn write(&self, changes: Changes<'_>) -> Result<(), StorageFault> {
        let mut known = self.sum.lock();
        let mut sum = *known;
        let (mut part, mut parts) = (Part::default(), 0);
        for change in changes {
            let mut change = change?;
            // The rows of the store itself, unlike those of the state, come without what they were.
            if change.key.first() == Some(&0) {
                change.before = self.get(&change.key)?;
            }
            change.before.iter().for_each(|value| sum.take(&change.key, value));
            change.after.iter().for_each(|value| sum.add(&change.key, value));
            if !part.takes(&change) {
                self.rows.apply_batch(std::mem::take(&mut part).undoable(parts)?)?;
                parts += 1;
            }
            part.add(change);
        }
        let mut last = part.batch;
        (0..parts).for_each(|number| last.remove(undo_key(number)));
        last.insert(SUM, encode_value(&sum)?);
        self.rows.apply_batch(last)?;
        *known = sum;
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: u8, before: Option<u8>, after: Option<u8>) -> Result<Change, StorageFault> {
        let value = |byte: u8| vec![byte; 100];
        Ok(Change { key: vec![1, number], before: before.map(value), after: after.map(value) })
    }

    fn all(rows: &SledRows) -> Vec<Row> {
        rows.from(&[]).collect::<Result<_, _>>().expect("rows are read")
    }

    #[test]
    fn no_page_goes_to_a_file_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let rows = SledRows::open(folder.path()).expect("opens");
        let many = |of: u8| {
            move |number: u32| {
                let value = |byte: u8| Some(vec![byte; 2000]);
                let key = [&[1][..], &number.to_be_bytes()].concat();
                Ok(Change { key, before: (of > 0).then(|| value(of)).flatten(), after: value(of + 1) })
            }
        };
        for of in 0..3 {
            rows.write(&mut (0..1500).map(many(of))).expect("written");
        }
        drop(rows);
        let blobs = fs::read_dir(folder.path().join("blobs")).map_or(0, Iterator::count);
        assert_eq!(blobs, 0);
        assert_eq!(all(&SledRows::open(folder.path()).expect("opens")).len(), 1500);
    }

    #[test]
    fn a_write_that_was_cut_short_never_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let rows = SledRows::open(folder.path()).expect("opens");
        let many = 5 * u8::try_from(PART).expect("few");
        rows.write(&mut (0..many).map(|number| change(number, None, Some(1)))).expect("written");
        let before = all(&rows);
        assert_eq!(before.len(), usize::from(many));

        // Changed, removed, made, and changed once more; then it ends.
        let changed = (0..20).map(|number| change(number, Some(1), Some(2)));
        let removed = (20..40).map(|number| change(number, Some(1), None));
        let made = (100..120).map(|number| change(number, None, Some(3)));
        let again = (0..20).map(|number| change(number, Some(2), None));
        let cut = std::iter::once_with(|| Err(StorageFault::Inconsistent("cut short".to_owned())));
        assert!(rows.write(&mut changed.chain(removed).chain(made).chain(again).chain(cut)).is_err());
        assert_ne!(all(&rows), before, "a part was written");
        drop(rows);

        let rows = SledRows::open(folder.path()).expect("opens, and the sum holds");
        assert_eq!(all(&rows), before);
        rows.write(&mut (0..many).map(|number| change(number, Some(1), Some(4)))).expect("written");
        let after = all(&rows);
        drop(rows);
        let rows = SledRows::open(folder.path()).expect("opens");
        assert_eq!(all(&rows), after, "a whole write stays");
    }
}
