//! Time, tasks and randomness of this module: all through the runtime that openraft itself runs on.
//!
//! In the product that is tokio. With the feature `simulation` it is [`crate::simulation::Runtime`], which is tokio
//! too unless a simulation runs on this thread: then a seed decides everything here.

use std::future::Future;
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use openraft::{AsyncRuntime, Instant as _};
use rand::{Rng, RngExt};

use super::types::TypeConfig;

/// What openraft runs on.
#[cfg(not(feature = "simulation"))]
pub(crate) type Runtime = openraft::impls::TokioRuntime;
#[cfg(feature = "simulation")]
pub(crate) use crate::simulation::Runtime;

/// A point on the runtime's clock, which never goes back.
pub(crate) type Instant = openraft::alias::InstantOf<TypeConfig>;

/// The time was over first.
#[derive(Debug)]
pub(crate) struct Elapsed;

pub(crate) fn now() -> Instant {
    TypeConfig::now()
}

/// From now until `deadline`; nothing when it has passed.
pub(super) fn left_until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now())
}

pub(crate) async fn sleep_until(deadline: Instant) {
    TypeConfig::sleep_until(deadline).await;
}

pub(super) async fn timeout_at<T>(deadline: Instant, future: impl Future<Output = T> + Send) -> Result<T, Elapsed> {
    TypeConfig::timeout_at(deadline, future).await.map_err(|_| Elapsed)
}

pub(super) async fn timeout<T>(time: Duration, future: impl Future<Output = T> + Send) -> Result<T, Elapsed> {
    timeout_at(now() + time, future).await
}

pub(super) fn random() -> u32 {
    Runtime::thread_rng().next_u32()
}

/// A number below `end`, which is at least 1.
pub(super) fn random_below(end: usize) -> usize {
    Runtime::thread_rng().random_range(0..end.max(1))
}

/// Runs what blocks where it holds up nobody. `None` when it panicked or the process ends.
#[cfg(not(feature = "simulation"))]
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
#[cfg(feature = "simulation")]
pub(crate) use crate::simulation::blocking;

/// Tasks that end with their owner.
#[cfg(not(feature = "simulation"))]
pub(super) type Tasks = tokio::task::JoinSet<()>;
#[cfg(feature = "simulation")]
pub(super) use crate::simulation::Tasks;

/// Whether a simulation runs on this thread.
pub(super) fn is_simulated() -> bool {
    #[cfg(feature = "simulation")]
    return crate::simulation::is_running();
    #[cfg(not(feature = "simulation"))]
    false
}
