//! What a store is put through: everything that Raft asks of one, as Raft asks it, with what was answered written down.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use openraft::type_config::TypeConfigExt;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use super::super::{Snapshots, Store};
use super::history::{Fact, hash, log_id, vote, written};
use crate::model::NodeId;
use crate::raft::types::{LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::state::State;

/// Appends that are under way at most, as of so many writers.
const WRITERS: usize = 32;

/// What a child process is told.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) folder: PathBuf,
    pub(super) acks: PathBuf,
    pub(super) seed: u64,
    pub(super) steps: u64,
    /// Acknowledges what is only written: the store that the harness has to find out.
    pub(super) naive: bool,
}

/// The file that facts are written to, a line at a time.
#[derive(Debug, Clone)]
struct Acks(Arc<Mutex<File>>);

impl Acks {
    fn open(path: &Path) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(path).expect("the acknowledgements' file");
        Self(Arc::new(Mutex::new(file)))
    }

    fn note(&self, fact: Fact) {
        self.0.lock().write_all(fact.line().as_bytes()).expect("noted");
    }
}

struct Workload {
    store: Store,
    acks: Acks,
    random: SmallRng,
    naive: bool,
    elsewhere: PathBuf,
    /// Terms of the entries in the log.
    log: BTreeMap<u64, u64>,
    /// Index behind the last entry.
    end: u64,
    term: u64,
    committed: u64,
    appends: JoinSet<()>,
}

/// Opens the store, does `steps` things to it, and leaves without closing it.
pub(super) async fn run(plan: &Plan) {
    let store = Store::open(&plan.folder, NodeId::new(1)).expect("the store opens");
    let mut workload = Workload {
        store,
        acks: Acks::open(&plan.acks),
        random: SmallRng::seed_from_u64(plan.seed),
        naive: plan.naive,
        elsewhere: plan.acks.with_extension("elsewhere"),
        log: BTreeMap::new(),
        end: 0,
        term: 0,
        committed: 0,
        appends: JoinSet::new(),
    };
    workload.recover().await;
    for _ in 0..plan.steps {
        workload.step().await;
    }
}

impl Workload {
    /// Does what Raft does at a start: brings the state up to what was committed, and begins a new term.
    async fn recover(&mut self) {
        let (log, machine) = (&mut self.store.log, &mut self.store.machine);
        let state = log.get_log_state().await.expect("read");
        for entry in log.try_get_log_entries(..).await.expect("read") {
            self.log.insert(entry.log_id.index(), entry.log_id.committed_leader_id().term);
        }
        if let Some(snapshot) = machine.get_current_snapshot().await.expect("read")
            && snapshot.meta.last_log_id > machine.applied()
        {
            machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await.expect("installed");
        }
        let applied = machine.applied().map(|id| id.index());
        let committed = log.read_committed().await.expect("read").map(|id| id.index()).max(applied);
        self.end = state.last_log_id.map_or(0, |id| id.index() + 1);
        self.committed = committed.map_or(0, |index| index + 1);
        let snapshot = self.store.machine.applied().filter(|id| id.index() >= self.end);
        if let Some(snapshot) = snapshot {
            // It was installed, and the log was not purged up to it any more.
            self.purge(snapshot).await;
            self.end = snapshot.index() + 1;
        }
        let log = &mut self.store.log;
        assert!(self.committed <= self.end, "committed {committed:?}, the log ends at {}", self.end);
        let voted = log.read_vote().await.expect("read").map_or(0, |vote| vote.leader_id.term);
        self.term = voted.max(state.last_log_id.map_or(0, |id| id.committed_leader_id().term));
        self.apply_upto(self.committed).await;
        self.vote().await;
    }

    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..70 => self.append().await,
            70..84 => self.commit().await,
            84..88 => self.vote().await,
            88..92 => self.cut().await,
            92..98 => self.snapshot().await,
            _ => self.install().await,
        }
    }

    async fn append(&mut self) {
        while self.appends.len() >= WRITERS {
            drop(self.appends.join_next().await);
        }
        let (first, term) = (self.end, self.term);
        self.end += self.random.random_range(1..=6);
        let ids: Vec<u64> = (first..self.end).collect();
        self.log.extend(ids.iter().map(|index| (*index, term)));
        let (sender, answer) = TypeConfig::oneshot();
        let entries: Vec<_> = ids.iter().map(|index| written(*index, term)).collect();
        self.store.log.append(entries, IOFlushed::signal(sender)).await.expect("appended");
        let acks = self.acks.clone();
        let acknowledge = move || ids.iter().for_each(|index| acks.note(Fact::Appended { index: *index, term }));
        if self.naive {
            acknowledge();
            return;
        }
        self.appends.spawn(async move {
            answer.await.expect("answered").expect("durable");
            acknowledge();
        });
    }

    /// Waits for all that is under way.
    async fn settle(&mut self) {
        while let Some(done) = self.appends.join_next().await {
            done.expect("acknowledged");
        }
    }

    async fn vote(&mut self) {
        self.term += 1;
        self.acks.note(Fact::Voting { term: self.term });
        self.store.log.save_vote(&vote(self.term)).await.expect("saved");
        self.acks.note(Fact::Voted { term: self.term });
    }

    /// Others may have a quorum for what is not durable here yet.
    async fn commit(&mut self) {
        if self.committed < self.end {
            self.committed = self.random.random_range(self.committed + 1..=self.end);
            self.apply_upto(self.committed).await;
        }
    }

    async fn apply_upto(&mut self, end: u64) {
        let first = self.store.machine.applied().map_or(0, |id| id.index() + 1);
        let entries: Vec<_> = (first..end).map(|index| written(index, self.log[&index])).collect();
        let Some(last) = entries.last().map(|entry| entry.log_id) else { return };
        self.store.log.save_committed(Some(last)).await.expect("saved");
        self.store
            .machine
            .apply(stream::iter(entries.into_iter().map(|entry| Ok((entry, None)))))
            .await
            .expect("applied");
        let hash = hash(&self.store.machine.view().state());
        self.acks.note(Fact::State { index: last.index(), hash });
    }

    /// A new leader's entries replace ours.
    async fn cut(&mut self) {
        self.settle().await;
        if self.committed >= self.end {
            return;
        }
        let end = self.random.random_range(self.committed..self.end);
        let kept = end.checked_sub(1).map(|index| self.id(index));
        if end > 0 && kept.is_none_or(|kept| kept.is_none()) {
            return;
        }
        self.vote().await;
        self.acks.note(Fact::Cutting { end });
        self.store.log.truncate_after(kept.flatten()).await.expect("cut");
        self.log.split_off(&end);
        self.end = end;
    }

    /// The log id at an index that is in the log.
    fn id(&self, index: u64) -> Option<LogId> {
        self.log.get(&index).map(|term| log_id(index, *term))
    }

    async fn snapshot(&mut self) {
        let Some(applied) = self.store.machine.applied() else { return };
        let mut builder = self.store.machine.get_snapshot_builder().await;
        builder.build_snapshot().await.expect("built");
        self.acks.note(Fact::Snapshot { index: applied.index() });
        let upto = applied.index().saturating_sub(self.random.random_range(0..30));
        if let Some(upto) = self.id(upto) {
            self.purge(upto).await;
        }
    }

    async fn purge(&mut self, upto: LogId) {
        self.acks.note(Fact::Purging { index: upto.index() });
        self.store.log.purge(upto).await.expect("purged");
        self.log = self.log.split_off(&(upto.index() + 1));
    }

    /// A leader that is far ahead sends its snapshot.
    async fn install(&mut self) {
        self.settle().await;
        self.apply_upto(self.end).await;
        self.committed = self.end;
        let first = self.store.machine.applied().map_or(0, |id| id.index() + 1);
        let last = first + self.random.random_range(5..40);
        let mut state = State::clone(&self.store.machine.view().state());
        for index in first..=last {
            let entry = written(index, self.term);
            match entry.payload {
                openraft::EntryPayload::Normal(proposal) => drop(state.apply(index, &proposal)),
                openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => state.advance(index),
            }
        }
        let meta =
            SnapshotMeta { last_log_id: Some(log_id(last, self.term)), last_membership: StoredMembership::default() };
        let sent =
            Snapshots::open(&self.elsewhere).and_then(|folder| Ok(folder.write(&meta, &state)?)).expect("written");
        let mut upload = self.store.machine.snapshots().begin().expect("begun");
        upload.add(&std::fs::read(&sent.path).expect("read")).expect("added");
        let file = upload.finish(&meta).expect("finished");
        self.acks.note(Fact::State { index: last, hash: hash(&state) });
        self.store.machine.install_snapshot(&meta, file).await.expect("installed");
        self.acks.note(Fact::Snapshot { index: last });
        self.purge(log_id(last, self.term)).await;
        self.end = last + 1;
        self.committed = self.end;
    }
}
