//! A node of a few lines for tests: it answers every request and sends back what a participant publishes.

use std::net::SocketAddr;
use std::time::Instant;

use plenary_protocol::{Joined, MeetingInfo, Member, PoolSize, Reply, Request, SourceName};
use str0m::change::SdpOffer;
use str0m::media::{KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, IceConnectionState, Rtc};

use crate::peer::{config, install_crypto};
use crate::source::Codec;

/// A node that sends sound and pictures back in the first slot of each kind.
pub(crate) struct Echo {
    rtc: Rtc,
    address: SocketAddr,
    pub(crate) timeout: Instant,
    slots: Vec<Mid>,
    tracks: Vec<(Mid, SourceName)>,
    pub(crate) connected: bool,
    pub(crate) lost: bool,
}

impl Echo {
    pub(crate) fn new(now: Instant, address: SocketAddr) -> Self {
        install_crypto();
        let mut rtc = config(Codec::default()).set_ice_lite(true).build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        Self { rtc, address, timeout: now, slots: Vec::new(), tracks: Vec::new(), connected: false, lost: false }
    }

    pub(crate) fn answer(&mut self, request: &Request) -> Reply {
        match request {
            Request::Join { .. } => Reply::Joined(Box::new(joined())),
            Request::Offer { sdp, tracks, slots } => {
                let offer = SdpOffer::from_sdp_string(sdp).unwrap();
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
                str0m::Output::Event(_) => {}
            }
        }
    }

    fn send_back(&mut self, packet: &str0m::rtp::RtpPacket) {
        let mid = self.rtc.direct_api().stream_rx(&packet.header.ssrc).unwrap().mid();
        let kind = self.rtc.media(mid).unwrap().kind();
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

    pub(crate) fn ask_for_keyframe(&mut self) {
        let (camera, _) = *self.tracks.iter().find(|(_, source)| *source == SourceName::Camera).unwrap();
        let mut direct = self.rtc.direct_api();
        direct.stream_rx_by_mid(camera, None).unwrap().request_keyframe(KeyframeRequestKind::Pli);
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
