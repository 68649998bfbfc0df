//! What a load came to: of each person, and of all.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::histogram::Histogram;
use crate::report::{SlotKind, SlotReport};

/// What one person got. Times, delays and freezes are of the time in which all were there; counts are of the whole stay.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Person {
    /// The number of the room, from 0.
    pub room: usize,
    /// The node they joined on.
    pub node: String,
    /// Their name.
    pub name: String,
    /// Whether they publish.
    pub publishes: bool,
    /// From the first request to the answered offer.
    #[serde(rename = "join_ms", serialize_with = "millis")]
    pub join: Option<Duration>,
    /// From the first request to the first whole picture.
    #[serde(rename = "first_picture_ms", serialize_with = "millis")]
    pub first_picture: Option<Duration>,
    /// RTP packets received.
    pub packets: u64,
    /// RTP packets that never came.
    pub lost: u64,
    /// The same in percent of what was sent to them.
    pub loss_percent: Option<f64>,
    /// RTP payload bytes received.
    pub bytes: u64,
    /// Packets that were changed on the way, or came under a time that went back.
    pub faults: u64,
    /// Times from capture to arrival.
    #[serde(rename = "delay_ms", serialize_with = "spread")]
    pub delays: Histogram,
    /// Pictures received.
    pub pictures: usize,
    /// Times a picture stood still for too long.
    pub freezes: u64,
    /// How long they did, altogether.
    #[serde(rename = "frozen_ms", serialize_with = "some_millis")]
    pub frozen: Duration,
    /// The longest that a picture stood still.
    #[serde(rename = "longest_gap_ms", serialize_with = "some_millis")]
    pub longest_gap: Duration,
    /// Why they did not get in, or did not stay.
    pub failure: Option<String>,
}

/// Percentiles by nearest rank over people, or over packets; none where nothing was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Half are at most this.
    pub p50: Option<f64>,
    /// 95 of 100 are at most this.
    pub p95: Option<f64>,
    /// 99 of 100 are at most this.
    pub p99: Option<f64>,
    /// All are at most this.
    pub max: Option<f64>,
}

/// What a load came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How long all were there, in seconds.
    pub held_s: f64,
    /// It was stopped before its time.
    pub stopped: bool,
    /// People who were to join.
    pub people: usize,
    /// Those who did not get in, or did not stay.
    pub failed: usize,
    /// From the first request to the answered offer, in ms.
    pub join_ms: Spread,
    /// From the first request to the first whole picture, in ms.
    pub first_picture_ms: Spread,
    /// Percent of packets that never came, by person.
    pub loss_percent: Spread,
    /// From capture to arrival over all packets, in ms.
    pub delay_ms: Spread,
    /// The 95th percentile of each person's delays, in ms.
    pub delay_p95_ms: Spread,
    /// Percent of the time that pictures stood still, by person.
    pub frozen_percent: Spread,
    /// RTP packets received.
    pub packets: u64,
    /// RTP packets that never came.
    pub lost: u64,
    /// Packets that were changed on the way, or came under a time that went back.
    pub faults: u64,
    /// Everybody.
    pub each: Vec<Person>,
}

impl Person {
    /// Adds what came in a slot.
    pub(super) fn add(&mut self, slot: &SlotReport) {
        let stats = &slot.stats;
        self.packets += stats.packets;
        self.lost += stats.missing_packets;
        self.loss_percent = percent(self.lost, self.packets + self.lost);
        self.bytes += stats.payload_bytes;
        self.faults += stats.hash_mismatches + stats.foreign_packets + stats.timestamp_faults;
        self.delays.merge(&stats.delays);
        if slot.kind == SlotKind::Video && stats.frames > 0 {
            self.pictures += 1;
            self.freezes += stats.freezes;
            self.frozen += stats.frozen;
            self.longest_gap = self.longest_gap.max(stats.longest_gap);
        }
    }

    /// A percentile of the delays in ms, in parts of 1000.
    #[must_use]
    pub fn delay_ms(&self, part: u64) -> Option<f64> {
        (self.delays.total() > 0).then(|| in_millis(self.delays.per_mille(part)))
    }

    /// Percent of the time that the mean of the pictures stood still.
    fn frozen_percent(&self, held: Duration) -> Option<f64> {
        let pictures = u32::try_from(self.pictures).ok().filter(|pictures| *pictures > 0)?;
        let all = held.as_secs_f64() * f64::from(pictures);
        (all > 0.0).then(|| self.frozen.as_secs_f64() / all * 100.0)
    }
}

impl Summary {
    pub(super) fn of(each: Vec<Person>, held: Duration) -> Self {
        let by_person = |figure: &dyn Fn(&Person) -> Option<f64>| Spread::over(each.iter().filter_map(figure));
        let time = |time: Option<Duration>| time.map(in_millis);
        let mut delays = Histogram::default();
        each.iter().for_each(|person| delays.merge(&person.delays));
        Self {
            held_s: held.as_secs_f64(),
            stopped: false,
            people: each.len(),
            failed: each.iter().filter(|person| person.failure.is_some()).count(),
            join_ms: by_person(&|person| time(person.join)),
            first_picture_ms: by_person(&|person| time(person.first_picture)),
            loss_percent: by_person(&|person| person.loss_percent),
            delay_ms: Spread::of(&delays),
            delay_p95_ms: by_person(&|person| person.delay_ms(950)),
            frozen_percent: by_person(&|person| person.frozen_percent(held)),
            packets: each.iter().map(|person| person.packets).sum(),
            lost: each.iter().map(|person| person.lost).sum(),
            faults: each.iter().map(|person| person.faults).sum(),
            each,
        }
    }
}

impl Spread {
    fn over(figures: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: usize| Some(*sorted.get((sorted.len() * part).div_ceil(100).checked_sub(1)?)?);
        Self { p50: at(50), p95: at(95), p99: at(99), max: at(100) }
    }

    fn of(times: &Histogram) -> Self {
        let at = |part| (times.total() > 0).then(|| in_millis(times.per_mille(part)));
        Self { p50: at(500), p95: at(950), p99: at(990), max: at(1000) }
    }
}

fn percent(part: u64, all: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "52 bits of packets are more than a load has")]
    (all > 0).then(|| part as f64 / all as f64 * 100.0)
}

fn in_millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn millis<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(in_millis).serialize(to)
}

fn spread<S: Serializer>(times: &Histogram, to: S) -> Result<S::Ok, S::Error> {
    Spread::of(times).serialize(to)
}

fn some_millis<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    in_millis(*time).serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank_and_absent_without_figures() {
        let spread = Spread::over((1..=20).map(f64::from));
        assert_eq!(spread, Spread { p50: Some(10.0), p95: Some(19.0), p99: Some(20.0), max: Some(20.0) });
        assert_eq!(Spread::over(std::iter::empty()), Spread::default());
        assert_eq!(Spread::of(&Histogram::default()), Spread::default());
    }

    #[test]
    fn a_summary_counts_people_and_what_they_got() {
        let (pictures, frozen) = (2, Duration::from_secs(1));
        let mut one = Person { packets: 99, lost: 1, loss_percent: Some(1.0), pictures, frozen, ..Person::default() };
        one.delays.record(Duration::from_millis(5));
        let other = Person { failure: Some("full".to_owned()), ..Person::default() };
        let summary = Summary::of(vec![one, other], Duration::from_secs(10));
        assert_eq!((summary.people, summary.failed, summary.packets, summary.lost), (2, 1, 99, 1));
        assert_eq!((summary.loss_percent.max, summary.frozen_percent.max), (Some(1.0), Some(5.0)));
        assert!(summary.delay_ms.p50.is_some_and(|delay| (5.0..5.1).contains(&delay)), "{summary:?}");
        assert_eq!(summary.join_ms, Spread::default());
    }
}
