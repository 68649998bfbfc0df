//! Keeps the rows up to date behind the applied state's back.
//!
//! ```text
//! apply ─► the newest state ─► thread `rows`: wait for a lull ► is the log durable that far? ► what differs, at once
//! ```
//!
//! Rows are a copy that can be had again from the newest snapshot and the log behind it, so nobody waits for them, and
//! they stand back while there is other work: sled takes more of a processor for a row than all else takes for its
//! entry. What came and went between two batches is never written. A start applies the entries anew that the rows lack.
//!
//! Rows that can't be written are final. That is found out though nothing is applied, and told at once: a member that
//! fails at the next entry must not look sound until that comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use openraft::Instant as _;
use tokio::sync::watch;

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

/// How often it is looked whether all got to the disk when nothing is applied.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
    /// Why they can't be written, once that is so.
    fault: watch::Sender<Option<String>>,
}

impl RowWriter {
    /// For rows that say `written`.
    pub(super) fn new(rows: Arc<dyn Rows>, written: Arc<State>) -> Self {
        Self { rows, written, durable: None, behind: None, fault: watch::Sender::new(None) }
    }

    /// Tells why rows can't be written, once that is so.
    pub(super) fn fault(&self) -> watch::Receiver<Option<String>> {
        self.fault.subscribe()
    }

    /// Has rows wait for the log from now on.
    pub(super) fn follow(&mut self, durable: Durable) {
        self.durable = Some(durable);
    }

    /// There is a newer state.
    ///
    /// # Errors
    /// When an earlier one could not be written, or did not get to the disk.
    pub(super) fn offer(&mut self, newest: Reached) -> Result<(), StorageFault> {
        let Some(durable) = &self.durable else {
            write(&*self.rows, &self.written, &newest)?;
            self.written = newest.state;
            return Ok(());
        };
        let (slot, thread) = match &mut self.behind {
            Some(behind) => behind,
            none => {
                let slot = Arc::new(Slot { fault: self.fault.clone(), ..Slot::default() });
                let (its, rows, written) = (Arc::clone(&slot), Arc::clone(&self.rows), Arc::clone(&self.written));
                let durable = durable.clone();
                let thread = thread::Builder::new().name("rows".to_owned());
                none.insert((slot, thread.spawn(move || its.run(&*rows, written, &durable))?))
            }
        };
        if thread.is_finished() {
            let fault = self.fault.borrow().clone();
            return Err(StorageFault::Inconsistent(fault.unwrap_or_else(|| unwritten(&"their thread has panicked"))));
        }
        self.rows.check().map_err(|fault| StorageFault::Inconsistent(unwritten(&fault)))?;
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

    /// Stops without the rows that were not written yet: others are about to take their place.
    pub(super) fn discard(&mut self) {
        self.behind.iter().for_each(|(slot, _)| slot.newest.store(None));
        self.stop();
    }

    /// Takes the rows to say `written`.
    pub(super) fn restart(&mut self, written: Arc<State>) {
        self.discard();
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
    /// Told as the thread ends.
    fault: watch::Sender<Option<String>>,
}

impl Slot {
    fn run(&self, rows: &dyn Rows, written: Arc<State>, durable: &Durable) {
        if let Err(error) = rustix::process::nice(STANDS_BACK) {
            tracing::debug!(%error, "rows are written without standing back");
        }
        if let Err(fault) = self.keep(rows, written, durable) {
            tracing::error!(%fault, "the rows of the applied state can't be written");
            self.fault.send_replace(Some(unwritten(&fault)));
        }
    }

    fn keep(&self, rows: &dyn Rows, mut written: Arc<State>, durable: &Durable) -> Result<(), StorageFault> {
        while let Some(due) = self.next(rows, durable)? {
            write(rows, &written, &due)?;
            written = Arc::clone(&due.state);
        }
        Ok(())
    }

    /// The newest state, when it is time to write it.
    fn next(&self, rows: &dyn Rows, durable: &Durable) -> Result<Option<Arc<Reached>>, StorageFault> {
        while self.newest.load().is_none() && !self.has_ended() {
            rows.check()?;
            thread::park_timeout(LOOK_EVERY);
        }
        let begun = now();
        while !(self.has_ended() || self.lull() || begun.elapsed() > LONGEST) {}
        let Some(due) = self.newest.swap(None) else { return Ok(None) };
        while !is_durable(&due, durable) {
            if self.has_ended() {
                return Ok(None);
            }
            thread::park_timeout(LULL);
        }
        Ok(Some(due))
    }

    /// Waits a little; whether nothing was applied meanwhile.
    fn lull(&self) -> bool {
        let (before, begun) = (self.newest.load_full(), now());
        // It may be woken early, or at once for what it knows.
        while begun.elapsed() < LULL && !self.has_ended() {
            thread::park_timeout(LULL);
        }
        self.newest.load().as_ref().zip(before.as_ref()).is_none_or(|(newest, before)| Arc::ptr_eq(newest, before))
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

fn unwritten(fault: &dyn std::fmt::Display) -> String {
    format!("rows can't be written: {fault}")
}

/// Whether the log is durable that far. One that has failed never will be.
fn is_durable(reached: &Reached, durable: &Durable) -> bool {
    reached.applied.is_none_or(|applied| durable.covers(applied.index()).unwrap_or(false))
}

/// Writes what differs from `before`, and how far that is.
fn write(rows: &dyn Rows, before: &State, reached: &Reached) -> Result<(), StorageFault> {
    let heads = heads(reached.applied, &reached.membership)?;
    let changes = reached.state.changes_since(before).map(|change| change.map_err(StorageFault::from));
    rows.write(&mut changes.chain(heads.into_iter().map(Ok)))
}

/// The rows that say how far the others are. What they said before is not known here.
pub(super) fn heads(applied: Option<LogId>, membership: &StoredMembership) -> Result<[Change; 2], StorageFault> {
    let row = |key: &[u8], after: Vec<u8>| Change { key: key.to_vec(), before: None, after: Some(after) };
    Ok([row(APPLIED, encode_value(&applied)?), row(MEMBER, encode_value(membership)?)])
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId;
    use parking_lot::Mutex;

    use super::*;
    use crate::model::NodeId;
    use crate::raft::types::TypeConfig;
    use crate::record::decode;
    use crate::state::Row;
    use crate::store::rows::Changes;

    /// Remembers how far each batch came, or fails.
    #[derive(Debug, Default)]
    struct Written {
        batches: Mutex<Vec<u64>>,
        fails: AtomicBool,
        /// Whether what was written did not get to the disk.
        lost: AtomicBool,
    }

    impl Rows for Written {
        fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>, StorageFault> {
            Ok(None)
        }

        fn from(&self, _: &[u8]) -> Box<dyn Iterator<Item = Result<Row, StorageFault>> + '_> {
            Box::new(std::iter::empty())
        }

        fn write(&self, changes: Changes<'_>) -> Result<(), StorageFault> {
            if self.fails.load(Ordering::SeqCst) {
                return Err(StorageFault::Inconsistent("no more".to_owned()));
            }
            let applied = changes.map(|change| change.expect("a change")).find(|change| change.key == APPLIED);
            let applied = applied.and_then(|change| change.after).expect("each batch says how far it comes");
            let applied: Option<LogId> = decode(&applied).expect("decodes");
            self.batches.lock().push(applied.expect("an entry").index());
            Ok(())
        }

        fn check(&self) -> Result<(), StorageFault> {
            let lost = self.lost.load(Ordering::SeqCst);
            if lost { Err(StorageFault::Inconsistent("lost".to_owned())) } else { Ok(()) }
        }

        fn installing(&self) -> Result<Option<String>, StorageFault> {
            Ok(None)
        }

        fn set_installing(&self, _: Option<&str>) -> Result<(), StorageFault> {
            Ok(())
        }
    }

    fn at(index: u64) -> Reached {
        let leader = <openraft::alias::LeaderIdOf<TypeConfig> as RaftLeaderId>::new(1, NodeId::new(1));
        let applied = Some(LogId::new(leader.to_committed(), index));
        Reached { state: Arc::default(), applied, membership: StoredMembership::default() }
    }

    fn writer(rows: &Arc<Written>, durable: Durable) -> RowWriter {
        let mut writer = RowWriter::new(Arc::<Written>::clone(rows), Arc::default());
        writer.follow(durable);
        writer
    }

    fn until(what: &str, holds: impl Fn() -> bool) {
        let begun = now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
            thread::yield_now();
        }
    }

    #[test]
    fn a_run_of_entries_becomes_one_batch() {
        let rows = Arc::new(Written::default());
        let (durable_to, durable) = Durable::of(51);
        durable_to(51);
        let mut writer = writer(&rows, durable);
        (1..=50).for_each(|index| writer.offer(at(index)).expect("taken"));
        until("rows are written in a lull", || !rows.batches.lock().is_empty());
        drop(writer);
        assert_eq!(*rows.batches.lock(), [50]);
    }

    #[test]
    fn rows_stand_back_while_entries_keep_coming() {
        let rows = Arc::new(Written::default());
        let (durable_to, durable) = Durable::of(u64::MAX);
        durable_to(u64::MAX);
        let mut writer = writer(&rows, durable);
        writer.offer(at(1)).expect("taken");
        until("the first are written", || *rows.batches.lock() == [1]);
        let begun = now();
        let mut index = 1;
        while begun.elapsed() < LULL * 5 {
            index += 1;
            writer.offer(at(index)).expect("taken");
            thread::yield_now();
        }
        // A machine that stands still for a whole lull has one; more would say that none is waited for.
        assert!(rows.batches.lock().len() <= 3, "{:?}", rows.batches.lock());
        until("the last are written", || rows.batches.lock().last() == Some(&index));
    }

    #[test]
    fn rows_wait_for_the_log() {
        let rows = Arc::new(Written::default());
        let (durable_to, durable) = Durable::of(10);
        let mut waiting = writer(&rows, durable.clone());
        waiting.offer(at(5)).expect("taken");
        // It would write now if it ever did.
        drop(waiting);
        assert!(rows.batches.lock().is_empty());
        let mut waiting = writer(&rows, durable);
        waiting.offer(at(5)).expect("taken");
        durable_to(6);
        until("rows are written", || *rows.batches.lock() == [5]);
    }

    #[test]
    fn a_write_that_failed_is_told_to_the_next_one() {
        let rows = Arc::new(Written::default());
        rows.fails.store(true, Ordering::SeqCst);
        let (durable_to, durable) = Durable::of(10);
        durable_to(10);
        let mut writer = writer(&rows, durable);
        writer.offer(at(1)).expect("taken");
        let failed = Mutex::new(writer);
        until("the failure is told", || failed.lock().offer(at(2)).is_err());
    }

    #[test]
    fn a_write_that_failed_is_told_though_none_follows() {
        let rows = Arc::new(Written::default());
        rows.fails.store(true, Ordering::SeqCst);
        let (durable_to, durable) = Durable::of(10);
        durable_to(10);
        let mut writer = writer(&rows, durable);
        let fault = writer.fault();
        writer.offer(at(1)).expect("taken");
        until("the failure is told", || fault.borrow().is_some());
        assert_eq!(fault.borrow().as_deref(), Some("rows can't be written: no more"));
    }

    #[test]
    fn what_did_not_get_to_the_disk_is_told_at_once() {
        let rows = Arc::new(Written::default());
        let (durable_to, durable) = Durable::of(10);
        durable_to(10);
        let mut writer = writer(&rows, durable);
        let fault = writer.fault();
        writer.offer(at(1)).expect("taken");
        until("rows are written", || *rows.batches.lock() == [1]);
        rows.lost.store(true, Ordering::SeqCst);
        assert!(writer.offer(at(2)).is_err(), "nothing is applied on top of it");
        until("the loss is told", || fault.borrow().is_some());
    }
}
