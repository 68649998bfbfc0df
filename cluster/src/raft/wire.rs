//! What members say to each other.
//!
//! ```text
//! request:  | schema: u8 | kind: u8 | body |        response:  | schema: u8 | body |
//! ```
//!
//! Bodies are bincode (standard configuration) with a limit on what is decoded. The schema changes when any body
//! does; members of different schemas refuse each other.

use bincode::config::standard;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::types::{SnapshotMeta, Vote};
use crate::model::NodeId;
use crate::state::Applied;

/// The version of everything here.
const SCHEMA: u8 = 2;

/// Bytes of a body at most. The largest is an append request: [`APPEND_BYTES`] and one entry.
pub(super) const BODY_MAX: usize = 4 * 1024 * 1024;

/// Bytes of entries in one append request.
pub(super) const APPEND_BYTES: usize = 1024 * 1024;

/// Bytes of one chunk of a snapshot.
pub(super) const CHUNK_BYTES: usize = 1024 * 1024;

const _: () = assert!(APPEND_BYTES + 2 * crate::record::VALUE_MAX < BODY_MAX && CHUNK_BYTES * 2 < BODY_MAX);

/// What a request asks for. Its number is on the wire: append, never reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Append = 1,
    Vote = 2,
    PreVote = 3,
    Snapshot = 4,
    TransferLeader = 5,
    Propose = 6,
    ReadIndex = 7,
    Fingerprint = 8,
    HandOver = 9,
    Suspects = 10,
    Probe = 11,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Append,
        Self::Vote,
        Self::PreVote,
        Self::Snapshot,
        Self::TransferLeader,
        Self::Propose,
        Self::ReadIndex,
        Self::Fingerprint,
        Self::HandOver,
        Self::Suspects,
        Self::Probe,
    ];
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("message is cut short")]
    Short,
    #[error("message has schema {0}, this node speaks {SCHEMA}")]
    Schema(u8),
    #[error("request of unknown kind {0}")]
    Kind(u8),
    #[error("message can't be decoded: {0}")]
    Decode(String),
    #[error("message can't be encoded: {0}")]
    Encode(String),
}

/// A piece of a snapshot on its way to a follower.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SnapshotChunk {
    /// The sender's vote.
    pub(super) vote: Vote,
    /// Tells one transfer from the next.
    pub(super) transfer: u64,
    /// Where `data` belongs; 0 begins anew.
    pub(super) offset: u64,
    pub(super) data: Vec<u8>,
    /// With the last piece: what the snapshot is.
    pub(super) done: Option<SnapshotMeta>,
}

/// The answer to a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ChunkReply {
    /// Taken; go on.
    Next,
    /// All of it is installed; the receiver's vote.
    Installed(Vote),
}

/// The answer to a forwarded proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum ProposeReply {
    /// Agreed on.
    Written { revision: u64, applied: Applied },
    /// Ask this one, if any.
    NotLeader { leader: Option<NodeId> },
    /// The leader could not finish it; it may still be applied.
    Unavailable,
    /// The leader's disk is nearly full.
    StorageFull { node: NodeId, folder: String },
}

/// The answer to the question how far a linearizable read has to wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ReadIndexReply {
    /// Until this log index is applied.
    Index(u64),
    /// Ask this one, if any.
    NotLeader { leader: Option<NodeId> },
    /// The leader has no quorum.
    Unavailable,
}

/// The answer to the question to lay leadership down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum HandOverReply {
    /// Leadership was offered to this one.
    Offered(NodeId),
    /// Ask this one, if any.
    NotLeader { leader: Option<NodeId> },
    /// Nobody (or not the one that was named) can lead; in words.
    Refused(String),
}

pub(crate) fn encode_request<T: Serialize>(kind: Kind, body: &T) -> Result<Bytes, WireError> {
    encode_onto(vec![SCHEMA, kind as u8], body)
}

pub(super) fn encode_reply<T: Serialize>(body: &T) -> Result<Bytes, WireError> {
    encode_onto(vec![SCHEMA], body)
}

fn encode_onto<T: Serialize>(mut bytes: Vec<u8>, body: &T) -> Result<Bytes, WireError> {
    bincode::serde::encode_into_std_write(body, &mut bytes, standard())
        .map_err(|error| WireError::Encode(error.to_string()))?;
    if bytes.len() > BODY_MAX {
        return Err(WireError::Encode(format!("{} bytes are more than {BODY_MAX}", bytes.len())));
    }
    Ok(bytes.into())
}

/// The kind of a request, and its body to be decoded.
pub(crate) fn split_request(bytes: &Bytes) -> Result<(Kind, &[u8]), WireError> {
    let (&[schema, kind], body) = bytes.split_first_chunk().ok_or(WireError::Short)?;
    if schema != SCHEMA {
        return Err(WireError::Schema(schema));
    }
    let kind = Kind::ALL.into_iter().find(|known| *known as u8 == kind).ok_or(WireError::Kind(kind))?;
    Ok((kind, body))
}

pub(super) fn decode_reply<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, WireError> {
    match bytes.split_first() {
        Some((&SCHEMA, body)) => decode(body),
        Some((schema, _)) => Err(WireError::Schema(*schema)),
        None => Err(WireError::Short),
    }
}

pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    let config = standard().with_limit::<BODY_MAX>();
    let (value, used) =
        bincode::serde::decode_from_slice(body, config).map_err(|error| WireError::Decode(error.to_string()))?;
    if used == body.len() { Ok(value) } else { Err(WireError::Decode("bytes are left over".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_comes_back_as_it_was_and_rubbish_is_named() {
        let bytes = encode_request(Kind::ReadIndex, &ReadIndexReply::Index(300)).expect("encodes");
        assert_eq!(&bytes[..], [2, 7, 0, 251, 44, 1]);
        let (kind, body) = split_request(&bytes).expect("splits");
        assert_eq!(kind, Kind::ReadIndex);
        assert_eq!(decode::<ReadIndexReply>(body), Ok(ReadIndexReply::Index(300)));

        assert_eq!(split_request(&Bytes::from_static(&[2])), Err(WireError::Short));
        assert_eq!(split_request(&Bytes::from_static(&[9, 1])), Err(WireError::Schema(9)));
        assert_eq!(split_request(&Bytes::from_static(&[2, 99])), Err(WireError::Kind(99)));
        assert!(matches!(decode::<Vec<u8>>(&[253, 255, 255, 255, 255, 255, 0, 0, 0]), Err(WireError::Decode(_))));
    }
}
