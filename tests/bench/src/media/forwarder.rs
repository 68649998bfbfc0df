//! A plain forwarder of datagrams over QUIC: what a relay costs that knows nothing of media. Two of it make a link:
//!
//! ```text
//! UDP ─► enter ══ QUIC datagrams (RFC 9221) ══► leave ─► UDP          pass: UDP ─► UDP, the same without QUIC
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::UdpSocket;

use crate::report::say;

/// The name in the certificate.
const NAME: &str = "forwarder";
/// Largest datagram that is read whole.
const DATAGRAM: usize = 2048;

/// Which part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    /// Takes UDP, sends QUIC datagrams.
    Enter,
    /// Takes QUIC datagrams, sends UDP.
    Leave,
    /// Takes and sends UDP.
    Pass,
}

/// Runs one end, or none, of a link.
#[derive(Debug, Args)]
pub(crate) struct Forwarder {
    #[arg(long, value_enum)]
    role: Role,
    /// Where to: UDP, or the end that leaves.
    #[arg(long)]
    to: SocketAddr,
    /// The certificate that the end that leaves has printed.
    #[arg(long)]
    certificate: Option<String>,
}

impl Forwarder {
    pub(crate) fn run(self) -> Result<()> {
        plenary::prepare_process();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.role {
                Role::Enter => self.enter().await,
                Role::Leave => self.leave().await,
                Role::Pass => self.pass().await,
            }
        })
    }

    async fn enter(self) -> Result<()> {
        let certificate = STANDARD.decode(self.certificate.context("--certificate is needed to enter")?)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(certificate))?;
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
        endpoint.set_default_client_config(ClientConfig::with_root_certificates(Arc::new(roots))?);
        let connection = endpoint.connect(self.to, NAME)?.await?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        say(socket.local_addr()?);
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = socket.recv(&mut buffer).await?;
            connection.send_datagram(buffer[..length].to_vec().into())?;
        }
    }

    async fn leave(self) -> Result<()> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::with_single_cert(vec![made.cert.der().clone()], key)?;
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;
        say(format!("{} {}", endpoint.local_addr()?, STANDARD.encode(made.cert.der())));
        let connection = endpoint.accept().await.context("nobody came")?.await?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        loop {
            let datagram = connection.read_datagram().await?;
            // What the socket does not take is lost, as in the network.
            let _ = socket.try_send_to(&datagram, self.to);
        }
    }

    async fn pass(self) -> Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        say(socket.local_addr()?);
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let _ = socket.try_send_to(&buffer[..length], self.to);
        }
    }
}
