//! How sessions are driven: datagrams in, happenings out, and the settling of what inputs left behind.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use plenary_cluster::model::{RoomId, SessionId, TrackId};

use super::Sfu;
use crate::io::{CloseReason, Output, SessionEvent};
use crate::keyframe::KeyframeReason;
use crate::session::{Happening, Session, SessionKey};
use crate::shard::Shard;
use crate::timers::Sleeper;

/// Rounds of reconciling and flushing in one turn. Each only leaves work for the next when a session closes or a slot
/// switches; what is left after that waits for the next input.
const MAX_ROUNDS: usize = 16;

impl Sfu {
    pub(super) fn handle_datagram(&mut self, addresses: (SocketAddr, SocketAddr), contents: &[u8]) {
        let Some(key) = self.target(addresses, contents) else {
            self.effects.stats.unknown_datagrams += 1;
            return;
        };
        let now = self.now;
        let taken =
            self.guarded(key, |session, happenings| session.handle_datagram(now, addresses, contents, happenings));
        match taken {
            Some(true) => {
                self.effects.stats.datagrams_received += 1;
                self.effects.stats.bytes_received += contents.len() as u64;
            }
            Some(false) => self.effects.stats.unknown_datagrams += 1,
            None => {}
        }
        self.handle_happenings(key);
        if let Some(session) = self.sessions.get(key) {
            self.timers.set(Sleeper::Session(key), Some(session.poll_timeout()));
        }
    }

    /// Runs something on a session. Should it panic, only that session is lost.
    pub(super) fn guarded<T>(
        &mut self,
        key: SessionKey,
        run: impl FnOnce(&mut Session, &mut Vec<Happening>) -> T,
    ) -> Option<T> {
        let session = self.sessions.get_mut(key)?;
        let happenings = &mut self.happenings;
        // The session is dropped whole after a panic and the happenings are plain values: nothing torn is seen again.
        if let Ok(done) = catch_unwind(AssertUnwindSafe(|| run(session, happenings))) {
            return Some(done);
        }
        self.effects.stats.faults += 1;
        self.happenings.clear();
        tracing::warn!(session = %session.id, "a bug closed this session; please report the panic above");
        self.drop_session(key, CloseReason::Fault);
        None
    }

    /// Does what a session's happenings ask for.
    fn handle_happenings(&mut self, key: SessionKey) {
        let mut happenings = std::mem::take(&mut self.happenings);
        for happening in happenings.drain(..) {
            let Some((id, room)) = self.sessions.get(key).map(|session| (session.id, session.room)) else { break };
            self.handle_happening((key, id, room), happening);
        }
        happenings.clear();
        self.happenings = happenings;
    }

    fn handle_happening(&mut self, (key, id, room): (SessionKey, SessionId, RoomId), happening: Happening) {
        match happening {
            Happening::Transmit { source, destination, contents } => {
                self.transmit(source, destination, contents);
            }
            Happening::Connected => {
                self.effects.tell(id, SessionEvent::Connected);
                if let Some(session) = self.sessions.get_mut(key) {
                    self.effects.touch(key, session);
                }
                self.with_shard(room, |shard, _| shard.session_changed());
            }
            Happening::Packet(source, packet) => {
                self.effects.stats.packets_received += 1;
                self.effects.stats.payload_received += packet.payload.len() as u64;
                let track = TrackId { session: id, source };
                self.with_shard(room, |shard, hub| shard.handle_published(hub, track, &packet));
            }
            Happening::KeyframeWanted(index) => {
                self.with_shard(room, |shard, hub| {
                    shard.handle_slot_keyframe(hub, key, index, KeyframeReason::Subscriber);
                });
            }
            Happening::Closed(reason) => self.drop_session(key, reason),
        }
    }

    fn transmit(&mut self, source: SocketAddr, destination: SocketAddr, contents: Vec<u8>) {
        self.effects.stats.datagrams_sent += 1;
        self.effects.stats.bytes_sent += contents.len() as u64;
        self.effects.outputs.push_back(Output::Transmit { source, destination, contents });
    }

    /// Reconciles stale shards and flushes sessions that were written to.
    pub(super) fn settle(&mut self) {
        for _ in 0..MAX_ROUNDS {
            for room in std::mem::take(&mut self.stale) {
                self.with_shard(room, Shard::reconcile);
            }
            let dirty = std::mem::take(&mut self.effects.dirty);
            if dirty.is_empty() && self.stale.is_empty() {
                return;
            }
            for key in dirty {
                self.flush(key);
            }
        }
    }

    fn flush(&mut self, key: SessionKey) {
        let now = self.now;
        let flushed = self.guarded(key, |session, happenings| {
            session.flush(now, happenings);
            let changes = session.take_changes();
            let switching = session.take_switching(&changes);
            (session.id, switching, changes, session.poll_timeout())
        });
        let Some((id, switching, changes, due)) = flushed else { return };
        if !changes.is_empty() {
            self.effects.tell(id, SessionEvent::Slots(changes));
        }
        if let Some(mids) = switching {
            self.effects.tell(id, SessionEvent::Switching(mids));
        }
        self.timers.set(Sleeper::Session(key), Some(due));
        self.handle_happenings(key);
    }

    /// Lets a session that is about to be closed tell its client.
    pub(super) fn say_goodbye(&mut self, key: SessionKey) {
        let now = self.now;
        if self.guarded(key, |session, happenings| session.close(now, happenings)).is_none() {
            return;
        }
        let happenings = std::mem::take(&mut self.happenings);
        for happening in happenings {
            match happening {
                Happening::Transmit { source, destination, contents } => self.transmit(source, destination, contents),
                Happening::Connected | Happening::Packet(..) | Happening::KeyframeWanted(_) | Happening::Closed(_) => {}
            }
        }
    }
}
