//! Carries faults out.

use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::site::Site;
use crate::faults::{Cut, Kind, Planned, cuts};
use crate::now;

/// A fault that was, or still is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Happened {
    pub(super) kind: Kind,
    pub(super) begin: Duration,
    pub(super) end: Duration,
}

/// What a fault hit.
#[derive(Debug)]
enum Hit {
    Cables(Vec<Cut>),
    Standing(usize),
    Killed(Vec<usize>),
    Clock(usize),
    Full,
    Slow(usize),
}

#[derive(Debug)]
struct Active {
    kind: Kind,
    begin: Duration,
    hit: Hit,
}

/// The faults of one stage.
#[derive(Debug)]
pub(super) struct Nemesis {
    started: Instant,
    active: Vec<(usize, Active)>,
    pub(super) happened: Vec<Happened>,
}

/// A turn of a round.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Begin(usize),
    End(usize),
}

impl Nemesis {
    pub(super) const fn new(started: Instant) -> Self {
        Self { started, active: Vec::new(), happened: Vec::new() }
    }

    /// Lets a round's faults come and go.
    pub(super) async fn round(&mut self, site: &mut Site<'_>, faults: &[Planned]) -> Result<()> {
        let from = tokio::time::Instant::now();
        let both = faults.iter().enumerate().flat_map(|(number, fault)| {
            [(fault.begin, Turn::Begin(number)), (fault.begin + fault.lasts, Turn::End(number))]
        });
        let mut turns: Vec<(Duration, Turn)> = both.collect();
        turns.sort_by_key(|(at, _)| *at);
        for (at, turn) in turns {
            tokio::time::sleep_until(from + at).await;
            match turn {
                Turn::Begin(number) => {
                    let begin = self.started.elapsed();
                    if let Some(hit) = self.begin(site, &faults[number]).await? {
                        self.active.push((number, Active { kind: faults[number].kind, begin, hit }));
                        self.set_cables(site)?;
                    }
                }
                Turn::End(number) => {
                    let ended = self.active.extract_if(.., |(active, _)| *active == number).next();
                    if let Some((_, active)) = ended {
                        self.end(site, active)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins a fault; nothing when there is nobody left to hit.
    async fn begin(&self, site: &mut Site<'_>, fault: &Planned) -> Result<Option<Hit>> {
        let mut random = StdRng::seed_from_u64(fault.draw);
        let awake = site.awake();
        let leader = site.leader().await;
        let free = |taken: &dyn Fn(&Hit, usize) -> bool| -> Vec<usize> {
            let hit = |node: usize| self.active.iter().any(|(_, active)| taken(&active.hit, node));
            (1..=site.count()).filter(|node| !hit(*node)).collect()
        };
        Ok(match fault.kind {
            Kind::MinorityLeader | Kind::MajorityLeader | Kind::Bridge | Kind::OneWay | Kind::Loss => {
                let leader = leader.unwrap_or_else(|| random.random_range(1..=site.count()));
                Some(Hit::Cables(cuts(fault.kind, fault.draw, site.count(), leader)))
            }
            Kind::Pause => {
                let Some(victim) = awake.choose(&mut random).copied() else { return Ok(None) };
                site.pause(victim)?;
                Some(Hit::Standing(victim))
            }
            Kind::KillLeader => leader.filter(|leader| !site.down.contains(leader)).map(|leader| {
                site.kill(leader);
                Hit::Killed(vec![leader])
            }),
            Kind::KillFollower => {
                let followers: Vec<usize> = awake.into_iter().filter(|node| Some(*node) != leader).collect();
                followers.choose(&mut random).map(|victim| {
                    site.kill(*victim);
                    Hit::Killed(vec![*victim])
                })
            }
            Kind::KillAll => {
                let all: Vec<usize> = (1..=site.count()).filter(|node| !site.down.contains(node)).collect();
                all.iter().for_each(|node| site.kill(*node));
                (!all.is_empty()).then_some(Hit::Killed(all))
            }
            Kind::Clock => {
                let right = free(&|hit, node| matches!(hit, Hit::Clock(off) if *off == node));
                let Some(victim) = right.choose(&mut random).copied() else { return Ok(None) };
                let sign = if random.random() { 1 } else { -1 };
                // From a bad leap second to a wrong time zone.
                let ms = sign * [1_000, 60_000, 3_600_000].choose(&mut random).copied().unwrap_or(1_000);
                site.disturbances[victim - 1].clock_off_by_ms(ms)?;
                Some(Hit::Clock(victim))
            }
            Kind::DiskFull => {
                if self.active.iter().any(|(_, active)| matches!(active.hit, Hit::Full)) {
                    return Ok(None);
                }
                let Some(volume) = &site.volume else { return Ok(None) };
                volume.fill()?;
                site.filled = true;
                Some(Hit::Full)
            }
            Kind::SlowSync => {
                let quick = free(&|hit, node| matches!(hit, Hit::Slow(slow) if *slow == node));
                let Some(victim) = quick.choose(&mut random).copied() else { return Ok(None) };
                site.disturbances[victim - 1].syncs_take_ms(random.random_range(1..=500))?;
                Some(Hit::Slow(victim))
            }
        })
    }

    fn end(&mut self, site: &mut Site<'_>, active: Active) -> Result<()> {
        let Active { kind, begin, hit } = active;
        match hit {
            Hit::Cables(_) => self.set_cables(site)?,
            Hit::Standing(node) => site.resume(node)?,
            Hit::Killed(nodes) => nodes.into_iter().try_for_each(|node| site.launch(node))?,
            Hit::Clock(node) => site.disturbances[node - 1].clock_off_by_ms(0)?,
            Hit::Full => site.volume.as_ref().map_or(Ok(()), crate::Volume::free)?,
            Hit::Slow(node) => site.disturbances[node - 1].syncs_take_ms(0)?,
        }
        self.happened.push(Happened { kind, begin, end: self.started.elapsed() });
        Ok(())
    }

    /// The cables are as all faults together want them.
    fn set_cables(&self, site: &Site<'_>) -> Result<()> {
        let all = self.active.iter().flat_map(|(_, active)| match &active.hit {
            Hit::Cables(cuts) => cuts.clone(),
            Hit::Standing(_) | Hit::Killed(_) | Hit::Clock(_) | Hit::Full | Hit::Slow(_) => Vec::new(),
        });
        site.lan.cut(&all.collect::<Vec<_>>())
    }
}

/// The moment a stage begins.
pub(super) fn stage_begins() -> Instant {
    now()
}
