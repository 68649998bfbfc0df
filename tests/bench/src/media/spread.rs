//! How far a ratio of medians can be trusted.

use std::fmt;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::report::median;

/// Resamplings of a bootstrap.
const RESAMPLINGS: usize = 2000;

/// A median of ratios and its 95 % interval (percentile bootstrap: Efron, "Bootstrap Methods", Annals of Statistics 7, 1979).
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

/// The median of the pairs' ratios; nothing when there is no pair. The same figures give the same interval, and of few pairs
/// it is little more than their range.
pub(super) fn interval(pairs: &[(f64, f64)]) -> Option<Interval> {
    let ratios: Vec<f64> = pairs.iter().map(|(above, below)| above / below).collect();
    let ratio = median(ratios.clone())?;
    let mut random = StdRng::seed_from_u64(1);
    let mut medians = Vec::with_capacity(RESAMPLINGS);
    for _ in 0..RESAMPLINGS {
        let drawn = (0..ratios.len()).filter_map(|_| ratios.choose(&mut random).copied()).collect();
        medians.push(median(drawn)?);
    }
    medians.sort_by(f64::total_cmp);
    let (low, high) = (medians[RESAMPLINGS * 25 / 1000], medians[RESAMPLINGS * 975 / 1000 - 1]);
    Some(Interval { ratio, low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(above: &[f64]) -> Interval {
        interval(&above.iter().map(|above| (*above, 5.0)).collect::<Vec<_>>()).expect("pairs")
    }

    #[test]
    fn an_interval_holds_its_ratio_and_narrows_with_the_figures() {
        let (first, second) = (of(&[8.0, 9.0, 10.0, 11.0, 12.0]), of(&[9.9, 9.95, 10.0, 10.05, 10.1]));
        assert_eq!((first.ratio, second.ratio), (2.0, 2.0));
        assert!(first.low < 2.0 && first.high > 2.0 && first.low >= 1.6 && first.high <= 2.4, "{first:?}");
        assert!(second.high - second.low < first.high - first.low);
        assert!(first.overlaps(&second) && !first.overlaps(&of(&[30.0, 31.0])));
        assert_eq!(interval(&[]), None);
    }

    #[test]
    fn what_slows_both_of_a_pair_does_not_count() {
        let paired = interval(&[(10.0, 5.0), (20.0, 10.0), (14.0, 7.0)]).expect("pairs");
        assert_eq!(paired, Interval { ratio: 2.0, low: 2.0, high: 2.0 });
    }
}
