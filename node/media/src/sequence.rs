//! Sequence numbers of a slot while it shows one source.
//!
//! A packet that we chose not to send closes its gap; a packet that was lost keeps its number, goes out late under it
//! when it is recovered, and else stays a gap: a decoder must not take half a picture for a whole one.

use std::collections::VecDeque;

/// How many of the newest packets are remembered; older ones are of no use to any receiver.
pub(crate) const WINDOW: u64 = 1_024;

/// A source that skips more than this did not lose packets but paused, or lost too many to repair: its gap is closed
/// and decoding starts afresh. Keeping thousands of numbers reserved would only provoke thousands of NACKs.
pub(crate) const LONGEST_GAP: u64 = 256;

/// A packet this far behind belongs to a source that began to count anew.
const LONGEST_STEP_BACK: u64 = 8 * WINDOW;

/// How many closed gaps late packets can look back over.
const MOST_SPANS: usize = 32;

const WORDS: usize = 16;
const _: () = assert!(WORDS as u64 * 64 == WINDOW && LONGEST_GAP < WINDOW);

/// Which number a packet gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Newer than all before it.
    New(u64),
    /// Was reserved for it.
    Late(u64),
    /// It was here before.
    Duplicate,
    /// Older than what is remembered, or from before the source was shown.
    TooOld,
    /// The source skipped too far; see [`LONGEST_GAP`].
    Leap,
}

/// Consecutive packets whose numbers are shifted alike.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: u64,
    shift: i64,
}

/// Maps a source's sequence numbers to the slot's.
#[derive(Debug)]
pub(crate) struct SequenceMap {
    highest: u64,
    spans: VecDeque<Span>,
    seen: [u64; WORDS],
}

impl SequenceMap {
    /// Begins with the source's packet `first`, which is sent as `as_sequence`.
    pub(crate) fn new(first: u64, as_sequence: u64) -> Self {
        let shift = as_sequence.cast_signed().wrapping_sub(first.cast_signed());
        let mut map = Self { highest: first, spans: VecDeque::from([Span { from: first, shift }]), seen: [0; WORDS] };
        map.mark(first);
        map
    }

    /// The first number that is free for another source.
    pub(crate) fn next(&self) -> u64 {
        let shift = self.spans.back().map_or(0, |span| span.shift);
        shifted(self.highest, shift).wrapping_add(1)
    }

    /// Whether this packet would be newer than all before it.
    pub(crate) fn is_new(&self, sequence: u64) -> bool {
        sequence > self.highest
    }

    /// Whether this packet skips too far; see [`LONGEST_GAP`].
    pub(crate) fn is_leap(&self, sequence: u64) -> bool {
        sequence > self.highest.saturating_add(LONGEST_GAP) || sequence.saturating_add(LONGEST_STEP_BACK) < self.highest
    }

    /// Gives a packet that is sent its number.
    pub(crate) fn place(&mut self, sequence: u64) -> Place {
        if self.is_leap(sequence) {
            return Place::Leap;
        }
        if sequence.saturating_add(WINDOW) <= self.highest {
            return Place::TooOld;
        }
        let Some(span) = self.spans.iter().rev().find(|span| span.from <= sequence).copied() else {
            return Place::TooOld;
        };
        let new = self.is_new(sequence);
        self.advance(sequence);
        if !self.mark(sequence) {
            return Place::Duplicate;
        }
        let out = shifted(sequence, span.shift);
        if new { Place::New(out) } else { Place::Late(out) }
    }

    /// Closes the gap of a packet that we chose not to send. One whose number is reserved already leaves a gap.
    pub(crate) fn discard(&mut self, sequence: u64) {
        if self.is_leap(sequence) {
            return;
        }
        if !self.is_new(sequence) {
            if sequence.saturating_add(WINDOW) > self.highest {
                self.mark(sequence);
            }
            return;
        }
        self.advance(sequence);
        self.mark(sequence);
        let next = Span { from: sequence.saturating_add(1), shift: self.spans.back().map_or(0, |span| span.shift) - 1 };
        match self.spans.back_mut() {
            Some(empty) if empty.from == sequence => *empty = next,
            Some(_) | None => self.spans.push_back(next),
        }
        if self.spans.len() > MOST_SPANS {
            self.spans.pop_front();
        }
    }

    /// Forgets what falls out of the window when `sequence` is the newest.
    fn advance(&mut self, sequence: u64) {
        while self.highest < sequence {
            self.highest += 1;
            let (word, bit) = position(self.highest);
            self.seen[word] &= !bit;
        }
    }

    /// Whether this is the first time.
    fn mark(&mut self, sequence: u64) -> bool {
        let (word, bit) = position(sequence);
        let first = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        first
    }
}

const fn position(sequence: u64) -> (usize, u64) {
    let at = sequence % WINDOW;
    ((at / 64) as usize, 1 << (at % 64))
}

const fn shifted(sequence: u64, shift: i64) -> u64 {
    sequence.wrapping_add_signed(shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_packet_keeps_its_number_and_comes_late() {
        let mut map = SequenceMap::new(1_000, 5);
        assert_eq!(map.place(1_001), Place::New(6));
        assert_eq!(map.place(1_004), Place::New(9));
        assert_eq!(map.place(1_002), Place::Late(7));
        assert_eq!(map.place(1_002), Place::Duplicate);
        assert_eq!(map.place(1_000), Place::Duplicate, "the first was sent");
        assert_eq!(map.place(999), Place::TooOld, "from before the switch");
        assert_eq!(map.next(), 10);
    }

    #[test]
    fn a_packet_we_chose_to_drop_closes_its_gap() {
        let mut map = SequenceMap::new(10, 100);
        map.discard(11);
        map.discard(12);
        assert_eq!(map.place(13), Place::New(101));
        map.discard(15);
        assert_eq!(map.place(16), Place::New(103));
        assert_eq!(map.place(14), Place::Late(102), "lost between two closed gaps");
        assert_eq!(map.place(15), Place::Duplicate);
        assert_eq!(map.place(12), Place::Duplicate);
        assert_eq!(map.next(), 104);
    }

    #[test]
    fn a_trailing_drop_leaves_no_hole_for_the_next_source() {
        let mut map = SequenceMap::new(10, 100);
        map.discard(11);
        assert_eq!(map.next(), 101);
    }

    #[test]
    fn far_leaps_are_told_and_change_nothing() {
        let mut map = SequenceMap::new(10_000, 0);
        assert_eq!(map.place(10_000 + LONGEST_GAP + 1), Place::Leap);
        assert_eq!(map.place(1), Place::Leap);
        assert_eq!(map.place(10_001), Place::New(1));
    }

    #[test]
    fn the_window_moves_on() {
        let mut map = SequenceMap::new(0, 0);
        for sequence in 1..5_000 {
            assert_eq!(map.place(sequence), Place::New(sequence));
        }
        assert_eq!(map.place(4_999 - WINDOW), Place::TooOld);
        assert_eq!(map.place(5_000 - WINDOW), Place::Duplicate);
    }
}
