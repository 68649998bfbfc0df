//! Ids and records of the replicated state. Pure: no clock, no randomness, no I/O.

mod id;
mod meeting;
mod node;
mod participant;
mod room;
mod time;
mod track;

pub use id::{IdError, MeetingId, NodeId, ParticipantId, RoomId, SessionId, TenantId, UserId};
pub use meeting::{Features, Meeting, MeetingStatus, MeetingType, RecordingConfig};
pub use node::{Node, NodeAddresses, NodeStatus};
pub use participant::{Device, LostSession, Participant, ParticipantStatus, Role, Session};
pub use room::Room;
pub use time::Timestamp;
pub use track::{MediaKind, PublishedTrack, Source, TrackId};
