//! Room on the disk that the data folder is on.
//!
//! ```text
//! free ≥ low              all is well
//! free < low              new proposals are refused; votes, what others have agreed on, snapshots and purges go on
//! free < critical         the reserve file is given up, so that there is room for these
//! free well above again   the reserve is allocated again, and proposals are taken
//! ```
//!
//! A log that meets a disk without room stops its node for good, so it has to end earlier, and with words.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

const MIB: u64 = if cfg!(test) { 64 * 1024 } else { 1024 * 1024 };

/// Below this much free space proposals are refused. What is under way then, thousands of small entries and a snapshot,
/// fits into it many times over.
const LOW: u64 = 64 * MIB;

/// Size of the reserve file.
const RESERVE: u64 = 32 * MIB;

/// Below this much free space the reserve is given up.
const CRITICAL: u64 = 16 * MIB;

/// On a small disk no more than this share of it counts as [`LOW`]; the others shrink with it.
const SHARE: u64 = 8;

const _: () = assert!(CRITICAL < RESERVE && RESERVE < LOW);

/// The room that the data folder has.
#[derive(Debug)]
pub(crate) struct Space(Option<Disk>);

#[derive(Debug)]
struct Disk {
    folder: PathBuf,
    reserve: File,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    full: bool,
    reserved: bool,
}

impl Space {
    /// Looks after the disk of a data folder.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let path = folder.join("reserve");
        let reserve = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        let reserved = reserve.metadata()?.len() > 0;
        let state = Mutex::new(State { full: false, reserved });
        let space = Self(Some(Disk { folder: folder.to_owned(), reserve, state }));
        let _ = space.full();
        Ok(space)
    }

    /// Room without end: what is not on a disk.
    pub(crate) const fn endless() -> Self {
        Self(None)
    }

    /// The folder whose disk was nearly full when it was last looked at: at every sync, and now and then.
    pub(crate) fn was_full(&self) -> Option<&Path> {
        let disk = self.0.as_ref()?;
        disk.state.lock().full.then_some(&*disk.folder)
    }

    /// The folder whose disk is nearly full, if it is.
    pub(crate) fn full(&self) -> Option<&Path> {
        let disk = self.0.as_ref()?;
        match disk.look() {
            Ok(full) => full.then_some(&*disk.folder),
            Err(error) => {
                tracing::warn!(%error, "it can't be told how much room the data folder has");
                None
            }
        }
    }
}

impl Disk {
    fn look(&self) -> io::Result<bool> {
        let found = statvfs(&self.folder)?;
        let mut free = found.f_bavail * found.f_frsize;
        let low = LOW.min(found.f_blocks * found.f_frsize / SHARE);
        let of_low = |part: u64| low * part / LOW;
        let mut state = self.state.lock();
        if state.reserved && free < of_low(CRITICAL) {
            tracing::warn!(folder = %self.folder.display(), free, "the disk is full; the reserve is given up");
            self.reserve.set_len(0)?;
            state.reserved = false;
        } else if !state.reserved && free > low + low / 2 + of_low(RESERVE) {
            fallocate(&self.reserve, FallocateFlags::empty(), 0, of_low(RESERVE))?;
            state.reserved = true;
            free -= of_low(RESERVE);
        }
        // A little more than `low` has to be free before it ends, so that it does not come and go.
        let full = !state.reserved || free < if state.full { low + low / 4 } else { low };
        if full != state.full {
            state.full = full;
            if full {
                tracing::warn!(folder = %self.folder.display(), free, "the disk is nearly full; proposals are refused");
            } else {
                tracing::info!(folder = %self.folder.display(), free, "there is room on the disk again");
            }
        }
        Ok(full)
    }
}
