//! One media worker: a thread that feeds its `Sfu` and carries out what it says. It decides nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::{Counter, counter};
use plenary_api::port::MediaEvent;
use plenary_cluster::model::{NodeId, SessionId};
use plenary_media::io::{Command, Input, Output, Peer, SessionEvent};
use plenary_media::relay::{Carriage, Frame, wire};
use plenary_media::{Sfu, Stats};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::mailbox::{Inbox, Mailbox, Message};
use super::socket::{BoundSocket, ReceiveBuffers};
use crate::port;

/// Messages taken in one turn; the rest wait for the next, so that sockets and timers get theirs.
const MESSAGES_A_TURN: usize = 512;

/// Receive batches taken from one socket in one turn.
const BATCHES_A_TURN: usize = 8;

/// Longest wait: gauges are written this often.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Room for a relay frame with a full RTP payload, so that encoding allocates once.
const FRAME_CAPACITY: usize = 1400;

/// The way to other nodes. Neither call blocks; what can't be taken is dropped and counted there.
pub trait NodeLinks: Send + Sync + 'static {
    /// Sends a frame that may be lost.
    fn send_datagram(&self, to: NodeId, bytes: Bytes);
    /// Sends a frame in order; if it can't be, the link is closed and comes up anew.
    fn send_reliable(&self, to: NodeId, bytes: Bytes);
}

/// How a worker does, for placement and health.
#[derive(Debug, Default)]
pub struct WorkerGauges {
    /// Sessions it serves.
    pub sessions: AtomicU32,
    /// Rooms it has a shard of.
    pub rooms: AtomicU32,
    /// Share of one core used over the last second, 0 to 100.
    pub load_percent: AtomicU8,
}

/// What a worker is made of.
pub(super) struct Parts {
    pub(super) sfu: Sfu,
    pub(super) sockets: Arc<[BoundSocket]>,
    pub(super) inbox: Inbox,
    /// All workers of this node, this one included, by index.
    pub(super) siblings: Vec<Mailbox>,
    pub(super) index: u16,
    pub(super) links: Arc<dyn NodeLinks>,
    pub(super) gauges: Arc<WorkerGauges>,
}

pub(super) struct Worker {
    parts: Parts,
    sessions: HashMap<SessionId, mpsc::Sender<MediaEvent>>,
    /// One list for each socket, sent at the end of a turn.
    outgoing: Vec<Vec<(SocketAddr, Vec<u8>)>>,
    train: Vec<u8>,
    buffers: ReceiveBuffers,
    /// Sessions whose owner does not keep up, to be closed.
    deaf: Vec<SessionId>,
    stopping: bool,
    busy: Duration,
    gauged_at: Instant,
    counters: Counters,
}

/// The one place where a worker reads the clock.
#[expect(clippy::disallowed_methods, reason = "the worker's loop is where media time enters")]
pub(super) fn clock() -> Instant {
    Instant::now()
}

impl Worker {
    pub(super) fn new(parts: Parts) -> Self {
        let outgoing = parts.sockets.iter().map(|_| Vec::new()).collect();
        let counters = Counters::new(parts.index);
        Self {
            parts,
            sessions: HashMap::new(),
            outgoing,
            train: Vec::new(),
            buffers: ReceiveBuffers::new(),
            deaf: Vec::new(),
            stopping: false,
            busy: Duration::ZERO,
            gauged_at: clock(),
            counters,
        }
    }

    /// Runs until told to stop.
    pub(super) fn run(mut self) {
        for index in 0..self.parts.siblings.len() {
            let index = u16::try_from(index).expect("a node has at most 128 workers");
            if index != self.parts.index {
                self.take_in(Input::PeerUp(Peer::Worker(index)));
            }
        }
        while !self.stopping {
            self.wait();
            let woken = clock();
            self.messages();
            self.sockets();
            self.timer();
            self.close_deaf();
            self.flush();
            let now = clock();
            self.busy += now.duration_since(woken);
            self.gauge(now);
        }
    }

    /// Waits for a socket, a message or the next timeout.
    fn wait(&mut self) {
        let now = clock();
        let until = self.parts.sfu.poll_timeout().map_or(LONGEST_WAIT, |(at, reason)| {
            tracing::trace!(?reason, "next timeout");
            at.saturating_duration_since(now).min(LONGEST_WAIT)
        });
        let mut fds: Vec<PollFd<'_>> =
            self.parts.sockets.iter().map(|socket| PollFd::from_borrowed_fd(socket.fd(), PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(self.parts.inbox.fd(), PollFlags::IN));
        let until = Timespec::try_from(until).expect("a second fits");
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, Some(&until));
    }

    fn messages(&mut self) {
        self.parts.inbox.acknowledge();
        for _ in 0..MESSAGES_A_TURN {
            let Some(message) = self.parts.inbox.take() else {
                self.drain();
                return;
            };
            self.message(message);
        }
        self.parts.inbox.rearm();
        self.drain();
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Open { command, events } => {
                if let Command::OpenSession { session, .. } = &command {
                    self.sessions.insert(*session, events);
                }
                self.take_in(Input::Command(command));
            }
            Message::Command(command) => {
                if let Command::CloseSession { session } = &command {
                    self.sessions.remove(session);
                }
                self.take_in(Input::Command(command));
            }
            Message::PeerUp(peer) => self.take_in(Input::PeerUp(peer)),
            Message::PeerDown(peer) => self.take_in(Input::PeerDown(peer)),
            Message::Frame { from, frame } => self.take_in(Input::Relay { from, frame }),
            Message::Encoded { from, bytes } => match wire::decode(&bytes, clock()) {
                Ok(frame) => self.take_in(Input::Relay { from: Peer::Node(from), frame }),
                Err(error) => {
                    self.counters.malformed_frames.increment(1);
                    tracing::debug!(%from, %error, "malformed relay frame dropped");
                }
            },
            Message::Stop => self.stopping = true,
        }
    }

    fn sockets(&mut self) {
        let mut buffers = std::mem::replace(&mut self.buffers, ReceiveBuffers::empty());
        let sockets = Arc::clone(&self.parts.sockets);
        for socket in &*sockets {
            let destination = socket.advertised();
            for _ in 0..BATCHES_A_TURN {
                let more = socket.receive(&mut buffers, |source, contents| {
                    self.take_in(Input::Datagram { source, destination, contents });
                });
                if !more {
                    break;
                }
                self.drain();
            }
        }
        self.buffers = buffers;
    }

    fn timer(&mut self) {
        let now = clock();
        if self.parts.sfu.poll_timeout().is_some_and(|(at, _)| at <= now) {
            self.take_in(Input::Timeout);
            self.drain();
        }
    }

    /// Hands one input to the `Sfu`.
    fn take_in(&mut self, input: Input<'_>) {
        if let Err(error) = self.parts.sfu.handle_input(clock(), input) {
            tracing::debug!(%error, "input refused");
        }
    }

    /// Carries out what follows from the inputs so far.
    fn drain(&mut self) {
        while let Some(output) = self.parts.sfu.poll_output() {
            self.carry_out(output);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Transmit { source, destination, contents } => {
                match self.parts.sockets.iter().position(|socket| socket.advertised() == source) {
                    Some(socket) => self.outgoing[socket].push((destination, contents)),
                    // An `Sfu` sends from its own addresses only.
                    None => self.counters.send_drops.increment(1),
                }
            }
            Output::Session { session, event } => self.tell(session, event),
            Output::Relay { to: Peer::Worker(worker), frame } => self.send_to_worker(worker, frame),
            Output::Relay { to: Peer::Node(node), frame } => self.send_to_node(node, &frame),
        }
    }

    fn tell(&mut self, session: SessionId, event: SessionEvent) {
        let over = matches!(event, SessionEvent::Closed(_));
        let Some(events) = self.sessions.get(&session) else { return };
        if events.try_send(port::event(event)).is_err() {
            self.deaf.push(session);
        }
        if over {
            self.sessions.remove(&session);
        }
    }

    fn send_to_worker(&mut self, worker: u16, frame: Frame) {
        let Some(mailbox) = self.parts.siblings.get(usize::from(worker)) else { return };
        let carriage = frame.carriage();
        let message = Message::Frame { from: Peer::Worker(self.parts.index), frame };
        let left = match carriage {
            Carriage::Datagram => mailbox.media(message),
            Carriage::Reliable => mailbox.control(message),
        };
        if left.is_err() {
            self.counters.ring_drops.increment(1);
        }
    }

    fn send_to_node(&mut self, node: NodeId, frame: &Frame) {
        let mut bytes = Vec::with_capacity(FRAME_CAPACITY);
        wire::encode(frame, &mut bytes);
        match frame.carriage() {
            Carriage::Datagram => self.parts.links.send_datagram(node, bytes.into()),
            Carriage::Reliable => self.parts.links.send_reliable(node, bytes.into()),
        }
    }

    fn close_deaf(&mut self) {
        while let Some(session) = self.deaf.pop() {
            if self.sessions.remove(&session).is_some() {
                tracing::warn!(%session, "session's owner does not keep up; closing it");
                self.take_in(Input::Command(Command::CloseSession { session }));
            }
        }
        self.drain();
    }

    fn flush(&mut self) {
        for (socket, datagrams) in self.parts.sockets.iter().zip(&mut self.outgoing) {
            if datagrams.is_empty() {
                continue;
            }
            let refused = socket.send(datagrams, &mut self.train);
            self.counters.send_drops.increment(refused);
        }
    }

    fn gauge(&mut self, now: Instant) {
        let elapsed = now.duration_since(self.gauged_at);
        if elapsed < LONGEST_WAIT {
            return;
        }
        let percent = self.busy.as_micros() * 100 / elapsed.as_micros().max(1);
        let stats = self.parts.sfu.stats();
        let gauges = &self.parts.gauges;
        gauges.load_percent.store(u8::try_from(percent.min(100)).unwrap_or(100), Ordering::Relaxed);
        gauges.sessions.store(u32::try_from(stats.sessions).unwrap_or(u32::MAX), Ordering::Relaxed);
        gauges.rooms.store(u32::try_from(stats.rooms).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.counters.publish(&stats);
        self.busy = Duration::ZERO;
        self.gauged_at = now;
    }
}

/// Handles are looked up once: a worker counts without a lock or a hash walk.
struct Counters {
    malformed_frames: Counter,
    ring_drops: Counter,
    send_drops: Counter,
    index: String,
}

impl Counters {
    fn new(index: u16) -> Self {
        let index = index.to_string();
        Self {
            malformed_frames: counter!("plenary_relay_malformed_frames_total", "worker" => index.clone()),
            ring_drops: counter!("plenary_relay_ring_dropped_total", "worker" => index.clone()),
            send_drops: counter!("plenary_media_send_dropped_total", "worker" => index.clone()),
            index,
        }
    }

    /// Once a second: what the `Sfu` counted.
    fn publish(&self, stats: &Stats) {
        for (name, value) in [
            ("plenary_media_received_datagrams_total", stats.datagrams_received),
            ("plenary_media_received_bytes_total", stats.bytes_received),
            ("plenary_media_sent_datagrams_total", stats.datagrams_sent),
            ("plenary_media_sent_bytes_total", stats.bytes_sent),
            ("plenary_media_unknown_datagrams_total", stats.unknown_datagrams),
            ("plenary_media_published_packets_total", stats.packets_received),
            ("plenary_media_published_payload_bytes_total", stats.payload_received),
            ("plenary_media_forwarded_packets_total", stats.packets_forwarded),
            ("plenary_media_forwarded_payload_bytes_total", stats.payload_forwarded),
            ("plenary_media_silenced_packets_total", stats.silenced_packets),
            ("plenary_media_keyframes_asked_total", stats.keyframes_asked),
            ("plenary_media_keyframes_coalesced_total", stats.keyframes_coalesced),
            ("plenary_media_keyframes_requested_total", stats.keyframes_requested),
            ("plenary_relay_nacked_packets_total", stats.relay_nacked),
            ("plenary_relay_resent_packets_total", stats.relay_resent),
            ("plenary_relay_recovered_packets_total", stats.relay_recovered),
            ("plenary_relay_dropped_packets_total", stats.relay_dropped),
            ("plenary_media_faults_total", stats.faults),
        ] {
            counter!(name, "worker" => self.index.clone()).absolute(value);
        }
    }
}
