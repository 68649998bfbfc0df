//! Who is dead: who observes whom, when an observer suspects, when its word is enough. Pure: time comes in as the
//! time since the caller began, answers and reports as calls.
//!
//! ```text
//! each node:   Observer ── probes, every 50 ms ──► the nodes it observes
//!                 │ suspects             └─ a leader that is silent ──► each voter: would vote for another
//!                 ▼
//! each voter:  Jury ── two observers agree ──► the leader declares
//! ```
//!
//! Only silence that an observer listened to counts; one that was held up for long takes its suspicions back, and when
//! many fall silent at once nothing is declared for a while: all of it is more likely our own fault than theirs.
//!
//! To be declared down costs a node its sessions, to be no longer the leader costs it nothing. So a leader is replaced
//! after less silence: it takes a majority of the voters that each find it silent, as any election does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::NodeId;
use crate::placement::mix;

/// Between two probes of a node.
pub(crate) const PROBE_EVERY: Duration = Duration::from_millis(50);

/// A turn that comes this much after the one before says that the observer was held up: what it takes for others'
/// silence may be its own.
pub(crate) const LATE: Duration = PROBE_EVERY.saturating_add(Duration::from_millis(300));

/// Silence that makes suspect: a dozen probes without an answer. Two busy cores hold a healthy process up for 300 ms now
/// and then; with the agreement below this leaves half of the second and a half in which its calls are to go on
/// elsewhere.
pub(crate) const SUSPECT_AFTER: Duration = Duration::from_millis(600);

/// Silence of the leader after which a voter would vote for another: five probes without an answer, or more where
/// answers usually come later ([`Gaps`]), up to [`SUSPECT_AFTER`].
const LEADER_SILENT: Duration = Duration::from_millis(250);

/// Observers of one node, where there are as many others: two have to agree, and two may be dead or cut off
/// themselves.
const OBSERVERS: usize = 4;

/// Observers that have to agree, where there are as many.
const AGREE: usize = 2;

/// Agreement has to last so long: the others of a mass loss are suspect by then as well.
const SETTLED: Duration = Duration::from_millis(100);

/// A report that is older does not count for a suspicion: a few turns.
const REPORT_HOLDS: Duration = Duration::from_millis(350);

/// Observers report at least this often.
pub(crate) const REPORT_EVERY: Duration = Duration::from_millis(500);

/// An observer whose last report is older can't vouch for anyone.
const VOUCH_HOLDS: Duration = Duration::from_millis(1500);

/// When more than [`at_once`] are suspect, they have to stay so for this long: then it is no hiccup of ours, and a
/// quorum that can write it down is there.
const MASS_HOLDS: Duration = Duration::from_secs(5);

const _: () = assert!(VOUCH_HOLDS.as_millis() > 2 * REPORT_EVERY.as_millis());

/// Nodes by id, each with its epoch.
pub(crate) type Epochs = BTreeMap<NodeId, u64>;

/// How many of `nodes` may be declared at once: a third, rounded up. Two of five that share a rack are; three of five
/// could not be, since nothing is agreed on without the others.
pub(crate) const fn at_once(nodes: usize) -> usize {
    nodes.div_ceil(3)
}

/// Who observes `node`, out of `nodes`: those with the highest rendezvous weight, so that a node that comes or goes
/// changes little.
pub(crate) fn observers(node: NodeId, nodes: impl IntoIterator<Item = NodeId>) -> BTreeSet<NodeId> {
    let mut others: Vec<NodeId> = nodes.into_iter().filter(|other| *other != node).collect();
    others.sort_by_key(|other| (mix(mix(node.number()) ^ other.number()), *other));
    others.into_iter().rev().take(OBSERVERS).collect()
}

/// What one node knows of those it observes.
#[derive(Debug)]
pub(crate) struct Observer {
    me: NodeId,
    watched: BTreeMap<NodeId, Watched>,
    last_turn: Option<Duration>,
}

#[derive(Debug)]
struct Watched {
    epoch: u64,
    /// When it last answered, without the time in which this node did not listen.
    heard: Duration,
    gaps: Gaps,
}

/// The time between two answers: its mean and its mean deviation, smoothed as TCP smooths its round-trip time (RFC 6298
/// §2).
#[derive(Debug)]
struct Gaps {
    mean: Duration,
    deviation: Duration,
}

impl Watched {
    const fn new(epoch: u64, now: Duration) -> Self {
        Self { epoch, heard: now, gaps: Gaps { mean: PROBE_EVERY, deviation: Duration::ZERO } }
    }
}

impl Gaps {
    fn add(&mut self, gap: Duration) {
        self.deviation = (self.deviation * 3 + gap.abs_diff(self.mean)) / 4;
        self.mean = (self.mean * 7 + gap) / 8;
    }

    /// More is not usual: an answer is missing, and the next one is late.
    fn usual(&self) -> Duration {
        self.mean * 2 + self.deviation * 4
    }
}

impl Observer {
    pub(crate) const fn new(me: NodeId) -> Self {
        Self { me, watched: BTreeMap::new(), last_turn: None }
    }

    /// Takes in which nodes are up, and which of them to observe in any case, and begins a turn: probe
    /// [`Observer::observed`] now. How long ago the turn before was, if that is very long.
    pub(crate) fn handle_turn(&mut self, now: Duration, up: &Epochs, also: Option<NodeId>) -> Option<Duration> {
        let since = self.last_turn.map(|last| now.saturating_sub(last));
        self.last_turn = Some(now);
        self.watched.retain(|node, _| up.contains_key(node));
        for (node, epoch) in up.iter().filter(|(node, _)| **node != self.me) {
            if also != Some(*node) && !observers(*node, up.keys().copied()).contains(&self.me) {
                self.watched.remove(node);
                continue;
            }
            // A new life is not judged by the silence of the one before.
            let watched = self.watched.entry(*node).or_insert_with(|| Watched::new(*epoch, now));
            if watched.epoch != *epoch {
                *watched = Watched::new(*epoch, now);
            }
        }
        let since = since?;
        let late = since > LATE;
        let missed = if late { now } else { since.saturating_sub(PROBE_EVERY) };
        self.watched.values_mut().for_each(|watched| watched.heard = now.min(watched.heard + missed));
        late.then_some(since)
    }

    /// A node answered.
    pub(crate) fn handle_answer(&mut self, now: Duration, node: NodeId) {
        if let Some(watched) = self.watched.get_mut(&node) {
            watched.gaps.add(now.saturating_sub(watched.heard));
            watched.heard = watched.heard.max(now);
        }
    }

    /// Whether the leader, observed, has been silent for so long that another should lead.
    pub(crate) fn misses_leader(&self, now: Duration, leader: NodeId) -> bool {
        self.watched.get(&leader).is_some_and(|watched| {
            let enough = LEADER_SILENT.max(watched.gaps.usual()).min(SUSPECT_AFTER);
            now.saturating_sub(watched.heard) > enough
        })
    }

    /// Whom to probe.
    pub(crate) fn observed(&self) -> impl Iterator<Item = NodeId> {
        self.watched.keys().copied()
    }

    /// Who has been silent for too long, in which epoch.
    pub(crate) fn suspects(&self, now: Duration) -> Epochs {
        let silent = |watched: &Watched| now.saturating_sub(watched.heard) > SUSPECT_AFTER;
        self.watched
            .iter()
            .filter(|(_, watched)| silent(watched))
            .map(|(node, watched)| (*node, watched.epoch))
            .collect()
    }
}

/// What the observers said.
#[derive(Debug, Default)]
pub(crate) struct Jury {
    reports: BTreeMap<NodeId, Report>,
    /// Since when enough agree on a node, in which epoch.
    agreed: BTreeMap<NodeId, (u64, Duration)>,
    /// Since when too many are suspect at once.
    mass: Option<Duration>,
}

#[derive(Debug)]
struct Report {
    at: Duration,
    suspects: Epochs,
}

impl Jury {
    /// An observer's latest word replaces the one before.
    pub(crate) fn handle_report(&mut self, now: Duration, from: NodeId, suspects: Epochs) {
        self.reports.insert(from, Report { at: now, suspects });
    }

    /// Of the nodes that are up: those that are dead, as far as their observers can tell.
    pub(crate) fn verdict(&mut self, now: Duration, up: &Epochs) -> Epochs {
        self.reports.retain(|from, _| up.contains_key(from));
        let mut suspected = 0;
        let mut agreed = BTreeMap::new();
        for (node, epoch) in up {
            let observers = observers(*node, up.keys().copied());
            let against = self.reports.iter().filter(|(from, report)| {
                let fresh = now.saturating_sub(report.at) <= REPORT_HOLDS;
                fresh && observers.contains(from) && report.suspects.get(node) == Some(epoch)
            });
            let against = against.count();
            suspected += usize::from(against > 0);
            if against >= AGREE.min(observers.len()).max(1) {
                let before = self.agreed.get(node).filter(|(of, _)| of == epoch);
                agreed.insert(*node, (*epoch, before.map_or(now, |(_, since)| *since)));
            }
        }
        self.agreed = agreed;
        self.mass = (suspected > at_once(up.len())).then(|| self.mass.unwrap_or(now));
        if self.mass.is_some_and(|since| now.saturating_sub(since) < MASS_HOLDS) {
            return Epochs::new();
        }
        let settled = self.agreed.iter().filter(|(_, (_, since))| now.saturating_sub(*since) >= SETTLED);
        settled.map(|(node, (epoch, _))| (*node, *epoch)).collect()
    }

    /// Whether an observer that is heard hears `node`.
    pub(crate) fn is_vouched_for(&self, now: Duration, node: NodeId, up: &Epochs) -> bool {
        let observers = observers(node, up.keys().copied());
        self.reports.iter().any(|(from, report)| {
            let heard = now.saturating_sub(report.at) <= VOUCH_HOLDS;
            heard && observers.contains(from) && !report.suspects.contains_key(&node)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn up(numbers: std::ops::RangeInclusive<u64>) -> Epochs {
        numbers.map(|number| (NodeId::new(number), 10 + number)).collect()
    }

    /// Nodes `1 ..= count` and all their observers and juries on one line of time; some are dead from the start.
    fn detected(count: u64, dead: &[u64], until: Duration) -> BTreeMap<NodeId, Duration> {
        let up = up(1..=count);
        let alive: Vec<NodeId> = up.keys().filter(|node| !dead.contains(&node.number())).copied().collect();
        let mut observers: Vec<Observer> = alive.iter().map(|node| Observer::new(*node)).collect();
        let mut jury = Jury::default();
        let mut found = BTreeMap::new();
        let mut now = Duration::ZERO;
        while now < until {
            for observer in &mut observers {
                assert_eq!(observer.handle_turn(now, &up, None), None);
                let answering: Vec<NodeId> = observer.observed().filter(|node| alive.contains(node)).collect();
                answering.into_iter().for_each(|node| observer.handle_answer(now, node));
                jury.handle_report(now, observer.me, observer.suspects(now));
            }
            for node in jury.verdict(now, &up).keys() {
                found.entry(*node).or_insert(now);
            }
            now += PROBE_EVERY;
        }
        found
    }

    #[test]
    fn each_node_has_four_observers_and_they_hardly_change() {
        let nodes = |count: u64| (1..=count).map(NodeId::new);
        for node in nodes(9) {
            let before = observers(node, nodes(9));
            assert_eq!(before.len(), 4);
            assert!(!before.contains(&node));
            assert!(observers(node, nodes(10)).difference(&before).count() <= 1);
        }
        assert_eq!(observers(NodeId::new(1), nodes(2)).len(), 1);
    }

    #[test]
    fn a_dead_node_is_found_in_less_than_a_second_and_nobody_else() {
        for count in 2..=9 {
            let found = detected(count, &[2], ms(8000));
            assert_eq!(found.keys().copied().collect::<Vec<_>>(), [NodeId::new(2)], "of {count}");
            assert!(found[&NodeId::new(2)] <= ms(900), "{found:?}");
        }
    }

    #[test]
    fn a_pair_of_five_is_found_at_once_and_three_only_after_a_while() {
        let found = detected(5, &[1, 4], ms(2000));
        assert_eq!(found.len(), 2);
        assert!(found.values().all(|at| *at <= ms(900)), "{found:?}");
        assert!(detected(7, &[1, 2, 3, 4], ms(5000)).is_empty());
        let late = detected(7, &[1, 2, 3, 4], ms(8000));
        assert!(!late.is_empty() && late.values().all(|at| *at >= ms(5600)), "{late:?}");
    }

    #[test]
    fn one_observer_is_not_enough_where_there_are_two() {
        let (up, two) = (up(1..=3), NodeId::new(2));
        let mut jury = Jury::default();
        let suspects = Epochs::from([(two, 12)]);
        for now in [0, 100, 200, 300] {
            jury.handle_report(ms(now), NodeId::new(1), suspects.clone());
            jury.handle_report(ms(now), NodeId::new(3), Epochs::new());
            assert_eq!(jury.verdict(ms(now), &up), Epochs::new());
        }
        assert!(jury.is_vouched_for(ms(300), two, &up), "node 3 hears it");
        assert!(!jury.is_vouched_for(ms(3000), two, &up), "nobody has said anything for long");
        let pair = Epochs::from([(NodeId::new(1), 11), (two, 12)]);
        for now in [400, 500] {
            jury.handle_report(ms(now), NodeId::new(1), suspects.clone());
            assert!(jury.verdict(ms(now), &pair).len() == usize::from(now == 500), "it is all there is");
        }
    }

    #[test]
    fn an_old_report_and_one_about_an_earlier_life_do_not_count() {
        let (up, two) = (up(1..=3), NodeId::new(2));
        let mut jury = Jury::default();
        for from in [1, 3] {
            jury.handle_report(ms(0), NodeId::new(from), Epochs::from([(two, 11)]));
        }
        jury.verdict(ms(0), &up);
        assert_eq!(jury.verdict(ms(200), &up), Epochs::new(), "it registered anew since");
        for from in [1, 3] {
            jury.handle_report(ms(300), NodeId::new(from), Epochs::from([(two, 12)]));
        }
        jury.verdict(ms(300), &up);
        assert_eq!(jury.verdict(ms(400), &up).len(), 1);
        assert_eq!(jury.verdict(ms(900), &up), Epochs::new(), "nobody says so any more");
    }

    #[test]
    fn a_late_observer_takes_its_suspicions_back() {
        let (up, mut observer) = (up(1..=3), Observer::new(NodeId::new(1)));
        for now in (0..=700).step_by(50) {
            observer.handle_turn(ms(now), &up, None);
            observer.handle_answer(ms(now), NodeId::new(3));
        }
        assert_eq!(observer.suspects(ms(700)), Epochs::from([(NodeId::new(2), 12)]));
        assert_eq!(observer.handle_turn(ms(1200), &up, None), Some(ms(500)));
        assert_eq!(observer.suspects(ms(1700)), Epochs::new());
        assert_eq!(observer.suspects(ms(1900)).len(), 2, "it goes on from there");
    }

    #[test]
    fn silence_that_nobody_listened_to_does_not_count() {
        let (up, leader) = (up(1..=3), NodeId::new(2));
        let mut observer = Observer::new(NodeId::new(1));
        // Every turn comes 200 ms after the one before: 150 ms of them nobody listened.
        for now in (0..=1000).step_by(200) {
            assert_eq!(observer.handle_turn(ms(now), &up, None), None);
        }
        assert!(!observer.misses_leader(ms(1000), leader), "250 ms were listened to");
        observer.handle_turn(ms(1050), &up, None);
        assert!(observer.misses_leader(ms(1050), leader));
        assert_eq!(observer.suspects(ms(1050)), Epochs::new());
    }

    #[test]
    fn a_leader_that_is_always_slow_is_given_more_time() {
        let (up, leader) = (up(1..=3), NodeId::new(2));
        let silent_after = |gap: u64, but_once: u64| {
            let mut observer = Observer::new(NodeId::new(1));
            let mut now = 0;
            for turn in 0..200 {
                now = turn * 50;
                observer.handle_turn(ms(now), &up, None);
                if now % gap == 0 && !(2000..2000 + but_once).contains(&now) {
                    observer.handle_answer(ms(now), leader);
                }
            }
            let heard = now - now % gap;
            let turns = (now..).step_by(50).skip(1);
            let missed = turns.take_while(|now| {
                observer.handle_turn(ms(*now), &up, None);
                !observer.misses_leader(ms(*now), leader)
            });
            missed.last().unwrap_or(now) + 50 - heard
        };
        assert_eq!(silent_after(50, 0), 300);
        assert_eq!(silent_after(200, 0), 450);
        assert_eq!(silent_after(400, 0), 650, "and not more than anybody");
        assert_eq!(silent_after(50, 500), 300, "one outage is soon forgotten");
    }

    #[test]
    fn the_leader_is_observed_by_every_voter_that_asks_for_it() {
        let (up, node) = (up(1..=9), NodeId::new(2));
        let stranger = up.keys().find(|me| **me != node && !observers(node, up.keys().copied()).contains(me));
        let mut observer = Observer::new(*stranger.expect("five do not observe it"));
        observer.handle_turn(ms(0), &up, None);
        assert!(observer.observed().all(|other| other != node));
        observer.handle_turn(ms(50), &up, Some(node));
        assert!(observer.observed().any(|other| other == node));
    }

    #[test]
    fn a_node_in_a_new_life_has_time_to_answer() {
        let (mut up, mut observer) = (up(1..=3), Observer::new(NodeId::new(1)));
        for now in (0..1000).step_by(50) {
            observer.handle_turn(ms(now), &up, None);
        }
        up.insert(NodeId::new(2), 40);
        observer.handle_turn(ms(1000), &up, None);
        assert_eq!(observer.suspects(ms(1000)), Epochs::from([(NodeId::new(3), 13)]));
    }
}
