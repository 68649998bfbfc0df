//! One participant's PeerConnection: an `Rtc` in RTP mode, its publish m-lines and its receive slots.
//!
//! str0m wants each mutation followed by a drain of its outputs. Writes to slots only join a queue, so several of
//! them may come before one [`Session::flush`]; everything else is drained at once.
//!
//! **Invariant:** an offer that is refused changes nothing.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use plenary_cluster::model::{MediaKind, ParticipantId, RoomId, SessionId, Source, TrackId};
use str0m::media::{KeyframeRequestKind, Mid};
use str0m::net::{DatagramRecv, Protocol, Receive};
use str0m::rtp::Ssrc;
use str0m::{Event, IceConnectionState, Input, Output, Rtc};

use crate::forwarder::Forwarded;
use crate::io::{CloseReason, Interest, OfferError, SlotChange, VideoInterest};
use crate::packet::Packet;
use crate::random::Random;
use crate::slots::SlotTable;

mod config;
mod description;
mod ingress;
mod key;
mod offer;
mod slot;

pub(crate) use config::RtcTemplate;
pub use config::generate_certificate;
use ingress::Ingress;
pub(crate) use key::{SessionKey, Sessions};
pub(crate) use slot::Slot;

/// From the opening of a session to its connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// Browsers check consent every 2.5 s (RFC 7675 §5.1 allows 5) and report each second; two checks may be lost.
const SILENCE: Duration = Duration::from_secs(6);
/// Packets and time that a video slot can answer NACKs for: beyond this no jitter buffer waits. Most of a session's
/// memory is here.
const RTX_PACKETS: usize = 400;
const RTX_AGE: Duration = Duration::from_millis(1_500);
/// Share of a slot's bytes that retransmissions may take.
const RTX_SHARE: f32 = 0.25;
/// Timeouts handed to an `Rtc` in one turn; a timer that stays at now must not hold up the worker.
const TIMEOUTS_PER_TURN: usize = 8;
/// What a timer that is still due after that waits.
const BREATH: Duration = Duration::from_millis(1);
/// Source addresses a session may have proved; the oldest is forgotten.
const MAX_ADDRESSES: usize = 8;

/// What came out of an `Rtc`.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A datagram to send.
    Transmit { source: SocketAddr, destination: SocketAddr, contents: Vec<u8> },
    /// ICE and DTLS are done.
    Connected,
    /// A packet of one of its sources.
    Packet(Source, Packet),
    /// The client lost a picture in this slot.
    KeyframeWanted(usize),
    /// It is over.
    Closed(CloseReason),
}

/// What became of a packet in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Written.
    Sent,
    /// Written, and the slot shows this track from here on.
    Switched,
    /// Not written: the slot waits for a keyframe.
    NeedsKeyframe,
    /// Not written.
    Dropped,
}

/// One participant's PeerConnection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) participant: ParticipantId,
    pub(crate) room: RoomId,
    pub(crate) interest: Interest,
    pub(crate) slots: Vec<Slot>,
    pub(crate) table: SlotTable,
    /// The video pool that the client was last asked for.
    pub(crate) asked_pool: usize,
    pub(crate) addresses: VecDeque<SocketAddr>,
    pub(crate) ufrag: Option<String>,
    /// Written to since the last flush; set by [`Effects::touch`](crate::effects::Effects::touch).
    pub(crate) dirty: bool,
    rtc: Box<Rtc>,
    ingress: Ingress,
    lines: Vec<String>,
    changes: Vec<SlotChange>,
    /// Slots that the client was told to be about to change.
    switching: Vec<String>,
    /// Whether [`Self::switching`] has to be worked out anew.
    rewait: bool,
    opened_at: Instant,
    heard_at: Instant,
    connected: bool,
    due: Instant,
    random: Random,
}

impl Session {
    pub(crate) fn new(
        now: Instant,
        epoch: Instant,
        template: &RtcTemplate,
        seed: u64,
        (id, participant, room): (SessionId, ParticipantId, RoomId),
    ) -> Self {
        Self {
            id,
            participant,
            room,
            interest: Interest { video: VideoInterest::Speakers { max: 25 }, audio: true },
            slots: Vec::new(),
            table: SlotTable::default(),
            asked_pool: 0,
            addresses: VecDeque::new(),
            ufrag: None,
            dirty: false,
            rtc: Box::new(template.build(now)),
            ingress: Ingress::new(now, epoch),
            lines: Vec::new(),
            changes: Vec::new(),
            switching: Vec::new(),
            rewait: false,
            opened_at: now,
            heard_at: now,
            connected: false,
            due: now,
            random: Random::seeded(seed),
        }
    }

    /// Answers an offer. Afterwards [`Session::ufrag`] is what the client will name.
    pub(crate) fn accept_offer(
        &mut self,
        now: Instant,
        template: &RtcTemplate,
        sdp: &str,
        tracks: &[(String, Source)],
        slots: &[String],
    ) -> Result<String, OfferError> {
        let checked = {
            let known: Vec<&str> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
            offer::check(now, template, (&self.lines, &known), sdp, tracks, slots)?
        };
        let answer = self
            .rtc
            .sdp_api()
            .accept_offer(checked.offer)
            .map_err(|error| OfferError::Unsupported(error.to_string()))?;
        self.lines = checked.lines;
        self.ingress.publish(checked.tracks);
        self.renew_slots(now, checked.slots);
        self.ufrag = Some(self.rtc.direct_api().local_ice_credentials().ufrag);
        Ok(answer.to_sdp_string())
    }

    /// Takes over the slots as the client has them now.
    fn renew_slots(&mut self, now: Instant, wanted: Vec<(Mid, String, MediaKind)>) {
        let mut before = std::mem::take(&mut self.slots);
        for (mid, name, kind) in wanted {
            let known = before.iter().position(|slot| slot.mid == mid);
            let slot = match known {
                Some(at) => before.remove(at),
                None => Slot::new(now, mid, name, kind, &mut self.random),
            };
            self.slots.push(slot);
        }
        for slot in &mut self.slots {
            let stream = slot::negotiated(&mut self.rtc, slot.mid, slot.kind);
            if slot.stream.is_none()
                && let Some((ssrc, _)) = stream
                && let Some(tx) = self.rtc.direct_api().stream_tx(&ssrc)
            {
                tx.set_rtx_cache(RTX_PACKETS, RTX_AGE, Some(RTX_SHARE));
            }
            slot.stream = stream;
        }
        let count = |kind| self.slots.iter().filter(|slot| slot.kind == kind).count();
        let (audio, video) = (count(MediaKind::Audio), count(MediaKind::Video));
        self.table.grow(audio, video);
        if self.connected {
            self.prime(now);
        }
    }

    /// Writes one empty packet into each new slot: without it, str0m's sender reports say RTP time 0.
    fn prime(&mut self, now: Instant) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.primed) {
            let Some((ssrc, pt)) = slot.stream else { continue };
            if let Some(tx) = self.rtc.direct_api().stream_tx(&ssrc) {
                tx.write_rtp(slot::write_empty(pt, &slot.forwarder.prime(now)));
                slot.primed = true;
            }
        }
    }

    /// Whether ICE and DTLS are done: before, nothing that is sent arrives.
    pub(crate) const fn is_connected(&self) -> bool {
        self.connected
    }

    /// The index in [`Session::slots`] of the n-th slot of a kind.
    pub(crate) fn slot_index(&self, kind: MediaKind, number: usize) -> Option<usize> {
        let of_kind = self.slots.iter().enumerate().filter(|(_, slot)| slot.kind == kind);
        of_kind.map(|(index, _)| index).nth(number)
    }

    /// The slot with this mid.
    pub(crate) fn slot_named(&self, mid: &str) -> Option<usize> {
        self.slots.iter().position(|slot| slot.name == mid)
    }

    /// Shows something else in a slot.
    pub(crate) fn switch(&mut self, now: Instant, index: usize, to: Option<TrackId>) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.forwarder.switch(now, to);
        self.rewait = true;
        if to.is_none()
            && let Some(change) = slot.announce(None)
        {
            self.changes.push(change);
        }
    }

    /// Hands a packet of `track` to a slot.
    pub(crate) fn deliver(
        &mut self,
        now: Instant,
        index: usize,
        (participant, track): (ParticipantId, TrackId),
        packet: &Packet,
    ) -> Delivery {
        let Some(slot) = self.slots.get_mut(index) else { return Delivery::Dropped };
        let Some((ssrc, pt)) = slot.stream else { return Delivery::Dropped };
        if !slot.primed {
            return Delivery::Dropped;
        }
        let rewritten = match slot.forwarder.forward(now, track, packet) {
            Forwarded::Send(rewritten) => rewritten,
            Forwarded::Drop(_) if slot.awaits_keyframe() == Some(track) => return Delivery::NeedsKeyframe,
            Forwarded::Drop(_) => return Delivery::Dropped,
        };
        let mut api = self.rtc.direct_api();
        let Some(tx) = api.stream_tx(&ssrc) else { return Delivery::Dropped };
        tx.write_rtp(slot::write(pt, &rewritten, participant, packet));
        if !rewritten.first_of_source {
            return Delivery::Sent;
        }
        self.changes.extend(slot.announce(Some((participant, track, rewritten.timestamp))));
        Delivery::Switched
    }

    /// What the client has not been told yet about its slots.
    pub(crate) fn take_changes(&mut self) -> Vec<SlotChange> {
        self.rewait |= !self.changes.is_empty();
        std::mem::take(&mut self.changes)
    }

    /// The slots that are about to show something else, if they are others than the client believes; `changes` is what
    /// it is told beside this.
    pub(crate) fn take_switching(&mut self, changes: &[SlotChange]) -> Option<Vec<String>> {
        if !std::mem::take(&mut self.rewait) {
            return None;
        }
        self.switching.retain(|mid| changes.iter().all(|change| change.mid != *mid));
        let waiting: Vec<String> =
            self.slots.iter().filter(|slot| slot.is_switching()).map(|slot| slot.name.clone()).collect();
        (waiting != self.switching).then(|| {
            self.switching.clone_from(&waiting);
            waiting
        })
    }

    /// Asks the client for a keyframe of a source.
    pub(crate) fn request_keyframe(&mut self, source: Source) -> bool {
        let Some(mid) = self.ingress.mid(source) else { return false };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_rx_by_mid(mid, None) else { return false };
        stream.request_keyframe(KeyframeRequestKind::Pli);
        true
    }

    /// Whether the `Rtc` takes this datagram for its own; for STUN it checks the message's integrity.
    pub(crate) fn accepts(&self, now: Instant, source: SocketAddr, destination: SocketAddr, contents: &[u8]) -> bool {
        receive(source, destination, contents).is_some_and(|receive| self.rtc.accepts(&Input::Receive(now, receive)))
    }

    /// Takes in a datagram. `false` when it is none that could be for an `Rtc`.
    pub(crate) fn handle_datagram(
        &mut self,
        now: Instant,
        (source, destination): (SocketAddr, SocketAddr),
        contents: &[u8],
        happenings: &mut Vec<Happening>,
    ) -> bool {
        let Some(receive) = receive(source, destination, contents) else { return false };
        self.heard_at = now;
        if let Err(error) = self.rtc.handle_input(Input::Receive(now, receive)) {
            // Anybody can send a broken record from a known address; what matters is whether the Rtc lives on.
            tracing::debug!(session = %self.id, %error, "a datagram was refused");
        }
        self.drain(happenings);
        true
    }

    /// Lets time pass and sends what was written.
    pub(crate) fn flush(&mut self, now: Instant, happenings: &mut Vec<Happening>) {
        self.dirty = false;
        for _ in 0..TIMEOUTS_PER_TURN {
            if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
                tracing::debug!(session = %self.id, %error, "a timeout was refused");
            }
            self.drain(happenings);
            if self.due > now {
                break;
            }
        }
        self.due = self.due.max(now + BREATH);
        if let Some(reason) = self.is_over(now) {
            happenings.push(Happening::Closed(reason));
        }
    }

    fn is_over(&self, now: Instant) -> Option<CloseReason> {
        if !self.connected && now >= self.opened_at + CONNECT_WITHIN {
            return Some(CloseReason::NeverConnected);
        }
        let silent = self.connected && now >= self.heard_at + SILENCE;
        (silent || !self.rtc.is_alive()).then_some(CloseReason::MediaLost)
    }

    /// When [`Session::flush`] is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let deadline = if self.connected { self.heard_at + SILENCE } else { self.opened_at + CONNECT_WITHIN };
        self.due.min(deadline)
    }

    /// Says goodbye: RTCP BYE and DTLS close_notify.
    pub(crate) fn close(&mut self, now: Instant, happenings: &mut Vec<Happening>) {
        if let Err(error) = self.rtc.close() {
            tracing::debug!(session = %self.id, %error, "no goodbye could be said");
        }
        self.drain(happenings);
        self.flush(now, happenings);
    }

    /// Remembers an address that the client proved to have; returns the one that is forgotten for it.
    pub(crate) fn learn(&mut self, address: SocketAddr) -> Option<SocketAddr> {
        self.addresses.retain(|known| *known != address);
        self.addresses.push_back(address);
        if self.addresses.len() > MAX_ADDRESSES { self.addresses.pop_front() } else { None }
    }

    fn drain(&mut self, happenings: &mut Vec<Happening>) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.due = at;
                    return;
                }
                Ok(Output::Transmit(transmit)) => happenings.push(Happening::Transmit {
                    source: transmit.source,
                    destination: transmit.destination,
                    contents: transmit.contents.into(),
                }),
                Ok(Output::Event(event)) => self.handle_event(event, happenings),
                Err(error) => {
                    tracing::debug!(session = %self.id, %error, "the connection failed");
                    happenings.push(Happening::Closed(CloseReason::MediaLost));
                    return;
                }
            }
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "str0m's events grow; the others are not used in RTP mode")]
    fn handle_event(&mut self, event: Event, happenings: &mut Vec<Happening>) {
        match event {
            Event::Connected => {
                self.connected = true;
                self.prime(self.heard_at);
                happenings.push(Happening::Connected);
            }
            Event::RtpPacket(rtp) => {
                let rtc = &mut self.rtc;
                let mid_of = |ssrc: Ssrc| rtc.direct_api().stream_rx(&ssrc).map(|stream| stream.mid());
                let packet = self.ingress.handle_packet(rtp.timestamp, &rtp, mid_of);
                happenings.extend(packet.map(|(source, packet)| Happening::Packet(source, packet)));
            }
            Event::SenderFeedback(feedback) => self.ingress.handle_report(&feedback),
            Event::KeyframeRequest(request) => {
                let slot = self.slots.iter().position(|slot| slot.mid == request.mid);
                happenings.extend(slot.map(Happening::KeyframeWanted));
            }
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) | Event::Closed => {
                let reason = if self.connected { CloseReason::MediaLost } else { CloseReason::NeverConnected };
                happenings.push(Happening::Closed(reason));
            }
            _ => {}
        }
    }
}

fn receive(source: SocketAddr, destination: SocketAddr, contents: &[u8]) -> Option<Receive<'_>> {
    let contents = DatagramRecv::try_from(contents).ok()?;
    Some(Receive { proto: Protocol::Udp, source, destination, contents })
}
