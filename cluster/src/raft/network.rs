//! openraft's way to the other members, over [`Rpc`].

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use openraft::OptionalSend;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::config::{ELECTION_MIN, SNAPSHOT_CHUNK_TIME};
use super::types::{Member, TypeConfig, Vote};
use super::wire::{APPEND_BYTES, CHUNK_BYTES, ChunkReply, Kind, SnapshotChunk, decode_reply, encode_request};
use super::{Rpc, RpcError};
use crate::model::NodeId;
use crate::store::{SnapshotFile, View};

type Refusal = RPCError<TypeConfig>;
type SnapshotOf = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// For how long entries may be under way. openraft itself would give up after one heartbeat; a busy disk may take
/// longer, and a second attempt would only add to its work.
const APPEND_TIME: Duration = Duration::from_secs(1);

/// Makes the clients.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) rpc: Arc<dyn Rpc>,
    pub(super) view: Arc<View>,
    /// Numbers snapshot transfers; begun at random, so that a restarted sender's differ.
    pub(super) transfers: Arc<AtomicU64>,
}

impl Network {
    /// Where a member is to be dialled: as the state says, else as it was when it was added.
    pub(super) fn address(&self, target: NodeId, added: Option<SocketAddr>) -> Option<SocketAddr> {
        self.view.state().control_address(target).or(added)
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: NodeId, member: &Member) -> Client {
        Client { network: self.clone(), target, member: *member }
    }
}

/// One member, as seen from here.
pub(super) struct Client {
    network: Network,
    target: NodeId,
    member: Member,
}

impl Client {
    async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        kind: Kind,
        request: &Q,
        deadline: Duration,
    ) -> Result<A, Refusal> {
        let request = encode_request(kind, request).map_err(|error| Refusal::from(NetworkError::new(&error)))?;
        let address = self.network.address(self.target, Some(self.member.control)).unwrap_or(self.member.control);
        let reply = self.network.rpc.call(self.target, address, request, deadline).await.map_err(refusal)?;
        decode_reply(&reply).map_err(|error| NetworkError::new(&error).into())
    }

    async fn send_file(&self, vote: Vote, snapshot: &SnapshotOf) -> Result<Vote, StreamingError<TypeConfig>> {
        let transfer = self.network.transfers.fetch_add(1, Ordering::Relaxed);
        let mut pieces = Pieces::open(&snapshot.snapshot).map_err(|error| unreadable(&error))?;
        let mut offset = 0;
        loop {
            let (data, last) = pieces.next().map_err(|error| unreadable(&error))?;
            let length = data.len() as u64;
            let done = last.then(|| snapshot.meta.clone());
            let chunk = SnapshotChunk { vote, transfer, offset, data, done };
            match self.call(Kind::Snapshot, &chunk, SNAPSHOT_CHUNK_TIME).await? {
                ChunkReply::Next => offset += length,
                ChunkReply::Installed(vote) => return Ok(vote),
            }
            if last {
                return Err(NetworkError::from_string("the last piece was taken and nothing was installed").into());
            }
        }
    }
}

/// Not reached, or refused: wait before the next attempt. Timed out: it may have been heard, go on.
fn refusal(error: RpcError) -> Refusal {
    match error {
        RpcError::Unreachable { .. } | RpcError::Refused { .. } => Unreachable::new(&error).into(),
        RpcError::Timeout { .. } => NetworkError::new(&error).into(),
    }
}

/// The file may have made way for a newer one: openraft asks for that and tries again.
fn unreadable(error: &io::Error) -> StreamingError<TypeConfig> {
    NetworkError::new(error).into()
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        mut request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Refusal> {
        let kept = fitting(&request);
        let cut = kept < request.entries.len();
        request.entries.truncate(kept);
        let last = request.entries.last().map(|entry| entry.log_id);
        let deadline = if request.entries.is_empty() { option.hard_ttl().max(ELECTION_MIN) } else { APPEND_TIME };
        let response = self.call(Kind::Append, &request, deadline).await?;
        match response {
            AppendEntriesResponse::Success if cut => Ok(AppendEntriesResponse::PartialSuccess(last)),
            AppendEntriesResponse::Success
            | AppendEntriesResponse::PartialSuccess(_)
            | AppendEntriesResponse::Conflict
            | AppendEntriesResponse::HigherVote(_) => Ok(response),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Refusal> {
        self.call(Kind::Vote, &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Refusal> {
        self.call(Kind::PreVote, &request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = std::pin::pin!(self.send_file(vote, &snapshot));
        match select(sending, std::pin::pin!(cancel)).await {
            Either::Left((sent, _)) => sent.map(SnapshotResponse::new),
            Either::Right((closed, _)) => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Refusal> {
        self.call(Kind::TransferLeader, &request, option.hard_ttl().max(ELECTION_MIN)).await
    }
}

/// How many entries, at least one, fit into one request.
fn fitting(request: &AppendEntriesRequest<TypeConfig>) -> usize {
    let mut size = 0;
    let within = |entry: &_| {
        size += crate::record::encoded_size(entry);
        size <= APPEND_BYTES
    };
    request.entries.iter().map(within).take_while(|fits| *fits).count().max(1)
}

/// A file, piece by piece.
struct Pieces {
    file: File,
    left: u64,
}

impl Pieces {
    fn open(snapshot: &SnapshotFile) -> io::Result<Self> {
        let file = File::open(&snapshot.path)?;
        let left = file.metadata()?.len();
        Ok(Self { file, left })
    }

    /// The next piece, and whether it is the last.
    fn next(&mut self) -> io::Result<(Vec<u8>, bool)> {
        let length = self.left.min(CHUNK_BYTES as u64);
        let mut data = Vec::new();
        (&mut self.file).take(length).read_to_end(&mut data)?;
        if data.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= length;
        Ok((data, self.left == 0))
    }
}
