//! Hunting planted bugs: each is to be caught within a budget of seeds.

use std::ops::Range;

use plenary_cluster::simulation::Bug;

use crate::{Settings, Violation, simulate};

/// How a hunt ended.
#[derive(Debug, Clone)]
pub struct Catch {
    /// The bug.
    pub bug: Bug,
    /// The seed that caught it, and what it broke; `None` when none did.
    pub caught: Option<(u64, Violation)>,
    /// Seeds that were tried.
    pub tried: u64,
}

/// Tries seeds until one catches the bug.
#[must_use]
pub fn hunt(bug: Bug, seeds: Range<u64>) -> Catch {
    let mut tried = 0;
    for seed in seeds {
        tried += 1;
        let report = simulate(Settings { seed, bug: Some(bug), keep_trace: false });
        if let Some(violation) = report.violation {
            return Catch { bug, caught: Some((seed, violation)), tried };
        }
    }
    Catch { bug, caught: None, tried }
}

impl std::fmt::Display for Catch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.bug.name();
        match &self.caught {
            Some((seed, violation)) => {
                write!(f, "{name:<24} {:<22} seed {seed:<5} after {:>3} seeds", violation.invariant, self.tried)
            }
            None => write!(f, "{name:<24} NOT CAUGHT in {} seeds", self.tried),
        }
    }
}
