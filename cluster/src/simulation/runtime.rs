//! openraft's runtime: the executor of this thread, or tokio where none runs.
//!
//! Channels, watches and locks are tokio's either way: they wake in the order in which they were asked, and know
//! neither threads nor time.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::OptionalSend;
use openraft::async_runtime::{AsyncRuntime, Instant as _};
use openraft::impls::TokioRuntime;
use rand::rngs::ThreadRng;
use rand::{Rng as _, TryRng};

use super::executor::{self, Handle};

/// What openraft runs on with the feature `simulation`.
#[derive(Debug)]
pub struct Runtime(TokioRuntime);

/// A point in simulated time, or on tokio's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(tokio::time::Instant);

/// Where simulated time begins on tokio's clock. Only differences are ever looked at.
fn beginning() -> tokio::time::Instant {
    static BEGINNING: OnceLock<tokio::time::Instant> = OnceLock::new();
    *BEGINNING.get_or_init(|| tokio::time::Instant::now() + Duration::from_secs(24 * 3600))
}

impl openraft::Instant for Instant {
    fn now() -> Self {
        match Handle::current() {
            Some(handle) => Self(beginning() + handle.now()),
            None => Self(tokio::time::Instant::now()),
        }
    }
}

impl Instant {
    fn simulated(self) -> Duration {
        self.0.saturating_duration_since(beginning())
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, time: Duration) {
        self.0 += time;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        Self(self.0 - time)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, time: Duration) {
        self.0 -= time;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0 - earlier.0
    }
}

/// Waits for a point in time.
pub enum Sleep {
    /// On tokio's clock.
    Real(Pin<Box<tokio::time::Sleep>>),
    /// On the executor's.
    Simulated(Simulated),
}

/// A timer of the executor.
pub struct Simulated(executor::Sleep);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match &mut *self {
            Self::Real(sleep) => sleep.as_mut().poll(context),
            Self::Simulated(Simulated(sleep)) => Pin::new(sleep).poll(context),
        }
    }
}

/// A future with a deadline.
pub struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

/// The deadline came first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline has elapsed")]
pub struct Elapsed;

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut self.sleep).poll(context).map(|()| Err(Elapsed))
    }
}

/// A task's result, to be awaited.
pub enum JoinHandle<T> {
    /// Of a task of tokio.
    Real(tokio::task::JoinHandle<T>),
    /// Of a task of the executor.
    Simulated(executor::JoinHandle<T>),
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Of a task of tokio.
    #[error(transparent)]
    Real(#[from] tokio::task::JoinError),
    /// Of a task of the executor.
    #[error(transparent)]
    Simulated(#[from] executor::JoinError),
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Real(handle) => Pin::new(handle).poll(context).map_err(JoinError::from),
            Self::Simulated(handle) => Pin::new(handle).poll(context).map_err(JoinError::from),
        }
    }
}

/// The generator of this thread, or of the executor on it.
#[derive(Debug)]
pub enum Randomness {
    /// The thread's.
    Real(ThreadRng),
    /// The executor's.
    Simulated(Handle),
}

impl TryRng for Randomness {
    type Error = Infallible;

    #[expect(clippy::cast_possible_truncation, reason = "the lower half is as random as the upper")]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(match self {
            Self::Real(random) => random.next_u32(),
            Self::Simulated(handle) => handle.random() as u32,
        })
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(match self {
            Self::Real(random) => random.next_u64(),
            Self::Simulated(handle) => handle.random(),
        })
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let next = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&next[..chunk.len()]);
        }
        Ok(())
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = JoinError;
    type JoinHandle<T: OptionalSend + 'static> = JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = Randomness;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match Handle::current() {
            Some(handle) => JoinHandle::Simulated(handle.spawn(future)),
            None => JoinHandle::Real(TokioRuntime::spawn(future)),
        }
    }

    fn sleep(duration: Duration) -> Sleep {
        Self::sleep_until(Instant::now() + duration)
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        match Handle::current() {
            Some(handle) => Sleep::Simulated(Simulated(executor::Sleep::new(handle, deadline.simulated()))),
            None => Sleep::Real(Box::pin(tokio::time::sleep_until(deadline.0))),
        }
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Self::sleep(duration) }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Instant, future: F) -> Timeout<F> {
        Timeout { future: Box::pin(future), sleep: Self::sleep_until(deadline) }
    }

    fn is_panic(error: &JoinError) -> bool {
        match error {
            JoinError::Real(error) => error.is_panic(),
            JoinError::Simulated(executor::JoinError::Panicked(_)) => true,
            JoinError::Simulated(executor::JoinError::Ended) => false,
        }
    }

    fn thread_rng() -> Randomness {
        match Handle::current() {
            Some(handle) => Randomness::Simulated(handle),
            None => Randomness::Real(rand::rng()),
        }
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }

    async fn spawn_blocking<F, T>(work: F) -> Result<T, io::Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        blocking(work).await.ok_or_else(|| io::Error::other("the work was cut short"))
    }
}

/// How long work off the event loop takes in a simulation.
const WORK: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(60));

/// Runs what blocks where it holds up nobody. In a simulation it takes a time drawn by lot and then happens at once:
/// a crash comes before it or after it. `None` when it panicked or the process ends.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let Some(handle) = Handle::current() else { return tokio::task::spawn_blocking(work).await.ok() };
    let time = handle.random_time(WORK.0, WORK.1);
    let task = handle.spawn(async move {
        executor::sleep(time).await;
        work()
    });
    task.await.ok()
}

/// Tasks that end with their owner.
#[derive(Default)]
pub(crate) struct Tasks {
    real: tokio::task::JoinSet<()>,
    simulated: Vec<executor::JoinHandle<()>>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        match Handle::current() {
            Some(handle) => self.simulated.push(handle.spawn(task)),
            None => drop(self.real.spawn(task)),
        }
    }

    pub(crate) async fn shutdown(&mut self) {
        self.end_simulated();
        self.real.shutdown().await;
    }

    fn end_simulated(&mut self) {
        for task in self.simulated.drain(..) {
            task.abort();
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.end_simulated();
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").finish_non_exhaustive()
    }
}
