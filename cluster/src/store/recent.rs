//! The latest entries of the log, as Raft knows them.

use std::collections::VecDeque;
use std::ops::Range;

use crate::raft::types::Entry;

/// Entries at most; what is under way at a time are some hundreds.
const ENTRIES: usize = 4096;

/// Bytes of their records at most.
const BYTES: usize = 4 * 1024 * 1024;

/// A window on the end of the log, without gaps.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// With the bytes of each one's record.
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Recent {
    /// Adds the entry that was written, and forgets the oldest.
    pub(super) fn push(&mut self, entry: Entry, bytes: usize) {
        if self.end().is_some_and(|end| end != entry.log_id.index()) {
            self.clear();
        }
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
        while self.entries.len() > ENTRIES || self.bytes > BYTES {
            self.drop_first();
        }
    }

    /// The log ends at `end` now.
    pub(super) fn cut(&mut self, end: u64) {
        while self.end().is_some_and(|before| before > end) {
            self.bytes -= self.entries.pop_back().map_or(0, |(_, bytes)| bytes);
        }
    }

    /// The log begins behind `upto` now.
    pub(super) fn purge(&mut self, upto: u64) {
        while self.begin().is_some_and(|begin| begin <= upto) {
            self.drop_first();
        }
    }

    /// Entries of `range`, as many as fit into `bytes` but at least one; nothing if the first is not here.
    pub(super) fn read(&self, range: &Range<u64>, bytes: usize) -> Option<Vec<Entry>> {
        let (begin, end) = (self.begin()?, self.end()?);
        if !(begin..end).contains(&range.start) {
            return None;
        }
        let place = |index: u64| usize::try_from(index - begin).ok();
        let mut size = 0;
        let fits = |(number, (_, bytes_of)): &(usize, &(Entry, usize))| {
            size += bytes_of;
            size <= bytes || *number == 0
        };
        let entries = self.entries.range(place(range.start)?..place(range.end.min(end))?).enumerate();
        Some(entries.take_while(fits).map(|(_, (entry, _))| entry.clone()).collect())
    }

    fn begin(&self) -> Option<u64> {
        self.entries.front().map(|(entry, _)| entry.log_id.index())
    }

    fn end(&self) -> Option<u64> {
        self.entries.back().map(|(entry, _)| entry.log_id.index() + 1)
    }

    fn drop_first(&mut self) {
        self.bytes -= self.entries.pop_front().map_or(0, |(_, bytes)| bytes);
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use openraft::entry::EntryPayload;
    use openraft::vote::RaftLeaderId;

    use super::*;
    use crate::model::NodeId;
    use crate::raft::types::{LogId, TypeConfig};

    fn entry(index: u64) -> Entry {
        let leader = <openraft::alias::LeaderIdOf<TypeConfig> as RaftLeaderId>::new(1, NodeId::new(1));
        Entry { log_id: LogId::new(leader.to_committed(), index), payload: EntryPayload::Blank }
    }

    fn recent(indices: Range<u64>) -> Recent {
        let mut recent = Recent::default();
        indices.for_each(|index| recent.push(entry(index), 10));
        recent
    }

    fn read(recent: &Recent, range: Range<u64>, bytes: usize) -> Option<Vec<u64>> {
        let entries = recent.read(&range, bytes)?;
        Some(entries.iter().map(|entry| entry.log_id.index()).collect())
    }

    #[test]
    fn it_gives_what_it_has_from_the_first_that_is_asked_for() {
        let recent = recent(5..10);
        assert_eq!(read(&recent, 6..8, usize::MAX), Some(vec![6, 7]));
        assert_eq!(read(&recent, 8..100, usize::MAX), Some(vec![8, 9]));
        assert_eq!(read(&recent, 5..10, 25), Some(vec![5, 6]));
        assert_eq!(read(&recent, 5..10, 1), Some(vec![5]), "at least one");
        assert_eq!(read(&recent, 4..6, usize::MAX), None);
        assert_eq!(read(&recent, 10..11, usize::MAX), None);
        assert_eq!(read(&Recent::default(), 0..1, usize::MAX), None);
    }

    #[test]
    fn it_follows_cuts_purges_and_gaps() {
        let mut recent = recent(5..10);
        recent.cut(8);
        recent.purge(5);
        assert_eq!(read(&recent, 6..100, usize::MAX), Some(vec![6, 7]));
        recent.push(entry(8), 10);
        assert_eq!(read(&recent, 7..9, usize::MAX), Some(vec![7, 8]));
        recent.push(entry(20), 10);
        assert_eq!((read(&recent, 8..9, usize::MAX), read(&recent, 20..21, 0)), (None, Some(vec![20])));
        recent.cut(3);
        assert_eq!((recent.entries.len(), recent.bytes), (0, 0));
    }

    #[test]
    fn it_is_bounded() {
        let entries = u64::try_from(ENTRIES).expect("few");
        let mut recent = recent(0..2 * entries);
        assert_eq!((recent.entries.len(), recent.begin()), (ENTRIES, Some(entries)));
        recent.push(entry(2 * entries), BYTES);
        assert_eq!((recent.entries.len(), recent.bytes), (1, BYTES));
    }
}
