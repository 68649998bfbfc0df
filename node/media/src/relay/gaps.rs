//! Which packets of a pulled track are missing, and when to ask for them again.
//!
//! Sequence numbers are the origin's. A number that is skipped is missing until it arrives or is [`FORGOTTEN`];
//! anything else at or below the highest number seen is a duplicate.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Frame;

/// Reordering is waited out before the first NACK.
const PATIENCE: Duration = Duration::from_millis(10);
/// Between two NACKs for one packet: about a round trip between nodes.
const RETRY: Duration = Duration::from_millis(40);
/// NACKs for one packet; after 10 + 3 · 40 ms no jitter buffer waits for it.
const TRIES: u8 = 3;
/// A missing packet that arrives later than this is dropped as a duplicate would be.
const FORGOTTEN: Duration = Duration::from_secs(1);
/// A jump by more than this is a new start, not a loss.
const MAX_MISSING: u64 = 256;

#[derive(Debug, Clone, Copy)]
struct Missing {
    since: Instant,
    ask_at: Instant,
    tries: u8,
}

/// What a packet turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Not seen before: forward it.
    New,
    /// Was missing: forward it.
    Recovered,
    /// Seen before or too late: drop it.
    Duplicate,
}

/// The gaps of one pulled track.
#[derive(Debug, Default)]
pub struct Gaps {
    highest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
}

impl Gaps {
    /// Takes in that a packet arrived.
    pub fn handle_packet(&mut self, now: Instant, sequence: u64) -> Arrival {
        let Some(highest) = self.highest else {
            self.highest = Some(sequence);
            return Arrival::New;
        };
        if sequence > highest {
            self.open(now, highest + 1, sequence);
            self.highest = Some(sequence);
            return Arrival::New;
        }
        if self.missing.remove(&sequence).is_some() {
            return Arrival::Recovered;
        }
        Arrival::Duplicate
    }

    fn open(&mut self, now: Instant, from: u64, to: u64) {
        if to - from > MAX_MISSING {
            self.missing.clear();
            return;
        }
        let missing = Missing { since: now, ask_at: now + PATIENCE, tries: 0 };
        self.missing.extend((from..to).map(|sequence| (sequence, missing)));
        while self.missing.len() as u64 > MAX_MISSING {
            self.missing.pop_first();
        }
    }

    /// The packets to ask for now, at most [`Frame::MAX_NACKED`]; each counts as asked for.
    pub fn poll_nack(&mut self, now: Instant) -> Vec<u64> {
        self.missing.retain(|_, missing| now.saturating_duration_since(missing.since) < FORGOTTEN);
        let mut due = Vec::new();
        for (sequence, missing) in &mut self.missing {
            if missing.tries < TRIES && missing.ask_at <= now && due.len() < Frame::MAX_NACKED {
                missing.tries += 1;
                missing.ask_at = now + RETRY;
                due.push(*sequence);
            }
        }
        due
    }

    /// When [`Gaps::poll_nack`] has something to say next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.missing.values().filter(|missing| missing.tries < TRIES).map(|missing| missing.ask_at).min()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_asked_for_three_times_and_then_let_be() {
        let start = Instant::now();
        let mut gaps = Gaps::default();
        assert_eq!(gaps.handle_packet(start, 10), Arrival::New);
        assert_eq!(gaps.handle_packet(start, 13), Arrival::New);
        assert_eq!(gaps.poll_nack(start), Vec::<u64>::new());
        let mut now = start;
        let mut asked = 0;
        while let Some(at) = gaps.poll_timeout() {
            now = at;
            assert_eq!(gaps.poll_nack(now), vec![11, 12]);
            asked += 1;
        }
        assert_eq!(asked, TRIES);
        assert!(now - start < Duration::from_millis(150));
    }

    #[test]
    fn reordering_is_not_loss_and_a_repetition_is_dropped() {
        let start = Instant::now();
        let mut gaps = Gaps::default();
        gaps.handle_packet(start, 1);
        gaps.handle_packet(start, 3);
        assert_eq!(gaps.handle_packet(start, 2), Arrival::Recovered);
        assert_eq!(gaps.handle_packet(start, 2), Arrival::Duplicate);
        assert_eq!(gaps.handle_packet(start, 3), Arrival::Duplicate);
        assert_eq!(gaps.poll_timeout(), None);
    }

    #[test]
    fn a_long_jump_is_a_new_start() {
        let start = Instant::now();
        let mut gaps = Gaps::default();
        gaps.handle_packet(start, 1);
        assert_eq!(gaps.handle_packet(start, 1_000_000), Arrival::New);
        assert_eq!(gaps.poll_timeout(), None);
    }
}
