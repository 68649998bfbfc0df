//! When a packet was captured, on this node's clock.
//!
//! [`CaptureClock`] serves the publishers of this node. Sender reports (RFC 3550 §6.4.1) tie each source's RTP time to
//! the publisher's NTP clock; one offset per publisher ties that clock to ours, so audio and video agree whatever the
//! offset's error. The offset is the least (arrival − NTP) seen lately: the quickest packet is taken to have needed no
//! time. Before a source has a report, the same least is taken over its own RTP time alone.
//!
//! [`RemoteClock`] serves tracks that come over a relay: their capture times are read off the origin node's clock, and
//! the least (arrival − capture) ties it to ours, one per origin, so that tracks from there agree.
//!
//! **Invariant:** a capture instant is never after `now`, and never more than [`OLDEST`] before it.

use std::time::{Duration, Instant, SystemTime};

use plenary_cluster::model::Source;

use crate::timeline::{nanos_between, offset};

/// The oldest capture that is believed; anything older is a broken or hostile clock.
pub const OLDEST: Duration = Duration::from_secs(5);

/// How long a least delay is trusted: long enough to meet a quick packet, short enough that 100 ppm of skew makes
/// only a millisecond.
const WINDOW: Duration = Duration::from_secs(5);

/// While an offset is younger than this, a quicker packet moves it at once: nobody has synchronised to it yet.
const SETTLING: Duration = Duration::from_secs(10);

/// An offset follows its target by at most this many parts per million; clocks differ by under 100.
const SLEW_PPM: i128 = 500;

/// A disagreement beyond this is no jitter and no skew: a clock was set, or a source's RTP time stood still.
const STEP: i128 = 300 * MILLISECOND;

/// A source that sent nothing for this long may come back with RTP time that stood still meanwhile.
const PAUSE: Duration = Duration::from_millis(500);

/// How far the relay's delay may grow at once before the origin is taken for one with a new clock.
const REMOTE_STEP: i128 = 2_000 * MILLISECOND;

/// A report moves a source's line by one part in this many of its error: reports are a few milliseconds uneven.
const REPORT_SMOOTHING: i128 = 8;

const MILLISECOND: i128 = 1_000_000;
const SECOND: i128 = 1_000 * MILLISECOND;

/// The clocks of one publisher's session.
#[derive(Debug)]
pub struct CaptureClock {
    origin: Instant,
    offset: Offset,
    reports: Floor,
    sources: [SourceClock; Source::ALL.len()],
}

impl CaptureClock {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { origin: now, offset: Offset::default(), reports: Floor::default(), sources: Default::default() }
    }

    /// Takes in a sender report of `source`: `rtp_time` is the 32 bits that it carries. The same report may be handed
    /// in again with each packet, as str0m does. A report before the source's first packet is of no use and ignored.
    pub fn handle_sender_report(&mut self, now: Instant, source: Source, ntp: SystemTime, rtp_time: u32) {
        let ntp = nanos_since_unix(ntp);
        if self.sources[index(source)].handle_report(ntp, rtp_time) {
            self.reports.observe(now, nanos_between(self.origin, now) - ntp);
            self.follow(now);
        }
    }

    /// Takes in a packet's arrival and returns when it was captured. `rtp_time` is extended to 64 bits.
    pub fn handle_packet(&mut self, now: Instant, source: Source, rtp_time: u64, clock_rate: u32) -> Instant {
        let arrival = nanos_between(self.origin, now);
        let clock = &mut self.sources[index(source)];
        clock.handle_packet(now, arrival, rtp_time, clock_rate);
        self.follow(now);
        let clock = &self.sources[index(source)];
        let zero = match (clock.zero, self.offset.value) {
            (Some(zero), Some(offset)) => zero + offset,
            (Some(_), None) | (None, _) => clock.arrivals.least().unwrap_or(arrival),
        };
        believable(now, offset(self.origin, zero + media_nanos(rtp_time, clock_rate)))
    }

    /// Whether this source is tied to the others by sender reports.
    #[must_use]
    pub const fn is_synchronized(&self, source: Source) -> bool {
        self.sources[index(source)].zero.is_some()
    }

    /// Moves the publisher's offset towards the least delay of any source or report.
    fn follow(&mut self, now: Instant) {
        let of_source = |clock: &SourceClock| Some(clock.arrivals.least()? - clock.zero?);
        // Reports alone don't count: their least may be of a clock that no source is tied to any more.
        let Some(packets) = self.sources.iter().filter_map(of_source).min() else { return };
        let target = self
            .reports
            .least()
            .map_or(packets, |reports| if packets - reports > STEP { packets } else { packets.min(reports) });
        self.offset.follow(now, target);
    }
}

const fn index(source: Source) -> usize {
    match source {
        Source::Microphone => 0,
        Source::Camera => 1,
        Source::Screen => 2,
        Source::ScreenAudio => 3,
    }
}

/// One source's RTP time.
#[derive(Debug, Default)]
struct SourceClock {
    /// Rate, newest RTP time and its arrival.
    newest: Option<(u32, u64, Instant)>,
    /// Least arrival of RTP time 0, on our clock.
    arrivals: Floor,
    /// When RTP time 0 was, on the publisher's NTP clock.
    zero: Option<i128>,
    /// The NTP time of the last report.
    reported: Option<i128>,
}

impl SourceClock {
    fn handle_packet(&mut self, now: Instant, arrival: i128, rtp_time: u64, clock_rate: u32) {
        let observed = arrival - media_nanos(rtp_time, clock_rate);
        let paused = self.newest.is_some_and(|(_, _, last)| now.saturating_duration_since(last) > PAUSE);
        if let Some(least) = self.arrivals.least() {
            let stood_still = paused && observed - least > STEP;
            let leapt = least - observed > STEP;
            let other_rate = self.newest.is_some_and(|(rate, _, _)| rate != clock_rate);
            if stood_still || leapt || other_rate {
                self.arrivals = Floor::default();
                self.zero = None;
            }
        }
        self.arrivals.observe(now, observed);
        self.newest = Some((clock_rate, rtp_time, now));
    }

    /// Whether the report was new and of use.
    fn handle_report(&mut self, ntp: i128, rtp_time: u32) -> bool {
        let Some((rate, newest, _)) = self.newest else { return false };
        if self.reported == Some(ntp) {
            return false;
        }
        self.reported = Some(ntp);
        let observed = ntp - media_nanos(extend(newest, rtp_time), rate);
        self.zero = Some(match self.zero {
            Some(zero) if (observed - zero).abs() <= STEP => zero + (observed - zero) / REPORT_SMOOTHING,
            Some(_) | None => observed,
        });
        true
    }
}

/// Another node's clock as this node sees it.
#[derive(Debug)]
pub struct RemoteClock {
    origin: Instant,
    least: Floor,
    offset: Offset,
}

impl RemoteClock {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { origin: now, least: Floor::default(), offset: Offset::default() }
    }

    /// Takes in the arrival of a packet that was captured `capture_micros` after an epoch of its origin's choice and
    /// returns that instant on this node's clock.
    pub fn handle_packet(&mut self, now: Instant, capture_micros: u64) -> Instant {
        let capture = i128::from(capture_micros) * 1_000;
        let observed = nanos_between(self.origin, now) - capture;
        if self.least.least().is_some_and(|least| observed - least > REMOTE_STEP) {
            self.least = Floor::default();
        }
        self.least.observe(now, observed);
        let target = self.least.least().unwrap_or(observed);
        self.offset.follow(now, target);
        let offset_now = self.offset.value.unwrap_or(target);
        believable(now, offset(self.origin, capture + offset_now))
    }
}

/// The least of what was seen in this window and the one before.
#[derive(Debug, Default)]
struct Floor {
    current: Option<(Instant, i128)>,
    previous: Option<i128>,
}

impl Floor {
    fn observe(&mut self, now: Instant, value: i128) {
        match &mut self.current {
            Some((since, least)) if now.saturating_duration_since(*since) < WINDOW => *least = value.min(*least),
            Some((_, least)) => {
                self.previous = Some(*least);
                self.current = Some((now, value));
            }
            None => self.current = Some((now, value)),
        }
    }

    fn least(&self) -> Option<i128> {
        let (_, current) = self.current?;
        Some(self.previous.map_or(current, |previous| previous.min(current)))
    }
}

/// An offset between two clocks that follows its target without steps once it has settled.
#[derive(Debug, Default)]
struct Offset {
    value: Option<i128>,
    since: Option<Instant>,
    moved: Option<Instant>,
}

impl Offset {
    fn follow(&mut self, now: Instant, target: i128) {
        let since = *self.since.get_or_insert(now);
        let moved = self.moved.replace(now).unwrap_or(now);
        let elapsed = nanos_between(moved, now).clamp(0, SECOND);
        let most = elapsed * SLEW_PPM / 1_000_000;
        self.value = Some(match self.value {
            None => target,
            Some(value) if (target - value).abs() > STEP => target,
            Some(value) if target < value && now.saturating_duration_since(since) < SETTLING => target,
            Some(value) => value + (target - value).clamp(-most, most),
        });
    }
}

/// Bounds what a broken or hostile clock can say.
fn believable(now: Instant, capture: Instant) -> Instant {
    let oldest = now.checked_sub(OLDEST).unwrap_or(now);
    capture.clamp(oldest, now)
}

/// How long this many ticks last.
fn media_nanos(ticks: u64, rate: u32) -> i128 {
    i128::from(ticks) * SECOND / i128::from(rate.max(1))
}

/// The extended time nearest to `near` that ends in these 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are what is compared")]
#[expect(clippy::cast_possible_wrap, reason = "RFC 3550 §5.1: a distance modulo 2^32, read with its sign")]
fn extend(near: u64, rtp_time: u32) -> u64 {
    let distance = rtp_time.wrapping_sub(near as u32) as i32;
    near.saturating_add_signed(i64::from(distance))
}

fn nanos_since_unix(time: SystemTime) -> i128 {
    let nanos = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => nanos(after),
        Err(before) => -nanos(before.duration()),
    }
}

#[cfg(test)]
#[path = "capture_tests.rs"]
mod tests;
