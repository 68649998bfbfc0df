//! When a scenario begins: the one place that reads the clock.

use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

/// Room for instants before the beginning.
const LATER: Duration = Duration::from_secs(3_600);

/// An hour from now, at the whole second: `Instant`s borrow and carry in each run alike.
#[expect(clippy::disallowed_methods, reason = "an Instant can't be made otherwise; the scenario counts from here")]
pub(crate) fn start() -> Instant {
    let begin = Instant::now() + LATER;
    let mut fraction = Fraction::default();
    begin.hash(&mut fraction);
    begin - Duration::from_nanos(fraction.0.into())
}

/// The nanoseconds of an `Instant`, which hashes them as its only `u32`. Should the standard library change that, the
/// figures become less steady and nothing else.
#[derive(Debug, Default)]
struct Fraction(u32);

impl Hasher for Fraction {
    fn write(&mut self, _: &[u8]) {}

    fn write_u32(&mut self, nanos: u32) {
        self.0 = nanos;
    }

    fn finish(&self) -> u64 {
        self.0.into()
    }
}
