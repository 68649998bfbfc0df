//! One meeting, in the order of revisions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::check::{Floor, Look};
use super::{Call, Fault, Label, Operation, Outcome, Seen, Stage, Token, Verdict};

/// All that was done to a meeting and seen of it.
#[derive(Debug)]
pub(super) struct Register<'h> {
    label: Label,
    /// The write of each token.
    writers: BTreeMap<Token, &'h Operation>,
    /// The writes that were acknowledged, by revision.
    written: BTreeMap<u64, &'h Operation>,
    /// Starts, ends and deletions that may have happened.
    turns: Vec<&'h Operation>,
    /// Answers that there is no such meeting.
    absences: Vec<&'h Operation>,
    /// Looks that found it, by revision.
    looks: Vec<Look>,
    /// Lists that did not have it, by revision.
    missing: Vec<Look>,
    cap: u32,
}

/// Which value stands, while the revisions are gone through.
#[derive(Debug, Default)]
struct Run {
    current: Option<Token>,
    /// Values that stood before the current one.
    over: BTreeSet<Token>,
    /// The last acknowledged value.
    acknowledged: Option<Token>,
    /// Whether anyone saw that one.
    confirmed: bool,
    /// Values that were blamed: once is enough.
    blamed: BTreeSet<Token>,
    last: Option<(u64, Token)>,
}

impl Run {
    fn begin(&mut self, token: Token) {
        self.over.extend(self.current.replace(token));
    }
}

impl<'h> Register<'h> {
    pub(super) fn new(label: Label, operations: &[&'h Operation], looks: Vec<Look>) -> Self {
        let (mut looks, mut missing): (Vec<Look>, Vec<Look>) = looks.into_iter().partition(|look| look.seen.is_some());
        looks.sort_by_key(|look| look.revision);
        missing.sort_by_key(|look| look.revision);
        let by_token = |operation: &&'h Operation| Some((operation.call.token()?, *operation));
        let by_revision = |operation: &&'h Operation| Some((operation.written()?, *operation));
        let turns = |operation: &&&'h Operation| {
            operation.possible() && matches!(operation.call, Call::Start(_) | Call::End(_) | Call::Delete(_))
        };
        let cap = operations.iter().find_map(|operation| match operation.call {
            Call::Create { cap, .. } => Some(cap),
            Call::Update { .. }
            | Call::Start(_)
            | Call::End(_)
            | Call::Delete(_)
            | Call::Join(_)
            | Call::Read { .. } => None,
        });
        Self {
            label,
            writers: operations.iter().filter_map(by_token).collect(),
            written: operations.iter().filter_map(by_revision).collect(),
            turns: operations.iter().filter(turns).copied().collect(),
            absences: operations.iter().filter(|operation| operation.outcome == Outcome::Absent).copied().collect(),
            looks,
            missing,
            cap: cap.unwrap_or(u32::MAX),
        }
    }

    pub(super) fn check(&self, floor: &Floor, verdict: &mut Verdict) {
        self.values(floor, verdict);
        self.stages(verdict);
        self.presence(verdict);
        self.caps(verdict);
    }

    fn blame(&self, verdict: &mut Verdict, fault: Fault, look: &Look, what: &str) {
        let at = look.node.map_or_else(|| "all nodes".to_owned(), |node| format!("node {node}"));
        let (label, revision) = (self.label.0, look.revision);
        verdict.blame(fault, format!("meeting {label} at revision {revision} on {at}: {what}"));
    }

    /// What was seen is what stood at that revision.
    fn values(&self, floor: &Floor, verdict: &mut Verdict) {
        let mut run = Run::default();
        let mut written =
            self.written.iter().filter_map(|(at, operation)| Some((*at, operation.call.token()?))).peekable();
        for look in &self.looks {
            let Some(seen) = look.seen else { continue };
            while let Some((_, token)) = written.next_if(|(at, _)| *at <= look.revision) {
                run.begin(token);
                (run.acknowledged, run.confirmed) = (Some(token), false);
            }
            let forked = run.last.is_some_and(|(at, token)| at == look.revision && token != seen.token);
            run.last = Some((look.revision, seen.token));
            if run.current == Some(seen.token) {
                run.confirmed |= run.acknowledged == run.current;
                continue;
            }
            let judged = if forked {
                Some((Fault::Order, "another value was seen at this very revision"))
            } else {
                self.judge(&run, look, seen.token, floor)
            };
            match judged {
                None => run.begin(seen.token),
                Some((fault, what)) if run.blamed.insert(seen.token) => self.blame(verdict, fault, look, what),
                Some(_) => {}
            }
        }
    }

    /// What is wrong with seeing a value that does not stand; nothing, if a write of unknown outcome begins to show.
    fn judge(&self, run: &Run, look: &Look, token: Token, floor: &Floor) -> Option<(Fault, &'static str)> {
        let Some(writer) = self.writers.get(&token) else {
            return Some((Fault::Order, "a value that nobody wrote"));
        };
        let back = if run.confirmed || run.acknowledged == Some(token) {
            (Fault::Duplicate, "a value came back after another one stood: a write happened twice")
        } else {
            (Fault::Lost, "an acknowledged value is not there, but one from before it")
        };
        match writer.outcome {
            Outcome::Refused => Some((Fault::Order, "the value of a refused write")),
            Outcome::Written { revision } if revision > look.revision => {
                Some((Fault::Order, "a value from a later revision"))
            }
            Outcome::Unknown if run.over.contains(&token) => {
                Some((Fault::Duplicate, "the value of an unanswered write came back: it happened twice"))
            }
            Outcome::Unknown if look.revision <= floor.before(writer.begin) => {
                Some((Fault::Order, "a value from before its write began"))
            }
            Outcome::Unknown => None,
            Outcome::Written { .. } | Outcome::Value { .. } | Outcome::Absent => Some(back),
        }
    }

    /// A meeting goes forward, and no further than it was told.
    fn stages(&self, verdict: &mut Verdict) {
        let reached = |turn: &Operation| match turn.call {
            Call::Start(_) => Some(Stage::Live),
            Call::End(_) => Some(Stage::Ended),
            Call::Create { .. } | Call::Update { .. } | Call::Delete(_) | Call::Join(_) | Call::Read { .. } => None,
        };
        let (mut told, mut shown) = (Stage::Scheduled, Stage::Scheduled);
        let mut written = self.written.iter().filter_map(|(at, turn)| Some((*at, reached(turn)?))).peekable();
        for look in &self.looks {
            let Some(Seen { stage, .. }) = look.seen else { continue };
            while let Some((_, to)) = written.next_if(|(at, _)| *at <= look.revision) {
                told = told.max(to);
            }
            if stage < told {
                return self.blame(verdict, Fault::Lost, look, "an acknowledged start or end is not there");
            }
            if stage < shown {
                return self.blame(verdict, Fault::Order, look, "it went back to an earlier stage");
            }
            shown = stage;
            let may = |turn: &&Operation| {
                reached(turn) == Some(stage)
                    && turn.begin < look.end
                    && turn.written().is_none_or(|at| at <= look.revision)
            };
            if stage > Stage::Scheduled && !self.turns.iter().any(may) {
                return self.blame(verdict, Fault::Order, look, "it is at a stage that nobody asked for");
            }
        }
    }

    /// It is there from its creation to its deletion.
    fn presence(&self, verdict: &mut Verdict) {
        let created = self.written.iter().find(|(_, operation)| matches!(operation.call, Call::Create { .. }));
        let deleted = self.written.iter().find(|(_, operation)| matches!(operation.call, Call::Delete(_)));
        let deletable =
            |by: Duration| self.turns.iter().any(|turn| matches!(turn.call, Call::Delete(_)) && turn.begin < by);
        if let Some((at, deletion)) = deleted {
            if let Some(look) = self.looks.iter().find(|look| look.revision >= *at) {
                self.blame(verdict, Fault::Lost, look, "it is there after its acknowledged deletion");
            }
            if let Some((later, _)) = self.written.range(at + 1..).next() {
                let (label, node) = (self.label.0, deletion.node);
                let what = format!("meeting {label} was deleted at {at} through node {node} and written at {later}");
                verdict.blame(Fault::Order, what);
            }
        }
        if let Some((at, _)) = created
            && let Some(look) = self.missing.iter().find(|look| look.revision >= *at && !deletable(look.end))
        {
            self.blame(verdict, Fault::Lost, look, "its creation was acknowledged, and it is not there");
        }
        if let Some(absence) = self
            .absences
            .iter()
            .find(|absence| created.is_some_and(|(_, made)| made.end < absence.begin) && !deletable(absence.end))
        {
            let (label, node) = (self.label.0, absence.node);
            verdict.blame(Fault::Lost, format!("meeting {label} is not there for node {node}, and nobody deleted it"));
        }
        self.absence_lasts(verdict);
    }

    /// Once a client was told that it is gone, no later state has it.
    fn absence_lasts(&self, verdict: &mut Verdict) {
        let gone =
            self.missing.iter().filter(|look| self.looks.first().is_some_and(|first| first.revision <= look.revision));
        if let Some(first) = gone.min_by_key(|look| look.revision)
            && let Some(look) = self.looks.iter().find(|look| look.revision > first.revision)
        {
            self.blame(verdict, Fault::Duplicate, look, "it is there again after it was gone");
        }
        let Some(told) = self.absences.iter().map(|absence| absence.end).min() else { return };
        if let Some(look) = self.looks.iter().find(|look| look.since.is_some_and(|since| since > told)) {
            self.blame(verdict, Fault::Order, look, "a client had been told before that it is gone");
        }
        let again = self
            .writers
            .values()
            .chain(self.turns.iter())
            .find(|write| write.begin > told && write.written().is_some());
        if let Some(write) = again {
            let (label, node) = (self.label.0, write.node);
            verdict.blame(Fault::Order, format!("meeting {label} was gone, and node {node} wrote into it afterwards"));
        }
    }

    fn caps(&self, verdict: &mut Verdict) {
        let over = |look: &&Look| {
            look.seen.and_then(|seen| seen.people).is_some_and(|(now, most)| now > self.cap || most > self.cap)
        };
        if let Some(look) = self.looks.iter().find(over) {
            let people = look.seen.and_then(|seen| seen.people);
            self.blame(verdict, Fault::Cap, look, &format!("{people:?} people, cap {}", self.cap));
        }
    }
}
