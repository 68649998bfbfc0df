//! Whether nodes still belong to the cluster: this one, which stops when it was removed, and the others, to whom this
//! one then no longer speaks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use plenary_cluster::directory::Directory;
use plenary_cluster::model::NodeId;
use plenary_cluster::raft::RaftNode;
use tokio_util::sync::CancellationToken;

use crate::identity;
use crate::link::{ControlLink, MediaLink};

/// For how long a removed node's connections stay: it hears of its removal on them, and a leader lays leadership down.
const PARTING: Duration = Duration::from_millis(500);

/// Between two looks at who was removed.
const LOOK: Duration = Duration::from_millis(100);

/// How long a removed leader waits for another one.
const HAND_OVER_TIME: Duration = Duration::from_secs(2);

/// What it takes to know.
pub(crate) struct Belonging {
    directory: Arc<RaftNode>,
    control: Arc<ControlLink>,
    media: Arc<MediaLink>,
    data_dir: PathBuf,
}

impl Belonging {
    pub(crate) fn new(
        directory: &Arc<RaftNode>,
        control: &Arc<ControlLink>,
        media: &Arc<MediaLink>,
        data_dir: &Path,
    ) -> Self {
        let (directory, control, media) = (Arc::clone(directory), Arc::clone(control), Arc::clone(media));
        Self { directory, control, media, data_dir: data_dir.to_owned() }
    }

    /// Resolves when this node was removed: its own state says so, or a member that it dialled does.
    pub(crate) async fn lost(&self) -> String {
        tokio::select! {
            () = self.directory.removed() => format!("node {} was removed from the cluster", self.directory.id()),
            words = self.control.banished() => format!("node {}: {words}", self.directory.id()),
        }
    }

    /// Takes leave: notes that this data folder is of no use any more, and lets another one lead.
    pub(crate) async fn part(&self) {
        self.note();
        let led = async {
            let mut look = tokio::time::interval(LOOK);
            while self.directory.status().leader == Some(self.directory.id()) {
                look.tick().await;
            }
        };
        if tokio::time::timeout(HAND_OVER_TIME, led).await.is_err() {
            tracing::info!("nobody else leads yet");
        }
    }

    pub(crate) fn note(&self) {
        if let Err(error) = identity::note_removal(&self.data_dir) {
            tracing::warn!(%error, "the removal could not be noted in the data folder");
        }
    }

    /// Ends the connections of every node that was removed.
    pub(crate) async fn keep_removed_out(self, cancelled: CancellationToken) {
        let mut revisions = self.directory.revisions();
        let mut expelled = BTreeSet::new();
        loop {
            let state = self.directory.read_local();
            let removed: Vec<NodeId> = state.removed().filter(|node| !expelled.contains(node)).collect();
            let pause = if removed.is_empty() { LOOK } else { PARTING };
            tokio::select! {
                () = cancelled.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            for node in removed {
                tracing::info!(%node, "a node was removed; its connections end");
                self.control.expel(node);
                self.media.expel(node);
                expelled.insert(node);
            }
            tokio::select! {
                () = cancelled.cancelled() => return,
                changed = revisions.changed() => if changed.is_err() { return },
            }
        }
    }
}
