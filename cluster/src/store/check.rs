//! What an opened store must fulfil before it may serve or vote.

use super::StorageFault;
use super::mark::{Mark, VoteMark};
use super::wal::Wal;
use crate::raft::types::LogId;

/// Entries that are looked at in one go.
const STEP: u64 = 256;

/// Reads every entry: each is whole, they follow each other without a gap, and neither they nor the vote fall short
/// of the mark. Returns the mark that fits. `seen` is `None` for a mark that was just made: then the log must be empty too.
pub(super) fn check(wal: &Wal, seen: Option<Mark>) -> Result<Mark, StorageFault> {
    let (purged, last) = (wal.purged(), wal.last());
    let mut next = purged.map_or(0, |purged| purged.index() + 1);
    let end = last.map_or(0, |last| last.index() + 1);
    let mut before = purged;
    while next < end {
        let entries = wal.read(next..end.min(next + STEP), usize::MAX)?;
        for entry in &entries {
            let id = entry.log_id;
            if id.index() != next {
                return Err(broken(format!("the log lacks entry {next}")));
            }
            if before.is_some_and(|before| before.committed_leader_id() > id.committed_leader_id()) {
                return Err(broken(format!("entry {id} follows one of a later term")));
            }
            before = Some(id);
            next += 1;
        }
        if entries.is_empty() {
            return Err(broken(format!("the log lacks entry {next}")));
        }
    }
    if before != last {
        return Err(broken(format!("the log should end with {last:?} and ends with {before:?}")));
    }
    let vote = wal.vote();
    let mark = Mark { end, cuts: wal.cuts(), vote: vote.as_ref().map(VoteMark::from).unwrap_or_default() };
    compare(mark, seen)?;
    Ok(mark)
}

fn compare(found: Mark, seen: Option<Mark>) -> Result<(), StorageFault> {
    let Some(seen) = seen else {
        let empty = found == Mark::default();
        return if empty { Ok(()) } else { Err(broken("the high-water mark is missing".to_owned())) };
    };
    if found.end < seen.end {
        return Err(broken(format!("the log ends at {} and once reached {}", found.end, seen.end)));
    }
    if found.cuts < seen.cuts {
        let (found, seen) = (found.cuts, seen.cuts);
        return Err(broken(format!("the log knows of {found} cuts and there were {seen}: its end was replaced once")));
    }
    if found.vote < seen.vote {
        return Err(broken(format!("the vote is {:?} and once was {:?}", found.vote, seen.vote)));
    }
    Ok(())
}

/// Whether the applied state can be had: from `applied` or the newest snapshot on, the log leads further.
pub(super) fn covers(wal: &Wal, applied: Option<LogId>, snapshot: Option<LogId>) -> Result<(), StorageFault> {
    let known = applied.max(snapshot);
    let purged = wal.purged();
    if known.map(|id| id.index()) < purged.map(|id| id.index()) {
        return Err(broken(format!("the log was purged up to {purged:?} and the state is known up to {known:?} only")));
    }
    Ok(())
}

const fn broken(reason: String) -> StorageFault {
    StorageFault::Inconsistent(reason)
}
