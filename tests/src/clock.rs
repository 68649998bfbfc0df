//! The one place where the harness reads the clock.

use std::time::Instant;

/// The time now, for measuring what a cluster of real processes does.
#[expect(clippy::disallowed_methods, reason = "measuring real processes needs the real clock")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}
