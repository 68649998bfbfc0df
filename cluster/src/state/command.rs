//! What can be proposed, and what comes of it.
//!
//! A command carries every id and random value it needs. Enum variants are appended, never reordered:
//! their position is on disk and on the wire.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{
    Device, Features, MeetingId, MeetingType, NodeAddresses, NodeId, ParticipantId, PublishedTrack, RecordingConfig,
    Role, RoomId, SessionId, TenantId, Timestamp, UserId,
};

/// Names a proposal, so that a forwarded retry is applied once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProposalId {
    /// The node that proposes.
    pub proposer: NodeId,
    /// Its epoch; 0 before it has registered: of those only a repeated registration is recognised.
    pub epoch: u64,
    /// Counts the proposals of that epoch.
    pub sequence: u64,
}

/// One log entry's payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its name.
    pub id: ProposalId,
    /// When it was proposed; restamped by the leader, clamped in `apply` to never run backwards.
    pub time: Timestamp,
    /// What is to be done.
    pub command: Command,
}

/// A meeting to be created; ids drawn by the proposer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewMeeting {
    /// Id of the meeting.
    pub id: MeetingId,
    /// Id of its main room.
    pub room: RoomId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Who creates it.
    pub creator: UserId,
    /// Title.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Planned start.
    pub start_time: Option<Timestamp>,
    /// Planned end.
    pub end_time: Option<Timestamp>,
    /// Free text.
    pub location: String,
    /// Invited user ids or e-mail addresses.
    pub invited: Vec<String>,
    /// A JSON object as text.
    pub meta_data: String,
    /// Instant or scheduled.
    pub meeting_type: MeetingType,
    /// Most people connected at once.
    pub max_participants: u32,
    /// Argon2id PHC string.
    pub password_hash: Option<String>,
    /// Guests wait.
    pub waiting_room_enabled: bool,
    /// Everyone waits.
    pub require_host_approval: bool,
    /// People without an account may join.
    pub guests_allowed: bool,
    /// What people may do.
    pub features: Features,
    /// How it is recorded.
    pub recording: RecordingConfig,
}

/// A change to a meeting: `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MeetingPatch {
    /// Title.
    pub name: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Planned start.
    pub start_time: Option<Timestamp>,
    /// Planned end.
    pub end_time: Option<Timestamp>,
    /// Free text.
    pub location: Option<String>,
    /// Replaces the invitations; ejects nobody.
    pub invited: Option<Vec<String>>,
    /// A JSON object as text.
    pub meta_data: Option<String>,
    /// Most people connected at once.
    pub max_participants: Option<u32>,
    /// `Some(None)` removes the password.
    pub password_hash: Option<Option<String>>,
    /// Guests wait.
    pub waiting_room_enabled: Option<bool>,
    /// Everyone waits.
    pub require_host_approval: Option<bool>,
    /// What people may do.
    pub features: Option<Features>,
    /// How it is recorded.
    pub recording: Option<RecordingConfig>,
}

/// Everything that can be decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Gives a newcomer its node id: the log index of this entry. Spends a join token.
    AdmitNode {
        /// The token's random id; refused when spent before.
        token: u128,
        /// When the token expires; it is remembered as spent until then.
        expires: Timestamp,
        /// Where the newcomer's control endpoint is to be dialled.
        control: SocketAddr,
    },
    /// A node (re)started: takes a new epoch, closes the sessions of its older ones.
    RegisterNode {
        /// The node.
        node: NodeId,
        /// Where to dial it.
        addresses: NodeAddresses,
        /// Its media workers, ≥ 1.
        workers: u16,
        /// Its zone label.
        zone: String,
        /// Version of its binary.
        version: String,
    },
    /// A node is gone; refused for a newer epoch than named. Its sessions become reconnecting.
    NodeDown {
        /// The node.
        node: NodeId,
        /// The epoch that was seen to be gone.
        epoch: u64,
    },
    /// Creates a meeting and its main room.
    CreateMeeting(Arc<NewMeeting>),
    /// Changes a meeting.
    UpdateMeeting {
        /// Which.
        meeting: MeetingId,
        /// How.
        patch: Arc<MeetingPatch>,
    },
    /// Deletes a meeting that is not live.
    DeleteMeeting {
        /// Which.
        meeting: MeetingId,
    },
    /// Makes a meeting live; the same answer when it is already.
    StartMeeting {
        /// Which.
        meeting: MeetingId,
    },
    /// Ends a meeting and closes its sessions; the same answer when it is over.
    EndMeeting {
        /// Which.
        meeting: MeetingId,
    },
    /// Gives someone a place: finds the record of a signed-in user or makes one. A host's join starts an
    /// instant meeting.
    JoinMeeting {
        /// Which.
        meeting: MeetingId,
        /// Id to use if a new record is needed.
        participant: ParticipantId,
        /// Who they are, unless a guest.
        user: Option<UserId>,
        /// The name they want shown.
        name: String,
        /// Role if a new record is needed (the creator is always host).
        role: Role,
        /// What they came with.
        device: Device,
    },
    /// Opens a participant's session on a node, replacing an older one. Counts against `max_participants`.
    OpenSession {
        /// Which meeting.
        meeting: MeetingId,
        /// Who.
        participant: ParticipantId,
        /// The new session.
        session: SessionId,
        /// The serving node.
        node: NodeId,
        /// That node's epoch.
        node_epoch: u64,
        /// The serving worker.
        worker: u16,
    },
    /// Closes a session, if it is still the participant's or the one they lost last.
    CloseSession {
        /// Which meeting.
        meeting: MeetingId,
        /// Who.
        participant: ParticipantId,
        /// The session.
        session: SessionId,
        /// True when the person chose to leave, false when the connection was lost.
        left: bool,
    },
    /// Sets what a session publishes.
    PublishTracks {
        /// Which meeting.
        meeting: MeetingId,
        /// Who.
        participant: ParticipantId,
        /// Their session; refused if it is no longer theirs.
        session: SessionId,
        /// All of its tracks.
        tracks: Vec<PublishedTrack>,
    },
    /// Takes a node out of the cluster for good: its record goes, its sessions become reconnecting, its id is never
    /// handed out again.
    RemoveNode {
        /// The node.
        node: NodeId,
        /// Whether it may be removed while it is up.
        while_up: bool,
    },
}

/// What came of a proposal. Every node computes the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Applied {
    /// Done; nothing to tell.
    Done,
    /// The newcomer's id.
    Admitted {
        /// The id.
        node: NodeId,
    },
    /// The node's new epoch.
    Registered {
        /// The epoch.
        epoch: u64,
    },
    /// The participant who now has a place.
    Joined {
        /// Their id, old or new.
        participant: ParticipantId,
        /// Their role.
        role: Role,
    },
    /// Refused.
    Rejected(Rejection),
}

/// Why a proposal was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// No such meeting.
    #[error("meeting not found")]
    MeetingNotFound,
    /// The id is taken.
    #[error("id already taken")]
    AlreadyExists,
    /// The meeting is over.
    #[error("meeting has ended")]
    MeetingEnded,
    /// The meeting has not been started.
    #[error("meeting is not live")]
    MeetingNotLive,
    /// The meeting is live, and the command wants it not to be.
    #[error("meeting is live")]
    MeetingLive,
    /// `max_participants` are connected.
    #[error("meeting is full")]
    MeetingFull,
    /// No such participant in this meeting.
    #[error("participant not found")]
    ParticipantNotFound,
    /// The session is not, or no longer, the participant's.
    #[error("session is not current")]
    SessionNotCurrent,
    /// No such node, or its epoch has passed.
    #[error("node epoch is not current")]
    NodeNotCurrent,
    /// The join token was used before or is out of date.
    #[error("join token is spent or has expired")]
    TokenSpent,
    /// The meeting's features do not allow this source.
    #[error("source not allowed in this meeting")]
    SourceNotAllowed,
    /// The record would outgrow what the store takes as one value.
    #[error("record is too large: shorten its texts")]
    TooLarge,
    /// The proposer's epoch has passed, or the proposal is so old that a repeat could not be told from the first.
    #[error("proposal is too old to be told from a repeat")]
    ProposalExpired,
    /// No such node: it never was a member, or was removed.
    #[error("no such node")]
    NodeNotFound,
    /// The node takes part; it is to be stopped first.
    #[error("node is up")]
    NodeUp,
    /// Without the node there would be nobody to go on.
    #[error("no other node is up")]
    LastNode,
    /// Without the node too few voters would answer to change the membership. Said by the leader, never by `apply`.
    #[error("the other voters that answer are no majority")]
    QuorumNeedsNode,
}

/// A participant as others in the meeting see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterEntry {
    /// Who.
    pub participant: ParticipantId,
    /// Shown name.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// Their session, while connected.
    pub session: Option<SessionId>,
    /// What they publish.
    pub tracks: Vec<PublishedTrack>,
    /// Session lost, may come back.
    pub reconnecting: bool,
}
