//! How a node comes by its identity: made, loaded, or given by a member of the cluster it joins.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use plenary_cluster::model::{NodeId, Timestamp};

use uuid::Uuid;

use crate::link::{Identity, JoinToken, join};

/// How this process comes to be a node.
#[derive(Debug)]
pub enum Origin {
    /// Begin a new cluster; refused when the data folder holds a node already.
    Init,
    /// Join a cluster; refused when the data folder holds a node already.
    Join {
        /// Control endpoint of a member.
        address: SocketAddr,
        /// From `plenary token` on a member.
        token: JoinToken,
    },
    /// Go on as the node in the data folder.
    Resume,
    /// Go on as the node in the data folder, or begin a new cluster.
    InitOrResume,
}

/// The first member of every cluster. Later ones are named by log indices; index 1 is the leader's own first entry.
pub const FIRST_NODE: NodeId = NodeId::new(1);

/// Where the identity is kept.
#[must_use]
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("identity")
}

/// Where it is noted that the node's store was there once.
fn store_note(data_dir: &Path) -> PathBuf {
    folder(data_dir).join("store-made")
}

/// Whether this node had a store before. One that comes back without it would vote as if it had promised nothing.
///
/// # Errors
/// When it had one and `store` is gone.
pub fn had_store(data_dir: &Path, store: &Path) -> anyhow::Result<bool> {
    let had = store_note(data_dir).exists();
    if had && !store.exists() {
        anyhow::bail!(
            "{} is gone, but this node is a member with promises to keep: bring the folder back, or move all of {} away \
             and join the cluster anew (the node gets a new id)",
            store.display(),
            data_dir.display()
        );
    }
    Ok(had)
}

/// Notes that the node's store is there.
///
/// # Errors
/// When the note can't be made to last.
pub fn note_store(data_dir: &Path) -> std::io::Result<()> {
    let note = std::fs::File::create(store_note(data_dir))?;
    note.sync_all()?;
    std::fs::File::open(folder(data_dir))?.sync_all()
}

/// Where it is noted that the cluster removed this node.
fn removal_note(data_dir: &Path) -> PathBuf {
    folder(data_dir).join("removed")
}

/// Notes that the cluster removed this node, so that its next start says so.
///
/// # Errors
/// When the note can't be made.
pub fn note_removal(data_dir: &Path) -> std::io::Result<()> {
    std::fs::File::create(removal_note(data_dir))?.sync_all()
}

/// What an operator does with a removed node.
#[must_use]
pub fn removed_help(data_dir: &Path) -> String {
    format!(
        "to bring this machine back, move all of {} away and join the cluster anew (the node gets a new id)",
        data_dir.display()
    )
}

/// The identity of this node.
///
/// # Errors
/// When origin and data folder do not fit, or the cluster does not let the node in.
pub async fn obtain(origin: Origin, data_dir: &Path, control: SocketAddr) -> anyhow::Result<Identity> {
    let folder = folder(data_dir);
    let found = Identity::load(&folder)?;
    let shown = data_dir.display();
    match (origin, found) {
        (Origin::Resume | Origin::InitOrResume, Some(identity)) if removal_note(data_dir).exists() => {
            anyhow::bail!("node {} was removed from its cluster: {}", identity.node(), removed_help(data_dir))
        }
        (Origin::Resume | Origin::InitOrResume, Some(identity)) => {
            // A node that was away for long has a certificate that nobody takes any more, and could not ask for another.
            if identity.is_due(now()) {
                identity.renew(&folder, now())?;
                tracing::info!(node = %identity.node(), "the node's certificate was renewed at the start");
            }
            Ok(identity)
        }
        (Origin::Init | Origin::Join { .. }, Some(identity)) => anyhow::bail!(
            "{shown} already holds node {} of a cluster; start it without --init and --join, or name another `data_dir`",
            identity.node()
        ),
        (Origin::Resume, None) => anyhow::bail!(
            "{shown} holds no node yet; begin a cluster with --init, or join one with --join ADDR --token T"
        ),
        (Origin::Init | Origin::InitOrResume, None) => {
            let identity = Identity::found(Uuid::now_v7(), FIRST_NODE, now())?;
            identity.store(&folder)?;
            Ok(identity)
        }
        (Origin::Join { address, token }, None) => {
            let identity = join(address, &token, control).await?.identity;
            identity.store(&folder)?;
            Ok(identity)
        }
    }
}

/// Wall-clock time, for tokens and proposals made here.
#[expect(clippy::disallowed_methods, reason = "the one place where the node binary reads the wall clock")]
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data folder of a node that has an identity.
    fn data_dir() -> tempfile::TempDir {
        let data_dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder(data_dir.path())).expect("a folder");
        data_dir
    }

    #[test]
    fn a_fresh_node_had_no_store() {
        let data_dir = data_dir();
        let store = data_dir.path().join("raft");
        assert!(!had_store(data_dir.path(), &store).expect("not refused"));
        std::fs::create_dir(&store).expect("a folder");
        assert!(!had_store(data_dir.path(), &store).expect("not refused"), "without a note the store may be half made");
    }

    #[test]
    fn a_node_that_has_its_store_goes_on() {
        let data_dir = data_dir();
        let store = data_dir.path().join("raft");
        std::fs::create_dir(&store).expect("a folder");
        note_store(data_dir.path()).expect("noted");
        note_store(data_dir.path()).expect("noted again, as at every start");
        assert!(had_store(data_dir.path(), &store).expect("not refused"));
    }

    #[test]
    fn a_node_whose_store_is_gone_is_refused_and_told_of_both_folders() {
        let data_dir = data_dir();
        let store = data_dir.path().join("raft");
        std::fs::create_dir(&store).expect("a folder");
        note_store(data_dir.path()).expect("noted");
        std::fs::remove_dir(&store).expect("gone");
        let refused = had_store(data_dir.path(), &store).expect_err("it may have promised something").to_string();
        assert!(refused.starts_with(&format!("{} is gone", store.display())), "{refused}");
        assert!(refused.contains(&format!("move all of {} away", data_dir.path().display())), "{refused}");
    }

    #[tokio::test]
    async fn a_node_that_was_away_for_longer_than_its_certificate_holds_renews_it_at_its_start() {
        let data_dir = data_dir();
        let long_ago = Timestamp::from_millis(now().millis() - 40 * 24 * 60 * 60 * 1000);
        let old = Identity::found(Uuid::now_v7(), FIRST_NODE, long_ago).expect("made");
        old.store(&folder(data_dir.path())).expect("kept");
        assert!(old.is_due(now()));
        let control = SocketAddr::from(([127, 0, 0, 1], 1));
        let identity = obtain(Origin::Resume, data_dir.path(), control).await.expect("goes on");
        assert!(!identity.is_due(now()));
        let again = Identity::load(&folder(data_dir.path())).expect("readable").expect("there");
        assert_eq!((again.node(), again.cluster()), (old.node(), old.cluster()));
        assert!(!again.is_due(now()), "and it is on the disk");
    }
}
