//! The high-water mark: how far the log and the vote certainly reached, kept outside the log.
//!
//! A log that lost its end still reads as a whole one. The mark tells: a log that is shorter, or a vote that is older,
//! than what was once acknowledged is not ours to vote with. It follows the log: first the log is synced, then the mark
//! moves, so that it never promises what a power cut could take. How often the log was cut on purpose belongs to it: a log
//! that lost its last cut ends with entries that were replaced, and may be long enough.
//!
//! ```text
//! two slots of 64 bytes, 4 KiB apart, written in turn:
//! | sequence | last index + 1 | term | voted for | committed | cuts | .. | crc32: u32 |      (u64 each, LE)
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::model::NodeId;
use crate::raft::types::Vote;

/// Bytes of a slot.
const SLOT: usize = 64;

/// Where the checksum is.
const CRC_AT: usize = SLOT - 4;

/// Slots are this far apart, so that no torn write of one reaches the other.
const STRIDE: u64 = 4096;

/// How far a store certainly reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Mark {
    /// Index of the log's end: one more than the last entry's; 0 for an empty log.
    pub(super) end: u64,
    /// How often a new leader's entries replaced some of the log's.
    pub(super) cuts: u64,
    /// The vote.
    pub(super) vote: VoteMark,
}

/// A vote in the order in which votes grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct VoteMark {
    pub(super) term: u64,
    pub(super) candidate: u64,
    pub(super) committed: bool,
}

impl From<&VoteMark> for Vote {
    fn from(vote: &VoteMark) -> Self {
        let candidate = NodeId::new(vote.candidate);
        if vote.committed { Self::new_committed(vote.term, candidate) } else { Self::new(vote.term, candidate) }
    }
}

impl From<&Vote> for VoteMark {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, candidate: vote.leader_id.node_id.number(), committed: vote.committed }
    }
}

/// Why the mark can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum MarkError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("neither slot of the high-water mark can be read")]
    Damaged,
}

/// The file.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
    sequence: u64,
    synced: bool,
}

impl MarkFile {
    /// Opens the file, or makes it. `None` stands for a file that was just made.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Mark>), MarkError> {
        let fresh = !path.try_exists()?;
        if fresh {
            let mut slots = vec![0; usize::try_from(STRIDE).unwrap_or(0) + SLOT];
            slots[..SLOT].copy_from_slice(&encode(0, Mark::default()));
            super::snapshot::write_durably(path, &slots)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let slots = [read(&file, 0)?, read(&file, STRIDE)?];
        let newest = slots.into_iter().flatten().max_by_key(|(sequence, _)| *sequence);
        let (sequence, mark) = newest.ok_or(MarkError::Damaged)?;
        Ok((Self { file, sequence, synced: true }, (!fresh).then_some(mark)))
    }

    /// Moves the mark. It is on disk after [`Self::sync`].
    pub(super) fn write(&mut self, mark: Mark) -> io::Result<()> {
        // Only what is synced makes way for a new one: of the two slots one is whole on disk at any time.
        self.sequence += u64::from(self.synced);
        self.synced = false;
        let at = (self.sequence % 2) * STRIDE;
        self.file.write_all_at(&encode(self.sequence, mark), at)
    }

    /// Makes the mark durable as it was written last.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if !self.synced {
            self.file.sync_data()?;
            self.synced = true;
        }
        Ok(())
    }

    /// Forgets how far anything reached.
    #[cfg(test)]
    pub(super) fn reset(&mut self) -> io::Result<()> {
        for _ in 0..2 {
            self.write(Mark::default())?;
            self.sync()?;
        }
        Ok(())
    }

    /// Whether the file on disk says what was written last.
    pub(super) const fn is_synced(&self) -> bool {
        self.synced
    }
}

fn encode(sequence: u64, mark: Mark) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    let numbers = [sequence, mark.end, mark.vote.term, mark.vote.candidate, u64::from(mark.vote.committed), mark.cuts];
    for (bytes, number) in slot.chunks_exact_mut(8).zip(numbers) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    let crc = crc32fast::hash(&slot[..CRC_AT]);
    slot[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// The slot at `at`, unless it was torn or never written.
fn read(file: &File, at: u64) -> io::Result<Option<(u64, Mark)>> {
    let mut slot = [0; SLOT];
    match file.read_exact_at(&mut slot, at) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    if crc32fast::hash(&slot[..CRC_AT]).to_le_bytes() != slot[CRC_AT..] {
        return Ok(None);
    }
    let mut numbers = slot.chunks_exact(8).map(|bytes| bytes.iter().rev().fold(0_u64, |n, b| (n << 8) | u64::from(*b)));
    let mut next = || numbers.next().unwrap_or(0);
    let (sequence, end) = (next(), next());
    let vote = VoteMark { term: next(), candidate: next(), committed: next() != 0 };
    Ok(Some((sequence, Mark { end, cuts: next(), vote })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(end: u64) -> Mark {
        Mark { end, cuts: 1, vote: VoteMark { term: 3, candidate: 1, committed: true } }
    }

    #[test]
    fn the_newest_readable_slot_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mark");
        let (mut file, seen) = MarkFile::open(&path).expect("opens");
        assert_eq!(seen, None);
        for end in 1..=5 {
            file.write(mark(end + 10)).expect("writes");
            file.write(mark(end)).expect("writes");
            file.sync().expect("syncs");
        }
        assert_eq!(MarkFile::open(&path).expect("opens").1, Some(mark(5)));
        file.file.write_all_at(&[9; 8], STRIDE).expect("writes");
        assert_eq!(MarkFile::open(&path).expect("opens").1, Some(mark(4)));
        file.file.write_all_at(&[9; 8], 0).expect("writes");
        assert!(matches!(MarkFile::open(&path), Err(MarkError::Damaged)));
    }
}
