//! What the clients know of: the meetings and people they made up, whether or not the cluster took them.

use std::sync::Arc;

use parking_lot::Mutex;
use plenary_cluster::model::{MeetingId, NodeId, ParticipantId, RoomId, SessionId};
use plenary_cluster::simulation::Random;
use plenary_cluster::state::{Command, MeetingPatch, NewMeeting};
use uuid::Uuid;

use crate::process::address;

/// Meetings that are spoken of at a time: few, so that clients meet.
const MEETINGS: usize = 6;

/// People of a meeting that are spoken of at a time.
const PEOPLE: usize = 6;

#[derive(Debug, Clone, Default)]
pub(crate) struct Known(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    meetings: Vec<Meeting>,
    /// Makes each change different from every other.
    changes: u64,
    /// The highest revision that anybody was told of.
    revision: u64,
    /// Epochs that nodes had once.
    epochs: Vec<(NodeId, u64)>,
}

#[derive(Debug, Clone)]
struct Meeting {
    id: MeetingId,
    people: Vec<(ParticipantId, Option<SessionId>)>,
}

impl Known {
    pub(crate) fn revision(&self) -> u64 {
        self.0.lock().revision
    }

    pub(crate) fn told(&self, revision: u64) {
        let mut inner = self.0.lock();
        inner.revision = inner.revision.max(revision);
    }

    pub(crate) fn registered(&self, node: NodeId, epoch: u64) {
        self.0.lock().epochs.push((node, epoch));
    }

    /// A command for a node that has this epoch.
    pub(crate) fn invent(&self, random: &mut Random, node: NodeId, epoch: u64) -> Command {
        let inner = &mut *self.0.lock();
        let kind = random.below(100);
        if inner.meetings.is_empty() || kind < 8 {
            return inner.create(random);
        }
        let at = random.index(inner.meetings.len());
        inner.changes += 1;
        let change = inner.changes;
        let Inner { meetings, epochs, .. } = inner;
        let Some(meeting) = meetings.get_mut(at) else { return Command::StartMeeting { meeting: nobody() } };
        let id = meeting.id;
        match kind {
            8..30 => Command::UpdateMeeting {
                meeting: id,
                patch: Arc::new(MeetingPatch { name: Some(format!("change {change}")), ..MeetingPatch::default() }),
            },
            30..40 => Command::StartMeeting { meeting: id },
            40..43 => Command::EndMeeting { meeting: id },
            43..44 => Command::DeleteMeeting { meeting: id },
            44..60 => meeting.join(random),
            60..85 => meeting.open(random, node, epoch),
            85..98 => meeting.close(random),
            _ => match random.pick(epochs) {
                Some((node, epoch)) => Command::NodeDown { node: *node, epoch: *epoch },
                None => Command::StartMeeting { meeting: id },
            },
        }
    }
}

impl Inner {
    fn create(&mut self, random: &mut Random) -> Command {
        let id = MeetingId::from_uuid(Uuid::from_u128(random.wide()));
        if self.meetings.len() >= MEETINGS {
            let gone = random.index(self.meetings.len());
            self.meetings.swap_remove(gone);
        }
        self.meetings.push(Meeting { id, people: Vec::new() });
        Command::CreateMeeting(Arc::new(NewMeeting {
            id,
            room: RoomId::from_uuid(Uuid::from_u128(random.wide())),
            tenant: text("default"),
            creator: text("ada"),
            name: "new".to_owned(),
            description: String::new(),
            start_time: None,
            end_time: None,
            location: String::new(),
            invited: Vec::new(),
            meta_data: "{}".to_owned(),
            meeting_type: plenary_cluster::model::MeetingType::Instant,
            max_participants: u32::try_from(random.between(1, 3)).unwrap_or(1),
            password_hash: None,
            waiting_room_enabled: false,
            require_host_approval: false,
            guests_allowed: true,
            features: plenary_cluster::model::Features::default(),
            recording: plenary_cluster::model::RecordingConfig::default(),
        }))
    }
}

impl Meeting {
    fn join(&mut self, random: &mut Random) -> Command {
        let participant = ParticipantId::from_uuid(Uuid::from_u128(random.wide()));
        let user = if self.people.is_empty() || random.chance(20) { Some(text("ada")) } else { None };
        if self.people.len() >= PEOPLE {
            let gone = random.index(self.people.len());
            self.people.swap_remove(gone);
        }
        self.people.push((participant, None));
        Command::JoinMeeting {
            meeting: self.id,
            participant,
            user,
            name: "someone".to_owned(),
            role: plenary_cluster::model::Role::Attendee,
            device: plenary_cluster::model::Device::default(),
        }
    }

    fn open(&mut self, random: &mut Random, node: NodeId, epoch: u64) -> Command {
        let session = SessionId::from_uuid(Uuid::from_u128(random.wide()));
        let at = random.index(self.people.len());
        let Some((participant, last)) = self.people.get_mut(at) else { return self.join(random) };
        *last = Some(session);
        Command::OpenSession {
            meeting: self.id,
            participant: *participant,
            session,
            node,
            node_epoch: epoch,
            worker: 0,
        }
    }

    fn close(&mut self, random: &mut Random) -> Command {
        let open: Vec<_> = self.people.iter().filter_map(|(id, session)| Some((*id, (*session)?))).collect();
        match random.pick(&open) {
            Some((participant, session)) => Command::CloseSession {
                meeting: self.id,
                participant: *participant,
                session: *session,
                left: random.chance(60),
            },
            None => self.join(random),
        }
    }
}

/// A newcomer asks to be let in.
pub(crate) fn admission(random: &mut Random) -> Command {
    Command::AdmitNode {
        token: random.wide(),
        expires: plenary_cluster::model::Timestamp::from_millis(i64::MAX),
        control: address(NodeId::new(0)),
    }
}

fn text<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("a plain word is an id")
}

const fn nobody() -> MeetingId {
    MeetingId::from_uuid(Uuid::nil())
}
