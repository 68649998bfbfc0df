//! The one place that reads the clock.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::source::Epoch;

/// Now.
#[expect(clippy::disallowed_methods, reason = "the driver reads the clock here and hands it on")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// This process's tie to the Unix epoch: one for all participants, so that their capture times compare exactly.
#[expect(clippy::disallowed_methods, reason = "read once, next to the instant it belongs to")]
pub(crate) fn epoch() -> Epoch {
    static EPOCH: OnceLock<Epoch> = OnceLock::new();
    *EPOCH.get_or_init(|| Epoch {
        instant: Instant::now(),
        unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    })
}
