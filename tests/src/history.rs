//! What clients did and saw, and whether a directory that never forgets and never forks could have answered so.
//!
//! Every answer of the directory names its revision: the index of the log entry that a write became, or of the last
//! entry in the state that a read saw. So the order of all writes is known, and an answer is judged without a search:
//!
//! ```text
//! revisions of writes are unique           and keep the order of real time
//! a linearizable read's revision           is none below what was acknowledged or seen before it began
//! what a read saw                          is the value at its revision, or that of a write of unknown outcome
//! a write of unknown outcome               shows in one unbroken stretch of revisions, or never: at most once
//! what was acknowledged                    is there at every later revision until it is overwritten
//! the people in a meeting                  are never more than its cap
//! ```
//!
//! A client that got no answer, or one of the 500s, does not know what came of its write; any other refusal means that
//! nothing did. Nothing here has a clock, a socket or a task: a history is checked after the fact.

mod check;
mod register;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::Duration;

pub use verdict::{Fault, Verdict, Violation};

/// A meeting, as its creator numbered it. The node's id for it is not known when the creation was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(pub u64);

/// What a creation or a change wrote into a meeting; no two writes of a history write the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// How far a meeting is. It never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Created.
    Scheduled,
    /// Started.
    Live,
    /// Over.
    Ended,
}

/// What a read promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Some state that was.
    Local,
    /// A state at this revision or later.
    AtLeast(u64),
    /// Everything that was acknowledged before it began.
    Linearizable,
}

/// What a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Makes a meeting.
    Create {
        /// Which.
        meeting: Label,
        /// What it says.
        token: Token,
        /// How many may be in it at once.
        cap: u32,
    },
    /// Overwrites what it says.
    Update {
        /// Which.
        meeting: Label,
        /// What it says from now on.
        token: Token,
    },
    /// Makes it live.
    Start(Label),
    /// Ends it.
    End(Label),
    /// Removes it.
    Delete(Label),
    /// Asks for a place in it.
    Join(Label),
    /// Looks at it.
    Read {
        /// Which.
        meeting: Label,
        /// How fresh.
        promise: Promise,
    },
}

/// A meeting at some revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What it says.
    pub token: Token,
    /// How far it is.
    pub stage: Stage,
    /// How many were in it, and at most ever; a list does not tell.
    pub people: Option<(u32, u32)>,
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A write was acknowledged.
    Written {
        /// Its revision.
        revision: u64,
    },
    /// A read was answered.
    Value {
        /// The revision it saw.
        revision: u64,
        /// What was there.
        seen: Seen,
    },
    /// A read was told that there is no such meeting.
    Absent,
    /// Refused for good.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// One call of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Who called.
    pub client: u32,
    /// Which node was asked.
    pub node: usize,
    /// When the call began, since the history did.
    pub begin: Duration,
    /// When it was answered or given up.
    pub end: Duration,
    /// What was asked.
    pub call: Call,
    /// What came of it.
    pub outcome: Outcome,
}

/// All meetings there are, as all nodes agreed on at some moment without faults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// A revision that each of them had reached.
    pub revision: u64,
    /// When the first of them was asked.
    pub begin: Duration,
    /// When the last had answered.
    pub end: Duration,
    /// The meetings; one that was made twice is there twice.
    pub meetings: Vec<(Label, Seen)>,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// In any order.
    pub operations: Vec<Operation>,
    /// In any order.
    pub listings: Vec<Listing>,
}

impl Call {
    /// The meeting it is about.
    #[must_use]
    pub const fn meeting(&self) -> Label {
        match self {
            Self::Create { meeting, .. } | Self::Update { meeting, .. } | Self::Read { meeting, .. } => *meeting,
            Self::Start(meeting) | Self::End(meeting) | Self::Delete(meeting) | Self::Join(meeting) => *meeting,
        }
    }

    /// What it writes into the meeting.
    #[must_use]
    pub const fn token(&self) -> Option<Token> {
        match self {
            Self::Create { token, .. } | Self::Update { token, .. } => Some(*token),
            Self::Start(_) | Self::End(_) | Self::Delete(_) | Self::Join(_) | Self::Read { .. } => None,
        }
    }
}

impl Operation {
    /// The revision in its answer.
    #[must_use]
    pub const fn revision(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Written { revision } | Outcome::Value { revision, .. } => Some(revision),
            Outcome::Absent | Outcome::Refused | Outcome::Unknown => None,
        }
    }

    const fn written(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Written { revision } => Some(revision),
            Outcome::Value { .. } | Outcome::Absent | Outcome::Refused | Outcome::Unknown => None,
        }
    }

    /// Whether it may have been carried out, as far as its client knows.
    const fn possible(&self) -> bool {
        matches!(self.outcome, Outcome::Written { .. } | Outcome::Unknown)
    }
}

impl History {
    /// Judges it.
    #[must_use]
    pub fn check(&self) -> Verdict {
        check::check(self)
    }
}
