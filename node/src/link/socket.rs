//! Sockets and QUIC settings of the endpoints.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{AckFrequencyConfig, ClientConfig, Endpoint, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use super::LinkError;
use super::identity::Identity;
use super::tls::Alpn;

/// Peers in handshake beyond this are turned away.
pub(crate) const MAX_HANDSHAKES: usize = 256;
/// First guess of a round trip: nodes of a cluster are near, and loss of a first packet is noticed sooner.
const INITIAL_RTT: Duration = Duration::from_millis(5);
/// Bytes of datagrams that QUIC may hold back for handshakes in progress.
const INCOMING_BUFFER: u64 = 4 << 20;

/// Bytes a media link may have in flight before it has heard of any loss: 200 Mbit/s at 40 ms. Cubic shrinks it.
const MEDIA_WINDOW: u64 = 1 << 20;
/// Media that may wait to be sent: 50 ms of 200 Mbit/s. Beyond it the oldest datagram is dropped.
const DATAGRAM_SEND_BUFFER: usize = 1_250_000;
/// Media that may wait to be read.
const DATAGRAM_RECEIVE_BUFFER: usize = 2 << 20;

/// Probes that may wait.
const PROBE_BUFFER: usize = 16 << 10;

/// Sizes of the UDP payloads on media links, in bytes.
///
/// A datagram holds an RTP packet of 1200 bytes with its relay header only from about 1300 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkMtu {
    /// What is tried first.
    pub initial: u16,
    /// What every path between nodes carries, ≥ 1200. Packets are never smaller than this because of loss.
    pub least: u16,
}

impl Default for LinkMtu {
    /// For Ethernet between the nodes, IPv4 or IPv6.
    fn default() -> Self {
        Self { initial: 1452, least: 1300 }
    }
}

/// Opens an endpoint that both accepts and dials.
pub(crate) fn open(
    identity: &Identity,
    alpn: Alpn,
    address: SocketAddr,
    buffer_bytes: usize,
    server: QuicServerConfig,
    transport: &Arc<TransportConfig>,
) -> Result<Endpoint, LinkError> {
    let config = self::server(server, transport);
    let attempt = || {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::DGRAM,
            Some(socket2::Protocol::UDP),
        )?;
        // The kernel may grant less; what it grants is what there is.
        socket.set_recv_buffer_size(buffer_bytes)?;
        socket.set_send_buffer_size(buffer_bytes)?;
        socket.bind(&address.into())?;
        Endpoint::new(endpoint_config(identity, alpn), Some(config), socket.into(), Arc::new(quinn::TokioRuntime))
    };
    attempt().map_err(|source| LinkError::Bind { endpoint: alpn.name(), address, source })
}

/// How this end accepts with `crypto`.
pub(crate) fn server(crypto: QuicServerConfig, transport: &Arc<TransportConfig>) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::clone(transport))
        .migration(false)
        .max_incoming(MAX_HANDSHAKES)
        .incoming_buffer_size_total(INCOMING_BUFFER);
    config
}

/// How this end dials with `crypto`.
pub(crate) fn client(crypto: QuicClientConfig, transport: &Arc<TransportConfig>) -> ClientConfig {
    let mut config = ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::clone(transport));
    config
}

/// Control: requests both ways, and probes as datagrams, few and small. A peer that died shows within the idle timeout.
pub(crate) fn control_transport(max_streams: u16) -> Arc<TransportConfig> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(VarInt::from_u32(2_000).into()))
        .keep_alive_interval(Some(Duration::from_millis(250)))
        .initial_rtt(INITIAL_RTT)
        .max_concurrent_bidi_streams(max_streams.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(PROBE_BUFFER))
        .datagram_send_buffer_size(PROBE_BUFFER)
        .stream_receive_window(VarInt::from_u32(8 << 20))
        .receive_window(VarInt::from_u32(16 << 20))
        .send_window(16 << 20);
    Arc::new(transport)
}

/// Media: datagrams that may be lost, beside one reliable stream each way. A link that died shows within a second.
pub(crate) fn media_transport(mtu: LinkMtu, max_streams: u16) -> Arc<TransportConfig> {
    let mut congestion = CubicConfig::default();
    congestion.initial_window(MEDIA_WINDOW);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(VarInt::from_u32(1_000).into()))
        .keep_alive_interval(Some(Duration::from_millis(200)))
        .initial_rtt(INITIAL_RTT)
        .initial_mtu(mtu.initial)
        .min_mtu(mtu.least)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(max_streams.into())
        .stream_receive_window(VarInt::from_u32(1 << 20))
        .receive_window(VarInt::from_u32(4 << 20))
        .send_window(4 << 20)
        .datagram_send_buffer_size(DATAGRAM_SEND_BUFFER)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER))
        .ack_frequency_config(Some(AckFrequencyConfig::default()))
        .congestion_controller_factory(Arc::new(congestion));
    Arc::new(transport)
}

/// The reset key and the shape of connection ids outlive the process: a node that was restarted on the same port
/// answers its predecessor's peers with a valid stateless reset (RFC 9000 §10.3), so that they dial anew at once.
fn endpoint_config(identity: &Identity, alpn: Alpn) -> EndpointConfig {
    let derive = |label: &str| {
        let context = format!("{label} {} {}", alpn.name(), identity.node());
        hmac::sign(&identity.secret().hmac_key(), context.as_bytes())
    };
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, derive("stateless reset").as_ref());
    let cid_key = derive("connection id").as_ref().iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte));
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(cid_key)));
    config
}
