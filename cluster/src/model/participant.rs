//! A member of a meeting, and their session.

use serde::{Deserialize, Serialize};

use super::{MeetingId, NodeId, ParticipantId, PublishedTrack, SessionId, Timestamp, UserId};

/// What a participant may do; the table of rights is in `plenary-api`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Runs the meeting.
    Host,
    /// Runs the meeting beside the host.
    CoHost,
    /// May present.
    Presenter,
    /// Takes part.
    Attendee,
}

/// Whether a participant is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantStatus {
    /// Has a place but never came.
    Invited,
    /// Was given a room token and has not opened a session yet.
    Joining,
    /// Has a session.
    Connected,
    /// Lost its session and may come back.
    Reconnecting,
    /// Went away.
    Left,
}

/// What the participant said of their device at join.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Device {
    /// Such as `web`.
    pub platform: String,
    /// Such as `chrome`.
    pub browser: String,
}

/// One PeerConnection on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The node that serves it.
    pub node: NodeId,
    /// That node's epoch when it opened; a session of an older epoch is gone.
    pub node_epoch: u64,
    /// The media worker that serves it.
    pub worker: u16,
    /// What it publishes, by source.
    pub tracks: Vec<PublishedTrack>,
    /// When it opened.
    pub opened_at: Timestamp,
}

/// A session that went away without a goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostSession {
    /// Which.
    pub id: SessionId,
    /// Since when it is missed.
    pub at: Timestamp,
}

/// A member of a meeting. One record per meeting and signed-in user; a guest is a new one each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Participant {
    /// Their id.
    pub id: ParticipantId,
    /// The meeting.
    pub meeting: MeetingId,
    /// Who they are, unless a guest.
    pub user: Option<UserId>,
    /// Shown to others, 1 to 100 characters.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// Whether they are here.
    pub status: ParticipantStatus,
    /// What they came with.
    pub device: Device,
    /// First time they connected.
    pub joined_at: Option<Timestamp>,
    /// Last time they left.
    pub left_at: Option<Timestamp>,
    /// Their session, while connected.
    pub session: Option<Session>,
    /// The session they lost, while reconnecting.
    pub lost: Option<LostSession>,
    /// Log index of the last change to this record.
    pub revision: u64,
}
