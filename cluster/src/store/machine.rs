//! The applied state: served from memory, kept in sled.
//!
//! `apply` works on a cheap clone of the state and lets readers see it; the rows follow on their own ([`super::behind`]),
//! each time as one atomic write together with the log id it reached. Nothing here is synced: after a crash sled is at
//! some earlier point of its one log, and Raft applies the rest anew. So the rows are a copy that can be had again, from
//! the newest snapshot and the log behind it.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::entry::EntryPayload;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use tokio::sync::watch;

use super::StorageFault;
use super::behind::{Reached, RowWriter, heads};
use super::fingerprint::{Fingerprints, Taker};
use super::rows::Rows;
use super::snapshot::{SnapshotFile, SnapshotReader, Snapshots};
use super::space::Space;
use super::sync::Durable;
use crate::raft::runtime::blocking;
use crate::raft::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::record::decode;
use crate::state::{Applied, Change, Outcome, Row, State};

/// Row of the last applied log id. The rows of the state begin with their table, 1 or more.
pub(crate) const APPLIED: &[u8] = b"\0applied";
/// Row of the membership as of there.
pub(crate) const MEMBER: &[u8] = b"\0member";

/// Rows that one batch carries when the whole state is written anew.
const INSTALL_BATCH: usize = 512;

/// What readers share with the state machine.
#[derive(Debug)]
pub(crate) struct View {
    state: ArcSwap<State>,
    revisions: watch::Sender<u64>,
    fingerprints: watch::Receiver<Fingerprints>,
    fault: watch::Receiver<Option<String>>,
}

impl View {
    /// The state as applied.
    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Ticks with the applied revision.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    /// Makes this member's state one that the log did not lead to.
    #[cfg(test)]
    pub(crate) fn corrupt(&self, token: u128) {
        let mut state = State::clone(&self.state.load());
        state.smuggle(token);
        self.state.store(Arc::new(state));
    }

    /// The latest fingerprints of the applied state.
    pub(crate) fn fingerprints(&self) -> watch::Receiver<Fingerprints> {
        self.fingerprints.clone()
    }

    /// Why the state can't be kept, once that is so.
    pub(crate) fn fault(&self) -> watch::Receiver<Option<String>> {
        self.fault.clone()
    }

    fn show(&self, state: Arc<State>) {
        let revision = state.revision();
        self.state.store(state);
        self.revisions.send_replace(revision);
    }
}

/// Raft's state machine.
#[derive(Debug)]
pub(crate) struct StateMachine {
    rows: Arc<dyn Rows>,
    snapshots: Arc<Snapshots>,
    view: Arc<View>,
    applied: Option<LogId>,
    membership: StoredMembership,
    taker: Taker,
    writer: RowWriter,
    space: Arc<Space>,
}

impl StateMachine {
    /// Loads the applied state; finishes an installation that was cut short.
    pub(crate) fn open(rows: Arc<dyn Rows>, snapshots: Arc<Snapshots>) -> Result<Self, StorageFault> {
        let taker = Taker::new();
        let writer = RowWriter::new(Arc::clone(&rows), Arc::default());
        let view = View {
            state: ArcSwap::from_pointee(State::default()),
            revisions: watch::Sender::new(0),
            fingerprints: taker.subscribe(),
            fault: writer.fault(),
        };
        let (view, membership) = (Arc::new(view), StoredMembership::default());
        let (applied, space) = (None, Arc::new(Space::endless()));
        let mut machine = Self { rows, snapshots, view, applied, membership, taker, writer, space };
        if let Some(name) = machine.rows.installing()? {
            let (_, file) = machine
                .snapshots
                .current()
                // A newer one, by name as by index, holds all that this one did: the end of the installation had not
                // reached the disk.
                .filter(|(_, file)| file.path.file_name().is_some_and(|current| *current >= *name))
                .ok_or_else(|| {
                    StorageFault::Inconsistent(format!("snapshot {name} was to be installed and is gone"))
                })?;
            machine.replace_all(&file)?;
        } else {
            machine.load()?;
        }
        Ok(machine)
    }

    /// Has rows wait until the log is durable up to their entry: the applied state is synced at times of its own, and
    /// must not be on disk without the log that led to it.
    pub(super) fn follow(&mut self, durable: Durable, space: Arc<Space>) {
        self.writer.follow(durable);
        self.space = space;
    }

    /// The room that the store has.
    pub(crate) fn space(&self) -> Arc<Space> {
        Arc::clone(&self.space)
    }

    /// The last applied log id.
    pub(super) const fn applied(&self) -> Option<LogId> {
        self.applied
    }

    /// What readers hold on to.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    /// The folder of snapshots.
    pub(crate) fn snapshots(&self) -> Arc<Snapshots> {
        Arc::clone(&self.snapshots)
    }

    fn load(&mut self) -> Result<(), StorageFault> {
        self.applied = self.rows.get(APPLIED)?.map(|value| decode(&value)).transpose()?.flatten();
        self.membership = self.rows.get(MEMBER)?.map(|value| decode(&value)).transpose()?.unwrap_or_default();
        let state = State::from_rows(self.rows.from(&[1]))?;
        state.check().map_err(StorageFault::Inconsistent)?;
        let state = Arc::new(state);
        self.writer.restart(Arc::clone(&state));
        self.view.show(state);
        Ok(())
    }

    /// Makes the snapshot in `file` the whole applied state. Cut short by a crash, it is done again at the next start.
    fn replace_all(&mut self, file: &SnapshotFile) -> Result<(), StorageFault> {
        self.writer.discard();
        let reader = SnapshotReader::open(&file.path)?;
        let SnapshotMeta { last_log_id, last_membership, .. } = reader.meta.clone();
        let state = reader.state()?;
        let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        self.rows.set_installing(Some(name))?;
        self.applied = last_log_id;
        self.membership = last_membership;
        let heads = heads(self.applied, &self.membership)?;
        let empty = State::default();
        let rows = state.changes_since(&empty).map(|change| change.map_err(StorageFault::from));
        let mut changes =
            self.rows.from(&[1]).map(|row| row.map(gone)).chain(rows).chain(heads.into_iter().map(Ok)).peekable();
        while changes.peek().is_some() {
            self.rows.write(&mut changes.by_ref().take(INSTALL_BATCH))?;
        }
        drop(changes);
        self.rows.set_installing(None)?;
        self.taker.forget();
        let state = Arc::new(state);
        self.writer.restart(Arc::clone(&state));
        self.view.show(state);
        Ok(())
    }
}

fn gone((key, value): Row) -> Change {
    Change { key, before: Some(value), after: None }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut state = State::clone(&self.view.state());
        let mut answers = Vec::new();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let index = entry.log_id.index();
            let outcome = match entry.payload {
                EntryPayload::Normal(proposal) => {
                    #[cfg(feature = "simulation")]
                    let proposal = crate::simulation::disturbed(proposal, answers.len());
                    let applied = state.apply(index, &proposal);
                    state.outcome(proposal.id, applied)
                }
                EntryPayload::Blank => {
                    state.advance(index);
                    Outcome { revision: index, applied: Applied::Done }
                }
                EntryPayload::Membership(membership) => {
                    state.advance(index);
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Outcome { revision: index, applied: Applied::Done }
                }
            };
            self.applied = Some(entry.log_id);
            self.taker.look(&state).map_err(StorageFault::from)?;
            answers.extend(responder.map(|responder| (responder, outcome)));
        }
        let (state, applied, membership) = (Arc::new(state), self.applied, self.membership.clone());
        self.writer.offer(Reached { state: Arc::clone(&state), applied, membership })?;
        self.view.show(state);
        for (responder, outcome) in answers {
            responder.send(outcome);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let meta = SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        #[cfg(feature = "simulation")]
        let meta = crate::simulation::misnamed(meta);
        SnapshotBuilder { meta, state: self.view.state(), snapshots: self.snapshots() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, file: SnapshotFile) -> Result<(), io::Error> {
        self.snapshots.adopt(meta, &file)?;
        Ok(self.replace_all(&file)?)
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf>, io::Error> {
        Ok(self.snapshots.current().map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

type SnapshotOf = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// Writes a snapshot of the state as it was when this was made.
#[derive(Debug)]
pub(crate) struct SnapshotBuilder {
    meta: SnapshotMeta,
    state: Arc<State>,
    snapshots: Arc<Snapshots>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf, io::Error> {
        let (meta, state, snapshots) = (self.meta.clone(), Arc::clone(&self.state), Arc::clone(&self.snapshots));
        let written = blocking(move || snapshots.write(&meta, &state)).await;
        let snapshot = written.ok_or_else(|| io::Error::other("writing a snapshot was cut short"))??;
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}
