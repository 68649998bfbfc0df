//! Handing what is seen to every invariant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plenary_cluster::model::NodeId;
use plenary_cluster::simulation::{Ballot, Disk, Seen};

use crate::chronicle::Chronicle;
use crate::history::{Ask, Moment, Outcome, Ticket};

/// What an invariant gets to see.
#[derive(Debug)]
pub enum Sight<'a> {
    /// Something happened at a disk or in a state.
    Disk(&'a Seen),
    /// An entry was applied somewhere for the first time. `holders` have it so that no crash takes it away.
    Committed {
        /// The entry and what it did.
        moment: &'a Moment,
        /// Who holds it.
        holders: &'a BTreeSet<NodeId>,
    },
    /// A node leads.
    Leads {
        /// Which.
        node: NodeId,
        /// In which of its lives.
        life: u64,
        /// By which vote.
        ballot: Ballot,
    },
    /// A client asks.
    Asked {
        /// Which time.
        ticket: Ticket,
        /// What.
        ask: &'a Ask,
    },
    /// A client has its answer.
    Answered {
        /// To which question.
        ticket: Ticket,
        /// What it asked.
        ask: &'a Ask,
        /// What it was told.
        outcome: &'a Outcome,
    },
    /// Someone followed the events from one revision to another.
    Followed {
        /// Where.
        node: NodeId,
        /// After this.
        after: u64,
        /// Up to this.
        upto: u64,
        /// What came; `None` for a resync.
        events: Option<&'a [plenary_cluster::state::Event]>,
    },
    /// A node stopped or panicked by itself.
    Stopped {
        /// Which.
        node: NodeId,
        /// What it said.
        reason: &'a str,
    },
    /// The time to heal is over.
    Healed {
        /// What is still wrong: one sentence a node.
        wrong: &'a [String],
    },
}

/// What stands around what is seen.
pub struct Scene<'a> {
    /// Everything that was committed.
    pub chronicle: &'a Chronicle,
    /// All disks.
    pub disks: &'a BTreeMap<NodeId, Disk>,
    /// Nodes whose disks were harmed: they may refuse to start.
    pub harmed: &'a BTreeSet<NodeId>,
}

/// Something that always holds.
pub trait Invariant {
    /// Its name: that of its file.
    fn name(&self) -> &'static str;

    /// Who says that it must hold.
    fn source(&self) -> &'static str;

    /// Looks at what is seen.
    ///
    /// # Errors
    /// The sentence that says how it was broken.
    fn see(&mut self, sight: &Sight<'_>, scene: &Scene<'_>) -> Result<(), String>;
}

/// An invariant was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// Who says that it must hold.
    pub source: &'static str,
    /// How.
    pub words: String,
    /// When.
    pub at: Duration,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { invariant, source, words, at } = self;
        write!(f, "{invariant} at {:.3} s: {words} ({source})", at.as_secs_f64())
    }
}

/// All invariants, and the first time that one was broken.
pub(crate) struct Checks {
    invariants: Vec<Box<dyn Invariant>>,
    pub(crate) violation: Option<Violation>,
}

impl Checks {
    pub(crate) fn new() -> Self {
        Self { invariants: crate::invariants::all(), violation: None }
    }

    pub(crate) fn see(&mut self, at: Duration, sight: &Sight<'_>, scene: &Scene<'_>) {
        for invariant in &mut self.invariants {
            if let Err(words) = invariant.see(sight, scene) {
                let (invariant, source) = (invariant.name(), invariant.source());
                self.violation.get_or_insert(Violation { invariant, source, words, at });
            }
        }
    }

    pub(crate) fn broken(&mut self, at: Duration, invariant: &'static str, source: &'static str, words: String) {
        self.violation.get_or_insert(Violation { invariant, source, words, at });
    }
}
