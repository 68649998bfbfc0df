//! What an opened store must fulfil before it may serve or vote.

use super::log::{PURGED, VOTE, index_of};
use super::mark::{Mark, VoteMark};
use super::{StorageFault, Trees};
use crate::raft::types::{Entry, LogId, Vote};
use crate::record::decode;

/// Reads every entry: each is whole, they follow each other without a gap, and neither they nor the vote fall short
/// of the mark. Returns the mark that fits. `seen` is `None` for a mark that was just made: then the store must be empty too.
pub(super) fn check(trees: &Trees, seen: Option<Mark>) -> Result<Mark, StorageFault> {
    let purged = read::<LogId>(trees, PURGED)?;
    let vote = read::<Vote>(trees, VOTE)?;
    let mut last = purged;
    for row in &trees.log {
        let (key, value) = row?;
        let entry: Entry = decode(&value)?;
        let index = index_of(&key)?;
        if entry.log_id.index() != index {
            return Err(broken(format!("entry {} stands at {index}", entry.log_id.index())));
        }
        let first = last == purged;
        match last {
            // What was purged may still stand there: it is removed after it was noted as purged.
            Some(purged) if first && index <= purged.index() + 1 => {}
            Some(before) if index == before.index() + 1 => {}
            None if index == 0 => {}
            Some(before) => return Err(broken(format!("entry {index} follows {}", before.index()))),
            None => return Err(broken(format!("the log begins at {index} and nothing was purged"))),
        }
        last = Some(entry.log_id);
    }
    let end = [last, purged].into_iter().flatten().map(|id| id.index() + 1).max().unwrap_or(0);
    let mark = Mark { end, vote: vote.as_ref().map(VoteMark::from).unwrap_or_default() };
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
    if found.vote < seen.vote {
        return Err(broken(format!("the vote is {:?} and once was {:?}", found.vote, seen.vote)));
    }
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(trees: &Trees, key: &str) -> Result<Option<T>, StorageFault> {
    trees.meta.get(key)?.map(|value| decode(&value)).transpose().map_err(StorageFault::from)
}

const fn broken(reason: String) -> StorageFault {
    StorageFault::Inconsistent(reason)
}
