//! The replicated state, one story a test.

mod meetings;
mod nodes;
mod participants;
mod random;
mod repeats;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use uuid::Uuid;

use super::{Applied, Command, EventKind, NewMeeting, Proposal, ProposalId, Rejection, State};
use crate::model::{
    Device, Features, MeetingId, MeetingType, NodeAddresses, NodeId, ParticipantId, RecordingConfig, Role, RoomId,
    SessionId, Timestamp, UserId,
};

pub(super) fn meeting(n: u128) -> MeetingId {
    MeetingId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn room(n: u128) -> RoomId {
    RoomId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn person(n: u128) -> ParticipantId {
    ParticipantId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn session(n: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn user(name: &str) -> UserId {
    name.parse().expect("a printable name")
}

pub(super) fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

pub(super) fn new_meeting(n: u128) -> NewMeeting {
    NewMeeting {
        id: meeting(n),
        room: room(n),
        tenant: "campus".parse().expect("a printable name"),
        creator: user("ada"),
        name: "Standup".to_owned(),
        description: String::new(),
        start_time: None,
        end_time: None,
        location: String::new(),
        invited: Vec::new(),
        meta_data: "{}".to_owned(),
        meeting_type: MeetingType::Scheduled,
        max_participants: 3,
        password_hash: None,
        waiting_room_enabled: false,
        require_host_approval: false,
        guests_allowed: true,
        features: Features::default(),
        recording: RecordingConfig::default(),
    }
}

pub(super) fn register(node: u64) -> Command {
    Command::RegisterNode {
        node: NodeId::new(node),
        addresses: NodeAddresses { http: address(1), control: address(2), media_link: address(3) },
        workers: 2,
        zone: String::new(),
        version: "0".to_owned(),
    }
}

pub(super) fn join(meeting_n: u128, person_n: u128, who: Option<&str>, role: Role) -> Command {
    Command::JoinMeeting {
        meeting: meeting(meeting_n),
        participant: person(person_n),
        user: who.map(user),
        name: format!("Person {person_n}"),
        role,
        device: Device::default(),
    }
}

/// A state, and the log that led to it.
#[derive(Default)]
pub(super) struct Log {
    pub(super) state: State,
    index: u64,
}

impl Log {
    /// A log with one registered node, id 1.
    pub(super) fn with_node() -> Self {
        let mut log = Self::default();
        log.run(register(1));
        log
    }

    pub(super) fn run(&mut self, command: Command) -> Applied {
        self.run_as(ProposalId { proposer: NodeId::new(1), epoch: 0, sequence: self.index + 7 }, command)
    }

    pub(super) fn run_as(&mut self, id: ProposalId, command: Command) -> Applied {
        self.index += 1;
        let time = Timestamp::from_millis(i64::try_from(self.index).expect("small") * 1000);
        let applied = self.state.apply(self.index, &Proposal { id, time, command });
        assert_eq!(self.state.check(), Ok(()));
        applied
    }

    pub(super) fn epoch(&self, node: u64) -> u64 {
        self.state.node(NodeId::new(node)).expect("a known node").epoch
    }

    /// A live meeting with participants 1 to `people`, each with the session of the same number on node 1.
    pub(super) fn live(&mut self, people: u128) {
        assert_eq!(self.run(Command::CreateMeeting(Arc::new(new_meeting(1)))), Applied::Done);
        assert_eq!(self.run(Command::StartMeeting { meeting: meeting(1) }), Applied::Done);
        for n in 1..=people {
            assert!(matches!(self.run(join(1, n, None, Role::Attendee)), Applied::Joined { .. }));
            assert_eq!(self.open(n, n), Applied::Done);
        }
    }

    pub(super) fn open(&mut self, person_n: u128, session_n: u128) -> Applied {
        let node_epoch = self.epoch(1);
        self.run(Command::OpenSession {
            meeting: meeting(1),
            participant: person(person_n),
            session: session(session_n),
            node: NodeId::new(1),
            node_epoch,
            worker: 0,
        })
    }

    pub(super) fn close(&mut self, n: u128, left: bool) -> Applied {
        self.run(Command::CloseSession { meeting: meeting(1), participant: person(n), session: session(n), left })
    }

    /// What the last entry told.
    pub(super) fn told(&self) -> Vec<EventKind> {
        let events = self.state.events_since(self.index - 1).expect("nothing was trimmed");
        events.map(|event| event.kind.clone()).collect()
    }
}

pub(super) const fn refused(rejection: Rejection) -> Applied {
    Applied::Rejected(rejection)
}
