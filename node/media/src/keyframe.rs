//! The keyframe arbiter: many ask for a keyframe of a track, its publisher is asked rarely.
//!
//! One per track in every shard that has it: at the origin it asks the publisher, on the way there the next shard. A
//! first request goes out at once; those that come while it is unanswered are covered
//! by it. Without an answer it is repeated, ever more slowly. After a keyframe, a new request waits until
//! [`MIN_INTERVAL`] since the last one has passed: it comes from somebody who missed that keyframe.

use std::time::{Duration, Instant};

/// Least time between two requests to a publisher. Keyframes are several times the size of other pictures.
pub const MIN_INTERVAL: Duration = Duration::from_millis(200);

/// How long a request may go unanswered before it is repeated: a long round trip and an encoder's few frames.
pub const RETRY: Duration = Duration::from_millis(500);

/// The longest wait between repeats, for a publisher that sends nothing.
pub const LONGEST_RETRY: Duration = Duration::from_secs(4);

/// Why a keyframe is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyframeReason {
    /// A slot switches to the track.
    Switch,
    /// A subscriber's PLI or FIR.
    Subscriber,
    /// A client's message.
    Client,
    /// A neighbour in the tree of shards.
    Relay,
}

impl KeyframeReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Switch, Self::Subscriber, Self::Client, Self::Relay];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Subscriber => "subscriber",
            Self::Client => "client",
            Self::Relay => "relay",
        }
    }
}

/// What an arbiter has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyframeCounts {
    /// Requests taken in.
    pub requested: u64,
    /// Requests sent to the publisher, repeats included.
    pub sent: u64,
    /// Repeats among them.
    pub repeated: u64,
    /// Keyframes that came.
    pub keyframes: u64,
}

/// Coalesces the keyframe requests of one track.
#[derive(Debug, Default)]
pub struct KeyframeArbiter {
    wanted: Option<KeyframeReason>,
    last_sent: Option<Instant>,
    /// Requests sent since the last keyframe.
    unanswered: u32,
    counts: KeyframeCounts,
}

impl KeyframeArbiter {
    /// Nothing is wanted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A keyframe is wanted. Poll afterwards.
    pub const fn request(&mut self, reason: KeyframeReason) {
        self.counts.requested += 1;
        if self.wanted.is_none() {
            self.wanted = Some(reason);
        }
    }

    /// A keyframe came.
    pub const fn handle_keyframe(&mut self) {
        self.counts.keyframes += 1;
        self.unanswered = 0;
        self.wanted = None;
    }

    /// Nobody watches the track any more.
    pub const fn cancel(&mut self) {
        self.unanswered = 0;
        self.wanted = None;
    }

    /// Whether the publisher is to be asked now, and why. Poll after each request and when [`Self::poll_timeout`] is
    /// due; asking is taken as done.
    pub fn poll_request(&mut self, now: Instant) -> Option<KeyframeReason> {
        let reason = self.wanted?;
        if self.due().is_some_and(|due| now < due) {
            return None;
        }
        self.counts.sent += 1;
        self.counts.repeated += u64::from(self.unanswered > 0);
        self.unanswered += 1;
        self.last_sent = Some(now);
        Some(reason)
    }

    /// When to poll again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wanted?;
        self.due()
    }

    /// What was seen so far.
    #[must_use]
    pub const fn counts(&self) -> KeyframeCounts {
        self.counts
    }

    /// The earliest time of the next request; at once when there was none yet.
    fn due(&self) -> Option<Instant> {
        let wait = match self.unanswered {
            0 => MIN_INTERVAL,
            repeats => (RETRY * (1 << (repeats - 1).min(3))).min(LONGEST_RETRY),
        };
        self.last_sent.map(|sent| sent + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn many_requests_become_one() {
        let now = start();
        let mut arbiter = KeyframeArbiter::new();
        assert_eq!(arbiter.poll_request(now), None);
        for step in 0..40 {
            arbiter.request(KeyframeReason::Subscriber);
            let sent = arbiter.poll_request(now + MS * step);
            assert_eq!(sent.is_some(), step == 0);
        }
        arbiter.handle_keyframe();
        assert_eq!(arbiter.poll_timeout(), None);
        assert_eq!(arbiter.counts(), KeyframeCounts { requested: 40, sent: 1, repeated: 0, keyframes: 1 });
    }

    #[test]
    fn who_missed_the_keyframe_gets_another_after_the_least_interval() {
        let now = start();
        let mut arbiter = KeyframeArbiter::new();
        arbiter.request(KeyframeReason::Switch);
        assert_eq!(arbiter.poll_request(now), Some(KeyframeReason::Switch));
        arbiter.handle_keyframe();
        arbiter.request(KeyframeReason::Relay);
        assert_eq!(arbiter.poll_request(now + 50 * MS), None);
        assert_eq!(arbiter.poll_timeout(), Some(now + MIN_INTERVAL));
        assert_eq!(arbiter.poll_request(now + MIN_INTERVAL), Some(KeyframeReason::Relay));
    }

    #[test]
    fn an_unanswered_request_is_repeated_ever_more_slowly() {
        let now = start();
        let mut arbiter = KeyframeArbiter::new();
        arbiter.request(KeyframeReason::Client);
        let mut at = now;
        let mut waits = Vec::new();
        for _ in 0..6 {
            assert!(arbiter.poll_request(at).is_some());
            let next = arbiter.poll_timeout().unwrap();
            waits.push((next - at).as_millis());
            at = next;
        }
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 4_000, 4_000]);
        arbiter.cancel();
        assert_eq!(arbiter.poll_timeout(), None);
        assert_eq!(arbiter.counts().repeated, 5);
    }
}
