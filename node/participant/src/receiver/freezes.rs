//! When a picture stands still for too long, as browsers count it.

use std::collections::VecDeque;
use std::time::Duration;

/// Distances between frames that make the mean.
const KEPT: usize = 30;

/// How far above the mean a distance is too long at the least.
const ABOVE: Duration = Duration::from_millis(150);

/// How many times the mean is too long.
const TIMES: u32 = 3;

/// Tells freezes from the distances between usable frames: `freezeCount` of the W3C's "Identifiers for WebRTC's Statistics
/// API".
#[derive(Debug, Default)]
pub(super) struct Freezes {
    latest: VecDeque<Duration>,
}

impl Freezes {
    /// Whether a picture that stands still for `gap` is frozen.
    pub(super) fn is_one(&self, gap: Duration) -> bool {
        let Some(count) = u32::try_from(self.latest.len()).ok().filter(|count| *count > 0) else { return false };
        let mean = self.latest.iter().sum::<Duration>() / count;
        gap >= (mean * TIMES).max(mean + ABOVE)
    }

    /// Takes in the distance to the next frame; whether that was a freeze.
    pub(super) fn ends_one(&mut self, gap: Duration) -> bool {
        let freeze = self.is_one(gap);
        if self.latest.len() == KEPT {
            self.latest.pop_front();
        }
        self.latest.push_back(gap);
        freeze
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn at_thirty_frames_a_second_183_ms_are_too_long() {
        let mut freezes = Freezes::default();
        assert!(!freezes.ends_one(ms(900)), "there is no mean yet");
        (0..KEPT).for_each(|_| assert!(!freezes.ends_one(ms(33))));
        assert!(!freezes.is_one(ms(182)));
        assert!(freezes.ends_one(ms(183)));
    }

    #[test]
    fn at_five_frames_a_second_three_of_them_are() {
        let mut freezes = Freezes::default();
        for _ in 0..KEPT {
            freezes.ends_one(ms(200));
        }
        assert!(!freezes.is_one(ms(599)));
        assert!(freezes.is_one(ms(600)));
    }
}
