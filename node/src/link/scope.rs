//! The tasks of an endpoint, ended together.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns tasks. Loops (accepting, dialling) end when closing begins, work in hand when its time is over.
#[derive(Debug)]
pub(crate) struct Scope {
    loops: CancellationToken,
    work: CancellationToken,
    tasks: TaskTracker,
}

impl Scope {
    pub(crate) fn new() -> Self {
        let work = CancellationToken::new();
        Self { loops: work.child_token(), work, tasks: TaskTracker::new() }
    }

    /// Starts a task that ends as soon as closing begins.
    pub(crate) fn spawn_loop(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.loops.clone();
        self.tasks.spawn(async move {
            token.run_until_cancelled(task).await;
        });
    }

    /// Starts a task that may finish what it has in hand when closing begins.
    pub(crate) fn spawn_work(&self, task: impl Future<Output = ()> + Send + 'static) {
        let token = self.work.clone();
        self.tasks.spawn(async move {
            token.run_until_cancelled(task).await;
        });
    }

    /// Ends everything at once. For owners that are dropped: tasks may hold the scope that holds them.
    pub(crate) fn end(&self) {
        self.work.cancel();
    }

    /// Is cancelled when closing begins.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.loops.clone()
    }

    /// Ends the loops, gives work `grace` to finish, ends the rest.
    pub(crate) async fn close(&self, grace: Duration) {
        self.loops.cancel();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.work.cancel();
            self.tasks.wait().await;
        }
    }
}
