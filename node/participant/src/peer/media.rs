//! The media half of a peer: synthetic frames out, RTP in, and what str0m reports.

use std::time::{Duration, Instant};

use plenary_protocol::SourceName;
use str0m::media::{KeyframeRequest, Mid, SenderFeedback};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};
use str0m::{Event, IceConnectionState};

use super::streams::Stream;
use super::{Peer, codecs, streams};
use crate::receiver::Arrival;
use crate::report::{Published, SenderReport, SlotKind};
use crate::source::{Layers, Source, Speech};

/// Length of the tag at the end of an SRTP packet: AES-GCM (RFC 7714 §12), which both ends prefer.
const SRTP_TAG: u64 = 16;

/// Participants begin at different moments within this, so that many of them do not send in step.
const PHASES_MICROS: u64 = 33_000;

/// One publish m-line.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) name: SourceName,
    pub(super) mid: Mid,
    pub(super) published: Published,
    streams: Vec<Stream>,
    source: Option<Source>,
}

impl Sending {
    pub(super) fn new(name: SourceName, mid: Mid, active: bool) -> Self {
        let published = Published { active, ..Published::default() };
        Self { name, mid, published, streams: Vec::new(), source: None }
    }

    /// When its next frame is captured; `None` when nothing flows.
    pub(super) fn due(&self) -> Option<Instant> {
        if !self.published.active || self.published.muted {
            return None;
        }
        self.source.as_ref().filter(|_| !self.streams.is_empty()).map(Source::due)
    }

    pub(super) fn stop(&mut self) {
        self.source = None;
    }

    pub(super) fn set_active(&mut self, active: bool) {
        self.resume_with_keyframe(active && !self.published.active);
        self.published.active = active;
    }

    pub(super) fn set_muted(&mut self, muted: bool) {
        self.resume_with_keyframe(!muted && self.published.muted);
        self.published.muted = muted;
    }

    fn resume_with_keyframe(&mut self, resumes: bool) {
        if let Some(source) = self.source.as_mut().filter(|_| resumes) {
            source.request_keyframe(None);
        }
    }
}

impl Peer {
    #[expect(clippy::wildcard_enum_match_arm, reason = "str0m's events grow; those not named do not concern us")]
    pub(super) fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.handle_connected(),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => self.lose_media("ICE lost the node"),
            Event::Closed => self.lose_media("the node closed the media connection"),
            Event::RtpPacket(packet) => self.handle_rtp(&packet),
            Event::KeyframeRequest(request) => self.handle_keyframe_request(request),
            Event::SenderFeedback(feedback) => self.handle_sender_report(&feedback),
            _ => {}
        }
    }

    /// Starts the sources: all at one instant, so that they share a capture clock.
    fn handle_connected(&mut self) {
        self.report.connected = true;
        let now = self.elapsed();
        self.report.times.connected.get_or_insert(now);
        let options = &self.options;
        let start = self.now + Duration::from_micros(options.publisher.wrapping_mul(7_919) % PHASES_MICROS);
        for sending in &mut self.sending {
            let mut video = options.video;
            sending.streams = streams::find(&mut self.rtc, sending.mid, options.publisher, sending.name, video);
            sending.published.layers = u8::try_from(sending.streams.len()).expect("at most three");
            if sending.streams.iter().all(|stream| stream.rid.is_none()) {
                video.layers = Layers::One;
            }
            let source = Source::new(options.publisher, sending.name, options.epoch, start, video, options.speech);
            sending.source = Some(source);
        }
    }

    /// Writes every frame that is due.
    pub(super) fn send_frames(&mut self) {
        let Self { sending, rtc, now, .. } = self;
        for sending in sending.iter_mut().filter(|sending| sending.due().is_some_and(|due| due <= *now)) {
            let Sending { published, streams, source: Some(source), .. } = sending else { continue };
            let mut direct = rtc.direct_api();
            while source.capture(*now, |piece| {
                let Some(stream) = streams.iter_mut().find(|stream| stream.layer == piece.layer) else { return };
                let Some(out) = direct.stream_tx(&stream.ssrc) else { return };
                published.payload_bytes += piece.payload.len() as u64;
                let levels = ExtensionValues {
                    audio_level: piece.level.map(|(level, _)| level),
                    voice_activity: piece.level.map(|(_, voice)| voice),
                    ..ExtensionValues::default()
                };
                let write =
                    RtpWrite::new(stream.pt, stream.sequence.into(), piece.rtp_time, piece.captured, piece.payload)
                        .marker(piece.marker)
                        .nackable(stream.repairs.is_some())
                        .ext_vals(levels);
                out.write_rtp(write);
                stream.sequence += 1;
            }) {
                published.frames += 1;
            }
        }
    }

    pub(super) fn set_speech(&mut self, speech: Speech) {
        self.options.speech = speech;
        for source in self.sending.iter_mut().filter_map(|sending| sending.source.as_mut()) {
            source.set_speech(speech);
        }
    }

    /// Counts what goes out, RTP by its stream.
    pub(super) fn count_transmit(&mut self, contents: &[u8]) {
        let length = contents.len() as u64;
        self.report.network.sent += 1;
        self.report.network.sent_bytes += length;
        let Some(ssrc) = rtp_ssrc(contents) else { return };
        for sending in &mut self.sending {
            let Sending { published, streams, .. } = sending;
            if streams.iter().any(|stream| stream.ssrc == ssrc) {
                published.packets += 1;
                published.rtp_bytes += length.saturating_sub(SRTP_TAG);
            } else if streams.iter().any(|stream| stream.repairs == Some(ssrc)) {
                published.repeated_packets += 1;
            }
        }
    }

    fn handle_rtp(&mut self, packet: &RtpPacket) {
        let Some(at) = self.receiver_of(packet.header.ssrc) else { return };
        let extensions = &packet.header.ext_vals;
        let arrival = Arrival {
            sequence: *packet.seq_no,
            rtp_time: packet.header.timestamp,
            level: extensions.audio_level.zip(extensions.voice_activity),
            codec: codecs::of(self.rtc.codec_config(), packet.header.payload_type),
            payload: &packet.payload,
        };
        let receiver = &mut self.receivers[at];
        let had_frames = receiver.has_frames();
        receiver.handle_packet(self.now, arrival);
        if !had_frames && receiver.has_frames() {
            let elapsed = self.now.saturating_duration_since(self.start);
            let first = match receiver.kind() {
                SlotKind::Audio => &mut self.report.times.first_audio,
                SlotKind::Video => &mut self.report.times.first_video,
            };
            first.get_or_insert(elapsed);
        }
    }

    /// Which receiver a stream belongs to, found once per stream.
    fn receiver_of(&mut self, ssrc: Ssrc) -> Option<usize> {
        let Self { streams, rtc, receivers, .. } = self;
        *streams.entry(ssrc).or_insert_with(|| {
            let mid = rtc.direct_api().stream_rx(&ssrc)?.mid().to_string();
            receivers.iter().position(|receiver| receiver.mid() == mid)
        })
    }

    fn handle_keyframe_request(&mut self, request: KeyframeRequest) {
        if let Some(sending) = self.sending.iter_mut().find(|sending| sending.mid == request.mid) {
            sending.published.keyframe_requests += 1;
            let asked = sending.streams.iter().find(|stream| stream.rid.is_some() && stream.rid == request.rid);
            if let Some(source) = &mut sending.source {
                source.request_keyframe(asked.map(|stream| stream.layer));
            }
        }
    }

    fn handle_sender_report(&mut self, feedback: &SenderFeedback) {
        let mid = feedback.mid.to_string();
        let info = &feedback.sender_info;
        let ntp = info.ntp_time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let rtp = info.rtp_time.numer() & u64::from(u32::MAX);
        let report = SenderReport { ntp, rtp: u32::try_from(rtp).expect("masked") };
        if let Some(receiver) = self.receivers.iter_mut().find(|receiver| receiver.mid() == mid) {
            receiver.handle_sender_report(report);
        }
    }
}

/// The SSRC of a datagram that is RTP (RFC 7983 §7 tells it from STUN and DTLS, RFC 5761 §4 from RTCP).
fn rtp_ssrc(contents: &[u8]) -> Option<Ssrc> {
    let header = contents.get(..12)?;
    let rtcp = (64..96).contains(&(header[1] & 0x7F));
    if !(128..192).contains(&header[0]) || rtcp {
        return None;
    }
    Some(u32::from_be_bytes([header[8], header[9], header[10], header[11]]).into())
}
