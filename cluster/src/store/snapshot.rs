//! Snapshots: plain files, written under another name, synced, renamed, and the folder synced.
//!
//! ```text
//! | "PLENARY\x01" | frame: meta | frame: rows | .. | frame: no rows |
//! frame = | length: u32 LE | record (see `record`) |
//! ```

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::StorageFault;
use crate::raft::types::{LogId, SnapshotMeta};
use crate::record::{decode, encode};
use crate::state::{Change, Row, State};

const MAGIC: &[u8; 8] = b"PLENARY\x01";

/// Bytes of rows in one frame, about.
const FRAME: usize = 256 * 1024;

/// Bytes of a frame that is still believed.
const FRAME_MAX: u32 = 1024 * 1024;

/// Snapshots kept: one may still be on its way to a follower when the next is finished.
const KEPT: usize = 2;

/// A finished snapshot on disk.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFile {
    pub(crate) path: PathBuf,
}

/// The folder of snapshots.
#[derive(Debug)]
pub(crate) struct Snapshots {
    folder: PathBuf,
    current: Mutex<Option<(SnapshotMeta, SnapshotFile)>>,
    /// Makes the names of unfinished files differ.
    unfinished: AtomicU64,
}

impl Snapshots {
    /// Opens the folder: forgets unfinished files, finds the newest whole snapshot.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut finished = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("snap") => finished.push(path),
                Some("tmp") => fs::remove_file(path)?,
                Some(_) | None => {}
            }
        }
        finished.sort();
        let current = finished.into_iter().rev().find_map(|path| {
            let read = SnapshotReader::open(&path).and_then(|reader| {
                let meta = reader.meta.clone();
                reader.state().map(|_| meta)
            });
            match read {
                Ok(meta) => Some((meta, SnapshotFile { path })),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a snapshot can't be read and is passed over");
                    None
                }
            }
        });
        Ok(Self { folder: folder.to_owned(), current: Mutex::new(current), unfinished: AtomicU64::new(0) })
    }

    /// The newest snapshot.
    pub(super) fn current(&self) -> Option<(SnapshotMeta, SnapshotFile)> {
        self.current.lock().clone()
    }

    /// Passes over the newest snapshot if it ends before `purged`: nothing leads on from there, and Raft writes a new one
    /// when there is none.
    pub(super) fn forget_before(&self, purged: Option<LogId>) {
        let mut current = self.current.lock();
        if current.as_ref().is_some_and(|(meta, _)| meta.last_log_id < purged) {
            *current = None;
        }
    }

    /// Writes the snapshot of a state and makes it the current one.
    pub(super) fn write(&self, meta: &SnapshotMeta, state: &State) -> Result<SnapshotFile, StorageFault> {
        let mut upload = self.begin()?;
        upload.file.write_all(MAGIC)?;
        write_frame(&mut upload.file, &encode(meta)?)?;
        let mut rows: Vec<Row> = Vec::new();
        let mut size = 0;
        for change in state.changes_since(&State::default()) {
            let Change { key, after: Some(value), .. } = change? else { continue };
            size += key.len() + value.len();
            rows.push((key, value));
            if size >= FRAME {
                write_frame(&mut upload.file, &encode(&rows)?)?;
                rows.clear();
                size = 0;
            }
        }
        if !rows.is_empty() {
            write_frame(&mut upload.file, &encode(&rows)?)?;
        }
        write_frame(&mut upload.file, &encode(&Vec::<Row>::new())?)?;
        let file = upload.finish(meta)?;
        self.adopt(meta, &file)?;
        Ok(file)
    }

    /// Whether a file that came from elsewhere is a whole snapshot with this meta.
    pub(crate) fn verify(file: &SnapshotFile, meta: &SnapshotMeta) -> Result<(), StorageFault> {
        let reader = SnapshotReader::open(&file.path)?;
        if reader.meta != *meta {
            return Err(StorageFault::Inconsistent("the snapshot is not the one that was announced".to_owned()));
        }
        reader.state().map(drop)
    }

    /// Begins a file that is filled by the caller.
    pub(crate) fn begin(&self) -> io::Result<Upload> {
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("{number}.tmp"));
        Ok(Upload { file: BufWriter::new(File::create(&path)?), path, written: 0 })
    }

    /// Makes a finished snapshot the current one, unless there is a newer; removes old ones.
    pub(super) fn adopt(&self, meta: &SnapshotMeta, file: &SnapshotFile) -> io::Result<()> {
        let mut current = self.current.lock();
        if current.as_ref().is_none_or(|(newest, _)| newest.last_log_id <= meta.last_log_id) {
            *current = Some((meta.clone(), file.clone()));
        }
        drop(current);
        let mut finished: Vec<PathBuf> = fs::read_dir(&self.folder)?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "snap"))
            .collect();
        finished.sort();
        for old in finished.iter().rev().skip(KEPT) {
            fs::remove_file(old)?;
        }
        Ok(())
    }
}

/// A snapshot file that is not finished. Dropped unfinished, it is removed.
#[derive(Debug)]
pub(crate) struct Upload {
    file: BufWriter<File>,
    path: PathBuf,
    written: u64,
}

impl Upload {
    /// Adds bytes that came from another node.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Bytes added so far.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Makes the file durable under its name.
    pub(crate) fn finish(mut self, meta: &SnapshotMeta) -> io::Result<SnapshotFile> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        let (index, term, node) = meta.last_log_id.map_or((0, 0, 0), |last| {
            (last.index(), last.committed_leader_id().term, last.committed_leader_id().node_id.number())
        });
        let path = self.path.with_file_name(format!("{index:020}-{term}-{node}.snap"));
        fs::rename(&self.path, &path)?;
        sync_folder(&path)?;
        Ok(SnapshotFile { path })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // After `finish` the name is gone, and there is nothing to remove.
        drop(fs::remove_file(&self.path));
    }
}

/// Reads a snapshot file.
pub(super) struct SnapshotReader {
    file: BufReader<File>,
    pub(super) meta: SnapshotMeta,
}

impl SnapshotReader {
    pub(super) fn open(path: &Path) -> Result<Self, StorageFault> {
        let mut file = BufReader::new(File::open(path)?);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(StorageFault::Inconsistent("not a snapshot".to_owned()));
        }
        let meta = decode(&read_frame(&mut file)?)?;
        Ok(Self { file, meta })
    }

    /// The state that the snapshot holds.
    pub(super) fn state(mut self) -> Result<State, StorageFault> {
        let mut frame = Vec::new().into_iter();
        let rows = std::iter::from_fn(|| {
            loop {
                if let Some(row) = frame.next() {
                    return Some(Ok(row));
                }
                match self.next_rows() {
                    Ok(rows) if rows.is_empty() => return None,
                    Ok(rows) => frame = rows.into_iter(),
                    Err(error) => return Some(Err(error)),
                }
            }
        });
        State::from_rows(rows)
    }

    fn next_rows(&mut self) -> Result<Vec<Row>, StorageFault> {
        Ok(decode(&read_frame(&mut self.file)?)?)
    }
}

fn write_frame(file: &mut impl Write, record: &[u8]) -> io::Result<()> {
    let length = u32::try_from(record.len()).map_err(io::Error::other)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(record)
}

fn read_frame(file: &mut impl Read) -> Result<Vec<u8>, StorageFault> {
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > FRAME_MAX {
        return Err(StorageFault::Inconsistent(format!("snapshot frame of {length} bytes")));
    }
    let mut record = vec![0; length as usize];
    file.read_exact(&mut record)?;
    Ok(record)
}

/// Writes a small file so that it is there whole or not at all, even after a power cut.
pub(super) fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("tmp");
    let mut file = File::create(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_folder(path)
}

/// Makes the name of a file or folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::other("a file has a folder"))?;
    File::open(folder)?.sync_all()
}
