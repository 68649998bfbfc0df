//! Taking in a snapshot that the leader sends piece by piece.

use openraft::storage::Snapshot;

use super::node::RaftNode;
use super::runtime::blocking;
use super::types::SnapshotMeta;
use super::wire::{ChunkReply, SnapshotChunk};
use crate::model::NodeId;
use crate::store::{SnapshotFile, Snapshots, Upload};

/// Bytes of a snapshot that is still taken.
const SNAPSHOT_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// A snapshot that is coming in. There is one at a time: a newer transfer ends the older.
#[derive(Debug)]
pub(super) struct Incoming {
    from: NodeId,
    transfer: u64,
    upload: Upload,
}

impl RaftNode {
    pub(super) async fn take_chunk(&self, from: NodeId, chunk: SnapshotChunk) -> Result<ChunkReply, String> {
        let SnapshotChunk { vote, transfer, offset, data, done } = chunk;
        let Some(meta) = done else {
            return self.add_chunk(from, transfer, offset, &data).await.map(|()| ChunkReply::Next);
        };
        self.add_chunk(from, transfer, offset, &data).await?;
        let Some(incoming) = self.incoming.lock().await.take() else {
            return Err("no transfer is under way".to_owned());
        };
        let snapshot = finish(incoming.upload, meta.clone()).await?;
        let installed = self.raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await;
        installed.map(|response| ChunkReply::Installed(response.vote)).map_err(|error| error.to_string())
    }

    async fn add_chunk(&self, from: NodeId, transfer: u64, offset: u64, data: &[u8]) -> Result<(), String> {
        let mut slot = self.incoming.lock().await;
        if offset == 0 {
            let upload = self.snapshots.begin().map_err(|error| error.to_string())?;
            *slot = Some(Incoming { from, transfer, upload });
        }
        let incoming = slot
            .as_mut()
            .filter(|incoming| incoming.from == from && incoming.transfer == transfer)
            .ok_or("another transfer is under way: begin at offset 0")?;
        if incoming.upload.written() != offset || offset > SNAPSHOT_MAX {
            let expected = incoming.upload.written();
            *slot = None;
            return Err(format!("expected the piece at offset {expected}, got {offset}"));
        }
        incoming.upload.add(data).map_err(|error| error.to_string())
    }
}

/// Makes the file durable and reads it once: only a whole snapshot is installed.
async fn finish(upload: Upload, meta: SnapshotMeta) -> Result<SnapshotFile, String> {
    let finished = blocking(move || {
        let file = upload.finish(&meta).map_err(|error| error.to_string())?;
        Snapshots::verify(&file, &meta).map_err(|error| error.to_string())?;
        Ok(file)
    });
    finished.await.unwrap_or_else(|| Err("finishing the snapshot was cut short".to_owned()))
}
