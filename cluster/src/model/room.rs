//! The routing scope of a meeting.

use serde::{Deserialize, Serialize};

use super::{MeetingId, NodeId, RoomId};

/// One room. Which nodes it spans follows from the sessions of its participants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// The meeting it belongs to.
    pub meeting: MeetingId,
    /// The node that owns the room's singletons (timers and, later, recorders), while the room is live.
    pub home: Option<NodeId>,
    /// Grows whenever the home changes; work done under an older epoch is refused.
    pub home_epoch: u64,
}
