//! The participant as a state machine: one PeerConnection, its synthetic sources, its slots and the signalling session.
//!
//! No socket, clock, task or lock: hundreds can be driven by one thread, and tests drive them on a virtual clock.
//!
//! ```text
//!            datagram, frame, command, timeout
//!                          │ handle_input
//!   signal.rs  ◄───────────┼──────────►  media.rs
//!   requests, replies,     │             str0m events, sources out, slots in
//!   pushes, offers         ▼
//!              poll_output: datagram, request      poll_timeout
//! ```
//!
//! **Invariant:** str0m is drained after every change (its rule: one mutation, then `poll_output` until it names a
//! timeout); the packets of one frame count as one change.

mod codecs;
mod media;
mod signal;
mod streams;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use plenary_protocol::{Interest, PoolSize, Request, RequestFrame, ServerFrame, SourceName};
use str0m::change::SdpPendingOffer;
use str0m::net::{Protocol, Receive};
use str0m::rtp::Ssrc;
use str0m::{Candidate, Rtc, RtcConfig};

use self::media::Sending;
use self::signal::Asked;
use crate::receiver::Receiver;
use crate::report::{Ended, Report};
use crate::source::{Codec, Epoch, Speech, Video};

/// Keeps the signalling connection alive, as often as the web client does.
const PING_EVERY: Duration = Duration::from_secs(10);

/// What a [`Peer`] is made with.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    /// Seed of everything synthetic; its packets carry it, so let it differ between the participants of a test.
    pub publisher: u64,
    /// Ties instants to the Unix epoch, for capture times.
    pub epoch: Epoch,
    /// The address datagrams are sent from; the only ICE candidate.
    pub local: SocketAddr,
    /// The meeting.
    pub meeting: String,
    /// The room token.
    pub token: String,
    /// Sources that get an m-line in the first offer.
    pub sources: Vec<SourceName>,
    /// Sources published from the start; those without an m-line are left out.
    pub publish: Vec<SourceName>,
    /// What camera and screen make.
    pub video: Video,
    /// When somebody talks.
    pub speech: Speech,
    /// Receive slots of the first offer.
    pub pool: PoolSize,
    /// What to see and hear; `None` leaves the node's default.
    pub interest: Option<Interest>,
}

/// What a [`Peer`] takes in.
#[derive(Debug)]
pub enum Input<'a> {
    /// Time has passed; due when [`Peer::poll_timeout`] said so.
    Timeout,
    /// A datagram arrived at [`PeerOptions::local`].
    Datagram {
        /// Who sent it.
        source: SocketAddr,
        /// Its payload.
        contents: &'a [u8],
    },
    /// The node said something.
    Frame(ServerFrame),
    /// The node said something that is no known frame.
    UnknownFrame,
    /// The signalling connection broke.
    SignallingLost(String),
    /// The socket did not take a datagram.
    Dropped,
    /// Decided outside.
    Command(Command),
}

/// Decided outside.
#[derive(Debug, Clone)]
pub enum Command {
    /// Mutes or unmutes a source: a muted one sends nothing.
    SetMuted {
        /// Which.
        source: SourceName,
        /// Whether it shall be muted.
        muted: bool,
    },
    /// Publishes these sources and no others.
    Publish(Vec<SourceName>),
    /// Says what to see and hear.
    SetInterest(Interest),
    /// Changes when somebody talks.
    SetSpeech(Speech),
    /// Sends a request as it is; an error answer appears in the report.
    Request(Request),
    /// Measures gaps, freezes and delays anew.
    Measure,
    /// Leaves: says so, then ends when the node has answered.
    Leave,
}

/// What a [`Peer`] wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a datagram.
    Transmit {
        /// To whom.
        destination: SocketAddr,
        /// Its payload.
        contents: Vec<u8>,
    },
    /// Send a request to the node.
    Request(RequestFrame),
}

/// One participant. Feed an input, then drain [`Peer::poll_output`] to `None`, then look at [`Peer::poll_timeout`].
pub struct Peer {
    options: PeerOptions,
    rtc: Rtc,
    rtc_timeout: Option<Instant>,
    start: Instant,
    now: Instant,
    next_ping: Instant,
    requests: VecDeque<RequestFrame>,
    last_request: u64,
    asked: VecDeque<(u64, Asked)>,
    pending_offer: Option<SdpPendingOffer>,
    pool: PoolSize,
    offered: PoolSize,
    sending: Vec<Sending>,
    receivers: Vec<Receiver>,
    /// Which receiver a stream belongs to; `None` for one that belongs to no slot.
    streams: HashMap<Ssrc, Option<usize>>,
    report: Report,
}

impl Peer {
    /// A peer that wants to join: its first outputs are the requests for that.
    ///
    /// # Errors
    ///
    /// [`PeerError`] when `local` can't be an ICE candidate.
    pub fn new(now: Instant, options: PeerOptions) -> Result<Self, PeerError> {
        let mut rtc = config(&[options.video.codec]).build(now);
        let candidate = Candidate::host(options.local, "udp");
        let candidate =
            candidate.map_err(|problem| PeerError { address: options.local, problem: problem.to_string() })?;
        rtc.add_local_candidate(candidate);
        let report = Report { publisher: options.publisher, ..Report::default() };
        let mut peer = Self {
            rtc,
            rtc_timeout: None,
            start: now,
            now,
            next_ping: now + PING_EVERY,
            requests: VecDeque::new(),
            last_request: 0,
            asked: VecDeque::new(),
            pending_offer: None,
            pool: options.pool,
            offered: PoolSize { audio: 0, video: 0 },
            sending: Vec::new(),
            receivers: Vec::new(),
            streams: HashMap::new(),
            report,
            options,
        };
        peer.join();
        Ok(peer)
    }

    /// Takes in what happened at `now`. Calls must not go back in time.
    pub fn handle_input(&mut self, now: Instant, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Timeout => self.handle_timeout(),
            Input::Datagram { source, contents } => self.handle_datagram(source, contents),
            Input::Frame(frame) => self.handle_frame(frame),
            Input::UnknownFrame => self.report.unknown_frames += 1,
            Input::SignallingLost(detail) => self.end(Ended::SignallingLost { detail }),
            Input::Dropped => self.report.network.dropped += 1,
            Input::Command(command) => self.handle_command(command),
        }
    }

    /// Returns the next thing to carry out. Drain to `None` after every input, also once it has ended.
    pub fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(request) = self.requests.pop_front() {
                return Some(Output::Request(request));
            }
            match self.rtc.poll_output() {
                Ok(str0m::Output::Timeout(at)) => {
                    self.rtc_timeout = Some(at);
                    return None;
                }
                Ok(str0m::Output::Transmit(transmit)) => {
                    let contents = Vec::from(transmit.contents);
                    self.count_transmit(&contents);
                    return Some(Output::Transmit { destination: transmit.destination, contents });
                }
                Ok(str0m::Output::Event(event)) => self.handle_event(event),
                Err(problem) => self.lose_media(&problem.to_string()),
            }
        }
    }

    /// Says when to come back with [`Input::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.report.ended.is_some() {
            return self.rtc_timeout;
        }
        let sources = self.sending.iter().filter_map(Sending::due);
        sources.chain(self.rtc_timeout).chain([self.next_ping]).min()
    }

    /// Why it ended; `None` while it lives.
    #[must_use]
    pub const fn ended(&self) -> Option<&Ended> {
        self.report.ended.as_ref()
    }

    /// Whether the node has accepted the join and the first offer.
    #[must_use]
    pub const fn is_joined(&self) -> bool {
        self.report.times.joined.is_some() && self.report.times.answered.is_some()
    }

    /// What it did and received, up to `now`.
    #[must_use]
    pub fn report(&self, now: Instant) -> Report {
        let mut report = self.report.clone();
        report.times.reported = now.saturating_duration_since(self.start);
        report.published = self.sending.iter().map(|sending| (sending.name, sending.published)).collect();
        report.slots = self.receivers.iter().map(|receiver| receiver.report(now)).collect();
        report
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::SetMuted { source, muted } => self.set_muted(source, muted),
            Command::Publish(sources) => self.publish(&sources),
            Command::SetInterest(interest) => self.request(Asked::Other, Request::Interest(interest)),
            Command::SetSpeech(speech) => self.set_speech(speech),
            Command::Request(request) => self.request(Asked::Other, request),
            Command::Measure => {
                let now = self.now;
                self.receivers.iter_mut().for_each(|receiver| receiver.measure(now));
            }
            Command::Leave => self.request(Asked::Leave, Request::Leave),
        }
    }

    fn handle_datagram(&mut self, source: SocketAddr, contents: &[u8]) {
        self.report.network.received += 1;
        self.report.network.received_bytes += contents.len() as u64;
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.options.local, contents) else {
            self.report.network.unreadable += 1;
            return;
        };
        if let Err(problem) = self.rtc.handle_input(str0m::Input::Receive(self.now, receive)) {
            self.lose_media(&problem.to_string());
        }
    }

    fn handle_timeout(&mut self) {
        self.send_frames();
        if self.next_ping <= self.now && self.report.ended.is_none() {
            self.next_ping = self.now + PING_EVERY;
            self.request(Asked::Other, Request::Ping);
        }
        if let Err(problem) = self.rtc.handle_input(str0m::Input::Timeout(self.now)) {
            self.lose_media(&problem.to_string());
        }
    }

    /// Time since the start.
    fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.start)
    }

    /// Ends it; the first reason stays. The media connection says goodbye unless it is broken.
    fn end(&mut self, why: Ended) {
        if self.report.ended.is_some() {
            return;
        }
        tracing::debug!(?why, "participant ended");
        self.report.ended = Some(why);
        self.sending.iter_mut().for_each(Sending::stop);
        if let Err(problem) = self.rtc.close() {
            self.lose_media(&problem.to_string());
        }
    }

    fn lose_media(&mut self, detail: &str) {
        self.report.connected = false;
        self.report.media_lost.get_or_insert_with(|| detail.to_owned());
        self.sending.iter_mut().for_each(Sending::stop);
        self.rtc.disconnect();
    }
}

/// The local address can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("local address {address} can't be an ICE candidate: {problem}")]
pub struct PeerError {
    /// The address.
    pub address: SocketAddr,
    /// What is wrong with it.
    pub problem: String,
}

/// What every peer's PeerConnection is like.
pub(crate) fn config(codecs: &[Codec]) -> RtcConfig {
    let mut config = Rtc::builder()
        .set_crypto_provider(crate::srtp::provider())
        .set_rtp_mode(true)
        .clear_codecs()
        .enable_opus(true, false)
        // As often as browsers do, so that tests of synchronisation need not wait.
        .set_rtcp_report_interval_audio(Duration::from_secs(1));
    for codec in codecs {
        codecs::enable(config.codec_config(), *codec);
    }
    config
}

#[cfg(test)]
mod tests;
