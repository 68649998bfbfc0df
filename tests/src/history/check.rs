//! The order of everything, then each meeting for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use super::register::Register;
use super::{Call, Fault, History, Label, Operation, Outcome, Promise, Seen, Verdict};

/// What had been acknowledged or seen, and so was committed, by any moment.
#[derive(Debug)]
pub(super) struct Floor {
    /// Ends of answered calls with the highest revision until then, both rising.
    steps: Vec<(Duration, u64)>,
}

impl Floor {
    fn of(history: &History) -> Self {
        let mut ends: Vec<(Duration, u64)> =
            history.operations.iter().filter_map(|operation| Some((operation.end, operation.revision()?))).collect();
        ends.extend(history.listings.iter().map(|listing| (listing.end, listing.revision)));
        ends.sort_unstable();
        let mut highest = 0;
        for (_, revision) in &mut ends {
            highest = highest.max(*revision);
            *revision = highest;
        }
        Self { steps: ends }
    }

    /// The highest revision known to anyone before `moment`.
    pub(super) fn before(&self, moment: Duration) -> u64 {
        let known = self.steps.partition_point(|(end, _)| *end < moment);
        known.checked_sub(1).map_or(0, |last| self.steps[last].1)
    }
}

/// A look at one meeting at one revision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) revision: u64,
    pub(super) end: Duration,
    /// `None` when a list did not have it.
    pub(super) seen: Option<Seen>,
    /// The node that was asked; none when all were.
    pub(super) node: Option<usize>,
    /// When it began, if it promised to see all that was acknowledged by then.
    pub(super) since: Option<Duration>,
}

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::of(history);
    let floor = Floor::of(history);
    each_revision_is_one_write(history, &mut verdict);
    real_time_is_kept(history, &floor, &mut verdict);
    lists_name_each_meeting_once(history, &mut verdict);

    let mut meetings: BTreeMap<Label, (Vec<&Operation>, Vec<Look>)> = BTreeMap::new();
    for operation in &history.operations {
        let (operations, looks) = meetings.entry(operation.call.meeting()).or_default();
        operations.push(operation);
        if let Outcome::Value { revision, seen } = operation.outcome {
            let linearizable = matches!(operation.call, Call::Read { promise: Promise::Linearizable, .. });
            let since = linearizable.then_some(operation.begin);
            looks.push(Look { revision, end: operation.end, seen: Some(seen), node: Some(operation.node), since });
        }
    }
    for listing in &history.listings {
        let listed: BTreeMap<Label, Seen> = listing.meetings.iter().copied().collect();
        let (revision, end, since) = (listing.revision, listing.end, Some(listing.begin));
        let look = |seen| Look { revision, end, seen, node: None, since };
        for (label, (_, looks)) in &mut meetings {
            looks.push(look(listed.get(label).copied()));
        }
        for label in listed.keys().filter(|label| !meetings.contains_key(label)) {
            verdict.blame(Fault::Order, format!("meeting {} is there and nobody made it", label.0));
        }
    }
    for (label, (operations, looks)) in meetings {
        Register::new(label, &operations, looks).check(&floor, &mut verdict);
    }
    verdict
}

fn each_revision_is_one_write(history: &History, verdict: &mut Verdict) {
    let mut written: Vec<(u64, &Operation)> =
        history.operations.iter().filter_map(|operation| Some((operation.written()?, operation))).collect();
    written.sort_unstable_by_key(|(revision, _)| *revision);
    for pair in written.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
        let [(revision, one), (_, other)] = pair else { continue };
        verdict.blame(Fault::Order, format!("revision {revision} is two writes: {:?} and {:?}", one.call, other.call));
    }
}

/// What a call could have known before it began is not above its own revision.
fn real_time_is_kept(history: &History, floor: &Floor, verdict: &mut Verdict) {
    for operation in &history.operations {
        let Some(revision) = operation.revision() else { continue };
        let known = floor.before(operation.begin);
        let (least, words) = match operation.call {
            Call::Read { promise: Promise::Local, .. } => continue,
            Call::Read { promise: Promise::AtLeast(asked), .. } => (asked, "a read that asked for at least"),
            Call::Read { promise: Promise::Linearizable, .. } => (known, "a linearizable read begun after"),
            Call::Create { .. }
            | Call::Update { .. }
            | Call::Start(_)
            | Call::End(_)
            | Call::Delete(_)
            | Call::Join(_) => (known + 1, "a write begun when the next was"),
        };
        if revision < least {
            let Operation { node, call, .. } = operation;
            verdict.blame(Fault::Order, format!("{words} {least} has revision {revision}: node {node}, {call:?}"));
        }
    }
}

fn lists_name_each_meeting_once(history: &History, verdict: &mut Verdict) {
    for listing in &history.listings {
        let mut labels: Vec<Label> = listing.meetings.iter().map(|(label, _)| *label).collect();
        labels.sort_unstable();
        for pair in labels.windows(2).filter(|pair| pair[0] == pair[1]) {
            let what = format!("meeting {} was made twice, by revision {}", pair[0].0, listing.revision);
            verdict.blame(Fault::Duplicate, what);
        }
    }
}
