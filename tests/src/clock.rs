//! The one place where the harness reads the clock.

use std::time::Instant;

/// The time now, for measuring what a cluster of real processes does.
#[expect(clippy::disallowed_methods, reason = "measuring real processes needs the real clock")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, as time since 1970: for certificates and tokens.
#[expect(clippy::disallowed_methods, reason = "certificates hold by the wall clock")]
pub(crate) fn wall_clock() -> std::time::Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}
