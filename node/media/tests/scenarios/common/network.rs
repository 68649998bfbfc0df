//! A network with delay, jitter (and so reordering) and loss, from a seed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How a link behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quality {
    pub(crate) delay: Duration,
    /// Up to this much is added to the delay.
    pub(crate) jitter: Duration,
    /// In percent.
    pub(crate) loss: u64,
}

impl Quality {
    pub(crate) const GOOD: Self = Self { delay: Duration::from_millis(5), jitter: Duration::from_millis(1), loss: 0 };
}

/// What is under way.
#[derive(Debug)]
pub(crate) struct Network<T> {
    queue: BTreeMap<(Instant, u64), T>,
    number: u64,
    random: u64,
    pub(crate) lost: u64,
}

impl<T> Network<T> {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { queue: BTreeMap::new(), number: 0, random: seed, lost: 0 }
    }

    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    /// Sends something; it may be lost.
    pub(crate) fn send(&mut self, now: Instant, quality: Quality, what: T) {
        if self.random() % 100 < quality.loss {
            self.lost += 1;
            return;
        }
        self.send_surely(now, quality, what);
    }

    /// Sends something that can't be lost.
    pub(crate) fn send_surely(&mut self, now: Instant, quality: Quality, what: T) {
        let jitter = u64::try_from(quality.jitter.as_micros()).unwrap();
        let extra = Duration::from_micros(self.random() % (jitter + 1));
        self.number += 1;
        self.queue.insert((now + quality.delay + extra, self.number), what);
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.next_at()? > now {
            return None;
        }
        self.queue.pop_first().map(|(_, what)| what)
    }
}
