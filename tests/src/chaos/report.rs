//! What a run of chaos comes to.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::crew::Tally;
use super::nemesis::Happened;
use crate::faults::{Kind, overlapping};
use crate::history::{Fault, Verdict};

/// Violations that are printed; the rest is counted.
const SHOWN: usize = 20;

/// The figures of one stage, or of several together.
#[derive(Debug, Clone, Default)]
pub struct Report {
    seed: u64,
    rounds: usize,
    faults: BTreeMap<Kind, usize>,
    overlapping: usize,
    verdict: Verdict,
    unsent: usize,
    unversioned: usize,
    admitted: usize,
    full: usize,
    healed: Vec<Duration>,
    deaths: Vec<String>,
    errors: Vec<String>,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "each is a part of what a stage gives, and there is one caller")]
    pub(super) fn of_stage(
        seed: u64,
        rounds: usize,
        happened: &[Happened],
        verdict: Verdict,
        tally: &Tally,
        healed: Vec<Duration>,
        deaths: &[String],
        errors: Vec<String>,
    ) -> Self {
        let mut faults = BTreeMap::new();
        for fault in happened {
            *faults.entry(fault.kind).or_insert(0) += 1;
        }
        let times: Vec<_> = happened.iter().map(|fault| (fault.begin, fault.end)).collect();
        Self {
            seed,
            rounds,
            faults,
            overlapping: overlapping(&times),
            verdict,
            unsent: tally.unsent.load(Ordering::Relaxed),
            unversioned: tally.unversioned.load(Ordering::Relaxed),
            admitted: tally.admitted.load(Ordering::Relaxed),
            full: tally.full.load(Ordering::Relaxed),
            healed,
            deaths: deaths.to_vec(),
            errors,
        }
    }

    /// Adds another stage's figures.
    pub fn add(&mut self, other: Self) {
        self.seed = other.seed;
        self.rounds += other.rounds;
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_insert(0) += count;
        }
        self.overlapping += other.overlapping;
        self.verdict.add(other.verdict);
        self.unsent += other.unsent;
        self.unversioned += other.unversioned;
        self.admitted += other.admitted;
        self.full += other.full;
        self.healed.extend(other.healed);
        self.deaths.extend(other.deaths);
        self.errors.extend(other.errors);
    }

    /// Faults that happened.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.faults.values().sum()
    }

    /// What must not have been, one line each; empty is good.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> = self.verdict.violations.iter().map(ToString::to_string).collect();
        complaints.extend(self.deaths.iter().cloned());
        complaints.extend(self.errors.iter().cloned());
        if self.unversioned > 0 {
            complaints.push(format!("{} answers without a revision", self.unversioned));
        }
        complaints
    }

    /// One line for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let kinds: BTreeMap<&str, usize> = self.faults.iter().map(|(kind, count)| (kind.name(), *count)).collect();
        let verdict = &self.verdict;
        json!({
            "run": "chaos",
            "seed": self.seed,
            "rounds": self.rounds,
            "faults": self.faults(),
            "faults_by_kind": kinds,
            "overlapping": self.overlapping,
            "operations": verdict.operations,
            "acknowledged": verdict.acknowledged,
            "reads_local": verdict.reads[0],
            "reads_at_least": verdict.reads[1],
            "reads_linearizable": verdict.reads[2],
            "refused": verdict.refused,
            "unknown": verdict.unknown,
            "unsent": self.unsent,
            "sessions_admitted": self.admitted,
            "sessions_refused_full": self.full,
            "agreements": verdict.listings,
            "violations": verdict.violations.len(),
            "lost": verdict.count(Fault::Lost),
            "duplicates": verdict.count(Fault::Duplicate),
            "caps_exceeded": verdict.count(Fault::Cap),
            "nodes_died": self.deaths.len(),
            "error_lines": self.errors.len(),
            "answers_without_revision": self.unversioned,
            "healed_ms_longest": self.healed.iter().max().map(Duration::as_millis),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        let all = self.faults();
        let share = (self.overlapping * 100).checked_div(all).unwrap_or(0);
        writeln!(
            f,
            "seed {}, {} rounds, {all} faults, {} of them ({share} %) overlapping",
            self.seed, self.rounds, self.overlapping
        )?;
        for (kind, count) in &self.faults {
            writeln!(f, "  {count:>5} {kind}")?;
        }
        let [local, at_least, linearizable] = verdict.reads;
        writeln!(
            f,
            "{} operations checked: {} writes acknowledged, reads {local} local, {at_least} at least, {linearizable} linearizable, {} refused, {} unknown",
            verdict.operations, verdict.acknowledged, verdict.refused, verdict.unknown
        )?;
        writeln!(
            f,
            "{} sessions admitted, {} refused because of a cap; {} calls not sent; {} times all nodes agreed",
            self.admitted, self.full, self.unsent, verdict.listings
        )?;
        writeln!(f, "whole again after {:.1?} at most", self.healed.iter().max().copied().unwrap_or_default())?;
        writeln!(
            f,
            "violations {}, of them lost {}, duplicates {}, caps {}; nodes died {}, lines at ERROR {}",
            verdict.violations.len(),
            verdict.count(Fault::Lost),
            verdict.count(Fault::Duplicate),
            verdict.count(Fault::Cap),
            self.deaths.len(),
            self.errors.len()
        )?;
        let complaints = self.complaints();
        for complaint in complaints.iter().take(SHOWN) {
            writeln!(f, "  {complaint}")?;
        }
        if complaints.len() > SHOWN {
            writeln!(f, "  and {} more", complaints.len() - SHOWN)?;
        }
        Ok(())
    }
}
