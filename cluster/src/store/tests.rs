//! The store keeps what it acknowledged, and refuses to open when it does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::stream;
use openraft::StorageError;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::vote::RaftLeaderId;
use tempfile::TempDir;
use tokio::time::{Instant, interval};

use super::*;
use crate::model::Timestamp;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};
use crate::state::{Command, Proposal, ProposalId};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().expect("a folder");
        let Store { log, machine } = Store::open(folder.path(), NodeId::new(1)).expect("opens");
        Ok((folder, log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_passes_openrafts_own_suite() {
    Suite::test_all(Builder).await.expect("the contract holds");
}

fn log_id(index: u64) -> LogId {
    let leader = <openraft::alias::LeaderIdOf<TypeConfig> as RaftLeaderId>::new(1, NodeId::new(1));
    LogId::new(leader.to_committed(), index)
}

async fn fill(folder: &Path, upto: u64) -> Store {
    let mut store = open(folder).expect("opens");
    store.log.save_vote(&Vote::new_committed(1, NodeId::new(1))).await.expect("saved");
    let entries: Vec<Entry> = (0..=upto).map(|index| Entry::new_blank(log_id(index))).collect();
    store.log.blocking_append(entries).await.expect("appended");
    store
}

fn open(folder: &Path) -> Result<Store, StoreError> {
    Store::open(folder, NodeId::new(1))
}

/// Waits until the threads of a dropped store have let go of its files.
pub(super) async fn closed(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut tries = interval(Duration::from_millis(5));
    for file in ["wal/LOCK", "raft.sled/db"] {
        let file = fs::File::open(folder.join(file)).expect("opens");
        while file.try_lock().is_err() {
            assert!(Instant::now() < deadline, "the store stays open");
            tries.tick().await;
        }
    }
}

/// Opens the folder once the process that had it open before has let go of it.
async fn reopen(folder: &Path) -> Result<Store, StoreError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut tries = interval(Duration::from_millis(5));
    loop {
        match open(folder) {
            Err(StoreError::InUse { .. }) if Instant::now() < deadline => drop(tries.tick().await),
            other => return other,
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_again() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(fill(folder.path(), 20).await);
    let mut store = reopen(folder.path()).await.expect("opens");
    let state = store.log.get_log_state().await.expect("read");
    assert_eq!(state.last_log_id, Some(log_id(20)));
    assert_eq!(store.log.read_vote().await.expect("read"), Some(Vote::new_committed(1, NodeId::new(1))));
}

#[tokio::test]
async fn a_log_that_was_cut_on_purpose_opens() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = fill(folder.path(), 20).await;
    store.log.truncate_after(Some(log_id(9))).await.expect("cut");
    apply(&mut store, (0..=4).map(|index| Entry::new_blank(log_id(index))).collect()).await;
    store.log.purge(log_id(4)).await.expect("purged");
    drop(store);
    let mut store = reopen(folder.path()).await.expect("opens");
    let state = store.log.get_log_state().await.expect("read");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(4)), Some(log_id(9))));
    assert_eq!(store.log.try_get_log_entries(..).await.expect("read").len(), 5);
}

/// Does something to a closed store behind its back, and says why it does not open any more.
async fn damaged(harm: impl FnOnce(&Path)) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    drop(fill(folder.path(), 20).await);
    closed(folder.path()).await;
    harm(folder.path());
    match reopen(folder.path()).await {
        Err(StoreError::Damaged { reason, .. }) => reason,
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("opened in spite of the damage"),
    }
}

fn chunk(folder: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("wal"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wal"))
        .collect();
    files.sort();
    files.pop().expect("a chunk")
}

fn cut(path: &Path, bytes: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).expect("opens");
    file.set_len(file.metadata().expect("read").len() - bytes).expect("cut");
}

#[tokio::test]
async fn a_damaged_log_refuses_to_open_and_says_why() {
    let short = damaged(|folder| cut(&chunk(folder), 1)).await;
    assert_eq!(short, "the log ends at 20 and once reached 21");
    let flipped = damaged(|folder| {
        let mut content = fs::read(chunk(folder)).expect("read");
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(chunk(folder), content).expect("written");
    });
    let flipped = flipped.await;
    assert!(flipped.contains("decode Record"), "{flipped}");
    let vote = damaged(|folder| cut(&chunk(folder), fs::metadata(chunk(folder)).expect("read").len() - 60)).await;
    assert!(vote.contains("once reached 21") || vote.contains("once was"), "{vote}");
}

#[tokio::test]
async fn a_store_whose_log_or_mark_vanished_refuses_to_open() {
    let log = damaged(|folder| fs::remove_dir_all(folder.join("wal")).expect("removed")).await;
    assert_eq!(log, "the log ends at 0 and once reached 21");
    let mark = damaged(|folder| fs::remove_file(folder.join("mark")).expect("removed")).await;
    assert_eq!(mark, "the high-water mark is missing");
}

/// A proposal that changes the state.
fn entry(index: u64) -> Entry {
    let id = ProposalId { proposer: NodeId::new(1), epoch: 0, sequence: index };
    let addresses = crate::model::NodeAddresses {
        http: ([127, 0, 0, 1], 1).into(),
        control: ([127, 0, 0, 1], 2).into(),
        media_link: ([127, 0, 0, 1], 3).into(),
    };
    let command = Command::RegisterNode {
        node: NodeId::new(1),
        addresses,
        workers: 1,
        zone: String::new(),
        version: index.to_string(),
    };
    Entry::new_normal(log_id(index), Proposal { id, time: Timestamp::from_millis(1000), command })
}

async fn apply(store: &mut Store, entries: Vec<Entry>) {
    store.machine.apply(stream::iter(entries.into_iter().map(|entry| Ok((entry, None))))).await.expect("applied");
}

#[tokio::test]
async fn damaged_rows_are_had_again_from_the_log_or_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path()).expect("opens");
    store.log.save_vote(&Vote::new_committed(1, NodeId::new(1))).await.expect("saved");
    let entries: Vec<Entry> = [Entry::new_blank(log_id(0))].into_iter().chain((1..9).map(entry)).collect();
    store.log.blocking_append(entries.clone()).await.expect("appended");
    apply(&mut store, entries).await;
    drop(store);

    let rows = folder.path().join("raft.sled");
    closed(folder.path()).await;
    for file in fs::read_dir(&rows).expect("a folder") {
        let path = file.expect("an entry").path();
        if path.is_file() {
            fs::write(path, [7; 100]).expect("written");
        }
    }
    let mut store = reopen(folder.path()).await.expect("opens");
    assert_eq!(store.machine.applied(), None);
    assert_eq!(store.log.get_log_state().await.expect("read").last_log_id, Some(log_id(8)));

    store.log.purge(log_id(3)).await.expect("purged");
    drop(store);
    let Err(StoreError::Damaged { reason, .. }) = reopen(folder.path()).await else {
        panic!("nothing leads to the state")
    };
    assert!(reason.contains("purged"), "{reason}");
}

#[tokio::test]
async fn a_folder_of_another_layout_is_refused() {
    for (file, content, found) in [("schema", "3", "3"), ("node", "1", "1")] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(file), content).expect("written");
        let refused = open(folder.path()).err().expect("refused").to_string();
        assert!(refused.contains(&format!("has layout {found}, this program reads layout 2")), "{refused}");
    }
}

#[test]
fn a_folder_of_another_node_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path()).expect("opens"));
    let refused = Store::open(folder.path(), NodeId::new(2)).err().expect("refused").to_string();
    assert!(refused.contains("belongs to node 1, not to node 2"), "{refused}");
}

/// What is on disk is a promise: a change here needs a new schema version of the record.
#[test]
fn an_entry_on_disk_is_these_bytes() {
    let id = ProposalId { proposer: NodeId::new(3), epoch: 5, sequence: 300 };
    let command = Command::NodeDown { node: NodeId::new(6), epoch: 8 };
    let proposal = Proposal { id, time: Timestamp::from_millis(1000), command };
    let entry = Entry::new_normal(log_id(9), proposal);
    let bytes = crate::record::encode(&entry).expect("encodes");
    assert_eq!(bytes[5..], [1, 1, 9, 1, 3, 5, 251, 44, 1, 251, 208, 7, 2, 6, 8]);
    assert_eq!(crate::record::decode::<Entry>(&bytes).expect("decodes"), entry);
}
