//! Keeps the rows up to date behind the applied state's back.
//!
//! ```text
//! apply ─► newer states; only the newest counts ─► the log is durable that far ─► what differs, in one batch
//! ```
//!
//! Rows are a copy that can be had again from the newest snapshot and the log behind it, so nobody waits for them. A
//! batch is written now and then; what is applied meanwhile goes into the next one together, and what came and went in
//! between is never written. At rest the rows may lag behind the last entries, which Raft applies again at the start.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use openraft::Instant as _;
use parking_lot::Mutex;

use super::StorageFault;
use super::machine::{APPLIED, MEMBER};
use super::rows::Rows;
use super::sync::Durable;
use crate::raft::runtime::{Instant, in_background, now};
use crate::raft::types::{LogId, StoredMembership};
use crate::record::encode_value;
use crate::state::{Change, State};

/// From the beginning of one batch to that of the next, at least. sled wakes eight threads for each, and most of what
/// the outbox and the outcomes hold is gone again by then. This is also how much of the log a start applies anew.
const EVERY: Duration = Duration::from_secs(2);

/// What the rows are to say.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) state: Arc<State>,
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
}

/// Writes the rows. Dropped, it waits for the batch that is under way and writes the last one.
#[derive(Debug)]
pub(super) struct RowWriter {
    rows: Arc<dyn Rows>,
    /// How far the log is durable; rows wait for that, so that a disk never shows a state ahead of its log.
    durable: Option<Durable>,
    /// When the last batch began.
    begun: Option<Instant>,
    /// What the rows say once the batch under way is written.
    written: Arc<State>,
    newest: Option<Reached>,
    /// The newest that there was when the log was not durable far enough.
    held: Option<Reached>,
    /// The end of the batch under way. A lock, since openraft shares the state machine, which a receiver does not bear.
    writing: Option<Mutex<Receiver<Result<(), StorageFault>>>>,
}

impl RowWriter {
    /// For rows that say `written`.
    pub(super) const fn new(rows: Arc<dyn Rows>, written: Arc<State>) -> Self {
        Self { rows, durable: None, begun: None, written, newest: None, held: None, writing: None }
    }

    /// Has rows wait for the log from now on.
    pub(super) fn follow(&mut self, durable: Durable) {
        self.durable = Some(durable);
    }

    /// There is a newer state.
    ///
    /// # Errors
    /// When an earlier one could not be written, or the log has failed.
    pub(super) fn offer(&mut self, newest: Reached) -> Result<(), StorageFault> {
        self.newest = Some(newest.clone());
        if !self.is_idle()? || self.is_early() {
            return Ok(());
        }
        let due = if self.is_durable(&newest)? { Some(newest.clone()) } else { self.held.take() };
        match due {
            Some(due) if self.is_durable(&due)? => self.start(due),
            held => self.held = held.or(Some(newest)),
        }
        Ok(())
    }

    /// Waits for the batch that is under way, forgets what was not written and takes the rows to say `written`.
    pub(super) fn restart(&mut self, written: Arc<State>) -> Result<(), StorageFault> {
        self.finish()?;
        (self.written, self.newest, self.held) = (written, None, None);
        Ok(())
    }

    /// Waits for the batch that is under way.
    pub(super) fn finish(&mut self) -> Result<(), StorageFault> {
        self.writing.take().map_or(Ok(()), |writing| writing.into_inner().recv().unwrap_or_else(|_| Err(cut_short())))
    }

    fn is_idle(&mut self) -> Result<bool, StorageFault> {
        let Some(writing) = &mut self.writing else { return Ok(true) };
        match writing.get_mut().try_recv() {
            Err(TryRecvError::Empty) => return Ok(false),
            Err(TryRecvError::Disconnected) => return Err(cut_short()),
            Ok(result) => result?,
        }
        self.writing = None;
        Ok(true)
    }

    /// Rows that follow no log are always up to date.
    fn is_early(&self) -> bool {
        self.durable.is_some() && self.begun.is_some_and(|begun| begun.elapsed() < EVERY)
    }

    fn is_durable(&self, reached: &Reached) -> Result<bool, StorageFault> {
        match (&self.durable, &reached.applied) {
            (Some(durable), Some(applied)) => Ok(durable.covers(applied.index())?),
            (None, _) | (_, None) => Ok(true),
        }
    }

    fn start(&mut self, due: Reached) {
        (self.held, self.begun) = (None, Some(now()));
        let (rows, before) = (Arc::clone(&self.rows), std::mem::replace(&mut self.written, Arc::clone(&due.state)));
        self.writing = Some(Mutex::new(in_background(move || write(&*rows, &before, &due))));
    }

    fn close(&mut self) -> Result<(), StorageFault> {
        self.finish()?;
        if let Some(newest) = self.newest.take()
            && !Arc::ptr_eq(&newest.state, &self.written)
            && self.is_durable(&newest)?
        {
            write(&*self.rows, &self.written, &newest)?;
        }
        Ok(())
    }
}

impl Drop for RowWriter {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(%error, "the last rows were not written; they follow from the log");
        }
    }
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

fn cut_short() -> StorageFault {
    StorageFault::Inconsistent("writing rows was cut short".to_owned())
}
