//! One cluster under faults, from its founding to the judgement.

use std::iter::once;
use std::time::Duration;

use anyhow::{Context, Result};

use super::crew::Crew;
use super::nemesis::{Nemesis, stage_begins};
use super::report::Report;
use super::site::Site;
use crate::faults::{Kind, Plan};
use crate::history::History;
use crate::{Lan, error_lines, now, say};

/// How long a node may take to take a write once everything is mended.
const WRITE_WITHIN: Duration = Duration::from_secs(20);

/// When a stage is over.
#[derive(Debug, Clone)]
pub struct Limits {
    /// After so many faults,
    pub faults: usize,
    /// or after this time.
    pub time: Duration,
    /// What is drawn from.
    pub seed: u64,
    /// Which faults there are.
    pub kinds: Vec<Kind>,
}

/// Runs a cluster of `count` nodes until the limits are reached, and judges what its clients saw.
///
/// # Errors
/// When the cluster does not recover after a round, or can't be set up.
pub async fn stage(lan: &Lan, count: usize, limits: &Limits) -> Result<Report> {
    let mut site = Site::with_volume(lan, count).await?;
    let started = stage_begins();
    let crew = Crew::start(&site, limits.seed, started)?;
    let mut nemesis = Nemesis::new(started);
    let mut plan = Plan::new(limits.seed, &limits.kinds);
    let (mut listings, mut healed, mut rounds) = (Vec::new(), Vec::new(), 0);
    while nemesis.happened.len() < limits.faults && started.elapsed() < limits.time {
        rounds += 1;
        let faults = plan.round(limits.faults - nemesis.happened.len());
        let whole = async {
            nemesis.round(&mut site, &faults).await?;
            let mended = now();
            site.until_whole().await?;
            crew.write_everywhere(&mut site, WRITE_WITHIN).await?;
            healed.push(mended.elapsed());
            crew.agree().await
        };
        let kinds = || faults.iter().map(|fault| fault.kind.name()).collect::<Vec<_>>().join(", ");
        let listing = whole.await;
        if listing.is_err() {
            site.keep_logs()?;
        }
        let listing = listing.with_context(|| format!("seed {}, round {rounds} of {}", limits.seed, kinds()));
        let died = || format!("{count} nodes; {} died", site.deaths.len());
        let listing =
            listing.with_context(|| once(died()).chain(site.deaths.clone()).collect::<Vec<_>>().join("\n"))?;
        say(format!(
            "chaos: {count} nodes, round {rounds}: {} faults so far ({}), whole again after {:.1?}, {} meetings",
            nemesis.happened.len(),
            kinds(),
            healed.last().copied().unwrap_or_default(),
            listing.meetings.len(),
        ));
        listings.push(listing);
    }
    let (operations, tally) = crew.finish().await;
    let history = History { operations, listings };
    let verdict = history.check();
    let errors = errors(&site, &nemesis);
    site.keep_logs()?;
    Ok(Report::of_stage(limits.seed, rounds, &nemesis.happened, verdict, &tally, healed, &site.deaths, errors))
}

/// What the nodes logged at ERROR; a full disk is a reason to.
fn errors(site: &Site<'_>, nemesis: &Nemesis) -> Vec<String> {
    let full = nemesis.happened.iter().any(|fault| fault.kind == Kind::DiskFull);
    let judged = if full { site.count() - 1 } else { site.count() };
    let of = |number: usize| {
        let log = site.cluster.node(number).log();
        error_lines(&log).iter().map(|line| format!("node {number}: {line}")).collect::<Vec<_>>()
    };
    (1..=judged).flat_map(of).collect()
}
