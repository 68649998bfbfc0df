//! A plain SFU on str0m: what one gets who follows its examples and optimises nothing. The peer that is nearest to us.
//!
//! ```text
//! one thread: read one datagram ─► find whose it is, one after the other ─► poll everyone ─► write packets on ─► poll ..
//! ```
//!
//! People come through the [`door`]; each sees those who publish in the order in which their first packets came.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use str0m::change::SdpOffer;
use str0m::media::{KeyframeRequestKind, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::door::{self, Backend, Offer};
use crate::clock::now;
use crate::report::say;

/// Orders from signalling that may wait.
const ORDERS: usize = 1024;
/// The longest wait for a datagram, so that orders are seen.
const LONGEST_WAIT: Duration = Duration::from_millis(5);
/// A publisher is asked for a keyframe no more often, as in that example.
const KEYFRAMES_APART: Duration = Duration::from_secs(1);
/// Bytes that wait in each direction.
const SOCKET_BUFFER: usize = 4 << 20;
/// str0m's `chat` example reads so much at most.
const DATAGRAM: usize = 2000;

/// Runs the plain SFU.
#[derive(Debug, Args)]
pub(crate) struct Plain {
    /// Where to serve signalling and media.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
}

/// What signalling asks of the media thread.
enum Order {
    Offer { offer: Offer, answer: oneshot::Sender<Result<String>> },
    Leave { client: u64 },
}

/// The way to the media thread.
#[derive(Clone)]
struct Orders(SyncSender<Order>);

impl Backend for Orders {
    async fn offer(&self, offer: Offer) -> Result<String> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Order::Offer { offer, answer }).context("the media thread is busy")?;
        answered.await?
    }

    async fn leave(&self, client: u64) -> Result<()> {
        self.0.try_send(Order::Leave { client }).context("the media thread is busy")
    }
}

impl Plain {
    pub(crate) fn run(&self) -> Result<()> {
        plenary::prepare_process();
        let socket = UdpSocket::bind((self.listen, 0))?;
        // As large as the others': the one thing that its example leaves to whoever runs it.
        let sized = socket2::SockRef::from(&socket);
        sized.set_recv_buffer_size(SOCKET_BUFFER)?;
        sized.set_send_buffer_size(SOCKET_BUFFER)?;
        let (orders, received) = sync_channel(ORDERS);
        let address = socket.local_addr()?;
        let media = std::thread::Builder::new().name("sfu".to_owned());
        let media = media.spawn(move || Sfu::new(socket, address).run(&received))?;
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let listener = TcpListener::bind((self.listen, 0)).await?;
            say(format!("http://{}", listener.local_addr()?));
            door::serve(listener, Orders(orders)).await
        })?;
        media.join().map_err(|_| anyhow::anyhow!("the media thread panicked"))?
    }
}

/// One connection.
struct Client {
    meeting: String,
    rtc: Rtc,
    slots: Vec<(Mid, MediaKind)>,
    /// When it was asked for a keyframe last.
    asked: Option<Instant>,
}

impl Client {
    /// The slot of this number among those of a kind.
    fn slot(&self, kind: MediaKind, number: usize) -> Option<Mid> {
        self.slots.iter().filter(|(_, of)| *of == kind).nth(number).map(|(mid, _)| *mid)
    }

    /// A slot shows one publisher for as long as it lives, so that sequence numbers can stay as they are.
    fn write(&mut self, slot: Mid, kind: MediaKind, packet: &RtpPacket) {
        let mut direct = self.rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(slot, None) else { return };
        let header = &packet.header;
        let write =
            RtpWrite::new(header.payload_type, packet.seq_no, header.timestamp, packet.timestamp, &packet.payload[..]);
        let write = write.marker(header.marker).nackable(kind == MediaKind::Video).ext_vals(header.ext_vals.clone());
        stream.write_rtp(write);
    }
}

/// What polling a client gave that concerns others.
enum Told {
    Packet(Box<RtpPacket>),
    /// It wants pictures that begin anew.
    Keyframes,
}

struct Sfu {
    socket: UdpSocket,
    address: SocketAddr,
    clients: BTreeMap<u64, Client>,
    /// Who publishes, by kind, in the order of their first packets.
    publishers: HashMap<(String, MediaKind), Vec<u64>>,
    /// The m-line of each stream that comes in.
    streams: HashMap<(u64, Ssrc), (Mid, MediaKind)>,
}

impl Sfu {
    fn new(socket: UdpSocket, address: SocketAddr) -> Self {
        let (clients, publishers, streams) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        Self { socket, address, clients, publishers, streams }
    }

    fn run(mut self, orders: &Receiver<Order>) -> Result<()> {
        let mut buffer = vec![0; DATAGRAM];
        loop {
            orders.try_iter().for_each(|order| self.carry_out(order));
            self.forget_gone();
            let due = self.poll_all()?;
            let wait = due.saturating_duration_since(now()).clamp(Duration::from_millis(1), LONGEST_WAIT);
            self.socket.set_read_timeout(Some(wait))?;
            match self.socket.recv_from(&mut buffer) {
                Ok((length, source)) => self.take_in(source, &buffer[..length]),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error.into()),
            }
            let at = now();
            for client in self.clients.values_mut() {
                if client.rtc.handle_input(Input::Timeout(at)).is_err() {
                    client.rtc.disconnect();
                }
            }
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Leave { client } => {
                self.clients.remove(&client);
            }
            Order::Offer { offer, answer } => {
                // Who asked may be gone.
                let _ = answer.send(self.answer(offer));
            }
        }
    }

    fn answer(&mut self, Offer { client, meeting, sdp, slots }: Offer) -> Result<String> {
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .set_ice_lite(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .build(now());
        rtc.add_local_candidate(Candidate::host(self.address, "udp")?);
        let answer = rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(&sdp)?)?;
        let named = slots.iter().map(|mid| Mid::from(mid.as_str()));
        let slots = named.filter_map(|mid| Some((mid, rtc.media(mid)?.kind()))).collect();
        self.clients.insert(client, Client { meeting, rtc, slots, asked: None });
        Ok(answer.to_sdp_string())
    }

    fn forget_gone(&mut self) {
        self.clients.retain(|_, client| client.rtc.is_alive());
        let clients = &self.clients;
        self.publishers.values_mut().for_each(|who| who.retain(|client| clients.contains_key(client)));
        self.streams.retain(|(client, _), _| clients.contains_key(client));
    }

    fn take_in(&mut self, source: SocketAddr, contents: &[u8]) {
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.address, contents) else { return };
        let input = Input::Receive(now(), receive);
        if let Some(client) = self.clients.values_mut().find(|client| client.rtc.accepts(&input))
            && client.rtc.handle_input(input).is_err()
        {
            client.rtc.disconnect();
        }
    }

    /// Polls everyone until nobody has anything to say; when the first of them wants to be called again.
    fn poll_all(&mut self) -> Result<Instant> {
        loop {
            let mut due = now() + LONGEST_WAIT;
            let mut told = Vec::new();
            for (number, client) in &mut self.clients {
                due = due.min(poll(client, &self.socket, |one| told.push((*number, one)))?);
            }
            if told.is_empty() {
                return Ok(due);
            }
            for (from, one) in told {
                match one {
                    Told::Packet(packet) => self.forward(from, &packet),
                    Told::Keyframes => self.ask_for_keyframes(from),
                }
            }
        }
    }

    fn forward(&mut self, from: u64, packet: &RtpPacket) {
        let Some((kind, meeting)) = self.kind_of(from, packet.header.ssrc) else { return };
        let publishers = self.publishers.entry((meeting.clone(), kind)).or_default();
        if !publishers.contains(&from) {
            publishers.push(from);
        }
        for (to, client) in self.clients.iter_mut().filter(|(to, client)| **to != from && client.meeting == meeting) {
            let others = publishers.iter().filter(|publisher| *publisher != to);
            let Some(number) = others.into_iter().position(|publisher| *publisher == from) else { continue };
            if let Some(slot) = client.slot(kind, number) {
                client.write(slot, kind, packet);
            }
        }
    }

    fn kind_of(&mut self, from: u64, ssrc: Ssrc) -> Option<(MediaKind, String)> {
        let client = self.clients.get_mut(&from)?;
        let (_, kind) = match self.streams.get(&(from, ssrc)) {
            Some(known) => *known,
            None => {
                let mid = client.rtc.direct_api().stream_rx(&ssrc)?.mid();
                let found = (mid, client.rtc.media(mid)?.kind());
                self.streams.insert((from, ssrc), found);
                found
            }
        };
        Some((kind, client.meeting.clone()))
    }

    /// Has everyone else's pictures begin anew.
    fn ask_for_keyframes(&mut self, wants: u64) {
        let at = now();
        let Some(meeting) = self.clients.get(&wants).map(|client| client.meeting.clone()) else { return };
        for ((from, ssrc), (_, kind)) in &self.streams {
            let Some(client) = self.clients.get_mut(from).filter(|_| *from != wants && *kind == MediaKind::Video)
            else {
                continue;
            };
            if client.meeting != meeting {
                continue;
            }
            if client.asked.is_some_and(|asked| at.saturating_duration_since(asked) < KEYFRAMES_APART) {
                continue;
            }
            client.asked = Some(at);
            if let Some(stream) = client.rtc.direct_api().stream_rx(ssrc) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
    }
}

fn poll(client: &mut Client, socket: &UdpSocket, mut tell: impl FnMut(Told)) -> Result<Instant> {
    loop {
        match client.rtc.poll_output() {
            Ok(Output::Timeout(due)) => return Ok(due),
            Ok(Output::Transmit(transmit)) => {
                // What the socket does not take is lost, as in the network.
                let _ = socket.send_to(&transmit.contents, transmit.destination);
            }
            Ok(Output::Event(event)) => heed(event, &mut tell),
            Err(_) => client.rtc.disconnect(),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "str0m's events grow; those not named do not concern it")]
fn heed(event: Event, tell: &mut impl FnMut(Told)) {
    match event {
        Event::RtpPacket(packet) => tell(Told::Packet(Box::new(packet))),
        Event::Connected | Event::KeyframeRequest(_) => tell(Told::Keyframes),
        _ => {}
    }
}
