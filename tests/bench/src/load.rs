//! Clients at work: as fast as they are answered (closed loop), or at a given rate (open loop).
//!
//! At a given rate a latency counts from when the call was due, not from when a busy client got round to it: a server
//! that stalls is charged for everything that had to wait meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::clock::now;
use plenary_participant::Histogram;

/// How long calls under way at the end may take before the run counts as failed.
const GRACE: Duration = Duration::from_secs(20);

/// One client: a connection and what it asks for.
pub(crate) trait Client: Send + 'static {
    /// One call. An error means that the client can't go on.
    fn call(&mut self) -> impl Future<Output = Result<Answer>> + Send;
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// What was asked for.
    Done,
    /// An answer that says no: there was no quorum, or the server was too busy.
    Refused,
}

/// For how long, how fast, how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Calls that begin in this time are not counted.
    pub(crate) warm_up: Duration,
    /// Calls that begin in the time after are.
    pub(crate) measure: Duration,
    /// Calls a second of all clients together; `None` for as fast as they are answered.
    pub(crate) rate: Option<f64>,
    /// Calls after which the work is done before its time.
    pub(crate) limit: Option<u64>,
}

/// What all clients together saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Over how long.
    pub(crate) seconds: f64,
    /// Answered as asked; their latencies.
    pub(crate) latencies: Histogram,
    /// Answered with a no.
    pub(crate) refused: u64,
    /// Why the first client that could not go on could not.
    pub(crate) fault: Option<String>,
}

impl Outcome {
    /// Adds what other clients saw in the same time.
    pub(crate) fn merge(&mut self, other: Self) {
        self.seconds = self.seconds.max(other.seconds);
        self.latencies.merge(&other.latencies);
        self.refused += other.refused;
        self.fault = self.fault.take().or(other.fault);
    }

    /// Calls answered as asked in a second.
    #[expect(clippy::cast_precision_loss, reason = "a count of calls is far below 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.latencies.total() as f64 / self.seconds } else { 0.0 }
    }
}

/// Lets all clients work at once.
pub(crate) async fn run<C: Client>(clients: Vec<C>, shape: &Shape) -> Result<Outcome> {
    let begin = now();
    let count = clients.len();
    let begun = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        let turns = Turns { begin, number, count, shape: shape.clone(), begun: Arc::clone(&begun), next: 0 };
        tasks.spawn(work(client, turns));
    }
    let mut all = Outcome::default();
    let joined = async {
        while let Some(one) = tasks.join_next().await {
            all.merge(one?);
        }
        anyhow::Ok(())
    };
    let limit = shape.warm_up + shape.measure + GRACE;
    tokio::time::timeout(limit, joined).await.context("calls were not answered in time")??;
    all.seconds = if shape.limit.is_some() { begin.elapsed().as_secs_f64() } else { shape.measure.as_secs_f64() };
    Ok(all)
}

async fn work<C: Client>(mut client: C, mut turns: Turns) -> Outcome {
    let mut seen = Outcome::default();
    while let Some(from) = turns.next().await {
        let answer = client.call().await;
        let latency = from.elapsed();
        let counts = turns.counts(from, from + latency);
        match answer {
            Ok(Answer::Done) if counts => seen.latencies.record(latency),
            Ok(Answer::Refused) if counts => seen.refused += 1,
            Ok(Answer::Done | Answer::Refused) => {}
            Err(error) => {
                seen.fault = Some(format!("{error:#}"));
                break;
            }
        }
    }
    seen
}

/// When one client calls.
struct Turns {
    begin: Instant,
    number: usize,
    count: usize,
    shape: Shape,
    begun: Arc<AtomicU64>,
    next: u32,
}

impl Turns {
    /// Waits for the next turn and says from when its latency counts; `None` when the work is over.
    async fn next(&mut self) -> Option<Instant> {
        let end = self.begin + self.shape.warm_up + self.shape.measure;
        if let Some(limit) = self.shape.limit
            && self.begun.fetch_add(1, Ordering::Relaxed) >= limit
        {
            return None;
        }
        let Some(rate) = self.shape.rate else { return Some(now()).filter(|from| *from < end) };
        let due = self.begin + self.due(rate);
        self.next += 1;
        if due >= end {
            return None;
        }
        if due > now() {
            tokio::time::sleep_until(due.into()).await;
            // How late the timer was is not the server's doing.
            return Some(now());
        }
        Some(due)
    }

    /// The clients take turns: the gaps between their calls are equal.
    #[expect(clippy::cast_precision_loss, reason = "clients are counted in hundreds")]
    fn due(&self, rate: f64) -> Duration {
        let place = f64::from(self.next) * self.count as f64 + self.number as f64;
        Duration::from_secs_f64(place / rate)
    }

    /// A closed loop counts what ended in the time, so that the throughput is right; an open one what was due in it,
    /// so that no late answer is left out. A limited run counts everything.
    fn counts(&self, from: Instant, done: Instant) -> bool {
        if self.shape.limit.is_some() {
            return true;
        }
        let (start, end) = (self.begin + self.shape.warm_up, self.begin + self.shape.warm_up + self.shape.measure);
        let at = if self.shape.rate.is_some() { from } else { done };
        at >= start && at < end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers after a time; its first answer takes longer.
    struct Stalls {
        first: Duration,
        then: Duration,
    }

    impl Client for Stalls {
        async fn call(&mut self) -> Result<Answer> {
            tokio::time::sleep(std::mem::replace(&mut self.first, self.then)).await;
            Ok(Answer::Done)
        }
    }

    fn shape(rate: Option<f64>, limit: Option<u64>) -> Shape {
        Shape { warm_up: Duration::ZERO, measure: Duration::from_millis(400), rate, limit }
    }

    const SHORT: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn at_a_rate_what_waited_behind_a_stall_is_charged_for_the_wait() {
        let stall = Duration::from_millis(200);
        let one = |first| Stalls { first, then: SHORT };
        let open = run(vec![one(stall)], &shape(Some(100.0), None)).await.expect("runs");
        assert!((35..=40).contains(&open.latencies.total()), "{}", open.latencies.total());
        assert!(open.latencies.per_mille(750) > stall / 4, "{:?}", open.latencies.per_mille(750));
        let closed = run(vec![one(stall)], &shape(None, None)).await.expect("runs");
        assert!(closed.latencies.per_mille(750) < stall / 4, "{:?}", closed.latencies.per_mille(750));
    }

    #[tokio::test]
    async fn a_limit_is_kept_by_all_clients_together() {
        let clients = (0..8).map(|_| Stalls { first: SHORT, then: SHORT }).collect();
        let outcome = run(clients, &shape(None, Some(50))).await.expect("runs");
        assert_eq!(outcome.latencies.total(), 50);
    }
}
