//! What a load must not exceed.

use std::time::Duration;

use serde::Serialize;

use super::figures::Summary;

/// What the figures of a load must not exceed; `None` is not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// People who did not get in, or did not stay.
    pub failed: Option<usize>,
    /// 95th percentile of the times from the first request to the answered offer.
    pub join_p95: Option<Duration>,
    /// 95th percentile of the times from the first request to the first whole picture.
    pub first_picture_p95: Option<Duration>,
    /// Packets that were changed on the way, or came under a time that went back.
    pub faults: Option<u64>,
    /// Percent of packets that never came, of whoever lost most.
    pub loss_percent: Option<f64>,
    /// 95th percentile of the times from capture to arrival, of whoever waited longest.
    pub delay_p95: Option<Duration>,
    /// Percent of the time that pictures stood still, of whoever saw most of that.
    pub frozen_percent: Option<f64>,
}

/// A limit that was exceeded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Limit {
    /// Its name, as in the options of `plenary load`.
    pub name: &'static str,
    /// What was measured, and what was allowed.
    pub words: String,
}

impl Limits {
    /// Nobody fails and no packet is faulty; nothing else is looked at.
    pub const NOBODY_FAILS: Self = Self {
        failed: Some(0),
        join_p95: None,
        first_picture_p95: None,
        faults: Some(0),
        loss_percent: None,
        delay_p95: None,
        frozen_percent: None,
    };

    /// The limits that a load exceeded. Where nothing was measured, a limit of it is exceeded too.
    #[must_use]
    pub fn exceeded(&self, summary: &Summary) -> Vec<Limit> {
        let count = |found: u64, most: u64, are: &str| (found > most).then(|| format!("{found} {are}, allowed {most}"));
        let time = |found: Option<f64>, most: Duration| above(found, most.as_secs_f64() * 1000.0, " ms");
        let part = |found: Option<f64>, most: f64| above(found, most, " %");
        let found = [
            ("max-failed", self.failed.and_then(|most| count(summary.failed as u64, most as u64, "failed"))),
            ("max-join-ms", self.join_p95.and_then(|most| time(summary.join_ms.p95, most))),
            ("max-first-picture-ms", self.first_picture_p95.and_then(|most| time(summary.first_picture_ms.p95, most))),
            ("max-faulty", self.faults.and_then(|most| count(summary.faults, most, "are faulty"))),
            ("max-loss-percent", self.loss_percent.and_then(|most| part(summary.loss_percent.max, most))),
            ("max-delay-ms", self.delay_p95.and_then(|most| time(summary.delay_p95_ms.max, most))),
            ("max-frozen-percent", self.frozen_percent.and_then(|most| part(summary.frozen_percent.max, most))),
        ];
        found.into_iter().filter_map(|(name, words)| Some(Limit { name, words: words? })).collect()
    }
}

fn above(found: Option<f64>, most: f64, unit: &str) -> Option<String> {
    match found {
        None => Some(format!("nothing was measured, allowed {most}{unit}")),
        Some(found) => (found > most).then(|| format!("{found:.2}{unit}, allowed {most}{unit}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Person, Summary};
    use super::*;

    fn of(people: Vec<Person>) -> Summary {
        Summary::of(people, Duration::from_secs(10))
    }

    #[test]
    fn what_is_exceeded_is_named_with_both_figures() {
        let slow = Person { join: Some(Duration::from_millis(700)), ..Person::default() };
        let absent = Person { failure: Some("full".to_owned()), ..Person::default() };
        let summary = of(vec![slow, absent]);
        let most = Limits { join_p95: Some(Duration::from_millis(500)), ..Limits::NOBODY_FAILS };
        let words: Vec<_> = most.exceeded(&summary).into_iter().map(|limit| (limit.name, limit.words)).collect();
        let join = ("max-join-ms", "700.00 ms, allowed 500 ms".to_owned());
        assert_eq!(words, [("max-failed", "1 failed, allowed 0".to_owned()), join]);
        let more = Limits { failed: Some(1), join_p95: Some(Duration::from_millis(700)), ..most };
        assert_eq!(more.exceeded(&summary), []);
    }

    #[test]
    fn what_was_not_measured_keeps_no_limit() {
        let limits = Limits { loss_percent: Some(1.0), ..Limits::NOBODY_FAILS };
        assert_eq!(limits.exceeded(&of(vec![Person::default()]))[0].name, "max-loss-percent");
    }
}
