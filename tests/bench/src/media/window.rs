//! A server with people on it, and what was seen over a time.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::FutureExt;
use plenary_participant::load::{Crowd, Plan, Summary};

use crate::clock::now;
use crate::host::{Load, Watch, cpu_nanos};

/// Processes that serve.
pub(super) trait Served {
    fn pids(&self) -> Vec<u32>;

    /// Processor time of all their threads so far, in nanoseconds.
    fn cpu_nanos(&self) -> Result<u64>;

    /// Ends them.
    async fn stop(self) -> Result<()>;
}

/// People on a server.
pub(super) struct Sitting<S> {
    pub(super) server: S,
    pub(super) crowd: Crowd,
}

/// What was seen over a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Packets that subscribers received, and their bytes without headers.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    /// Processor time of the server.
    pub(super) cpu_ns: u64,
    pub(super) seconds: f64,
    /// The generator's share of its processor.
    pub(super) generator: f64,
    pub(super) load: Load,
}

impl<S: Served> Sitting<S> {
    /// Has everyone join, waits until they see and hear what there is, and lets them settle.
    pub(super) async fn begin(server: S, plan: &Plan, settle: Duration) -> Result<Self> {
        let mut never = pin!(std::future::pending::<()>().fuse());
        let crowd = plan.gather(&mut never).await?;
        tokio::time::sleep(settle).await;
        Ok(Self { server, crowd })
    }

    /// Looks for as long as `time` takes.
    pub(super) async fn watch<T>(&mut self, time: impl Future<Output = T>) -> Result<(T, Window)> {
        let Self { server, crowd } = self;
        crowd.measure().await;
        let watch = Watch::begin(server.pids())?;
        let before = (crowd.received().await, server.cpu_nanos()?, cpu_nanos(std::process::id())?, now());
        let done = time.await;
        let after = (crowd.received().await, server.cpu_nanos()?, cpu_nanos(std::process::id())?, now());
        let seconds = (after.3 - before.3).as_secs_f64();
        let window = Window {
            packets: after.0.packets - before.0.packets,
            bytes: after.0.bytes - before.0.bytes,
            lost: after.0.missing.saturating_sub(before.0.missing),
            cpu_ns: after.1 - before.1,
            seconds,
            generator: Duration::from_nanos(after.2 - before.2).as_secs_f64() / seconds,
            load: watch.end()?,
        };
        Ok((done, window))
    }

    /// Has everyone leave, and ends the server. An error when somebody was not kept, or got what nobody had sent.
    pub(super) async fn end(self) -> Result<Summary> {
        let (summary, _) = self.crowd.leave().await;
        self.server.stop().await?;
        let why = summary.each.iter().find_map(|person| person.failure.as_deref()).unwrap_or_default();
        ensure!(summary.failed == 0, "{} people could not be kept: {why}", summary.failed);
        ensure!(
            summary.faults == 0,
            "{} packets were changed on the way, or came under times that went back",
            summary.faults
        );
        Ok(summary)
    }
}
