//! What a node answers.

use serde::{Deserialize, Serialize};

use crate::{ProtocolError, SourceName};

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplyFrame {
    /// Protocol version.
    pub v: u16,
    /// The request's id; 0 when the request was too broken to have one.
    pub re: u64,
    /// The answer.
    #[serde(flatten)]
    pub reply: Reply,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reply {
    /// Done.
    Ok,
    /// The session is open.
    Joined(Box<Joined>),
    /// The answer to an offer.
    Answer {
        /// RFC 8866 session description.
        sdp: String,
    },
    /// Not done.
    Error(ProtocolError),
}

/// What a client learns when its session opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// The client's own participant id.
    pub participant: String,
    /// The id of this session.
    pub session: String,
    /// The node that serves it, for diagnosis.
    pub node: u64,
    /// The meeting.
    pub meeting: MeetingInfo,
    /// Everyone connected, the client included, as of `revision`.
    pub roster: Vec<Member>,
    /// Directory revision of the roster; roster pushes carry later ones.
    pub revision: u64,
    /// For `RTCPeerConnection`.
    pub ice_servers: Vec<IceServer>,
    /// How many slots to offer first.
    pub pool: PoolSize,
}

/// How many receive slots of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSize {
    /// Audio slots.
    pub audio: u16,
    /// Video slots.
    pub video: u16,
}

/// The meeting, for a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeetingInfo {
    /// Its id.
    pub id: String,
    /// Its title.
    pub name: String,
}

/// A participant, as others see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Their id.
    pub id: String,
    /// Shown name.
    pub name: String,
    /// `host`, `co_host`, `presenter` or `attendee`.
    pub role: String,
    /// What they publish.
    pub tracks: Vec<TrackInfo>,
    /// Connection lost, may come back.
    #[serde(default)]
    pub reconnecting: bool,
}

/// A published source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackInfo {
    /// Which.
    pub source: SourceName,
    /// Published, but silent or dark by choice.
    #[serde(default)]
    pub muted: bool,
}

/// RTCIceServer of the WebRTC specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// STUN and TURN URLs.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}
