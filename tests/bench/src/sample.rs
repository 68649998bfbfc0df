//! The meeting that is created over and over, as REST sees it and as the directory does.

use std::sync::Arc;

use plenary_cluster::model::{Features, MeetingId, MeetingType, NodeId, RecordingConfig, RoomId, Timestamp};
use plenary_cluster::state::{Command, NewMeeting, Proposal, ProposalId};
use serde_json::{Value, json};
use uuid::Uuid;

/// Whose meetings they are.
pub(crate) const USER: &str = "bench";

const NAME: &str = "Planning of the third quarter";
const DESCRIPTION: &str =
    "What was promised, what was kept, and what is next; bring figures and the list of open points.";
const LOCATION: &str = "Building 4, room Ada";
const INVITED: [&str; 6] = [
    "ada@example.org",
    "bob@example.org",
    "carol@example.org",
    "dave@example.org",
    "erin@example.org",
    "frank@example.org",
];
const MOST: u32 = 50;

/// The body of `POST /api/meeting`.
pub(crate) fn body() -> Value {
    json!({
        "meeting_name": NAME,
        "meeting_description": DESCRIPTION,
        "meeting_location": LOCATION,
        "participants": INVITED,
        "meeting_type": "instant",
        "max_participants": MOST,
    })
}

/// The command that such a request comes to.
pub(crate) fn command() -> (MeetingId, Command) {
    let id = MeetingId::from_uuid(Uuid::now_v7());
    let new = NewMeeting {
        id,
        room: RoomId::from_uuid(Uuid::now_v7()),
        tenant: "default".parse().expect("the name of the default tenant is valid"),
        creator: USER.parse().expect("the user's id is valid"),
        name: NAME.to_owned(),
        description: DESCRIPTION.to_owned(),
        start_time: None,
        end_time: None,
        location: LOCATION.to_owned(),
        invited: INVITED.map(str::to_owned).to_vec(),
        meta_data: "{}".to_owned(),
        meeting_type: MeetingType::Instant,
        max_participants: MOST,
        password_hash: None,
        waiting_room_enabled: false,
        require_host_approval: false,
        guests_allowed: false,
        features: Features::default(),
        recording: RecordingConfig::default(),
    };
    (id, Command::CreateMeeting(Arc::new(new)))
}

/// Bytes of the proposal as it is forwarded, logged and replicated.
pub(crate) fn proposal_bytes() -> usize {
    let id = ProposalId { proposer: NodeId::new(1), epoch: 1 << 10, sequence: 1 << 40 };
    let proposal = Proposal { id, time: Timestamp::from_millis(1 << 40), command: command().1 };
    let bytes = bincode::serde::encode_to_vec(&proposal, bincode::config::standard());
    bytes.expect("a proposal can be encoded").len()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_proposal_is_of_a_meetings_size() {
        assert!((300..500).contains(&super::proposal_bytes()), "{}", super::proposal_bytes());
    }
}
