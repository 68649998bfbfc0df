//! The signalling half of a peer: requests out, replies and pushes in, offers.

use plenary_protocol::{
    ClientInfo, Joined, OfferedTrack, PoolSize, ProtocolError, Push, Reply, ReplyFrame, Request, RequestFrame,
    RosterChange, ServerFrame, SlotAnnouncement, SourceName, TrackInfo, VERSION,
};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind};

use super::media::Sending;
use super::{Peer, streams};
use crate::receiver::Receiver;
use crate::report::{Ended, SlotKind};

/// Errors kept for the report.
const ERRORS_KEPT: usize = 64;

/// Requests whose replies are matched; older ones count as forgotten.
const OPEN_REQUESTS: usize = 256;

/// What an open request was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Join,
    Offer,
    Leave,
    Other,
}

impl Peer {
    /// Joins, offers, and says what is published and wanted; no request waits for an answer.
    pub(super) fn join(&mut self) {
        let client =
            ClientInfo { name: "plenary-participant".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let (token, meeting) = (self.options.token.clone(), self.options.meeting.clone());
        self.request(Asked::Join, Request::Join { token, meeting, client });
        self.offer();
        if self.sending.iter().any(|sending| sending.published.active) {
            self.say_published();
        }
        if let Some(interest) = self.options.interest.clone() {
            self.request(Asked::Other, Request::Interest(interest));
        }
    }

    pub(super) fn request(&mut self, asked: Asked, request: Request) {
        self.last_request += 1;
        if self.asked.len() == OPEN_REQUESTS {
            self.asked.pop_front();
        }
        self.asked.push_back((self.last_request, asked));
        self.requests.push_back(RequestFrame { v: VERSION, id: self.last_request, request });
    }

    pub(super) fn handle_frame(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Reply(reply) => self.handle_reply(reply),
            ServerFrame::Push(push) => self.handle_push(push.push),
        }
    }

    /// Publishes `sources` and no others; sources without an m-line are left out.
    pub(super) fn publish(&mut self, sources: &[SourceName]) {
        for sending in &mut self.sending {
            sending.set_active(sources.contains(&sending.name));
        }
        self.say_published();
    }

    pub(super) fn set_muted(&mut self, source: SourceName, muted: bool) {
        if let Some(sending) = self.sending.iter_mut().find(|sending| sending.name == source) {
            sending.set_muted(muted);
            self.say_published();
        }
    }

    fn say_published(&mut self) {
        let active = self.sending.iter().filter(|sending| sending.published.active);
        let tracks = active.map(|sending| TrackInfo { source: sending.name, muted: sending.published.muted }).collect();
        self.request(Asked::Other, Request::Publish { tracks });
    }

    /// Offers what is not offered yet: publish m-lines the first time, and slots up to the wanted pool.
    fn offer(&mut self) {
        if self.pending_offer.is_some() {
            return;
        }
        let stream = Some(format!("publisher-{}", self.options.publisher));
        let mut changes = self.rtc.sdp_api();
        if self.sending.is_empty() {
            for &name in &self.options.sources {
                let kind = media_kind(name);
                let layers = streams::offered(kind, self.options.video.layers);
                let mid = changes.add_media(kind, Direction::SendOnly, stream.clone(), None, layers);
                let active = self.options.publish.contains(&name);
                self.sending.push(Sending::new(name, mid, active));
            }
        }
        let missing_audio = usize::from(self.pool.audio.saturating_sub(self.offered.audio));
        let missing_video = usize::from(self.pool.video.saturating_sub(self.offered.video));
        let audio = std::iter::repeat_n((MediaKind::Audio, SlotKind::Audio), missing_audio);
        let video = std::iter::repeat_n((MediaKind::Video, SlotKind::Video), missing_video);
        for (media, kind) in audio.chain(video) {
            let mid = changes.add_media(media, Direction::RecvOnly, None, None, None);
            self.receivers.push(Receiver::new(mid.to_string(), kind, self.options.epoch, self.start));
        }
        let Some((offer, pending)) = changes.apply() else { return };
        self.pending_offer = Some(pending);
        self.offered = larger(self.pool, self.offered);
        self.report.offers += 1;
        let sdp = streams::without_sources(&offer.to_sdp_string());
        let named = |sending: &Sending| OfferedTrack { mid: sending.mid.to_string(), source: sending.name };
        let tracks = self.sending.iter().map(named).collect();
        let slots = self.receivers.iter().map(|receiver| receiver.mid().to_owned()).collect();
        self.request(Asked::Offer, Request::Offer { sdp, tracks, slots });
    }

    fn handle_reply(&mut self, frame: ReplyFrame) {
        let at = self.asked.iter().position(|(id, _)| *id == frame.re);
        let asked = at.and_then(|at| self.asked.remove(at)).map(|(_, asked)| asked);
        match (frame.reply, asked) {
            (Reply::Joined(joined), _) => self.handle_joined(*joined),
            (Reply::Answer { sdp }, _) => self.handle_answer(&sdp),
            (Reply::Error(error), asked) => self.handle_error(error, asked),
            (Reply::Ok, Some(Asked::Leave)) => self.end(Ended::Left),
            (Reply::Ok, _) => {}
        }
    }

    fn handle_joined(&mut self, joined: Joined) {
        self.report.times.joined = Some(self.elapsed());
        self.report.roster = joined.roster.iter().map(|member| (member.id.clone(), member.clone())).collect();
        let pool = joined.pool;
        self.report.joined = Some(joined);
        self.grow_pool(pool);
    }

    fn handle_answer(&mut self, sdp: &str) {
        let Some(pending) = self.pending_offer.take() else {
            return self.end(Ended::Misunderstood { detail: "an answer without an offer".to_owned() });
        };
        let parsed = SdpAnswer::from_sdp_string(sdp).map_err(|problem| problem.to_string());
        let accepted = parsed.and_then(|answer| {
            self.rtc.sdp_api().accept_answer(pending, answer).map_err(|problem| problem.to_string())
        });
        if let Err(problem) = accepted {
            return self.end(Ended::Misunderstood { detail: format!("the answer can't be used: {problem}") });
        }
        for sending in &self.sending {
            streams::merge_refused(&mut self.rtc, sending.mid);
        }
        let now = self.elapsed();
        self.report.times.answered.get_or_insert(now);
        // A larger pool may have been asked for while the offer was out.
        self.offer();
    }

    fn handle_error(&mut self, error: ProtocolError, asked: Option<Asked>) {
        if self.report.errors.len() == ERRORS_KEPT {
            self.report.errors.remove(0);
        }
        self.report.errors.push(error.clone());
        match asked {
            Some(Asked::Join | Asked::Offer) => self.end(Ended::Rejected(error)),
            Some(Asked::Leave) => self.end(Ended::Left),
            Some(Asked::Other) | None => {}
        }
    }

    fn handle_push(&mut self, push: Push) {
        match push {
            Push::Roster { reset, changes, .. } => self.handle_roster(reset, changes),
            Push::Slots { slots } => slots.into_iter().for_each(|slot| self.handle_announcement(slot)),
            // For those who look: a headless participant knows each frame's source from its packets.
            Push::Switching { mids: _ } => {}
            Push::Pool(pool) => self.grow_pool(pool.size),
            Push::Speakers { speakers } => self.report.speakers = speakers,
            Push::MediaConnected => self.report.media_connected = true,
            Push::Meeting { state } => self.report.meeting = Some(state),
            Push::Closed(close) => self.end(Ended::Closed(close)),
        }
    }

    fn handle_roster(&mut self, reset: bool, changes: Vec<RosterChange>) {
        self.report.roster_pushes += 1;
        if reset {
            self.report.roster.clear();
        }
        for change in changes {
            match change {
                RosterChange::Set { member } => {
                    self.report.roster.insert(member.id.clone(), member);
                }
                RosterChange::Left { id } => {
                    self.report.roster.remove(&id);
                }
            }
        }
    }

    fn handle_announcement(&mut self, announcement: SlotAnnouncement) {
        if let Some(receiver) = self.receivers.iter_mut().find(|receiver| receiver.mid() == announcement.mid) {
            receiver.announce(announcement);
        }
    }

    fn grow_pool(&mut self, wanted: PoolSize) {
        self.pool = larger(self.pool, wanted);
        if self.pool != self.offered {
            self.offer();
        }
    }
}

const fn media_kind(source: SourceName) -> MediaKind {
    match source {
        SourceName::Microphone | SourceName::ScreenAudio => MediaKind::Audio,
        SourceName::Camera | SourceName::Screen => MediaKind::Video,
    }
}

/// The larger of each kind.
fn larger(one: PoolSize, other: PoolSize) -> PoolSize {
    PoolSize { audio: one.audio.max(other.audio), video: one.video.max(other.video) }
}
