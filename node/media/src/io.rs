//! What goes into an `Sfu` and what comes out: the whole of its contract with the outside.

use std::net::SocketAddr;

use plenary_cluster::model::{NodeId, ParticipantId, PublishedTrack, RoomId, SessionId, Source, TrackId};

use crate::relay::Frame;

/// A neighbour in the tree of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Another worker of this node, reached through an in-process ring.
    Worker(u16),
    /// Another node, reached over its media link; frames go to the room's ingress worker there.
    Node(NodeId),
}

/// What an `Sfu` takes in.
#[derive(Debug)]
pub enum Input<'a> {
    /// Time has passed; due when `poll_timeout` said so.
    Timeout,
    /// A UDP datagram arrived on one of the worker's sockets.
    Datagram {
        /// Who sent it.
        source: SocketAddr,
        /// Our address it was sent to: one of [`Settings::addresses`].
        destination: SocketAddr,
        /// Its payload.
        contents: &'a [u8],
    },
    /// Something was decided outside.
    Command(Command),
    /// A relay frame from a neighbour.
    Relay {
        /// From whom.
        from: Peer,
        /// What.
        frame: Frame,
    },
    /// A neighbour can be reached from now on; everything said to it before is forgotten on its side.
    PeerUp(Peer),
    /// A neighbour can't be reached any more.
    PeerDown(Peer),
}

/// Decided outside.
#[derive(Debug, Clone)]
pub enum Command {
    /// Opens a session; its PeerConnection comes with the first offer.
    OpenSession {
        /// The session.
        session: SessionId,
        /// Whose it is.
        participant: ParticipantId,
        /// Where they are.
        room: RoomId,
    },
    /// A client's offer; answered by [`SessionEvent::Answer`].
    Offer {
        /// The session.
        session: SessionId,
        /// Named again in the answer.
        request: u64,
        /// The session description.
        sdp: String,
        /// mid and source of each publish m-line.
        tracks: Vec<(String, Source)>,
        /// mids of all receive slots, old ones first.
        slots: Vec<String>,
    },
    /// A trickled candidate, as the value of its attribute; empty at the end of candidates.
    Candidate {
        /// The session.
        session: SessionId,
        /// `candidate:…`
        candidate: String,
    },
    /// What a client wants to see and hear.
    Interest {
        /// The session.
        session: SessionId,
        /// Replaces the last one.
        interest: Interest,
    },
    /// A client asks for a keyframe of what a slot shows.
    Keyframe {
        /// The session.
        session: SessionId,
        /// The slot's mid.
        mid: String,
    },
    /// Closes a session; no event follows.
    CloseSession {
        /// The session.
        session: SessionId,
    },
    /// Who is in a room and what they publish, as the directory has it. Replaces the last view. A room without
    /// sessions on this worker keeps its view while a neighbour pulls from it.
    Room(RoomView),
    /// The room is over: its view and its relays are dropped.
    CloseRoom(RoomId),
}

/// A room as the directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomView {
    /// Which.
    pub room: RoomId,
    /// Everyone connected.
    pub members: Vec<MemberView>,
}

/// A connected member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberView {
    /// Who.
    pub participant: ParticipantId,
    /// Their session.
    pub session: SessionId,
    /// The node that serves it.
    pub node: NodeId,
    /// The worker there that serves it.
    pub worker: u16,
    /// What they publish; nothing of a muted or absent track is forwarded.
    pub tracks: Vec<PublishedTrack>,
}

/// What a subscriber wants to see and hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// Which pictures.
    pub video: VideoInterest,
    /// Whether sound is sent.
    pub audio: bool,
}

/// Which pictures a subscriber wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoInterest {
    /// Screens first, then who spoke last, then the others.
    Speakers {
        /// At most this many.
        max: u16,
    },
    /// These, most wanted first.
    Tracks(Vec<WantedTrack>),
}

/// A picture that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedTrack {
    /// Whose.
    pub participant: ParticipantId,
    /// Camera or screen.
    pub source: Source,
    /// Shown width in device pixels, 0 when unknown.
    pub width: u16,
    /// Shown height in device pixels, 0 when unknown.
    pub height: u16,
}

/// What an `Sfu` wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a datagram.
    Transmit {
        /// From which of [`Settings::addresses`].
        source: SocketAddr,
        /// To whom.
        destination: SocketAddr,
        /// Its payload.
        contents: Vec<u8>,
    },
    /// Tell a session's owner.
    Session {
        /// Which session.
        session: SessionId,
        /// What.
        event: SessionEvent,
    },
    /// Carry a frame to a neighbour.
    Relay {
        /// To whom.
        to: Peer,
        /// What.
        frame: Frame,
    },
}

/// What a session's owner is told.
#[derive(Debug, Clone, PartialEq)]
pub enum SessionEvent {
    /// The answer to an offer.
    Answer {
        /// The offer's request.
        request: u64,
        /// The session description, or what is wrong with the offer.
        result: Result<String, OfferError>,
    },
    /// ICE and DTLS are done.
    Connected,
    /// Some slots show something else from now on.
    Slots(Vec<SlotChange>),
    /// The video slots with these mids, and no others, wait for another source than the one they show. A slot whose
    /// change is told in [`Self::Slots`] is no longer among them.
    Switching(Vec<String>),
    /// More slots would be filled: a pool of this size is wanted.
    Pool {
        /// Audio slots.
        audio: u16,
        /// Video slots.
        video: u16,
    },
    /// Who is speaking in the room, loudest first; sent on change, to every session.
    Speakers(Vec<ParticipantId>),
    /// The session is gone.
    Closed(CloseReason),
}

/// What is wrong with an offer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Not a session description.
    #[error("not a session description: {0}")]
    Malformed(String),
    /// Can't be answered.
    #[error("can't be answered: {0}")]
    Unsupported(String),
    /// `tracks` or `slots` names a mid that the description lacks, or of the wrong kind or direction.
    #[error("`{field}` names mid {mid}: {problem}")]
    Mid {
        /// `tracks` or `slots`.
        field: &'static str,
        /// The mid.
        mid: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A slot that shows something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotChange {
    /// The slot's mid.
    pub mid: String,
    /// Grows with each change of this slot.
    pub generation: u32,
    /// The new source, `None` when idle.
    pub shows: Option<SlotSource>,
}

/// What a slot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotSource {
    /// Whose.
    pub participant: ParticipantId,
    /// Which track.
    pub track: TrackId,
    /// RTP timestamp of its first packet in this slot.
    pub rtp_timestamp: u32,
}

/// Why a session is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// ICE consent was lost or DTLS failed.
    MediaLost,
    /// No media connection came up in time.
    NeverConnected,
    /// The session hit a bug of ours and was dropped.
    Fault,
}

/// What an `Sfu` is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This node.
    pub node: NodeId,
    /// This worker.
    pub worker: u16,
    /// Number of workers on this node: a room's ingress worker is a hash modulo this.
    pub workers: u16,
    /// Addresses offered as ICE host candidates, all bound by this worker.
    pub addresses: Vec<SocketAddr>,
    /// How many of the loudest are heard.
    pub loudest: u16,
    /// How long an upstream track is kept when nobody watches it any more.
    pub linger: std::time::Duration,
    /// Seed of everything random inside.
    pub seed: u64,
}
