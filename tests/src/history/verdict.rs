//! What a history is found to be.

use std::fmt;

use super::{History, Outcome, Promise};
use crate::history::Call;

/// What a violation means for those who trusted the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Something acknowledged is gone.
    Lost,
    /// Something happened twice.
    Duplicate,
    /// More people than a meeting's cap.
    Cap,
    /// An answer that no single order of events explains.
    Order,
}

/// One thing that must not have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Of which sort.
    pub fault: Fault,
    /// What exactly, with revisions and nodes.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.fault, self.what)
    }
}

/// The judgement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Calls that were looked at.
    pub operations: usize,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Reads that were answered: local, at least, linearizable.
    pub reads: [usize; 3],
    /// Calls that were refused for good.
    pub refused: usize,
    /// Calls of unknown outcome.
    pub unknown: usize,
    /// Lists that all nodes agreed on.
    pub listings: usize,
    /// What is wrong.
    pub violations: Vec<Violation>,
}

impl Verdict {
    pub(super) fn of(history: &History) -> Self {
        let mut verdict =
            Self { operations: history.operations.len(), listings: history.listings.len(), ..Self::default() };
        for operation in &history.operations {
            match operation.outcome {
                Outcome::Written { .. } => verdict.acknowledged += 1,
                Outcome::Refused => verdict.refused += 1,
                Outcome::Unknown => verdict.unknown += 1,
                Outcome::Value { .. } | Outcome::Absent => {
                    if let Call::Read { promise, .. } = operation.call {
                        verdict.reads[match promise {
                            Promise::Local => 0,
                            Promise::AtLeast(_) => 1,
                            Promise::Linearizable => 2,
                        }] += 1;
                    }
                }
            }
        }
        verdict
    }

    pub(super) fn blame(&mut self, fault: Fault, what: String) {
        self.violations.push(Violation { fault, what });
    }

    /// Adds another history's judgement.
    pub fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.acknowledged += other.acknowledged;
        for (reads, more) in self.reads.iter_mut().zip(other.reads) {
            *reads += more;
        }
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.listings += other.listings;
        self.violations.extend(other.violations);
    }

    /// How many violations are of this sort.
    #[must_use]
    pub fn count(&self, fault: Fault) -> usize {
        self.violations.iter().filter(|violation| violation.fault == fault).count()
    }
}
