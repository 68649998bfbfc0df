//! How long nobody can write when the leader is lost, with etcd under the same faults in the same run.
//!
//! From the moment of the fault a new write is sent through each of the other nodes every [`BETWEEN`]; the first of them
//! to be acknowledged ends the outage. So neither system is charged for a request that it let hang.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::etcd::Etcd;
use super::site::Site;
use crate::{DEADLINE, Lan, Rest, now, say, until};

/// Between two writes through one node.
const BETWEEN: Duration = Duration::from_millis(25);

/// An answer that takes longer is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// An outage is not watched for longer.
const OUTAGE: Duration = Duration::from_secs(30);

/// How a leader is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its process is killed.
    Kill,
    /// Its process stands still.
    Stop,
    /// Its cable is pulled.
    Cut,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Kill, Self::Stop, Self::Cut];

    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Cut => "cut",
        }
    }
}

/// Outages by loss: of Plenary, and of etcd.
#[derive(Debug, Clone)]
pub struct Failover {
    figures: Vec<(Loss, Vec<Duration>, Vec<Duration>)>,
}

/// What loses its leader.
enum System<'l> {
    Plenary(Box<Site<'l>>, Vec<Rest>, String),
    Etcd(Etcd<'l>),
}

impl System<'_> {
    fn count(&self) -> usize {
        match self {
            Self::Plenary(site, ..) => site.count(),
            Self::Etcd(etcd) => etcd.count(),
        }
    }

    async fn leader(&self) -> Option<usize> {
        match self {
            Self::Plenary(site, ..) => site.leader().await,
            Self::Etcd(etcd) => etcd.leader().await,
        }
    }

    fn write(&self, node: usize) -> BoxFuture<'static, bool> {
        match self {
            Self::Plenary(_, doors, meeting) => {
                let (door, path) = (doors[node - 1].clone(), format!("/api/meeting/{meeting}"));
                let body = json!({ "meeting_location": "here" }).to_string();
                Box::pin(async move {
                    let answer = door.write(Method::PATCH, &path, Some(body)).await;
                    answer.is_ok_and(|answer| answer.status.is_success())
                })
            }
            Self::Etcd(etcd) => Box::pin(etcd.write(node, PATIENCE)),
        }
    }

    fn lose(&mut self, node: usize, loss: Loss) -> Result<()> {
        match (self, loss) {
            (Self::Plenary(site, ..), Loss::Kill) => site.kill(node),
            (Self::Plenary(site, ..), Loss::Stop) => site.pause(node)?,
            (Self::Plenary(site, ..), Loss::Cut) => site.lan.unplug(node)?,
            (Self::Etcd(etcd), Loss::Kill) => etcd.kill(node),
            (Self::Etcd(etcd), Loss::Stop) => etcd.signal(node, Signal::STOP)?,
            (Self::Etcd(etcd), Loss::Cut) => etcd.unplug(node)?,
        }
        Ok(())
    }

    fn mend(&mut self, node: usize, loss: Loss) -> Result<()> {
        match (self, loss) {
            (Self::Plenary(site, ..), Loss::Kill) => site.launch(node),
            (Self::Plenary(site, ..), Loss::Stop) => site.resume(node),
            (Self::Plenary(site, ..), Loss::Cut) => site.lan.replug(node),
            (Self::Etcd(etcd), Loss::Kill) => etcd.launch(node),
            (Self::Etcd(etcd), Loss::Stop) => etcd.signal(node, Signal::CONT),
            (Self::Etcd(etcd), Loss::Cut) => etcd.replug(node),
        }
    }

    /// Waits until writes go through every node, and gives the leader.
    async fn settled(&mut self) -> Result<usize> {
        if let Self::Plenary(site, ..) = self {
            site.until_whole().await?;
        }
        for node in 1..=self.count() {
            until(&format!("a write goes through node {node}"), async || Ok(self.write(node).await.then_some(())))
                .await?;
        }
        until("a leader is known", async || Ok(self.leader().await)).await
    }

    /// Loses the leader and waits for the next acknowledged write.
    async fn outage(&mut self, loss: Loss) -> Result<Duration> {
        let leader = self.settled().await?;
        let others: Vec<usize> = (1..=self.count()).filter(|node| *node != leader).collect();
        let from = now();
        self.lose(leader, loss)?;
        let mut turns = interval(BETWEEN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut writes = JoinSet::new();
        let acknowledged = async {
            loop {
                tokio::select! {
                    _ = turns.tick() => for node in &others {
                        writes.spawn(self.write(*node));
                    },
                    Some(written) = writes.join_next() => if matches!(written, Ok(true)) {
                        return from.elapsed();
                    },
                }
            }
        };
        let outage = timeout(OUTAGE, acknowledged).await;
        self.mend(leader, loss)?;
        outage.with_context(|| format!("no write for {OUTAGE:?} after {loss:?} of node {leader}"))
    }
}

impl Failover {
    /// Hosts that the network needs: a node on each of the first half, a member of etcd on each of the others.
    pub const HOSTS: usize = 6;

    /// Loses the leader of both systems `rounds` times by each loss, in turns.
    ///
    /// # Errors
    /// When one of them does not start or does not recover.
    pub async fn measure(lan: &Lan, rounds: usize) -> Result<Self> {
        let site = Site::found(lan, Self::HOSTS / 2).await?;
        site.until_all_vote().await?;
        let doors: Vec<Rest> = site.doors()?.into_iter().map(|door| door.with_patience(PATIENCE)).collect();
        let meeting = site.cluster.live_meeting_on(1).await?.id;
        let mut plenary = System::Plenary(Box::new(site), doors, meeting);
        let mut etcd = System::Etcd(Etcd::found(lan, Self::HOSTS / 2, Self::HOSTS / 2)?);
        let mut figures = Vec::new();
        for loss in Loss::ALL {
            let (mut own, mut other) = (Vec::new(), Vec::new());
            for round in 1..=rounds {
                own.push(plenary.outage(loss).await.context("plenary")?);
                other.push(etcd.outage(loss).await.context("etcd")?);
                let (ours, theirs) = (own[round - 1].as_millis(), other[round - 1].as_millis());
                say(format!("failover: {} {round}: plenary {ours} ms, etcd {theirs} ms", loss.name()));
            }
            figures.push((loss, own, other));
        }
        Ok(Self { figures })
    }

    /// One line for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let losses = self.figures.iter().map(|(loss, own, other)| {
            let ms = |times: &[Duration]| {
                let [p50, p95, max] = percentiles(times).map(|time| time.as_millis());
                json!({ "p50_ms": p50, "p95_ms": p95, "max_ms": max })
            };
            json!({
                "loss": loss.name(),
                "rounds": own.len(),
                "plenary": ms(own),
                "etcd": ms(other),
                "p95_ratio": ratio(own, other),
            })
        });
        json!({ "run": "failover", "losses": losses.collect::<Vec<_>>() })
    }

    /// Whether every 95th percentile is a second at most and a third of etcd's at most.
    #[must_use]
    pub fn meets_goals(&self) -> bool {
        let good = |own: &[Duration], other: &[Duration]| {
            let ([_, own, _], [_, other, _]) = (percentiles(own), percentiles(other));
            own <= Duration::from_secs(1) && own * 3 <= other
        };
        self.figures.iter().all(|(_, own, other)| good(own, other))
    }
}

impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "time to the next acknowledged write after the leader was lost")?;
        writeln!(
            f,
            "{:<6} {:>7} {:>29} {:>29} {:>10}",
            "", "rounds", "plenary p50 / p95 / max ms", "etcd p50 / p95 / max ms", "p95 ratio"
        )?;
        for (loss, own, other) in &self.figures {
            let words = |times: &[Duration]| percentiles(times).map(|time| time.as_millis().to_string()).join(" / ");
            writeln!(
                f,
                "{:<6} {:>7} {:>29} {:>29} {:>10.2}",
                loss.name(),
                own.len(),
                words(own),
                words(other),
                ratio(own, other)
            )?;
        }
        Ok(())
    }
}

/// The median, the 95th percentile and the maximum, by nearest rank.
fn percentiles(times: &[Duration]) -> [Duration; 3] {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = |percent: usize| {
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    };
    [rank(50), rank(95), rank(100)]
}

/// Our 95th percentile over theirs.
fn ratio(own: &[Duration], other: &[Duration]) -> f64 {
    percentiles(own)[1].as_secs_f64() / percentiles(other)[1].as_secs_f64()
}

const _: () = assert!(OUTAGE.as_secs() <= DEADLINE.as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let times: Vec<Duration> = (1..=20).rev().map(Duration::from_millis).collect();
        assert_eq!(percentiles(&times).map(|time| time.as_millis()), [10, 19, 20]);
        assert_eq!(percentiles(&times[..1]).map(|time| time.as_millis()), [20, 20, 20]);
    }

    #[test]
    fn goals_are_a_second_and_a_third_of_etcd() {
        let of = |own, other| Failover {
            figures: vec![(Loss::Kill, vec![Duration::from_millis(own)], vec![Duration::from_millis(other)])],
        };
        assert!(of(400, 1200).meets_goals());
        assert!(!of(401, 1200).meets_goals());
        assert!(!of(1001, 9000).meets_goals());
    }
}
