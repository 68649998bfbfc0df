//! How far a ratio of medians can be trusted.

use std::fmt;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::report::median;

/// Resamplings of a bootstrap.
const RESAMPLINGS: usize = 2000;

/// A ratio of medians and its 95 % interval (percentile bootstrap: Efron, "Bootstrap Methods", Annals of Statistics 7, 1979).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) ratio: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Interval {
    /// Whether the two have something in common.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ratio, low, high } = self;
        write!(f, "{ratio:.2} ({low:.2} to {high:.2})")
    }
}

/// The ratio of the medians; nothing when one of them has no figure. The same figures give the same interval.
pub(super) fn interval(above: &[f64], below: &[f64]) -> Option<Interval> {
    let ratio = median(above.to_vec())? / median(below.to_vec())?;
    let mut random = StdRng::seed_from_u64(1);
    let mut drawn =
        |from: &[f64]| -> Vec<f64> { (0..from.len()).filter_map(|_| from.choose(&mut random).copied()).collect() };
    let mut ratios = Vec::with_capacity(RESAMPLINGS);
    for _ in 0..RESAMPLINGS {
        ratios.push(median(drawn(above))? / median(drawn(below))?);
    }
    ratios.sort_by(f64::total_cmp);
    let (low, high) = (ratios[RESAMPLINGS * 25 / 1000], ratios[RESAMPLINGS * 975 / 1000 - 1]);
    Some(Interval { ratio, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_holds_its_ratio_and_narrows_with_the_figures() {
        let (wide, narrow) = ([8.0, 9.0, 10.0, 11.0, 12.0], [9.9, 9.95, 10.0, 10.05, 10.1]);
        let below = [5.0; 5];
        let of = |above: &[f64]| interval(above, &below).expect("figures");
        let (first, second) = (of(&wide), of(&narrow));
        assert_eq!((first.ratio, second.ratio), (2.0, 2.0));
        assert!(first.low < 2.0 && first.high > 2.0 && first.low >= 1.6 && first.high <= 2.4, "{first:?}");
        assert!(second.high - second.low < first.high - first.low);
        assert_eq!(of(&wide), first, "the same figures give the same interval");
        assert_eq!(interval(&[], &below), None);
    }
}
