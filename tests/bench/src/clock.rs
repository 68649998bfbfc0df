//! The one place where the bench reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time now, for measuring.
#[expect(clippy::disallowed_methods, reason = "measuring real processes needs the real clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, for naming a run.
#[expect(clippy::disallowed_methods, reason = "a run is named by when it began")]
pub(crate) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
