//! What clients asked and what they were told.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use plenary_cluster::model::NodeId;
use plenary_cluster::simulation::LogId;
use plenary_cluster::state::{Applied, Command, Event, Rejection, State};

/// Names what one client asked once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// To carry out a command.
    Write(Box<Command>),
    /// For the state as it is here.
    ReadLocal,
    /// For the state at this revision or later.
    ReadAtLeast(u64),
    /// For a state that holds everything acknowledged before.
    ReadLinearizable,
}

/// What came of it.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Agreed on at this revision; `local` is what the serving node had applied then.
    Written {
        /// Its revision.
        revision: u64,
        /// What came of it.
        applied: Applied,
        /// The revision of the serving node when it answered.
        local: u64,
    },
    /// Refused by the state.
    Rejected(Rejection),
    /// A state.
    State(Arc<State>),
    /// Not known: it may have happened, it may still happen.
    Unknown,
}

/// One line of history.
#[derive(Debug, Clone)]
pub enum Told {
    /// A client asks a node.
    Asked {
        /// Which time.
        ticket: Ticket,
        /// The node.
        node: NodeId,
        /// What.
        ask: Ask,
    },
    /// The client has its answer.
    Answered {
        /// To which.
        ticket: Ticket,
        /// What.
        outcome: Outcome,
    },
    /// A consumer on a node followed the events from one revision to another; `None` is a resync.
    Followed {
        /// Where.
        node: NodeId,
        /// After this revision.
        after: u64,
        /// Up to this one.
        upto: u64,
        /// What it got.
        events: Option<Vec<Event>>,
    },
    /// A message reached a node.
    Delivered {
        /// From.
        from: NodeId,
        /// To.
        to: NodeId,
        /// Kind, length and checksum.
        what: String,
    },
    /// A node is up: its process has opened its store and takes part.
    Started {
        /// Which.
        node: NodeId,
        /// Which time.
        life: u64,
    },
    /// A node's process could not open its store, or not start.
    NotStarted {
        /// Which.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// A node took this epoch.
    Registered {
        /// Which.
        node: NodeId,
        /// The epoch.
        epoch: u64,
    },
    /// After healing, a write through this node was acknowledged.
    Recovered {
        /// Which.
        node: NodeId,
    },
    /// The nemesis acts.
    Fault(crate::nemesis::Fault),
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked { ticket, node, ask } => write!(f, "#{} asks {node}: {ask:?}", ticket.0),
            Self::Answered { ticket, outcome } => match outcome {
                Outcome::Written { revision, applied, local } => {
                    write!(f, "#{} written at {revision} (local {local}): {applied:?}", ticket.0)
                }
                Outcome::Rejected(rejection) => write!(f, "#{} refused: {rejection}", ticket.0),
                Outcome::State(state) => write!(f, "#{} reads {}", ticket.0, state.revision()),
                Outcome::Unknown => write!(f, "#{} unknown", ticket.0),
            },
            Self::Followed { node, after, upto, events } => match events {
                Some(events) => write!(f, "{node} follows {after} to {upto}: {} events", events.len()),
                None => write!(f, "{node} follows {after} to {upto}: resync"),
            },
            Self::Delivered { from, to, what } => write!(f, "{from} > {to} {what}"),
            Self::Started { node, life } => write!(f, "{node} starts, life {life}"),
            Self::NotStarted { node, reason } => write!(f, "{node} does not start: {reason}"),
            Self::Registered { node, epoch } => write!(f, "{node} has epoch {epoch}"),
            Self::Recovered { node } => write!(f, "{node} takes writes again"),
            Self::Fault(fault) => write!(f, "fault: {fault:?}"),
        }
    }
}

/// Where history is written down. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct History(Arc<Mutex<Vec<Told>>>);

impl History {
    pub(crate) fn note(&self, told: Told) {
        self.0.lock().push(told);
    }

    pub(crate) fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock())
    }
}

/// A committed entry and what it did.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The entry.
    pub entry: Arc<plenary_cluster::simulation::Entry>,
    /// What came of its proposal.
    pub applied: Option<Applied>,
    /// It changed more than the bookkeeping.
    pub decided: bool,
    /// Digest of the state after it.
    pub digest: plenary_cluster::simulation::Digest,
    /// The membership as of it.
    pub config: Arc<plenary_cluster::simulation::Config>,
    /// Its events.
    pub events: Vec<Event>,
    /// The state after it.
    pub state: State,
}

impl Moment {
    /// Its name.
    #[must_use]
    pub fn id(&self) -> LogId {
        self.entry.id
    }
}
