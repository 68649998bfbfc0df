//! A member of the cluster.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{NodeId, Timestamp};

/// Where a node can be reached. All addresses are what others dial, not what the node binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// HTTP: REST, signalling and the web client.
    pub http: SocketAddr,
    /// QUIC: Raft, forwarded proposals, probes.
    pub control: SocketAddr,
    /// QUIC: relayed media.
    pub media_link: SocketAddr,
}

/// Whether a node takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// Believed alive in its current epoch.
    Up,
    /// Declared down in its current epoch; its sessions are closed. A new epoch brings it back.
    Down,
}

/// One node as every other node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, for the life of its data folder.
    pub id: NodeId,
    /// Grows with each start of the process: the log index of its registration.
    pub epoch: u64,
    /// Where to dial it.
    pub addresses: NodeAddresses,
    /// Number of media workers; the ingress worker of a room is a hash modulo this.
    pub workers: u16,
    /// Free label for spreading voters and relay trees.
    pub zone: String,
    /// Version of its binary, for people.
    pub version: String,
    /// Taking part or not.
    pub status: NodeStatus,
    /// When it registered.
    pub registered_at: Timestamp,
}
