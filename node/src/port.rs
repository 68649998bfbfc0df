//! `api`'s way to media: the [`Media`] trait over this node's workers, and the translation between the two vocabularies.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use plenary_api::port::{
    Media, MediaClose, MediaCommand, MediaError, MediaEvent, OfferFault, SessionHandle, SessionRequest, WorkerStatus,
    source, source_name,
};
use plenary_cluster::model::{NodeId, ParticipantId, RoomId, SessionId};
use plenary_media::io::{
    CloseReason, Command, Interest, OfferError, SessionEvent, SlotChange, VideoInterest, WantedTrack,
};
use plenary_protocol::{self as protocol, SlotAnnouncement};
use tokio::sync::mpsc;

use crate::config;
use crate::driver::{Mailbox, Message, WorkerGauges, Workers};

/// Events a session's owner may be behind before the session is closed: far more than one layout change makes.
const EVENTS_CAPACITY: usize = 256;

/// The media plane of this node, for `api`.
#[derive(Debug)]
pub struct MediaPort {
    node: NodeId,
    epoch: AtomicU64,
    mailboxes: Vec<Mailbox>,
    gauges: Vec<Arc<WorkerGauges>>,
    limits: Limits,
    sessions: Mutex<Placement>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    per_shard: u32,
    per_worker: u32,
}

/// Where sessions are. Changed at joins and leaves only, never on the media path.
#[derive(Debug, Default)]
struct Placement {
    sessions: HashMap<SessionId, (RoomId, u16)>,
    /// Sessions of a room on each worker.
    shards: HashMap<(RoomId, u16), u32>,
    workers: Vec<u32>,
}

impl MediaPort {
    /// The port over these workers.
    #[must_use]
    pub fn new(node: NodeId, workers: &Workers, config: &config::Media) -> Self {
        let placement = Placement { workers: vec![0; usize::from(workers.count())], ..Placement::default() };
        Self {
            node,
            epoch: AtomicU64::new(0),
            mailboxes: workers.mailboxes().to_vec(),
            gauges: workers.gauges().to_vec(),
            limits: Limits { per_shard: config.sessions_per_shard, per_worker: config.sessions_per_worker },
            sessions: Mutex::new(placement),
        }
    }

    /// Called once the node has registered.
    pub fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Release);
    }
}

impl Media for MediaPort {
    fn open(&self, request: SessionRequest) -> Result<SessionHandle, MediaError> {
        let SessionRequest { session, participant, meeting: _, room } = request;
        let worker = self.sessions.lock().place(session, room, self.limits).ok_or(MediaError::Full)?;
        let (events, receiver) = mpsc::channel(EVENTS_CAPACITY);
        let command = Command::OpenSession { session, participant, room };
        let mailbox = &self.mailboxes[usize::from(worker)];
        if mailbox.control(Message::Open { command, events }).is_err() {
            self.sessions.lock().remove(session);
            return Err(MediaError::Full);
        }
        Ok(SessionHandle { worker, events: receiver })
    }

    fn command(&self, session: SessionId, command: MediaCommand) -> Result<(), MediaError> {
        let closing = matches!(command, MediaCommand::Close);
        let worker = {
            let mut placement = self.sessions.lock();
            let (_, worker) = *placement.sessions.get(&session).ok_or(MediaError::Gone)?;
            if closing {
                placement.remove(session);
            }
            worker
        };
        let message = Message::Command(translate(session, command));
        self.mailboxes[usize::from(worker)].control(message).map_err(|_| MediaError::Full)
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        let status = |gauges: &Arc<WorkerGauges>| WorkerStatus {
            sessions: gauges.sessions.load(Ordering::Relaxed),
            rooms: gauges.rooms.load(Ordering::Relaxed),
            load_percent: gauges.load_percent.load(Ordering::Relaxed),
        };
        self.gauges.iter().map(status).collect()
    }

    fn node(&self) -> (NodeId, u64) {
        (self.node, self.epoch.load(Ordering::Acquire))
    }
}

impl Placement {
    /// The worker that already has the room and has space, else the least busy one; `None` when all are full.
    fn place(&mut self, session: SessionId, room: RoomId, limits: Limits) -> Option<u16> {
        let rank = |index: usize| {
            let worker = u16::try_from(index).ok()?;
            let all = self.workers[index];
            let here = self.shards.get(&(room, worker)).copied().unwrap_or(0);
            let joins_shard = here > 0 && here < limits.per_shard;
            (all < limits.per_worker).then_some((!joins_shard, here >= limits.per_shard, all, worker))
        };
        let (.., worker) = (0..self.workers.len()).filter_map(rank).min()?;
        self.sessions.insert(session, (room, worker));
        *self.shards.entry((room, worker)).or_default() += 1;
        self.workers[usize::from(worker)] += 1;
        Some(worker)
    }

    fn remove(&mut self, session: SessionId) {
        let Some((room, worker)) = self.sessions.remove(&session) else { return };
        self.workers[usize::from(worker)] -= 1;
        if let Some(count) = self.shards.get_mut(&(room, worker)) {
            *count -= 1;
            if *count == 0 {
                self.shards.remove(&(room, worker));
            }
        }
    }
}

fn translate(session: SessionId, command: MediaCommand) -> Command {
    match command {
        MediaCommand::Offer { request, sdp, tracks, slots } => Command::Offer { session, request, sdp, tracks, slots },
        MediaCommand::Candidate(candidate) => Command::Candidate { session, candidate },
        MediaCommand::Interest(wanted) => Command::Interest { session, interest: interest(&wanted) },
        MediaCommand::Keyframe { mid } => Command::Keyframe { session, mid },
        MediaCommand::Close => Command::CloseSession { session },
    }
}

fn interest(wanted: &protocol::Interest) -> Interest {
    let video = match &wanted.video {
        protocol::VideoInterest::Speakers { max } => VideoInterest::Speakers { max: *max },
        protocol::VideoInterest::Tracks { tracks } => {
            VideoInterest::Tracks(tracks.iter().filter_map(wanted_track).collect())
        }
    };
    Interest { video, audio: wanted.audio }
}

/// `None` for an id that no participant can have; `api` has told the client already.
fn wanted_track(wanted: &protocol::WantedTrack) -> Option<WantedTrack> {
    let participant: ParticipantId = wanted.participant.parse().ok()?;
    Some(WantedTrack { participant, source: source(wanted.source), width: wanted.width, height: wanted.height })
}

/// What a worker says, in `api`'s words.
pub(crate) fn event(event: SessionEvent) -> MediaEvent {
    match event {
        SessionEvent::Answer { request, result } => {
            MediaEvent::Answer { request, result: result.map_err(|error| offer_fault(&error)) }
        }
        SessionEvent::Connected => MediaEvent::Connected,
        SessionEvent::Slots(changes) => MediaEvent::Slots(changes.into_iter().map(announcement).collect()),
        SessionEvent::Switching(mids) => MediaEvent::Switching(mids),
        SessionEvent::Pool { audio, video } => MediaEvent::Pool { audio, video },
        SessionEvent::Speakers(speakers) => MediaEvent::Speakers(speakers),
        SessionEvent::Closed(reason) => MediaEvent::Closed(match reason {
            CloseReason::MediaLost => MediaClose::Lost,
            CloseReason::NeverConnected => MediaClose::NeverConnected,
            CloseReason::Fault => MediaClose::Fault,
        }),
    }
}

fn offer_fault(error: &OfferError) -> OfferFault {
    let field = match error {
        OfferError::Malformed(_) | OfferError::Unsupported(_) => "sdp",
        OfferError::Mid { field, .. } => field,
    };
    OfferFault { field, message: error.to_string() }
}

fn announcement(change: SlotChange) -> SlotAnnouncement {
    SlotAnnouncement {
        mid: change.mid,
        generation: change.generation,
        participant: change.shows.map(|shows| shows.participant.to_string()),
        source: change.shows.map(|shows| source_name(shows.track.source)),
        rtp_timestamp: change.shows.map(|shows| shows.rtp_timestamp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { per_shard: 2, per_worker: 3 };

    fn placement() -> Placement {
        Placement { workers: vec![0; 2], ..Placement::default() }
    }

    fn session(n: u128) -> SessionId {
        SessionId::from_uuid(uuid::Uuid::from_u128(n))
    }

    fn room(n: u128) -> RoomId {
        RoomId::from_uuid(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn a_room_stays_on_its_worker_until_the_shard_is_full() {
        let mut placement = placement();
        let workers: Vec<_> = (0..4).map(|n| placement.place(session(n), room(1), LIMITS)).collect();
        assert_eq!(workers, [Some(0), Some(0), Some(1), Some(1)]);
    }

    #[test]
    fn another_room_goes_to_the_least_busy_worker() {
        let mut placement = placement();
        assert_eq!(placement.place(session(1), room(1), LIMITS), Some(0));
        assert_eq!(placement.place(session(2), room(2), LIMITS), Some(1));
    }

    #[test]
    fn a_full_node_refuses_and_a_leaver_makes_space() {
        let mut placement = placement();
        for n in 0..6 {
            assert!(placement.place(session(n), room(n), LIMITS).is_some());
        }
        assert_eq!(placement.place(session(6), room(6), LIMITS), None);
        placement.remove(session(0));
        assert_eq!(placement.place(session(6), room(6), LIMITS), Some(0));
    }
}
