//! The line between a slot's RTP time and the server's clock, fixed for the slot's life.
//!
//! Every source that is shown in the slot is anchored on this line at its switch, so that the receiver sees one
//! clock whatever the slot shows, and sender reports stay linear.

use std::time::{Duration, Instant};

/// How far behind its line a packet's wallclock is set, for every slot alike. str0m writes RTP time 0 into a sender
/// report when the last packet's wallclock is later than now, and a receiver then loses its lip sync; this leaves
/// room for media that runs slightly ahead. A constant common to all slots does not change their relation.
pub const WALLCLOCK_LAG: Duration = Duration::from_millis(40);

/// How far in the past a slot is primed, so that no media captured before the priming is too late for the line.
pub const PRIMING_AGE: Duration = Duration::from_secs(1);

/// Samples of the audio grid: 20 ms at 48 kHz, the frame length that browsers send. A receiver's jitter buffer
/// discards or stretches samples when a switch steps by anything else.
pub const AUDIO_GRID: u64 = 960;

/// Keeps extended timestamps of instants before the epoch positive.
const EXTENSION: u64 = 1 << 32;

const NANOS: i128 = 1_000_000_000;

/// What a slot carries; decides its clock rate and how it steps at a switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// 48 kHz, on a grid of [`AUDIO_GRID`].
    Audio,
    /// 90 kHz, switches at keyframes.
    Video,
}

impl SlotKind {
    /// RTP clock rate in Hz.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Audio => 48_000,
            Self::Video => 90_000,
        }
    }
}

/// One straight line between RTP time and the server's clock.
///
/// Timestamps are extended to 64 bits here and never wrap; [`Self::wire`] gives the 32 bits of the header.
#[derive(Debug, Clone, Copy)]
pub struct SlotTimeline {
    kind: SlotKind,
    epoch: Instant,
    base: u64,
}

impl SlotTimeline {
    /// A line that passes through `base`, chosen at random, at `epoch`.
    #[must_use]
    pub const fn new(kind: SlotKind, epoch: Instant, base: u32) -> Self {
        Self { kind, epoch, base: EXTENSION + base as u64 }
    }

    /// What the slot carries.
    #[must_use]
    pub const fn kind(&self) -> SlotKind {
        self.kind
    }

    /// The timestamp on the line at `instant`, rounded to the nearest tick.
    #[must_use]
    pub fn timestamp_at(&self, instant: Instant) -> u64 {
        let rate = i128::from(self.kind.clock_rate());
        let ticks = (nanos_between(self.epoch, instant) * rate + NANOS / 2).div_euclid(NANOS);
        u64::try_from(i128::from(self.base) + ticks).unwrap_or(0)
    }

    /// The point of the audio grid nearest to the line at `instant`.
    #[must_use]
    pub fn grid_at(&self, instant: Instant) -> u64 {
        let phase = self.base % AUDIO_GRID;
        let ticks = self.timestamp_at(instant) + AUDIO_GRID / 2 - phase;
        ticks / AUDIO_GRID * AUDIO_GRID + phase
    }

    /// Where the line has this timestamp.
    #[must_use]
    pub fn instant_at(&self, timestamp: u64) -> Instant {
        let ticks = i128::from(timestamp) - i128::from(self.base);
        offset(self.epoch, ticks * NANOS / i128::from(self.kind.clock_rate()))
    }

    /// The wallclock to write beside a packet that the line has at `capture`: less [`WALLCLOCK_LAG`], never after `now`.
    #[must_use]
    pub fn wallclock(&self, now: Instant, capture: Instant) -> Instant {
        capture.checked_sub(WALLCLOCK_LAG).unwrap_or(capture).min(now)
    }

    /// The timestamp and wallclock of the empty packet that primes the slot at `now`.
    #[must_use]
    pub fn priming(&self, now: Instant) -> (u64, Instant) {
        let past = now.checked_sub(PRIMING_AGE).unwrap_or(now);
        let timestamp = match self.kind {
            SlotKind::Audio => self.grid_at(past),
            SlotKind::Video => self.timestamp_at(past),
        };
        (timestamp, self.wallclock(now, self.instant_at(timestamp)))
    }

    /// The 32 bits of an extended timestamp that go into the RTP header.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "RTP timestamps wrap at 32 bits, RFC 3550 §5.1")]
    pub const fn wire(timestamp: u64) -> u32 {
        timestamp as u32
    }
}

/// Nanoseconds from `earlier` to `later`, negative when they are the other way round.
pub(crate) fn nanos_between(earlier: Instant, later: Instant) -> i128 {
    let nanos = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    later.checked_duration_since(earlier).map_or_else(|| -nanos(earlier.saturating_duration_since(later)), nanos)
}

/// The instant `nanos` after `from`, or `from` where the clock can't express it.
pub(crate) fn offset(from: Instant, nanos: i128) -> Instant {
    let duration = Duration::from_nanos(u64::try_from(nanos.unsigned_abs()).unwrap_or(u64::MAX));
    let shifted = if nanos < 0 { from.checked_sub(duration) } else { from.checked_add(duration) };
    shifted.unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_line_goes_through_base_at_the_epoch_and_wraps_only_on_the_wire() {
        let epoch = start();
        let line = SlotTimeline::new(SlotKind::Video, epoch, u32::MAX - 89);
        assert_eq!(SlotTimeline::wire(line.timestamp_at(epoch)), u32::MAX - 89);
        assert_eq!(SlotTimeline::wire(line.timestamp_at(epoch + MS)), 0);
        assert!(line.timestamp_at(epoch + MS) > line.timestamp_at(epoch));
    }

    #[test]
    fn there_and_back_is_within_a_tick() {
        let epoch = start() + 10_000 * MS;
        let line = SlotTimeline::new(SlotKind::Audio, epoch, 7);
        for millis in [0, 1, 33, 999, 5_000, 86_400_000] {
            let instant = epoch + MS * millis;
            let back = line.instant_at(line.timestamp_at(instant));
            assert!(nanos_between(instant, back).abs() <= 20_834, "{millis} ms");
        }
        let before = epoch.checked_sub(3_000 * MS).unwrap();
        assert!(line.timestamp_at(before) < line.timestamp_at(epoch));
    }

    #[test]
    fn the_grid_is_counted_from_the_base() {
        let epoch = start();
        let line = SlotTimeline::new(SlotKind::Audio, epoch, 12_345);
        let base = line.timestamp_at(epoch);
        assert_eq!(line.grid_at(epoch), base);
        assert_eq!(line.grid_at(epoch + 9 * MS), base);
        assert_eq!(line.grid_at(epoch + 11 * MS), base + AUDIO_GRID);
        assert_eq!(line.grid_at(epoch + 20 * MS), base + AUDIO_GRID);
    }

    #[test]
    fn wallclock_lags_and_is_never_after_now() {
        let epoch = start();
        let line = SlotTimeline::new(SlotKind::Video, epoch, 0);
        let now = epoch + 1_000 * MS;
        assert_eq!(line.wallclock(now, now), now - WALLCLOCK_LAG);
        assert_eq!(line.wallclock(now, now + 100 * MS), now);
    }

    #[test]
    fn priming_lies_on_the_line_with_the_same_lag() {
        let now = start() + 5_000 * MS;
        for kind in [SlotKind::Audio, SlotKind::Video] {
            let line = SlotTimeline::new(kind, now, 99);
            let (timestamp, wallclock) = line.priming(now);
            assert_eq!(wallclock, line.instant_at(timestamp) - WALLCLOCK_LAG);
            assert!(timestamp < line.timestamp_at(now));
        }
    }
}
