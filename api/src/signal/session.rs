//! One client's signalling, from the first frame to the last. Pure: no socket, no clock, no task.
//!
//! ```text
//!  frames ──────►┐                      ┌──► frames to the client
//!  admission ───►│  handle_* ─ Session ─┤ poll_output
//!  news, media ─►┘                      └──► joins, proposals and media commands to carry out
//! ```
//!
//! Replies leave in the order of their requests: what needs the directory or the media side keeps its place in line.
//! Until the join is decided, later requests wait (at most [`MAX_WAITING`]).

use std::collections::VecDeque;

use plenary_cluster::model::{MeetingId, MeetingStatus, ParticipantId, PublishedTrack, SessionId};
use plenary_cluster::state::{Event, EventKind, State};
use plenary_protocol::{
    Close, ErrorCode, Joined, MAX_FRAME_BYTES, MeetingState, Pool, PoolSize, ProtocolError, Push, PushFrame, Reply,
    ReplyFrame, Request, RequestFrame, RosterChange, ServerFrame, TrackInfo, VERSION,
};

use super::frame::{check_interest, parse};
use super::wire::{error, field_error, meeting_state, member_of};
use crate::port::{MediaClose, MediaCommand, MediaEvent, source};

/// Requests that may wait for the join to be decided.
pub const MAX_WAITING: usize = 32;

/// Requests that may be in line for their reply; while so many are, no more are read.
pub const MAX_LINE: usize = 64;

/// What the shell is to carry out.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a frame.
    Send(ServerFrame),
    /// Verify the token and open the session; answer with [`Session::handle_admission`].
    Join {
        /// The room token.
        token: String,
        /// The meeting the client means.
        meeting: String,
    },
    /// Propose what the session publishes; answer with [`Session::handle_published`], in order.
    Publish(Vec<PublishedTrack>),
    /// Ask the media side.
    Media(MediaCommand),
    /// Close the connection. `left` tells whether the person chose to leave.
    Close {
        /// The person left, as against: was cut off.
        left: bool,
    },
}

/// The join was decided in the client's favour.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// The meeting.
    pub meeting: MeetingId,
    /// Who the client is.
    pub participant: ParticipantId,
    /// The new session.
    pub session: SessionId,
    /// What the client is told.
    pub joined: Joined,
}

/// One client's signalling.
#[derive(Debug, Default)]
pub struct Session {
    phase: Phase,
    /// Requests in line for their reply, oldest first.
    line: VecDeque<Place>,
    /// Requests that wait for the join to be decided.
    waiting: VecDeque<RequestFrame>,
    outputs: VecDeque<Output>,
    pushes: u64,
    /// The roster the client knows is of this revision.
    revision: u64,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    New,
    Joining,
    Joined {
        meeting: MeetingId,
        participant: ParticipantId,
        session: SessionId,
    },
    Closed,
}

/// Why a session is no longer its participant's.
#[derive(Debug, Clone, Copy)]
enum Gone {
    /// They opened another.
    Replaced,
    /// Its node was declared down.
    Lost,
    /// They were sent away.
    Removed,
}

#[derive(Debug)]
struct Place {
    id: u64,
    awaits: Awaits,
    reply: Option<Reply>,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Awaits {
    Nothing,
    Admission,
    Directory,
    Answer,
}

impl Session {
    /// Returns the next thing to carry out. Drain to `None` after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the client's next frame may be handed in. Those that may not stay in the socket.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        self.line.len() < MAX_LINE
    }

    /// Who this is and where, once joined.
    #[must_use]
    pub const fn place(&self) -> Option<(MeetingId, ParticipantId, SessionId)> {
        match self.phase {
            Phase::Joined { meeting, participant, session } => Some((meeting, participant, session)),
            Phase::New | Phase::Joining | Phase::Closed => None,
        }
    }

    /// Whether no join has been asked for, or the last one was refused.
    #[must_use]
    pub const fn awaits_join(&self) -> bool {
        matches!(self.phase, Phase::New)
    }

    /// Takes in a text frame from the client.
    pub fn handle_text(&mut self, text: &str) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        if text.len() > MAX_FRAME_BYTES {
            let message = format!("a frame of {} bytes is too large: send at most {MAX_FRAME_BYTES} bytes", text.len());
            self.reply_now(0, Reply::Error(field_error(ErrorCode::MessageTooLarge, "", "too_large", message.clone())));
            self.close("MESSAGE_TOO_LARGE", message, true, false);
            return;
        }
        match parse(text) {
            Ok(frame) => self.handle_request(frame),
            Err((id, fault)) => self.reply_now(id, Reply::Error(fault)),
        }
    }

    /// Takes in that the client sent what is no text frame.
    pub fn handle_binary(&mut self) {
        let message = "binary frames are not spoken here: send JSON text frames";
        self.reply_now(0, Reply::Error(error(ErrorCode::MalformedMessage, message)));
    }

    /// Takes in that no join came in time.
    pub fn handle_join_deadline(&mut self) {
        if matches!(self.phase, Phase::New) {
            self.close("NOT_JOINED", "no `join` arrived in time: send it first", true, false);
        }
    }

    /// Takes in how the join was decided.
    pub fn handle_admission(&mut self, decided: Result<Admission, ProtocolError>) {
        if !matches!(self.phase, Phase::Joining) {
            return;
        }
        match decided {
            Ok(Admission { meeting, participant, session, joined }) => {
                self.phase = Phase::Joined { meeting, participant, session };
                self.revision = joined.revision;
                self.resolve(Awaits::Admission, Reply::Joined(Box::new(joined)));
            }
            Err(fault) => {
                self.phase = Phase::New;
                self.resolve(Awaits::Admission, Reply::Error(fault));
            }
        }
        for frame in std::mem::take(&mut self.waiting) {
            self.handle_request(frame);
        }
    }

    /// Takes in what came of the oldest publication in hand.
    pub fn handle_published(&mut self, outcome: Result<(), ProtocolError>) {
        self.resolve(Awaits::Directory, outcome.map_or_else(Reply::Error, |()| Reply::Ok));
    }

    /// Takes in what happened in the meeting.
    pub fn handle_events<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        let mut changes = Vec::new();
        let mut revision = self.revision;
        let mut status = None;
        let mut gone = None;
        for event in events {
            if event.revision <= self.revision {
                continue;
            }
            revision = event.revision;
            match &event.kind {
                EventKind::ParticipantChanged { entry, .. } => {
                    gone = gone.or_else(|| self.taken_away(entry.participant, entry.session));
                    changes.push(RosterChange::Set { member: member_of(entry) });
                }
                EventKind::ParticipantLeft { participant, .. } => {
                    if self.place().is_some_and(|(_, me, _)| me == *participant) {
                        gone.get_or_insert(Gone::Removed);
                    }
                    changes.push(RosterChange::Left { id: participant.to_string() });
                }
                EventKind::MeetingChanged { status: now, .. } => status = Some(*now),
                EventKind::NodeChanged { .. } => {}
            }
        }
        self.revision = revision;
        if !changes.is_empty() && gone.is_none() {
            self.push(Push::Roster { revision, reset: false, changes });
        }
        // The end of a meeting dismisses everyone: that it ended says more than that one was dismissed.
        if let Some(status) = status {
            self.meeting_changed(status);
        }
        match gone {
            Some(Gone::Replaced) => self.close("session_replaced", "you joined again elsewhere", false, false),
            Some(Gone::Lost) => {
                self.close("media_failed", "the cluster took this session for lost; join again", true, false)
            }
            Some(Gone::Removed) => self.close("removed", "you are no longer in the meeting", true, false),
            None => {}
        }
    }

    /// Takes in the whole meeting anew, after news were missed.
    pub fn handle_reset(&mut self, state: &State) {
        let Some((meeting, me, session)) = self.place() else { return };
        let Some(record) = state.meeting(meeting) else {
            self.meeting_changed(None);
            return;
        };
        if state.participant(meeting, me).and_then(|me| me.session.as_ref()).is_none_or(|now| now.id != session) {
            self.close("session_replaced", "this session is no longer yours", true, false);
            return;
        }
        let changes = state.roster(meeting).map(|entry| RosterChange::Set { member: member_of(&entry) }).collect();
        self.revision = state.revision();
        self.push(Push::Roster { revision: self.revision, reset: true, changes });
        self.meeting_changed(Some(record.status));
    }

    /// Takes in what the media side says.
    pub fn handle_media(&mut self, event: MediaEvent) {
        match event {
            MediaEvent::Answer { request, result } => {
                let reply = match result {
                    Ok(sdp) => Reply::Answer { sdp },
                    Err(fault) => {
                        let code = if fault.field == "sdp" { ErrorCode::MalformedSdp } else { ErrorCode::InvalidField };
                        Reply::Error(field_error(code, fault.field, "invalid", fault.message))
                    }
                };
                self.resolve_id(request, Awaits::Answer, reply);
            }
            MediaEvent::Connected => self.push(Push::MediaConnected),
            MediaEvent::Slots(slots) => self.push(Push::Slots { slots }),
            MediaEvent::Switching(mids) => self.push(Push::Switching { mids }),
            MediaEvent::Pool { audio, video } => self.push(Push::Pool(Pool { size: PoolSize { audio, video } })),
            MediaEvent::Speakers(speakers) => {
                self.push(Push::Speakers { speakers: speakers.iter().map(ToString::to_string).collect() });
            }
            MediaEvent::Closed(reason) => self.media_closed(reason),
        }
    }

    /// Takes in that the media side is gone without a word, or does not take a command any more.
    pub fn handle_media_gone(&mut self) {
        self.close("too_slow", "this connection did not keep up; join again", true, false);
    }

    /// Takes in that the node stops.
    pub fn handle_shutdown(&mut self) {
        self.close("shutting_down", "this node is stopping; join again through another", true, false);
    }

    fn media_closed(&mut self, reason: MediaClose) {
        let message = match reason {
            MediaClose::Lost => "the media connection was lost; join again",
            MediaClose::NeverConnected => "no media connection came up; check that UDP is let through, then join again",
            MediaClose::Fault => "the media connection failed through a fault of the node; join again",
        };
        self.close("media_failed", message, true, false);
    }

    fn handle_request(&mut self, RequestFrame { v: _, id, request }: RequestFrame) {
        match &self.phase {
            Phase::New => self.handle_first(id, request),
            Phase::Joining if self.waiting.len() < MAX_WAITING => {
                self.waiting.push_back(RequestFrame { v: VERSION, id, request });
            }
            Phase::Joining => {
                let message = "too many requests wait for `join`: wait for its reply";
                self.reply_now(id, Reply::Error(error(ErrorCode::RateLimitExceeded, message)));
            }
            Phase::Joined { .. } => self.handle_joined(id, request),
            Phase::Closed => {}
        }
    }

    fn handle_first(&mut self, id: u64, request: Request) {
        match request {
            Request::Join { token, meeting, client: _ } => {
                self.phase = Phase::Joining;
                self.line_up(id, Awaits::Admission);
                self.outputs.push_back(Output::Join { token, meeting });
            }
            Request::Ping => self.reply_now(id, Reply::Ok),
            Request::Offer { .. }
            | Request::Candidate { .. }
            | Request::Publish { .. }
            | Request::Interest(_)
            | Request::Keyframe { .. }
            | Request::Leave => {
                let message = "not joined: send `join` with a room token first";
                self.reply_now(id, Reply::Error(error(ErrorCode::NotJoined, message)));
            }
        }
    }

    fn handle_joined(&mut self, id: u64, request: Request) {
        match request {
            Request::Join { .. } => {
                let message = "already joined: open another connection for another session";
                self.reply_now(id, Reply::Error(error(ErrorCode::AlreadyJoined, message)));
            }
            Request::Offer { sdp, tracks, slots } => {
                self.line_up(id, Awaits::Answer);
                let tracks = tracks.into_iter().map(|track| (track.mid, source(track.source))).collect();
                self.outputs.push_back(Output::Media(MediaCommand::Offer { request: id, sdp, tracks, slots }));
            }
            Request::Candidate { candidate } => self.media(id, MediaCommand::Candidate(candidate)),
            Request::Publish { tracks } => self.publish(id, &tracks),
            Request::Interest(interest) => match check_interest(&interest) {
                Ok(()) => self.media(id, MediaCommand::Interest(interest)),
                Err(fault) => self.reply_now(id, Reply::Error(fault)),
            },
            Request::Keyframe { mid } => self.media(id, MediaCommand::Keyframe { mid }),
            Request::Leave => {
                self.reply_now(id, Reply::Ok);
                self.close("left", "you left", false, true);
            }
            Request::Ping => self.reply_now(id, Reply::Ok),
        }
    }

    fn media(&mut self, id: u64, command: MediaCommand) {
        self.outputs.push_back(Output::Media(command));
        self.reply_now(id, Reply::Ok);
    }

    fn publish(&mut self, id: u64, wanted: &[TrackInfo]) {
        let mut tracks: Vec<PublishedTrack> = Vec::with_capacity(wanted.len());
        for (index, track) in wanted.iter().enumerate() {
            let published = PublishedTrack { source: source(track.source), muted: track.muted };
            if tracks.iter().any(|other| other.source == published.source) {
                let path = format!("tracks.{index}.source");
                let message = format!("`{path}` names {} twice: name each source once", published.source);
                self.reply_now(id, Reply::Error(field_error(ErrorCode::InvalidField, &path, "duplicate", message)));
                return;
            }
            tracks.push(published);
        }
        self.line_up(id, Awaits::Directory);
        self.outputs.push_back(Output::Publish(tracks));
    }

    /// Why this session is no longer its participant's, if it is so.
    fn taken_away(&self, participant: ParticipantId, session: Option<SessionId>) -> Option<Gone> {
        let (_, _, mine) = self.place().filter(|(_, me, _)| *me == participant)?;
        match session {
            Some(now) if now == mine => None,
            Some(_) => Some(Gone::Replaced),
            None => Some(Gone::Lost),
        }
    }

    fn meeting_changed(&mut self, status: Option<MeetingStatus>) {
        let state = status.map_or(MeetingState::Ended, meeting_state);
        self.push(Push::Meeting { state });
        if state == MeetingState::Ended {
            self.close("meeting_ended", "the meeting has ended", false, false);
        }
    }

    fn line_up(&mut self, id: u64, awaits: Awaits) {
        self.line.push_back(Place { id, awaits, reply: None });
    }

    fn reply_now(&mut self, id: u64, reply: Reply) {
        self.line.push_back(Place { id, awaits: Awaits::Nothing, reply: Some(reply) });
        self.send_replies();
    }

    fn resolve(&mut self, awaits: Awaits, reply: Reply) {
        let place = self.line.iter_mut().find(|place| place.awaits == awaits && place.reply.is_none());
        if let Some(place) = place {
            place.reply = Some(reply);
        }
        self.send_replies();
    }

    fn resolve_id(&mut self, id: u64, awaits: Awaits, reply: Reply) {
        let mut places = self.line.iter_mut();
        if let Some(place) = places.find(|place| place.id == id && place.awaits == awaits && place.reply.is_none()) {
            place.reply = Some(reply);
        }
        self.send_replies();
    }

    fn send_replies(&mut self) {
        while let Some(Place { id, awaits: _, reply: Some(_) }) = self.line.front() {
            let re = *id;
            let reply = self.line.pop_front().and_then(|place| place.reply).expect("the front has its reply");
            self.outputs.push_back(Output::Send(ServerFrame::Reply(ReplyFrame { v: VERSION, re, reply })));
        }
    }

    fn push(&mut self, push: Push) {
        if matches!(self.phase, Phase::Joined { .. } | Phase::New) {
            self.pushes += 1;
            let frame = PushFrame { v: VERSION, seq: self.pushes, push };
            self.outputs.push_back(Output::Send(ServerFrame::Push(frame)));
        }
    }

    fn close(&mut self, code: &str, message: impl Into<String>, rejoin: bool, left: bool) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.push(Push::Closed(Close { code: code.to_owned(), message: message.into(), rejoin }));
        self.outputs.push_back(Output::Close { left });
        self.phase = Phase::Closed;
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
