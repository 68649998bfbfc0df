//! A participant's end: a str0m `Rtc` that publishes a [`Feed`], takes what comes and answers with RTCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use plenary_cluster::model::{ParticipantId, SessionId, Source};
use plenary_media::io::SessionEvent;
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{DatagramRecv, Protocol, Receive, Transmit};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::feed::{Feed, Piece};

/// What the web client asks for when it joins.
const SLOTS: [(MediaKind, usize); 2] = [(MediaKind::Audio, 3), (MediaKind::Video, 4)];
/// One in so many datagrams to a subscriber is lost, counted and not by chance: NACKs and retransmissions are part of
/// what a packet costs.
const LOST: u64 = 100;
/// A timer of str0m may stay at now.
const BREATH: Duration = Duration::from_micros(100);
/// Loudness of whoever speaks (RFC 6464).
const LEVEL: i8 = -40;

/// What someone publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publishes {
    Nothing,
    Sound,
    SoundAndPicture,
}

impl Publishes {
    /// The sources of it, sound first.
    pub(crate) const fn sources(self) -> &'static [Source] {
        match self {
            Self::Nothing => &[],
            Self::Sound => &[Source::Microphone],
            Self::SoundAndPicture => &[Source::Microphone, Source::Camera],
        }
    }
}

/// A participant's end.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) server: usize,
    pub(crate) session: SessionId,
    pub(crate) participant: ParticipantId,
    pub(crate) address: SocketAddr,
    pub(crate) publishes: Publishes,
    pub(crate) connected: bool,
    /// Media packets that arrived.
    pub(crate) received: u64,
    datagrams: u64,
    rtc: Rtc,
    due: Instant,
    pending: Option<SdpPendingOffer>,
    /// The publish m-lines, in the order of [`Publishes::sources`].
    lines: Vec<Mid>,
    feed: Option<Feed>,
}

/// An offer as it is signalled.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) sdp: String,
    pub(crate) tracks: Vec<(String, Source)>,
    pub(crate) slots: Vec<String>,
}

impl Client {
    pub(crate) fn new(
        now: Instant,
        server: usize,
        address: SocketAddr,
        (session, participant): (SessionId, ParticipantId),
        publishes: Publishes,
    ) -> anyhow::Result<Self> {
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(Arc::new(str0m::crypto::from_feature_flags()))
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .set_rtp_mode(true)
            .build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp")?);
        Ok(Self {
            server,
            session,
            participant,
            address,
            publishes,
            connected: false,
            received: 0,
            datagrams: 0,
            rtc,
            due: now,
            pending: None,
            lines: Vec::new(),
            feed: None,
        })
    }

    /// Makes the first offer: the publish m-lines, then for a subscriber the slots.
    pub(crate) fn offer(&mut self) -> anyhow::Result<Offer> {
        let mut api = self.rtc.sdp_api();
        for source in self.publishes.sources() {
            let kind = if *source == Source::Microphone { MediaKind::Audio } else { MediaKind::Video };
            self.lines.push(api.add_media(kind, Direction::SendOnly, None, None, None));
        }
        let mut slots = Vec::new();
        if self.publishes == Publishes::Nothing {
            for (kind, count) in SLOTS {
                slots
                    .extend((0..count).map(|_| api.add_media(kind, Direction::RecvOnly, None, None, None).to_string()));
            }
        }
        let (offer, pending) = api.apply().context("there is something to offer")?;
        self.pending = Some(pending);
        let lines = self.lines.iter().map(ToString::to_string);
        let tracks = lines.zip(self.publishes.sources().iter().copied()).collect();
        Ok(Offer { sdp: offer.to_sdp_string(), tracks, slots })
    }

    pub(crate) fn handle_event(&mut self, event: &SessionEvent) -> anyhow::Result<()> {
        let SessionEvent::Answer { result, .. } = event else { return Ok(()) };
        let sdp = result.as_ref().map_err(|problem| anyhow::anyhow!("the offer was refused: {problem}"))?;
        let pending = self.pending.take().context("one answer follows an offer")?;
        self.rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(sdp)?)?;
        Ok(())
    }

    /// Starts camera and microphone.
    pub(crate) fn publish(&mut self, now: Instant) {
        self.feed = Some(Feed::new(now, self.publishes == Publishes::SoundAndPicture));
    }

    pub(crate) fn next_at(&self) -> Instant {
        self.feed.as_ref().map_or(self.due, |feed| feed.next_at().min(self.due))
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, source: SocketAddr, contents: &[u8]) -> anyhow::Result<()> {
        self.datagrams += 1;
        if self.connected && self.publishes == Publishes::Nothing && self.datagrams.is_multiple_of(LOST) {
            return Ok(());
        }
        let contents = DatagramRecv::try_from(contents)?;
        let receive = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
        self.rtc.handle_input(Input::Receive(now, receive))?;
        Ok(())
    }

    /// Lets time pass and returns what to send.
    pub(crate) fn run(&mut self, now: Instant) -> anyhow::Result<Vec<Transmit>> {
        for piece in self.feed.as_mut().map(|feed| feed.take_due(now)).unwrap_or_default() {
            self.write(now, piece)?;
        }
        self.rtc.handle_input(Input::Timeout(now))?;
        let mut out = Vec::new();
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.due = at.max(now + BREATH);
                    return Ok(out);
                }
                Output::Transmit(transmit) => out.push(transmit),
                Output::Event(event) => self.handle_rtc_event(&event),
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "str0m's events grow; the others don't matter here")]
    fn handle_rtc_event(&mut self, event: &Event) {
        match event {
            Event::Connected => self.connected = true,
            // An empty payload primes a slot.
            Event::RtpPacket(packet) if !packet.payload.is_empty() => self.received += 1,
            Event::KeyframeRequest(_) => {
                if let Some(feed) = &mut self.feed {
                    feed.request_keyframe();
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, now: Instant, piece: Piece) -> anyhow::Result<()> {
        let mid = *self.lines.get(usize::from(piece.picture)).context("a feed has its m-lines")?;
        let pt = self.payload_type(mid).context("the m-line has a codec")?;
        let time = u32::try_from(piece.timestamp).context("a scenario is shorter than half a day")?;
        let mut write = RtpWrite::new(pt, piece.sequence.into(), time, now, piece.payload)
            .marker(piece.marker)
            .nackable(piece.picture);
        if !piece.picture {
            let extensions =
                ExtensionValues { audio_level: Some(LEVEL), voice_activity: Some(true), ..ExtensionValues::default() };
            write = write.ext_vals(extensions);
        }
        let mut api = self.rtc.direct_api();
        api.stream_tx_by_mid(mid, None).context("the m-line sends")?.write_rtp(write);
        Ok(())
    }

    fn payload_type(&self, mid: Mid) -> Option<Pt> {
        let remote = self.rtc.media(mid)?.remote_pts();
        self.rtc.codec_config().find(|params| remote.contains(&params.pt())).map(|params| params.pt())
    }
}
