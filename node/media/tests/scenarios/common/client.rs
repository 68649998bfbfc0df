//! A headless client: a str0m `Rtc` that publishes a synthetic microphone and camera and writes down what it gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plenary_cluster::model::{ParticipantId, SessionId, Source};
use plenary_media::io::{SessionEvent, SlotChange, SlotSource};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid, Pt};
use str0m::net::{DatagramRecv, Protocol, Receive, Transmit};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

/// Says in a payload who made it.
pub(crate) type Tag = u8;

const FRAME: Duration = Duration::from_micros(33_333);
const AUDIO: Duration = Duration::from_millis(20);
const VIDEO_PAYLOAD: usize = 1_000;
const VIDEO_PACKETS: usize = 2;

/// A media packet that arrived in a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) mid: Mid,
    pub(crate) audio: bool,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u64,
    pub(crate) from: Tag,
    /// Number of the publisher's packet.
    pub(crate) number: u32,
}

#[derive(Debug)]
struct Publisher {
    level: i8,
    next_audio: Instant,
    next_video: Instant,
    audio: u64,
    frame: u64,
    video_sequence: u64,
    number: u32,
    keyframe: bool,
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) tag: Tag,
    pub(crate) worker: usize,
    pub(crate) session: SessionId,
    pub(crate) participant: ParticipantId,
    pub(crate) address: SocketAddr,
    pub(crate) connected: bool,
    pub(crate) received: Vec<Received>,
    pub(crate) events: Vec<(Instant, SessionEvent)>,
    pub(crate) offers: u64,
    pub(crate) keyframe_requests: usize,
    pub(crate) keyframes_sent: usize,
    pub(crate) published_bytes: usize,
    pub(crate) packets_sent: u32,
    /// RTP time of each sender report and when it came, by slot.
    pub(crate) reports: Vec<(Instant, Mid, u64)>,
    pub(crate) slots: Vec<Mid>,
    pub(crate) answer: String,
    microphone: Mid,
    camera: Mid,
    rtc: Rtc,
    due: Instant,
    pending: Option<SdpPendingOffer>,
    publisher: Option<Publisher>,
}

impl Client {
    pub(crate) fn new(
        now: Instant,
        tag: Tag,
        worker: usize,
        address: SocketAddr,
        ids: (SessionId, ParticipantId),
    ) -> Self {
        let mut rtc = RtcConfig::new()
            .set_crypto_provider(Arc::new(str0m::crypto::from_feature_flags()))
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .set_rtp_mode(true)
            .build(now);
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        Self {
            tag,
            worker,
            session: ids.0,
            participant: ids.1,
            address,
            connected: false,
            received: Vec::new(),
            events: Vec::new(),
            offers: 0,
            keyframe_requests: 0,
            keyframes_sent: 0,
            published_bytes: 0,
            packets_sent: 0,
            reports: Vec::new(),
            slots: Vec::new(),
            answer: String::new(),
            microphone: Mid::new(),
            camera: Mid::new(),
            rtc,
            due: now,
            pending: None,
            publisher: None,
        }
    }

    /// Makes an offer with so many more slots; the first one brings the publish m-lines too.
    pub(crate) fn offer(&mut self, audio: usize, video: usize) -> String {
        let mut api = self.rtc.sdp_api();
        if self.slots.is_empty() {
            self.microphone = api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
            self.camera = api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
        }
        for (kind, count) in [(MediaKind::Audio, audio), (MediaKind::Video, video)] {
            for _ in 0..count {
                self.slots.push(api.add_media(kind, Direction::RecvOnly, None, None, None));
            }
        }
        let (offer, pending) = api.apply().unwrap();
        self.pending = Some(pending);
        self.offers += 1;
        offer.to_sdp_string()
    }

    pub(crate) fn tracks(&self) -> Vec<(String, Source)> {
        vec![(self.microphone.to_string(), Source::Microphone), (self.camera.to_string(), Source::Camera)]
    }

    pub(crate) fn slot_names(&self) -> Vec<String> {
        self.slots.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn handle_event(&mut self, now: Instant, event: SessionEvent) {
        if let SessionEvent::Answer { result: Ok(sdp), .. } = &event {
            sdp.clone_into(&mut self.answer);
            if let Some(pending) = self.pending.take() {
                let answer = SdpAnswer::from_sdp_string(sdp).unwrap();
                self.rtc.sdp_api().accept_answer(pending, answer).unwrap();
            }
        }
        self.events.push((now, event));
    }

    /// Starts the camera and a microphone of this loudness.
    pub(crate) fn publish(&mut self, now: Instant, level: i8) {
        self.publisher = Some(Publisher {
            level,
            next_audio: now,
            next_video: now,
            audio: 0,
            frame: 0,
            video_sequence: 0,
            number: 0,
            keyframe: true,
        });
    }

    pub(crate) fn set_level(&mut self, level: i8) {
        self.publisher.as_mut().unwrap().level = level;
    }

    pub(crate) fn next_at(&self) -> Instant {
        let media = self.publisher.as_ref().filter(|_| self.connected);
        media.map_or(self.due, |media| self.due.min(media.next_audio).min(media.next_video))
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, source: SocketAddr, contents: &[u8]) {
        let contents = DatagramRecv::try_from(contents).unwrap();
        let receive = Receive { proto: Protocol::Udp, source, destination: self.address, contents };
        self.rtc.handle_input(Input::Receive(now, receive)).unwrap();
    }

    /// Lets time pass and returns what to send.
    pub(crate) fn run(&mut self, now: Instant) -> Vec<Transmit> {
        let mut out = Vec::new();
        self.produce(now);
        self.rtc.handle_input(Input::Timeout(now)).unwrap();
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.due = at.max(now + Duration::from_micros(100));
                    return out;
                }
                Output::Transmit(transmit) => out.push(transmit),
                Output::Event(event) => self.handle_rtc_event(now, event),
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "str0m's events grow; the others don't matter here")]
    fn handle_rtc_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::RtpPacket(packet) => self.receive(now, &packet),
            Event::KeyframeRequest(_) => {
                self.keyframe_requests += 1;
                if let Some(publisher) = &mut self.publisher {
                    publisher.keyframe = true;
                }
            }
            Event::SenderFeedback(feedback) => {
                self.reports.push((now, feedback.mid, feedback.sender_info.rtp_time.numer()));
            }
            _ => {}
        }
    }

    fn receive(&mut self, now: Instant, packet: &RtpPacket) {
        // An empty payload primes a slot.
        if packet.payload.is_empty() {
            return;
        }
        let mid = self.rtc.direct_api().stream_rx(&packet.header.ssrc).unwrap().mid();
        let audio = self.rtc.media(mid).unwrap().kind() == MediaKind::Audio;
        let tag_at = if audio { 1 } else { 7 };
        let number = packet.payload[tag_at + 1..tag_at + 5].try_into().map(u32::from_be_bytes).unwrap();
        self.received.push(Received {
            at: now,
            mid,
            audio,
            sequence: *packet.seq_no,
            timestamp: packet.time.numer(),
            from: packet.payload[tag_at],
            number,
        });
    }

    fn pt(&self, mid: Mid) -> Pt {
        let remote = self.rtc.media(mid).unwrap().remote_pts();
        let config = self.rtc.codec_config();
        config.find(|params| remote.contains(&params.pt())).unwrap().pt()
    }

    fn produce(&mut self, now: Instant) {
        let Some(mut publisher) = self.publisher.take() else { return };
        while self.connected && publisher.next_audio <= now {
            self.write_audio(now, &mut publisher);
            publisher.next_audio += AUDIO;
        }
        while self.connected && publisher.next_video <= now {
            self.write_video(now, &mut publisher);
            publisher.next_video += FRAME;
        }
        self.publisher = Some(publisher);
    }

    fn write(&mut self, mid: Mid, write: RtpWrite, bytes: usize) {
        self.published_bytes += bytes;
        self.packets_sent += 1;
        self.rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(write);
    }

    fn write_audio(&mut self, now: Instant, publisher: &mut Publisher) {
        let mut payload = vec![0xf8, self.tag];
        payload.extend(publisher.number.to_be_bytes());
        payload.resize(80, 0);
        publisher.number += 1;
        let time = u32::try_from(publisher.audio * 960 % (1 << 32)).unwrap();
        let extensions = ExtensionValues {
            audio_level: Some(publisher.level),
            voice_activity: Some(publisher.level > -60),
            ..ExtensionValues::default()
        };
        let write =
            RtpWrite::new(self.pt(self.microphone), publisher.audio.into(), time, now, payload).ext_vals(extensions);
        publisher.audio += 1;
        self.write(self.microphone, write, 80 + 12 + 12);
    }

    fn write_video(&mut self, now: Instant, publisher: &mut Publisher) {
        let keyframe = std::mem::take(&mut publisher.keyframe);
        self.keyframes_sent += usize::from(keyframe);
        let time = u32::try_from(publisher.frame * 3_000 % (1 << 32)).unwrap();
        let [high, low] = u16::try_from(publisher.frame % 0x8000).unwrap().to_be_bytes();
        for packet in 0..VIDEO_PACKETS {
            let start = if packet == 0 { 0x90 } else { 0x80 };
            let mut payload = vec![start, 0xe0, 0x80 | high, low, low, 0x20, u8::from(!keyframe), self.tag];
            payload.extend(publisher.number.to_be_bytes());
            payload.resize(VIDEO_PAYLOAD, 0);
            publisher.number += 1;
            let sequence = publisher.video_sequence.into();
            let write = RtpWrite::new(self.pt(self.camera), sequence, time, now, payload)
                .marker(packet + 1 == VIDEO_PACKETS)
                .nackable(true);
            publisher.video_sequence += 1;
            self.write(self.camera, write, VIDEO_PAYLOAD + 12 + 8);
        }
        publisher.frame += 1;
    }

    /// Asks for a keyframe of what a slot shows.
    pub(crate) fn lose_picture(&mut self, mid: Mid) {
        let mut api = self.rtc.direct_api();
        api.stream_rx_by_mid(mid, None).unwrap().request_keyframe(KeyframeRequestKind::Pli);
    }

    /// What this client got from another one.
    pub(crate) fn from(&self, tag: Tag, audio: bool) -> Vec<Received> {
        self.received.iter().filter(|packet| packet.from == tag && packet.audio == audio).copied().collect()
    }

    pub(crate) fn slot_changes(&self) -> impl Iterator<Item = &SlotChange> {
        self.events.iter().flat_map(|(_, event)| match event {
            SessionEvent::Slots(changes) => changes.as_slice(),
            SessionEvent::Answer { .. }
            | SessionEvent::Connected
            | SessionEvent::Switching(_)
            | SessionEvent::Pool { .. }
            | SessionEvent::Speakers(_)
            | SessionEvent::Closed(_) => &[],
        })
    }

    /// What a slot shows according to the last announcement.
    pub(crate) fn shown_in(&self, mid: Mid) -> Option<SlotSource> {
        let name = mid.to_string();
        self.slot_changes().filter(|change| change.mid == name).last().and_then(|change| change.shows)
    }
}
