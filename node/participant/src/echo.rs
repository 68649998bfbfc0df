//! A node of a few lines for tests: it answers every request and sends back what a participant publishes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use plenary_protocol::{Joined, MeetingInfo, Member, PoolSize, Reply, Request, SourceName};
use str0m::change::SdpOffer;
use str0m::format::CodecExtra;
use str0m::media::{KeyframeRequestKind, MediaData, MediaKind, Mid, Rid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, IceConnectionState, Rtc, RtcConfig};

use crate::peer::config;
use crate::source::{Codec, Layers};

/// A node that sends sound and pictures back in the first slot of each kind.
pub(crate) struct Echo {
    rtc: Rtc,
    address: SocketAddr,
    pub(crate) timeout: Instant,
    slots: Vec<Mid>,
    tracks: Vec<(Mid, SourceName)>,
    pub(crate) connected: bool,
    pub(crate) lost: bool,
    /// Lines of an offer that it does not know (RFC 8866 §5.13: it ignores them).
    ignored: &'static [&'static str],
    /// Pictures received, by the rid of their stream.
    pub(crate) pictures: BTreeMap<Option<String>, u64>,
    /// Pictures put together, where it does that.
    pub(crate) frames: Vec<Frame>,
}

/// A picture as str0m's depacketizer made it.
pub(crate) struct Frame {
    pub(crate) codec: Codec,
    pub(crate) keyframe: bool,
    pub(crate) contiguous: bool,
}

impl Echo {
    pub(crate) fn new(now: Instant, address: SocketAddr) -> Self {
        Self::with(now, address, config(&Codec::ALL))
    }

    fn with(now: Instant, address: SocketAddr, config: RtcConfig) -> Self {
        let mut rtc = config.set_ice_lite(true).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let (slots, tracks) = (Vec::new(), Vec::new());
        let (ignored, pictures, frames) = (&[][..], BTreeMap::new(), Vec::new());
        Self { rtc, address, timeout: now, slots, tracks, connected: false, lost: false, ignored, pictures, frames }
    }

    /// One that puts pictures together and sends nothing back.
    pub(crate) fn depacketizing(now: Instant, address: SocketAddr) -> Self {
        Self::with(now, address, config(&Codec::ALL).set_rtp_mode(false))
    }

    pub(crate) fn with_vp8_alone(now: Instant, address: SocketAddr) -> Self {
        let config = config(&Codec::ALL).clear_codecs().enable_opus(true, false).enable_vp8(true);
        Self::with(now, address, config)
    }

    /// One that has never heard of simulcast.
    pub(crate) fn without_simulcast(now: Instant, address: SocketAddr) -> Self {
        Self { ignored: &["a=simulcast", "a=rid:"], ..Self::new(now, address) }
    }

    pub(crate) fn answer(&mut self, request: &Request) -> Reply {
        match request {
            Request::Join { .. } => Reply::Joined(Box::new(joined())),
            Request::Offer { sdp, tracks, slots } => {
                let known = |line: &&str| !self.ignored.iter().any(|ignored| line.starts_with(ignored));
                let sdp: String = sdp.split_inclusive('\n').filter(known).collect();
                let offer = SdpOffer::from_sdp_string(&sdp).unwrap();
                let answer = self.rtc.sdp_api().accept_offer(offer).unwrap();
                self.slots = slots.iter().map(|mid| mid.as_str().into()).collect();
                self.tracks = tracks.iter().map(|track| (track.mid.as_str().into(), track.source)).collect();
                Reply::Answer { sdp: answer.to_sdp_string() }
            }
            Request::Candidate { .. }
            | Request::Publish { .. }
            | Request::Interest(_)
            | Request::Keyframe { .. }
            | Request::Leave
            | Request::Ping => Reply::Ok,
        }
    }

    fn first_slot(&self, kind: MediaKind) -> Option<Mid> {
        self.slots.iter().copied().find(|mid| self.rtc.media(*mid).is_some_and(|media| media.kind() == kind))
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, source: SocketAddr, contents: &[u8]) {
        let receive = Receive::new(Protocol::Udp, source, self.address, contents).unwrap();
        self.rtc.handle_input(str0m::Input::Receive(now, receive)).unwrap();
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.rtc.handle_input(str0m::Input::Timeout(now)).unwrap();
    }

    pub(crate) fn drain(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut out = Vec::new();
        loop {
            match self.rtc.poll_output().unwrap() {
                str0m::Output::Timeout(at) => {
                    self.timeout = at;
                    return out;
                }
                str0m::Output::Transmit(transmit) => {
                    out.push((transmit.destination, Vec::from(transmit.contents)));
                }
                str0m::Output::Event(Event::Connected) => self.connected = true,
                str0m::Output::Event(Event::Closed) => self.lost = true,
                str0m::Output::Event(Event::IceConnectionStateChange(IceConnectionState::Disconnected)) => {
                    self.lost = true;
                }
                str0m::Output::Event(Event::RtpPacket(packet)) => self.send_back(&packet),
                str0m::Output::Event(Event::MediaData(data)) => self.put_together(&data),
                str0m::Output::Event(_) => {}
            }
        }
    }

    fn send_back(&mut self, packet: &str0m::rtp::RtpPacket) {
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_rx(&packet.header.ssrc).unwrap();
        let (mid, rid) = (stream.mid(), stream.rid().map(|rid| rid.to_string()));
        let kind = self.rtc.media(mid).unwrap().kind();
        if kind == MediaKind::Video {
            *self.pictures.entry(rid.clone()).or_default() += u64::from(packet.header.marker);
        }
        if rid.is_some_and(|rid| rid != Layers::RIDS[2]) {
            return;
        }
        let Some(slot) = self.first_slot(kind) else { return };
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_tx_by_mid(slot, None).unwrap();
        let header = &packet.header;
        let write =
            RtpWrite::new(header.payload_type, packet.seq_no, header.timestamp, packet.timestamp, &packet.payload[..])
                .marker(header.marker)
                .nackable(kind == MediaKind::Video)
                .ext_vals(header.ext_vals.clone());
        stream.write_rtp(write);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "str0m's codecs grow; those not named do not concern us")]
    fn put_together(&mut self, data: &MediaData) {
        let (codec, keyframe) = match &data.codec_extra {
            CodecExtra::Vp8(extra) => (Codec::Vp8, extra.is_keyframe),
            CodecExtra::Vp9(extra) => (Codec::Vp9, extra.is_keyframe),
            CodecExtra::H264(extra) => (Codec::H264, extra.is_keyframe),
            CodecExtra::Av1(extra) => (Codec::Av1, extra.is_keyframe),
            _ => return,
        };
        self.frames.push(Frame { codec, keyframe, contiguous: data.contiguous });
    }

    pub(crate) fn ask_for_keyframe(&mut self, rid: Option<&str>) {
        let (camera, _) = *self.tracks.iter().find(|(_, source)| *source == SourceName::Camera).unwrap();
        let mut direct = self.rtc.direct_api();
        direct.stream_rx_by_mid(camera, rid.map(Rid::from)).unwrap().request_keyframe(KeyframeRequestKind::Pli);
    }
}

fn joined() -> Joined {
    Joined {
        participant: "participant_1".to_owned(),
        session: "session_1".to_owned(),
        node: 1,
        meeting: MeetingInfo { id: "meeting_1".to_owned(), name: "Test".to_owned() },
        roster: vec![member("participant_1")],
        revision: 1,
        ice_servers: Vec::new(),
        pool: PoolSize { audio: 3, video: 4 },
    }
}

pub(crate) fn member(id: &str) -> Member {
    let (id, name, role) = (id.to_owned(), "Ada".to_owned(), "host".to_owned());
    Member { id, name, role, tracks: Vec::new(), reconnecting: false }
}
