//! One worker's media plane. See the [crate's documentation](crate) for what surrounds it.
//!
//! Inputs are handled at once as far as they concern others: a packet is in its subscribers' queues when
//! [`Sfu::handle_input`] returns. Sending is left to [`Sfu::poll_output`], which first settles what inputs left
//! behind: shards to reconcile, sessions to flush. So a driver may hand in a whole train of datagrams before it drains,
//! and each subscriber's `Rtc` is driven once for all of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use plenary_cluster::model::{RoomId, SessionId, TrackId};
use str0m::config::DtlsCert;

use crate::demux::Demux;
use crate::effects::{Effects, Handles, count};
use crate::io::{CloseReason, Input, Output, Peer, SessionEvent, Settings};
use crate::random::Random;
use crate::relay::{Frame, Place};
use crate::session::{Happening, RtcTemplate, SessionKey, Sessions};
use crate::shard::{Hub, Shard};
use crate::stats::Stats;
use crate::timers::{Sleeper, Timers};

mod command;
mod drive;

/// Pulls of tracks that our view of the room does not have yet; the oldest is forgotten.
const MAX_WAITING_PULLS: usize = 1_024;

/// Why an input was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SfuError {
    /// The session is not open on this worker.
    #[error("session {0} is not open on this worker")]
    NoSession(SessionId),
    /// The session is open already.
    #[error("session {0} is open already")]
    SessionExists(SessionId),
}

/// Why [`Sfu::poll_timeout`] wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WakeReason {
    /// A session's timers: ICE, DTLS, RTCP, its deadlines.
    Session,
    /// A shard's timers: NACKs, keyframe repeats, lingering relays, speakers.
    Shard,
}

/// One worker's sessions, shards and relays.
///
/// The three verbs of every state machine here: [`Sfu::handle_input`] takes in what happened, [`Sfu::poll_output`] is
/// drained to `None` after it, [`Sfu::poll_timeout`] says when to come back. Time never goes back.
#[derive(Debug)]
pub struct Sfu {
    settings: Settings,
    place: Place,
    template: RtcTemplate,
    epoch: Instant,
    now: Instant,
    sessions: Sessions,
    demux: Demux,
    shards: BTreeMap<RoomId, Shard>,
    /// Shards to reconcile.
    stale: Vec<RoomId>,
    handles: Handles,
    waiting: VecDeque<WaitingPull>,
    effects: Effects,
    timers: Timers,
    random: Random,
    /// Reused between turns.
    happenings: Vec<Happening>,
}

/// A pull that can't be served yet.
#[derive(Debug, Clone, Copy)]
struct WaitingPull {
    from: Peer,
    room: RoomId,
    track: TrackId,
    handle: u32,
}

impl Sfu {
    /// A worker without sessions.
    #[must_use]
    pub fn new(now: Instant, settings: Settings, certificate: DtlsCert) -> Self {
        let place = Place { node: settings.node, worker: settings.worker };
        Self {
            place,
            template: RtcTemplate::new(certificate, settings.addresses.clone()),
            epoch: now,
            now,
            sessions: Sessions::default(),
            demux: Demux::default(),
            shards: BTreeMap::new(),
            stale: Vec::new(),
            handles: Handles::new(settings.worker),
            waiting: VecDeque::new(),
            effects: Effects::default(),
            timers: Timers::default(),
            random: Random::seeded(settings.seed),
            happenings: Vec::new(),
            settings,
        }
    }

    /// Takes in what happened at `now`. Calls must not go back in time; one that does counts as of the last.
    ///
    /// # Errors
    ///
    /// Says which session a command names wrongly. Nothing has changed then.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) -> Result<(), SfuError> {
        self.now = self.now.max(now);
        match input {
            Input::Timeout => self.handle_timeout(),
            Input::Datagram { source, destination, contents } => {
                self.handle_datagram((source, destination), contents);
            }
            Input::Command(command) => return self.handle_command(command),
            Input::Relay { from, frame } => self.handle_frame(from, frame),
            Input::PeerUp(peer) => self.for_each_shard(|shard, hub| shard.handle_peer_up(hub, peer)),
            Input::PeerDown(peer) => {
                self.waiting.retain(|pull| pull.from != peer);
                self.for_each_shard(|shard, _| shard.handle_peer_down(peer));
            }
        }
        Ok(())
    }

    /// Returns the next thing to carry out. Drain to `None` after inputs.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.effects.outputs.pop_front() {
            return Some(output);
        }
        self.settle();
        self.effects.outputs.pop_front()
    }

    /// Says when to come back with [`Input::Timeout`], and why. Ask after draining.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, WakeReason)> {
        let (at, sleeper) = self.timers.next()?;
        let reason = match sleeper {
            Sleeper::Session(_) => WakeReason::Session,
            Sleeper::Shard(_) => WakeReason::Shard,
        };
        Some((at, reason))
    }

    /// Gauges and counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { sessions: self.sessions.len(), rooms: self.shards.len(), ..self.effects.stats }
    }

    fn handle_timeout(&mut self) {
        while let Some(sleeper) = self.timers.pop_due(self.now) {
            match sleeper {
                Sleeper::Session(key) => {
                    if let Some(session) = self.sessions.get_mut(key) {
                        self.effects.touch(key, session);
                    }
                }
                Sleeper::Shard(room) => self.with_shard(room, Shard::handle_timeout),
            }
        }
    }

    fn handle_frame(&mut self, from: Peer, frame: Frame) {
        count(&mut self.effects.stats.frames_received, &frame);
        match frame {
            Frame::Pull { room, track, handle } => self.handle_pull(WaitingPull { from, room, track, handle }),
            Frame::Release { room, track, handle } => {
                self.waiting.retain(|pull| pull.from != from || pull.handle != handle);
                self.with_shard(room, |shard, _| shard.handle_release(track, from, handle));
            }
            Frame::Keyframe { room, track } => {
                self.with_shard(room, |shard, hub| shard.handle_relay_keyframe(hub, from, track));
            }
            Frame::Media { handle, packet } => match self.handles.find(handle) {
                Some((room, track)) => {
                    self.with_shard(room, |shard, hub| shard.handle_media(hub, from, (track, handle), packet));
                }
                None => self.effects.stats.relay_dropped += 1,
            },
            Frame::Nack { room, track, handle, sequences } => {
                self.with_shard(room, |shard, hub| shard.handle_nack(hub, from, (track, handle), &sequences));
            }
        }
    }

    fn handle_pull(&mut self, pull: WaitingPull) {
        let known = self.shards.get(&pull.room).is_some_and(|shard| shard.knows(pull.track));
        if known {
            self.with_shard(pull.room, |shard, hub| shard.handle_pull(hub, pull.from, pull.track, pull.handle));
            return;
        }
        self.waiting.retain(|other| (other.from, other.handle) != (pull.from, pull.handle));
        if self.waiting.len() == MAX_WAITING_PULLS {
            self.waiting.pop_front();
        }
        self.waiting.push_back(pull);
    }

    /// Serves the pulls that waited for a room's view.
    fn serve_waiting(&mut self, room: RoomId) {
        let (of_room, others): (VecDeque<_>, VecDeque<_>) = self.waiting.drain(..).partition(|pull| pull.room == room);
        self.waiting = others;
        for pull in of_room {
            self.handle_pull(pull);
        }
    }

    /// Runs something on a shard, if there is one, and sees to its timer and its staleness.
    fn with_shard(&mut self, room: RoomId, run: impl FnOnce(&mut Shard, &mut Hub<'_>)) {
        let Some(shard) = self.shards.get_mut(&room) else { return };
        let mut hub = Hub {
            now: self.now,
            place: self.place,
            workers: self.settings.workers,
            loudest: usize::from(self.settings.loudest),
            linger: self.settings.linger,
            sessions: &mut self.sessions,
            effects: &mut self.effects,
            handles: &mut self.handles,
        };
        run(shard, &mut hub);
        if shard.is_stale() && !self.stale.contains(&room) {
            self.stale.push(room);
        }
        self.timers.set(Sleeper::Shard(room), shard.poll_timeout());
    }

    fn for_each_shard(&mut self, run: impl Fn(&mut Shard, &mut Hub<'_>)) {
        let rooms: Vec<RoomId> = self.shards.keys().copied().collect();
        for room in rooms {
            self.with_shard(room, &run);
        }
    }

    /// Closes a session and tells its owner why.
    fn drop_session(&mut self, key: SessionKey, reason: CloseReason) {
        if let Some(id) = self.remove_session(key) {
            tracing::info!(session = %id, ?reason, "session closed");
            self.effects.tell(id, SessionEvent::Closed(reason));
        }
    }
}
