//! What a client asks for.

use serde::{Deserialize, Serialize};

use crate::TrackInfo;

/// A numbered request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestFrame {
    /// Protocol version, [`crate::VERSION`].
    pub v: u16,
    /// Chosen by the client, repeated in the reply; strictly increasing.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// What a client can ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Request {
    /// First request on a connection: opens the session. Answered by `joined`.
    Join {
        /// The room token from `POST /api/meeting/:id/join`.
        #[serde(default)]
        token: String,
        /// The meeting the client means; must be the token's.
        #[serde(default)]
        meeting: String,
        /// What the client is, for diagnosis.
        #[serde(default)]
        client: ClientInfo,
    },
    /// Negotiates media; may follow `join` without waiting for its reply. Answered by `answer`.
    Offer {
        /// RFC 8866 session description.
        sdp: String,
        /// Which m-line carries which of the client's sources.
        tracks: Vec<OfferedTrack>,
        /// The mids of all receive slots, old ones first.
        slots: Vec<String>,
    },
    /// A trickled ICE candidate (RFC 8838). Answered by `ok`.
    Candidate {
        /// The candidate attribute's value; empty or absent at the end of candidates.
        #[serde(default)]
        candidate: String,
    },
    /// Says what the client sends now. Replaces what it said before. Answered by `ok` once every node knows.
    Publish {
        /// All published sources.
        tracks: Vec<TrackInfo>,
    },
    /// Says what the client wants to see and hear. Replaces what it said before. Answered by `ok`.
    Interest(Interest),
    /// Asks for a keyframe of what a slot shows. Answered by `ok`.
    Keyframe {
        /// The slot's mid.
        mid: String,
    },
    /// Leaves for good. Answered by `ok`, then the node closes the connection.
    Leave,
    /// Keeps the connection alive. Answered by `ok`.
    Ping,
}

/// What a client is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClientInfo {
    /// For example `plenary-web`.
    #[serde(default)]
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
}

/// A source, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    /// The microphone.
    Microphone,
    /// The camera.
    Camera,
    /// A shared screen.
    Screen,
    /// The sound of a shared screen.
    ScreenAudio,
}

/// Ties a publish m-line to a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedTrack {
    /// The m-line's mid.
    pub mid: String,
    /// What it carries.
    pub source: SourceName,
}

/// What a client wants to see and hear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interest {
    /// Which pictures.
    pub video: VideoInterest,
    /// Whether to send sound; the loudest few are chosen by the node.
    #[serde(default = "yes")]
    pub audio: bool,
}

impl Default for Interest {
    fn default() -> Self {
        Self { video: VideoInterest::default(), audio: true }
    }
}

const fn yes() -> bool {
    true
}

/// Which pictures a client wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum VideoInterest {
    /// Screens first, then the people who spoke last, then the others.
    Speakers {
        /// At most this many.
        max: u16,
    },
    /// These and no others, most wanted first.
    Tracks {
        /// The list, at most 64.
        tracks: Vec<WantedTrack>,
    },
}

impl Default for VideoInterest {
    fn default() -> Self {
        Self::Speakers { max: 25 }
    }
}

/// A picture that is wanted, and how large it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedTrack {
    /// Whose.
    pub participant: String,
    /// `camera` or `screen`.
    pub source: SourceName,
    /// Width shown, in device pixels; 0 when unknown.
    #[serde(default)]
    pub width: u16,
    /// Height shown, in device pixels; 0 when unknown.
    #[serde(default)]
    pub height: u16,
}
