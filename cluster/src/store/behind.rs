//! Keeps the rows up to date behind the applied state's back.
//!
//! ```text
//! apply ─► the newest state ─► thread `rows`: wait for a lull ► is the log durable that far? ► what differs, in one batch
//! ```
//!
//! Rows are a copy that can be had again from the newest snapshot and the log behind it, so nobody waits for them, and
//! they stand back while there is other work: sled takes more of a processor for a row than all else takes for its
//! entry. What came and went between two batches is never written. A start applies the entries anew that the rows lack.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use openraft::Instant as _;

use super::StorageFault;
use super::machine::{APPLIED, MEMBER};
use super::rows::Rows;
use super::sync::Durable;
use crate::raft::runtime::now;
use crate::raft::types::{LogId, StoredMembership};
use crate::record::encode_value;
use crate::state::{Change, State};

/// For so long nothing is applied in a lull.
const LULL: Duration = Duration::from_millis(100);

/// Without a lull rows are written all the same, from one batch to the next after so long.
const LONGEST: Duration = Duration::from_secs(10);

/// How far the thread stands back from others (`nice`, of the thread alone on Linux).
const STANDS_BACK: i32 = 10;

/// What the rows are to say.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) state: Arc<State>,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
}

/// Writes the rows. Dropped, it writes the last ones.
#[derive(Debug)]
pub(super) struct RowWriter {
    rows: Arc<dyn Rows>,
    /// What the rows say when the thread begins.
    written: Arc<State>,
    /// How far the log is durable; rows wait for that, so that a disk never shows a state ahead of its log. Rows that
    /// follow no log are written at once and by whoever offers them.
    durable: Option<Durable>,
    behind: Option<(Arc<Slot>, JoinHandle<()>)>,
}

impl RowWriter {
    /// For rows that say `written`.
    pub(super) const fn new(rows: Arc<dyn Rows>, written: Arc<State>) -> Self {
        Self { rows, written, durable: None, behind: None }
    }

    /// Has rows wait for the log from now on.
    pub(super) fn follow(&mut self, durable: Durable) {
        self.durable = Some(durable);
    }

    /// There is a newer state.
    ///
    /// # Errors
    /// When an earlier one could not be written.
    pub(super) fn offer(&mut self, newest: Reached) -> Result<(), StorageFault> {
        let Some(durable) = &self.durable else {
            write(&*self.rows, &self.written, &newest)?;
            self.written = newest.state;
            return Ok(());
        };
        let (slot, thread) = match &mut self.behind {
            Some(behind) => behind,
            none => {
                let slot = Arc::new(Slot::default());
                let (its, rows, written) = (Arc::clone(&slot), Arc::clone(&self.rows), Arc::clone(&self.written));
                let durable = durable.clone();
                let thread = thread::Builder::new().name("rows".to_owned());
                none.insert((slot, thread.spawn(move || its.run(&*rows, written, &durable))?))
            }
        };
        if let Some(fault) = slot.failed.load_full() {
            return Err(StorageFault::Inconsistent(format!("rows can't be written: {fault}")));
        }
        // Otherwise the thread is waiting for a lull, or writing.
        if slot.newest.swap(Some(Arc::new(newest))).is_none() {
            thread.thread().unpark();
        }
        Ok(())
    }

    /// Writes what was not written yet, as far as the log is durable, and no more.
    pub(super) fn stop(&mut self) {
        let Some((slot, thread)) = self.behind.take() else { return };
        slot.ended.store(true, Ordering::SeqCst);
        thread.thread().unpark();
        if thread.join().is_err() {
            tracing::error!("the thread that writes rows has panicked");
        }
    }

    /// Takes the rows to say `written`.
    pub(super) fn restart(&mut self, written: Arc<State>) {
        self.stop();
        self.written = written;
    }
}

impl Drop for RowWriter {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the thread is told. Nothing here is a lock that the thread may hold while it stands back: whoever applies would
/// have to wait for it.
#[derive(Debug, Default)]
struct Slot {
    newest: ArcSwapOption<Reached>,
    ended: AtomicBool,
    failed: ArcSwapOption<StorageFault>,
}

impl Slot {
    fn run(&self, rows: &dyn Rows, mut written: Arc<State>, durable: &Durable) {
        if let Err(error) = rustix::process::nice(STANDS_BACK) {
            tracing::debug!(%error, "rows are written without standing back");
        }
        while let Some(due) = self.next(durable) {
            if let Err(fault) = write(rows, &written, &due) {
                tracing::error!(%fault, "the rows of the applied state can't be written");
                self.failed.store(Some(Arc::new(fault)));
                return;
            }
            written = Arc::clone(&due.state);
        }
    }

    /// The newest state, when it is time to write it.
    fn next(&self, durable: &Durable) -> Option<Arc<Reached>> {
        while self.newest.load().is_none() && !self.has_ended() {
            thread::park();
        }
        let begun = now();
        while !(self.has_ended() || self.lull() || begun.elapsed() > LONGEST) {}
        let due = self.newest.swap(None)?;
        while !is_durable(&due, durable) {
            if self.has_ended() {
                return None;
            }
            thread::park_timeout(LULL);
        }
        Some(due)
    }

    /// Waits a little; whether nothing was applied meanwhile.
    fn lull(&self) -> bool {
        let before = self.newest.load_full();
        thread::park_timeout(LULL);
        self.newest.load().as_ref().zip(before.as_ref()).is_none_or(|(newest, before)| Arc::ptr_eq(newest, before))
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

/// Whether the log is durable that far. One that has failed never will be.
fn is_durable(reached: &Reached, durable: &Durable) -> bool {
    reached.applied.is_none_or(|applied| durable.covers(applied.index()).unwrap_or(false))
}

/// Writes what differs from `before`, and how far that is.
fn write(rows: &dyn Rows, before: &State, reached: &Reached) -> Result<(), StorageFault> {
    let mut changes = reached.state.changes_since(before)?;
    changes.extend(heads(reached.applied, &reached.membership)?);
    rows.write(changes)
}

/// The rows that say how far the others are. What they said before is not known here.
pub(super) fn heads(applied: Option<LogId>, membership: &StoredMembership) -> Result<[Change; 2], StorageFault> {
    let row = |key: &[u8], after: Vec<u8>| Change { key: key.to_vec(), before: None, after: Some(after) };
    Ok([row(APPLIED, encode_value(&applied)?), row(MEMBER, encode_value(membership)?)])
}
