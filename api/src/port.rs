//! The traits through which `api` reaches media. `plenary` implements them over its workers.

use plenary_cluster::model::{MeetingId, NodeId, ParticipantId, RoomId, SessionId, Source};
use plenary_protocol::{Interest, SlotAnnouncement, SourceName};
use tokio::sync::mpsc;

/// A session to be opened.
#[derive(Debug, Clone, Copy)]
pub struct SessionRequest {
    /// The new session.
    pub session: SessionId,
    /// Whose it is.
    pub participant: ParticipantId,
    /// The meeting.
    pub meeting: MeetingId,
    /// The room.
    pub room: RoomId,
}

/// An open session's media side.
#[derive(Debug)]
pub struct SessionHandle {
    /// The worker that serves it.
    pub worker: u16,
    /// What the media side says; closed when the session is gone.
    pub events: mpsc::Receiver<MediaEvent>,
}

/// Asked of an open session's media side.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaCommand {
    /// A client's offer; answered by [`MediaEvent::Answer`].
    Offer {
        /// The signalling request's id.
        request: u64,
        /// The session description.
        sdp: String,
        /// mid and source of each publish m-line.
        tracks: Vec<(String, Source)>,
        /// mids of all receive slots.
        slots: Vec<String>,
    },
    /// A trickled candidate.
    Candidate(String),
    /// What the client wants to see and hear.
    Interest(Interest),
    /// A keyframe of what a slot shows.
    Keyframe {
        /// The slot's mid.
        mid: String,
    },
    /// Close the session.
    Close,
}

/// What the media side of a session says.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaEvent {
    /// The answer to an offer.
    Answer {
        /// The offer's request.
        request: u64,
        /// The session description, or the fault: `field` is `sdp`, `tracks` or `slots`.
        result: Result<String, OfferFault>,
    },
    /// ICE and DTLS are done.
    Connected,
    /// Some slots show something else.
    Slots(Vec<SlotAnnouncement>),
    /// These slots, and no others, are about to show something else.
    Switching(Vec<String>),
    /// A larger pool is wanted.
    Pool {
        /// Audio slots.
        audio: u16,
        /// Video slots.
        video: u16,
    },
    /// Who is speaking, loudest first.
    Speakers(Vec<ParticipantId>),
    /// The session is gone.
    Closed(MediaClose),
}

/// What is wrong with an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferFault {
    /// The field of the request at fault.
    pub field: &'static str,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// Why the media side is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaClose {
    /// The connection was lost.
    Lost,
    /// No connection came up in time.
    NeverConnected,
    /// A fault of ours.
    Fault,
}

/// The media side takes no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// This node takes no more sessions.
    #[error("node is full")]
    Full,
    /// The session is gone.
    #[error("session is gone")]
    Gone,
}

/// A worker as it is now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WorkerStatus {
    /// Sessions it serves.
    pub sessions: u32,
    /// Rooms it has a shard of.
    pub rooms: u32,
    /// Share of one core it used over the last second, 0 to 100.
    pub load_percent: u8,
}

/// The media plane of this node.
pub trait Media: Send + Sync + 'static {
    /// Opens a session on one of the workers.
    ///
    /// # Errors
    /// [`MediaError::Full`] when this node takes no more.
    fn open(&self, request: SessionRequest) -> Result<SessionHandle, MediaError>;

    /// Asks something of an open session. Never blocks.
    ///
    /// # Errors
    /// [`MediaError::Gone`] when there is no such session, [`MediaError::Full`] when its worker can't keep up.
    fn command(&self, session: SessionId, command: MediaCommand) -> Result<(), MediaError>;

    /// The workers as they are now.
    fn workers(&self) -> Vec<WorkerStatus>;

    /// This node and its current epoch, named in the sessions it opens.
    fn node(&self) -> (NodeId, u64);
}

/// A source, in the directory's and the media side's words.
#[must_use]
pub const fn source(name: SourceName) -> Source {
    match name {
        SourceName::Microphone => Source::Microphone,
        SourceName::Camera => Source::Camera,
        SourceName::Screen => Source::Screen,
        SourceName::ScreenAudio => Source::ScreenAudio,
    }
}

/// A source, on the wire.
#[must_use]
pub const fn source_name(source: Source) -> SourceName {
    match source {
        Source::Microphone => SourceName::Microphone,
        Source::Camera => SourceName::Camera,
        Source::Screen => SourceName::Screen,
        Source::ScreenAudio => SourceName::ScreenAudio,
    }
}
