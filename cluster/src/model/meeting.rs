//! The meeting record.

use serde::{Deserialize, Serialize};

use super::{MeetingId, RoomId, TenantId, Timestamp, UserId};

/// How a meeting comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeetingType {
    /// Starts when its host joins.
    Instant,
    /// Has a time.
    #[default]
    Scheduled,
}

/// Where a meeting stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeetingStatus {
    /// Not started.
    Scheduled,
    /// Running.
    Live,
    /// Over; can't be started again.
    Ended,
}

/// What people may do in a meeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "the contract names these eight switches")]
pub struct Features {
    /// Cameras may be published.
    pub video_enabled: bool,
    /// Microphones may be published.
    pub audio_enabled: bool,
    /// Screens may be shared.
    pub screen_sharing_enabled: bool,
    /// Text chat.
    pub chat_enabled: bool,
    /// Recording may be started.
    pub recording_enabled: bool,
    /// Breakout rooms may be opened.
    pub breakout_rooms_enabled: bool,
    /// The whiteboard.
    pub whiteboard_enabled: bool,
    /// Raised hands.
    pub hand_raise_enabled: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            video_enabled: true,
            audio_enabled: true,
            screen_sharing_enabled: true,
            chat_enabled: true,
            recording_enabled: true,
            breakout_rooms_enabled: false,
            whiteboard_enabled: true,
            hand_raise_enabled: true,
        }
    }
}

/// How a meeting is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "the contract names these switches")]
pub struct RecordingConfig {
    /// Start with the meeting.
    pub auto_record: bool,
    /// Keep pictures.
    pub record_video: bool,
    /// Keep sound.
    pub record_audio: bool,
    /// Keep the chat.
    pub record_chat: bool,
    /// `local` or `cloud`.
    pub storage_location: String,
    /// Days to keep it, ≥ 1; the server's default when absent.
    pub retention_days: Option<u32>,
}

impl Default for RecordingConfig {
    fn default() -> Self {
        Self {
            auto_record: false,
            record_video: true,
            record_audio: true,
            record_chat: true,
            storage_location: "local".to_owned(),
            retention_days: None,
        }
    }
}

/// The business record and the sitting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meeting {
    /// Its id.
    pub id: MeetingId,
    /// Whose it is. Nobody of another tenant sees it.
    pub tenant: TenantId,
    /// Who created it; host when they join.
    pub creator: UserId,
    /// Title, 1 to 200 characters.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Planned start.
    pub start_time: Option<Timestamp>,
    /// Planned end.
    pub end_time: Option<Timestamp>,
    /// Free text.
    pub location: String,
    /// Invited user ids or e-mail addresses, as given.
    pub invited: Vec<String>,
    /// The caller's own JSON object as text, ≤ 16 KiB.
    pub meta_data: String,
    /// Instant or scheduled.
    pub meeting_type: MeetingType,
    /// Most people connected at once, cluster-wide.
    pub max_participants: u32,
    /// Argon2id in PHC string form.
    pub password_hash: Option<String>,
    /// Guests and the uninvited wait to be let in.
    pub waiting_room_enabled: bool,
    /// Everyone but hosts waits to be let in.
    pub require_host_approval: bool,
    /// People without an account may join.
    pub guests_allowed: bool,
    /// What people may do.
    pub features: Features,
    /// How it is to be recorded.
    pub recording: RecordingConfig,
    /// Where it stands.
    pub status: MeetingStatus,
    /// The main room.
    pub room: RoomId,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it went live.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Most people connected at once so far.
    pub peak_participants: u32,
    /// Log index of the last change to this record: its ETag.
    pub revision: u64,
}
