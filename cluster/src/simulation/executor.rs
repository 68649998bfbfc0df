//! The executor: one thread, a virtual clock, and a seed that decides who runs next.
//!
//! ```text
//! step ─► somebody is ready? ── yes ─► poll one of them, drawn by lot
//!              │ no
//!              └─► move the clock to the earliest timer and wake who waits for it
//! ```
//!
//! A task belongs to a [`Group`], the one of whoever spawned it unless said otherwise: a node is a group. A paused
//! group is like a process under SIGSTOP: its timers run out and its mail comes in, but nothing of it moves. A killed
//! group is like one under SIGKILL: its tasks are gone between two of their steps.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::random::Random;

thread_local! {
    static CURRENT: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// Tasks that are paused and killed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Group(pub u64);

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A task of this group was polled.
    Polled(Group),
    /// The clock moved.
    Moved,
    /// Nobody is ready and nobody waits for a time.
    Idle,
}

/// Why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Its group was killed, or it was aborted.
    #[error("task was ended")]
    Ended,
    /// It panicked.
    #[error("task panicked: {0}")]
    Panicked(String),
}

/// Runs the tasks of one simulation. Dropped, it drops them all.
#[derive(Debug)]
pub struct Executor(Handle);

/// A way to the executor from within its tasks.
#[derive(Clone)]
pub struct Handle(Arc<Mutex<Core>>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle")
    }
}

struct Core {
    now: Duration,
    random: Random,
    tasks: BTreeMap<u64, Task>,
    next_task: u64,
    /// A set, so that it does not matter in which order a channel wakes those who wait for it: tokio's watch does it by
    /// lot of its own.
    ready: BTreeSet<u64>,
    /// By when, and in which order they were set.
    timers: BTreeMap<(Duration, u64), Waker>,
    next_timer: u64,
    paused: BTreeSet<Group>,
    current: Group,
    panics: Vec<(Group, String)>,
}

struct Task {
    group: Group,
    /// Taken out while it is polled.
    future: Option<BoxFuture<'static, ()>>,
    waker: Arc<TaskWaker>,
}

struct TaskWaker {
    id: u64,
    core: Weak<Mutex<Core>>,
    queued: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::SeqCst) {
            return;
        }
        if let Some(core) = self.core.upgrade() {
            core.lock().ready.insert(self.id);
        }
    }
}

/// Makes a handle the thread's own for as long as this lives.
struct Entered(Option<Handle>);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

impl Executor {
    /// An executor at time zero, whose choices follow from `random`.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self(Handle(Arc::new(Mutex::new(Core {
            now: Duration::ZERO,
            random,
            tasks: BTreeMap::new(),
            next_task: 0,
            ready: BTreeSet::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            paused: BTreeSet::new(),
            current: Group::default(),
            panics: Vec::new(),
        }))))
    }

    /// A handle for tasks and whoever stands beside them.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0.clone()
    }

    /// Polls one task, or moves the clock.
    pub fn step(&mut self) -> Step {
        let _entered = self.0.enter();
        if let Some(group) = self.0.poll_one() {
            return Step::Polled(group);
        }
        if self.0.move_clock() { Step::Moved } else { Step::Idle }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let _entered = self.0.enter();
        // Dropping a task may spawn or wake another.
        loop {
            let tasks = std::mem::take(&mut self.0.0.lock().tasks);
            if tasks.is_empty() {
                break;
            }
            drop(tasks);
        }
        let timers = std::mem::take(&mut self.0.0.lock().timers);
        drop(timers);
    }
}

impl Handle {
    /// The executor that runs on this thread right now.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    fn enter(&self) -> Entered {
        Entered(CURRENT.replace(Some(self.clone())))
    }

    /// Time since the simulation began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.lock().now
    }

    /// 64 bits from the executor's own stream.
    #[must_use]
    pub fn random(&self) -> u64 {
        self.0.lock().random.next()
    }

    /// A time from `first` to `last`, from the executor's own stream.
    #[must_use]
    pub fn random_time(&self, first: Duration, last: Duration) -> Duration {
        self.0.lock().random.time(first, last)
    }

    /// Panics since the last call, with the group of the task.
    #[must_use]
    pub fn take_panics(&self) -> Vec<(Group, String)> {
        std::mem::take(&mut self.0.lock().panics)
    }

    /// Starts a task in the group of the one that runs now.
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let group = self.0.lock().current;
        self.spawn_in(group, future)
    }

    /// Starts a task in `group`.
    pub fn spawn_in<T: Send + 'static>(
        &self,
        group: Group,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let outcome = Arc::new(Mutex::new(Outcome { result: None, waiting: None }));
        let promise = Promise(Arc::clone(&outcome));
        let mut core = self.0.lock();
        let id = core.next_task;
        core.next_task += 1;
        let waker = Arc::new(TaskWaker { id, core: Arc::downgrade(&self.0), queued: AtomicBool::new(true) });
        let future = Box::pin(async move {
            let value = future.await;
            promise.keep(Ok(value));
        });
        core.tasks.insert(id, Task { group, future: Some(future), waker });
        core.ready.insert(id);
        drop(core);
        JoinHandle { id, handle: self.clone(), outcome }
    }

    /// Stops a group where it stands; everybody else goes on.
    pub fn pause(&self, group: Group) {
        self.0.lock().paused.insert(group);
    }

    /// Lets a paused group go on.
    pub fn resume(&self, group: Group) {
        self.0.lock().paused.remove(&group);
    }

    /// Ends every task of a group. Must not be called by one of them.
    pub fn kill(&self, group: Group) {
        let _entered = self.enter();
        loop {
            let mut core = self.0.lock();
            core.paused.remove(&group);
            let ids: Vec<u64> = core.tasks.iter().filter(|(_, task)| task.group == group).map(|(id, _)| *id).collect();
            let gone: Vec<Task> = ids.iter().filter_map(|id| core.tasks.remove(id)).collect();
            let before = std::mem::replace(&mut core.current, group);
            drop(core);
            // What a dropped task lets go of may wake others, or spawn more in this group: look again.
            let finished = gone.is_empty();
            drop(gone);
            self.0.lock().current = before;
            if finished {
                return;
            }
        }
    }

    fn abort(&self, id: u64) {
        let task = self.0.lock().tasks.remove(&id);
        drop(task);
    }

    /// Polls one task that is ready and not paused, drawn by lot.
    fn poll_one(&self) -> Option<Group> {
        let mut core = self.0.lock();
        let (id, group, mut future, waker) = core.draw()?;
        core.current = group;
        drop(core);
        waker.queued.store(false, Ordering::SeqCst);
        let as_waker = Waker::from(waker);
        let mut context = Context::from_waker(&as_waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        let mut core = self.0.lock();
        match polled {
            Ok(Poll::Pending) => {
                if let Some(task) = core.tasks.get_mut(&id) {
                    task.future = Some(future);
                } else {
                    drop(core);
                    drop(future); // It was aborted while it ran.
                }
            }
            Ok(Poll::Ready(())) => {
                let task = core.tasks.remove(&id);
                drop(core);
                drop((task, future));
            }
            Err(panic) => {
                let task = core.tasks.remove(&id);
                core.panics.push((group, words_of(&*panic)));
                drop(core);
                drop((task, future));
            }
        }
        Some(group)
    }

    /// Moves the clock to the earliest timer and wakes all that are due. False when there is none.
    fn move_clock(&self) -> bool {
        let mut core = self.0.lock();
        let Some((&(at, _), _)) = core.timers.first_key_value() else { return false };
        core.now = core.now.max(at);
        let after = core.now + Duration::from_nanos(1);
        let later = core.timers.split_off(&(after, 0));
        let due = std::mem::replace(&mut core.timers, later);
        drop(core);
        for waker in due.into_values() {
            waker.wake();
        }
        true
    }
}

impl Core {
    fn draw(&mut self) -> Option<(u64, Group, BoxFuture<'static, ()>, Arc<TaskWaker>)> {
        let (tasks, paused) = (&self.tasks, &self.paused);
        self.ready.retain(|id| tasks.contains_key(id));
        let able = |id: &&u64| tasks.get(*id).is_some_and(|task| !paused.contains(&task.group));
        let able: Vec<u64> = self.ready.iter().filter(able).copied().collect();
        let id = *self.random.pick(&able)?;
        self.ready.remove(&id);
        let task = self.tasks.get_mut(&id)?;
        let future = task.future.take()?;
        Some((id, task.group, future, Arc::clone(&task.waker)))
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".to_owned())
}

struct Outcome<T> {
    result: Option<Result<T, JoinError>>,
    waiting: Option<Waker>,
}

/// The task's end of its outcome: dropped without a value, the task was ended.
struct Promise<T>(Arc<Mutex<Outcome<T>>>);

impl<T> Promise<T> {
    fn keep(&self, result: Result<T, JoinError>) {
        let mut outcome = self.0.lock();
        if outcome.result.is_none() {
            outcome.result = Some(result);
        }
        let waiting = outcome.waiting.take();
        drop(outcome);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.keep(Err(JoinError::Ended));
    }
}

/// A task's result, to be awaited. Dropped, the task goes on.
pub struct JoinHandle<T> {
    id: u64,
    handle: Handle,
    outcome: Arc<Mutex<Outcome<T>>>,
}

impl<T> JoinHandle<T> {
    /// Ends the task.
    pub fn abort(&self) {
        self.handle.abort(self.id);
    }

    /// The result, once and if it is there.
    #[must_use]
    pub fn try_take(&self) -> Option<Result<T, JoinError>> {
        self.outcome.lock().result.take()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut outcome = self.outcome.lock();
        match outcome.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                outcome.waiting = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Waits for a point in simulated time.
#[derive(Debug)]
pub(super) struct Sleep {
    handle: Handle,
    until: Duration,
    timer: Option<(Duration, u64)>,
}

impl Sleep {
    pub(super) const fn new(handle: Handle, until: Duration) -> Self {
        Self { handle, until, timer: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let handle = self.handle.clone();
        let mut core = handle.0.lock();
        if let Some(timer) = self.timer.take() {
            core.timers.remove(&timer);
        }
        if core.now >= self.until {
            return Poll::Ready(());
        }
        let timer = (self.until, core.next_timer);
        core.next_timer += 1;
        core.timers.insert(timer, context.waker().clone());
        drop(core);
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            let waker = self.handle.0.lock().timers.remove(&timer);
            drop(waker);
        }
    }
}

/// Waits in simulated time. For tasks of an executor only.
///
/// # Panics
/// Outside of one.
pub async fn sleep(time: Duration) {
    let handle = Handle::current().expect("called by a task of an executor");
    let until = handle.now() + time;
    Sleep::new(handle, until).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_of(seed: u64) -> Vec<u64> {
        let mut executor = Executor::new(Random::new(seed));
        let order = Arc::new(Mutex::new(Vec::new()));
        for number in 0..8 {
            let order = Arc::clone(&order);
            executor.handle().spawn_in(Group(number), async move {
                sleep(Duration::from_millis(number % 2)).await;
                order.lock().push(number);
            });
        }
        while executor.step() != Step::Idle {}
        Arc::try_unwrap(order).map(Mutex::into_inner).expect("the tasks are done")
    }

    #[test]
    fn a_seed_decides_who_runs_next() {
        assert_eq!(order_of(1), order_of(1));
        assert_ne!(order_of(1), order_of(2), "eight tasks come in the same order for two seeds");
    }

    #[test]
    fn a_paused_group_stands_still_while_its_timers_run_out_and_a_killed_one_is_gone() {
        let mut executor = Executor::new(Random::new(3));
        let handle = executor.handle();
        let wait = |group, seconds| {
            handle.spawn_in(Group(group), async move {
                sleep(Duration::from_secs(seconds)).await;
                Handle::current().map(|handle| handle.now())
            })
        };
        let (paused, other, killed) = (wait(1, 1), wait(2, 9), wait(3, 5));
        while matches!(executor.step(), Step::Polled(_)) {}
        handle.pause(Group(1));
        handle.kill(Group(3));
        while executor.step() != Step::Idle {}
        let nine = Ok(Some(Duration::from_secs(9)));
        assert_eq!(other.try_take(), Some(nine.clone()));
        assert_eq!(killed.try_take(), Some(Err(JoinError::Ended)));
        assert_eq!(paused.try_take(), None);
        handle.resume(Group(1));
        while executor.step() != Step::Idle {}
        assert_eq!(paused.try_take(), Some(nine), "it wakes late, at once when it may");
    }

    #[test]
    fn a_panic_stays_in_its_task_and_is_told() {
        let mut executor = Executor::new(Random::new(4));
        let handle = executor.handle();
        let task = handle.spawn_in(Group(1), async { panic!("{} is broken", "this") });
        while executor.step() != Step::Idle {}
        assert_eq!(handle.take_panics(), vec![(Group(1), "this is broken".to_owned())]);
        assert_eq!(task.try_take(), Some(Err::<(), _>(JoinError::Ended)));
    }
}
