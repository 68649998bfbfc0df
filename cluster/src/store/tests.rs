//! The store keeps what it acknowledged, and refuses to open when it does not.

use std::fs;
use std::path::Path;
use std::time::Duration;

use openraft::StorageError;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
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
    store.log.purge(log_id(4)).await.expect("purged");
    drop(store);
    let mut store = reopen(folder.path()).await.expect("opens");
    let state = store.log.get_log_state().await.expect("read");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(4)), Some(log_id(9))));
    assert_eq!(store.log.try_get_log_entries(..).await.expect("read").len(), 5);
}

/// Does something to the trees behind the store's back, and says why it does not open any more.
async fn damaged(harm: impl FnOnce(&Trees)) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let store = fill(folder.path(), 20).await;
    harm(&store.machine_trees());
    drop(store);
    match reopen(folder.path()).await {
        Err(StoreError::Damaged { reason, .. }) => reason,
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("opened in spite of the damage"),
    }
}

impl Store {
    fn machine_trees(&self) -> Trees {
        self.machine.trees()
    }
}

#[tokio::test]
async fn a_damaged_store_refuses_to_open_and_says_why() {
    let short = damaged(|trees| {
        trees.log.remove(20_u64.to_be_bytes()).expect("removed");
    });
    assert_eq!(short.await, "the log ends at 20 and once reached 21");
    let gap = damaged(|trees| {
        trees.log.remove(7_u64.to_be_bytes()).expect("removed");
    });
    assert_eq!(gap.await, "entry 8 follows 6");
    let flipped = damaged(|trees| {
        let key = 7_u64.to_be_bytes();
        let mut value = trees.log.get(key).expect("read").expect("there").to_vec();
        *value.last_mut().expect("not empty") ^= 1;
        trees.log.insert(key, value).expect("written");
    });
    assert_eq!(flipped.await, "record is damaged: its checksum does not fit");
    let vote = damaged(|trees| {
        trees.meta.remove("vote").expect("removed");
    });
    assert!(vote.await.starts_with("the vote is"));
}

#[tokio::test]
async fn a_store_whose_database_or_mark_vanished_refuses_to_open() {
    for (gone, reason) in
        [("raft.sled", "the log ends at 0 and once reached 21"), ("mark", "the high-water mark is missing")]
    {
        let folder = tempfile::tempdir().expect("a folder");
        drop(fill(folder.path(), 20).await);
        drop(reopen(folder.path()).await.expect("opens"));
        let path = folder.path().join(gone);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        let Err(StoreError::Damaged { reason: said, .. }) = reopen(folder.path()).await else {
            panic!("{gone} is not missed")
        };
        assert_eq!(said, reason);
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
