//! What was decided outside.

use plenary_cluster::model::{ParticipantId, RoomId, SessionId, Source};

use super::{Sfu, SfuError};
use crate::demux::Target;
use crate::io::{Command, RoomView, SessionEvent};
use crate::keyframe::KeyframeReason;
use crate::session::{Session, SessionKey};
use crate::shard::Shard;
use crate::timers::Sleeper;

impl Sfu {
    pub(super) fn handle_command(&mut self, command: Command) -> Result<(), SfuError> {
        match command {
            Command::OpenSession { session, participant, room } => self.open(session, participant, room),
            Command::Offer { session, request, sdp, tracks, slots } => {
                let key = self.key(session)?;
                self.offer(key, request, &sdp, &tracks, &slots);
                Ok(())
            }
            // ICE-lite: our candidates are all the client needs, and its own are learned from its checks
            // (RFC 8445 §2.5). Trusting an address because somebody wrote it into a message would be a mistake.
            Command::Candidate { session, candidate: _ } => self.key(session).map(drop),
            Command::Interest { session, interest } => {
                let key = self.key(session)?;
                let Some(open) = self.sessions.get_mut(key) else { return Ok(()) };
                if open.interest != interest {
                    open.interest = interest;
                    let room = open.room;
                    self.with_shard(room, |shard, _| shard.session_changed());
                }
                Ok(())
            }
            Command::Keyframe { session, mid } => {
                let key = self.key(session)?;
                let slot = self.sessions.get(key).and_then(|open| Some((open.room, open.slot_named(&mid)?)));
                if let Some((room, index)) = slot {
                    self.with_shard(room, |shard, hub| {
                        shard.handle_slot_keyframe(hub, key, index, KeyframeReason::Client);
                    });
                }
                Ok(())
            }
            Command::CloseSession { session } => {
                let key = self.key(session)?;
                self.say_goodbye(key);
                self.remove_session(key);
                Ok(())
            }
            Command::Room(view) => {
                self.view(&view);
                Ok(())
            }
            Command::CloseRoom(room) => {
                self.close_room(room);
                Ok(())
            }
        }
    }

    fn key(&self, session: SessionId) -> Result<SessionKey, SfuError> {
        self.sessions.key(session).ok_or(SfuError::NoSession(session))
    }

    fn open(&mut self, id: SessionId, participant: ParticipantId, room: RoomId) -> Result<(), SfuError> {
        if self.sessions.key(id).is_some() {
            return Err(SfuError::SessionExists(id));
        }
        let seed = self.random.next();
        let session = Session::new(self.now, self.epoch, &self.template, seed, (id, participant, room));
        let due = session.poll_timeout();
        let key = self.sessions.insert(session);
        self.timers.set(Sleeper::Session(key), Some(due));
        self.shards.entry(room).or_insert_with(|| Shard::new(room));
        self.with_shard(room, |shard, hub| shard.insert_session(hub, key));
        Ok(())
    }

    fn offer(&mut self, key: SessionKey, request: u64, sdp: &str, tracks: &[(String, Source)], slots: &[String]) {
        let (now, template) = (self.now, self.template.clone());
        let answered = self.guarded(key, |session, _| {
            let before = session.ufrag.clone();
            let result = session.accept_offer(now, &template, sdp, tracks, slots);
            (result, before, session.ufrag.clone(), session.room, session.id)
        });
        let Some((result, before, after, room, id)) = answered else { return };
        let accepted = result.is_ok();
        self.effects.tell(id, SessionEvent::Answer { request, result });
        if !accepted {
            return;
        }
        if before != after {
            if let Some(before) = before {
                self.demux.deregister(&before);
            }
            if let Some(after) = after {
                self.demux.register(&after, key);
            }
        }
        if let Some(session) = self.sessions.get_mut(key) {
            self.effects.touch(key, session);
        }
        self.with_shard(room, |shard, _| shard.session_changed());
    }

    fn view(&mut self, view: &RoomView) {
        let room = view.room;
        self.shards.entry(room).or_insert_with(|| Shard::new(room));
        self.with_shard(room, |shard, hub| shard.handle_view(hub, view));
        self.serve_waiting(room);
    }

    fn close_room(&mut self, room: RoomId) {
        self.waiting.retain(|pull| pull.room != room);
        self.with_shard(room, Shard::close);
        self.drop_empty_shard(room);
    }

    pub(super) fn drop_empty_shard(&mut self, room: RoomId) {
        if self.shards.get(&room).is_some_and(Shard::is_empty) {
            self.with_shard(room, Shard::close);
            self.shards.remove(&room);
            self.stale.retain(|stale| *stale != room);
            self.timers.set(Sleeper::Shard(room), None);
        }
    }

    /// Takes a session out of everything that knows it.
    pub(super) fn remove_session(&mut self, key: SessionKey) -> Option<SessionId> {
        let session = self.sessions.remove(key)?;
        for address in &session.addresses {
            self.demux.forget(*address, key);
        }
        if let Some(ufrag) = &session.ufrag {
            self.demux.deregister(ufrag);
        }
        self.effects.dirty.retain(|dirty| *dirty != key);
        self.timers.set(Sleeper::Session(key), None);
        self.with_shard(session.room, |shard, _| shard.remove_session(key));
        self.drop_empty_shard(session.room);
        Some(session.id)
    }

    /// The session a datagram belongs to, learned if it has just been proved.
    pub(super) fn target(
        &mut self,
        addresses: (std::net::SocketAddr, std::net::SocketAddr),
        contents: &[u8],
    ) -> Option<SessionKey> {
        let (source, destination) = addresses;
        match self.demux.find(source, contents)? {
            Target::Known(key) => Some(key),
            Target::Claimed(key) => {
                let now = self.now;
                let accepted =
                    self.guarded(key, |session, _| session.accepts(now, source, destination, contents)) == Some(true);
                if !accepted {
                    return None;
                }
                if self.demux.learn(source, key)
                    && let Some(oldest) = self.sessions.get_mut(key).and_then(|session| session.learn(source))
                {
                    self.demux.forget(oldest, key);
                }
                Some(key)
            }
        }
    }
}
