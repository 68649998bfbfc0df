//! How often each length of time was seen, at a resolution of less than one percent.
//!
//! Values below 128 ns have a bucket each; above, every power of two has 128 buckets of equal width.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets of one power of two.
const WIDTH: u64 = 128;
/// Its binary logarithm.
const BITS: u32 = 7;

/// Counts of lengths of time; written as pairs of bucket and count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(usize, u64)>", into = "Vec<(usize, u64)>")]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        self.add(bucket(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)), 1);
    }

    /// Counts everything that `other` counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            self.add(bucket, *count);
        }
    }

    /// How many were counted.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The time that `part` of 1000 counted ones do not exceed; zero when none was counted.
    #[must_use]
    pub fn per_mille(&self, part: u64) -> Duration {
        let rank = (self.total * part).div_ceil(1000).max(1);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper(bucket as u64));
            }
        }
        Duration::ZERO
    }

    fn add(&mut self, bucket: usize, count: u64) {
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += count;
        self.total += count;
    }
}

fn bucket(nanos: u64) -> usize {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(BITS + 1);
    let index = u64::from(shift) * WIDTH + (nanos >> shift);
    usize::try_from(index).expect("at most 64 powers of two of 128 buckets")
}

/// The largest value of a bucket.
const fn upper(bucket: u64) -> u64 {
    let shift = (bucket / WIDTH).saturating_sub(1);
    let low = bucket - shift * WIDTH;
    ((low + 1) << shift) - 1
}

impl From<Vec<(usize, u64)>> for Histogram {
    fn from(pairs: Vec<(usize, u64)>) -> Self {
        let mut histogram = Self::default();
        for (bucket, count) in pairs {
            histogram.add(bucket, count);
        }
        histogram
    }
}

impl From<Histogram> for Vec<(usize, u64)> {
    fn from(histogram: Histogram) -> Self {
        histogram.counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_within_a_percent() {
        for exponent in 0..40 {
            for offset in [0, 1, 77, 1_000_003] {
                let value = (1_u64 << exponent) + offset % (1 << exponent);
                let index = bucket(value) as u64;
                assert!(upper(index) >= value && (index == 0 || upper(index - 1) < value), "{value} in {index}");
                assert!(upper(index) - value <= value / 100, "{value} in {index}: {}", upper(index));
            }
        }
    }

    #[test]
    fn percentiles_are_of_what_was_counted_and_survive_merging_and_writing() {
        let (mut low, mut high) = (Histogram::default(), Histogram::default());
        for millis in 1..=50 {
            low.record(Duration::from_millis(millis));
            high.record(Duration::from_millis(50 + millis));
        }
        low.merge(&high);
        let text = serde_json::to_string(&low).expect("writes");
        let all: Histogram = serde_json::from_str(&text).expect("reads");
        assert_eq!(all, low);
        assert_eq!(all.total(), 100);
        let near = |part, millis: u64| {
            let (found, exact) = (all.per_mille(part), Duration::from_millis(millis));
            assert!(found >= exact && found <= exact + exact / 100, "{part}: {found:?}");
        };
        near(500, 50);
        near(990, 99);
        near(1000, 100);
        assert_eq!(Histogram::default().per_mille(500), Duration::ZERO);
    }
}
