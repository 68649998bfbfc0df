//! How large a stream's frames are, and which of them are keyframes by themselves.

use super::{Trace, Video};
use crate::marker::mix;

/// A keyframe of [`Trace::Constant`] is so many times as large as another frame.
const CONSTANT_FACTOR: u64 = 4;

/// A keyframe of [`Trace::LogNormal`] is so many times as large as the mean.
const FACTOR: u64 = 8;

/// Seconds from keyframe to keyframe of [`Trace::LogNormal`].
const GROUP_SECONDS: u64 = 3;

/// Deviation of the natural logarithm of a size: two frames in three are within a factor of 1.4 of the median.
const SIGMA: f64 = 0.35;

/// Sizes of frames, in payload bytes, one after the other.
#[derive(Debug)]
pub(super) struct Sizes {
    trace: Trace,
    /// Mean size of a frame of a constant trace; of a lognormal one the bytes of a group.
    bytes: u64,
    /// Frames from keyframe to keyframe.
    group: usize,
    random: u64,
    /// Sizes of the current group's frames after its keyframe, last one first.
    left: Vec<u64>,
    /// Whether a group begins with the next frame.
    begins: bool,
}

impl Sizes {
    /// Sizes that depend on `video`, and on `stream` where its trace is random.
    pub(super) fn new(video: Video, stream: u64) -> Self {
        let (rate, bytes) = (u64::from(video.frame_rate), u64::from(video.bitrate / 8));
        let (bytes, seed) = match video.trace {
            Trace::Constant => (bytes / rate, 0),
            Trace::LogNormal { seed } => (bytes * GROUP_SECONDS, seed),
        };
        let group = usize::try_from(rate * GROUP_SECONDS).expect("at most 360");
        let mut random = stream;
        let random = mix(&mut random) ^ seed;
        Self { trace: video.trace, bytes, group, random, left: Vec::new(), begins: true }
    }

    /// Whether the next frame is a keyframe, as it is when `wanted`, and its size.
    pub(super) fn next(&mut self, wanted: bool) -> (bool, u64) {
        match self.trace {
            Trace::Constant => (wanted, if wanted { self.bytes.saturating_mul(CONSTANT_FACTOR) } else { self.bytes }),
            Trace::LogNormal { .. } => self.next_of_group(wanted),
        }
    }

    fn next_of_group(&mut self, wanted: bool) -> (bool, u64) {
        let keyframe = self.bytes * FACTOR / self.group as u64;
        if std::mem::take(&mut self.begins) {
            self.draw_group(self.bytes.saturating_sub(keyframe));
            return (true, keyframe);
        }
        let size = self.left.pop().unwrap_or_default();
        self.begins = self.left.is_empty();
        // One that was asked for takes the place of another frame and comes on top of the bitrate.
        if wanted { (true, keyframe) } else { (false, size) }
    }

    /// Shares `bytes` among a group's other frames: lognormal weights, scaled so that every group has the same sum, and
    /// with it the bitrate that is asked for.
    fn draw_group(&mut self, bytes: u64) {
        let weights: Vec<u64> = (1..self.group).map(|_| weight(&mut self.random)).collect();
        let total: u64 = weights.iter().sum();
        let (mut sum, mut given) = (0, 0);
        self.left.clear();
        for weight in weights {
            sum += weight;
            let until = u128::from(bytes) * u128::from(sum) / u128::from(total);
            let until = u64::try_from(until).expect("at most `bytes`");
            self.left.push(until - given);
            given = until;
        }
        self.begins = self.left.is_empty();
    }
}

/// A lognormal weight, in 65536ths of the median: the exponential of a normal deviate, which is twelve uniform numbers
/// less their mean (Irwin and Hall: their variance is 1, their tails end at 6).
fn weight(random: &mut u64) -> u64 {
    let uniform = |random: &mut u64| f64::from(u32::try_from(mix(random) >> 32).expect("32 bits are left"));
    let sum: f64 = (0..12).map(|_| uniform(random)).sum();
    let deviate = sum / (f64::from(u32::MAX) + 1.0) - 6.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 65536/9 to 65536*9")]
    let weight = ((SIGMA * deviate).exp() * 65_536.0) as u64;
    weight.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn film(bitrate: u32, seed: u64, stream: u64, frames: usize) -> Vec<(bool, u64)> {
        let video = Video { bitrate, trace: Trace::LogNormal { seed }, ..Video::default() };
        let mut sizes = Sizes::new(video, stream);
        (0..frames).map(|_| sizes.next(false)).collect()
    }

    #[test]
    fn a_seed_is_one_film_and_another_seed_or_stream_another() {
        let one = film(1_500_000, 7, 1, 900);
        assert_eq!(one, film(1_500_000, 7, 1, 900));
        assert_ne!(one, film(1_500_000, 8, 1, 900));
        assert_ne!(one, film(1_500_000, 7, 2, 900));
    }

    #[test]
    fn a_keyframe_every_three_seconds_is_eight_times_the_mean() {
        for bitrate in [150_000, 500_000, 1_500_000] {
            let film = film(bitrate, 1, 1, 900);
            let bytes: u64 = film.iter().map(|(_, size)| size).sum();
            assert!((bytes * 8).abs_diff(u64::from(bitrate) * 30) < 1_000, "{bitrate}: {bytes}");
            for (at, (keyframe, size)) in film.iter().enumerate() {
                assert_eq!(*keyframe, at % 90 == 0);
                assert!(!keyframe || size.abs_diff(8 * bytes / 900) <= 8, "{size} of {bytes}");
            }
        }
    }

    #[test]
    fn sizes_between_keyframes_are_lognormal() {
        let film = film(1_500_000, 3, 1, 9_000);
        let logs: Vec<f64> = film.iter().filter(|frame| !frame.0).map(|frame| (frame.1 as f64).ln()).collect();
        let count = logs.len() as f64;
        let mean = logs.iter().sum::<f64>() / count;
        let central = |power: i32| logs.iter().map(|log| (log - mean).powi(power)).sum::<f64>() / count;
        let deviation = central(2).sqrt();
        assert!((0.33..0.37).contains(&deviation), "{deviation}");
        let skewness = central(3) / deviation.powi(3);
        assert!(skewness.abs() < 0.1, "the logarithms lie evenly: {skewness}");
    }

    #[test]
    fn a_keyframe_that_is_asked_for_moves_no_other() {
        let undisturbed = film(1_500_000, 3, 1, 200);
        let video = Video { bitrate: 1_500_000, trace: Trace::LogNormal { seed: 3 }, ..Video::default() };
        let mut sizes = Sizes::new(video, 1);
        let asked: Vec<_> = (0..200).map(|at| sizes.next(at == 50)).collect();
        assert_eq!(asked[50], (true, asked[0].1));
        assert_eq!((&asked[..50], &asked[51..]), (&undisturbed[..50], &undisturbed[51..]));
    }
}
