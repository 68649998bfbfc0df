//! Someone at a node's QUIC door who does not belong there.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

const REFUSED_WITHIN: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What an intruder shows of itself.
#[derive(Debug)]
pub struct Papers(Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>);

impl Papers {
    /// No certificate at all.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// A certificate that nobody vouches for.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn self_made() -> Result<Self> {
        let own = rcgen::generate_simple_self_signed(vec!["node-1".to_owned()])?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
        Ok(Self(Some((vec![own.cert.der().clone()], key))))
    }

    /// What a node shows, from its own files.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn of_node(data_dir: &Path) -> Result<Self> {
        let identity = data_dir.join("identity");
        let pem = fs::read(identity.join("node.pem")).context("node.pem")?;
        let authority = CertificateDer::from_pem_file(identity.join("cluster-ca.pem"))?;
        let own = CertificateDer::from_pem_slice(&pem)?;
        Ok(Self(Some((vec![own, authority], PrivateKeyDer::from_pem_slice(&pem)?))))
    }
}

/// When a forged certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Since yesterday, until tomorrow.
    Now,
    /// Until yesterday.
    UntilYesterday,
    /// From tomorrow.
    FromTomorrow,
}

/// The authority of a cluster in the wrong hands, or another one that looks like it.
#[derive(Debug)]
pub struct Forger {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    cluster: String,
}

impl Forger {
    /// With the keys of a node's cluster.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn of_cluster(data_dir: &Path) -> Result<Self> {
        let identity = data_dir.join("identity");
        let certificate = CertificateDer::from_pem_file(identity.join("cluster-ca.pem"))?;
        let key = KeyPair::from_pem(&fs::read_to_string(identity.join("cluster-ca.key"))?)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let cluster = fs::read_to_string(identity.join("cluster.id"))?.trim().replace('-', "");
        Ok(Self { certificate, issuer, cluster })
    }

    /// An authority of its own that claims to be the cluster's.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn impostor_of(data_dir: &Path) -> Result<Self> {
        let cluster = Self::of_cluster(data_dir)?.cluster;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { certificate, issuer: Issuer::new(params, key), cluster })
    }

    /// The same keys, put to work in the name of another cluster.
    #[must_use]
    pub fn for_cluster(self, cluster: &str) -> Self {
        Self { cluster: cluster.to_owned(), ..self }
    }

    /// Papers that name a role and a node.
    ///
    /// # Errors
    /// When the names make no certificate.
    pub fn papers(&self, role: &str, node: u64, holds: Holds) -> Result<Papers> {
        let Self { certificate, issuer, cluster } = self;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![
            SanType::DnsName(format!("node-{node}.{cluster}.plenary").try_into()?),
            SanType::URI(format!("plenary://{cluster}/{role}/{node}").try_into()?),
        ];
        let now = rcgen::date_time_ymd(1970, 1, 1) + crate::clock::wall_clock();
        (params.not_before, params.not_after) = match holds {
            Holds::Now => (now - DAY, now + DAY),
            Holds::UntilYesterday => (now - 3 * DAY, now - DAY),
            Holds::FromTomorrow => (now + DAY, now + 3 * DAY),
        };
        let own = params.signed_by(&key, issuer)?.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Papers(Some((vec![own, certificate.clone()], key))))
    }
}

/// Knocks at a QUIC endpoint with a certificate that no authority of the cluster gave, and says how it was closed.
///
/// # Errors
/// When it is not closed.
pub async fn knock(door: SocketAddr, protocol: &str) -> Result<String> {
    knock_with(door, protocol, Papers::self_made()?).await
}

/// Knocks with any papers, and says how the door was closed.
///
/// # Errors
/// When it is not closed.
pub async fn knock_with(door: SocketAddr, protocol: &str, papers: Papers) -> Result<String> {
    let attempt = async {
        match enter(door, protocol, papers).await {
            // In TLS 1.3 the client is done before the server has looked at its certificate.
            Ok(guest) => anyhow::Ok(guest.connection.closed().await.to_string()),
            Err(error) => Ok(format!("{error:#}")),
        }
    };
    tokio::time::timeout(REFUSED_WITHIN, attempt).await.context("the intruder was not turned away")?
}

/// Someone with an open connection.
#[derive(Debug)]
pub struct Guest {
    /// The connection.
    pub connection: Connection,
    /// Lives as long as the connection is to.
    _endpoint: Endpoint,
}

impl Guest {
    /// Sends a request as members do, with any length in its header, and gives the answer: a status and a body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn request(&self, claimed: u32, body: &[u8]) -> Result<(u8, Vec<u8>)> {
        let exchange = async {
            let (mut send, mut recv) = self.connection.open_bi().await?;
            send.write_all(&claimed.to_be_bytes()).await?;
            send.write_all(body).await?;
            send.finish()?;
            let answer = recv.read_to_end(1 << 20).await?;
            let (status, rest) = answer.split_first().context("an answer")?;
            anyhow::Ok((*status, rest.get(4..).unwrap_or_default().to_vec()))
        };
        tokio::time::timeout(REFUSED_WITHIN, exchange).await.context("no answer")?
    }
}

/// Makes a connection.
///
/// # Errors
/// When the handshake fails.
pub async fn enter(door: SocketAddr, protocol: &str, papers: Papers) -> Result<Guest> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider)));
    let mut tls = match papers.0 {
        Some((chain, key)) => tls.with_client_auth_cert(chain, key)?,
        None => tls.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let mut endpoint = Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
    let connection = endpoint.connect(door, "node-1")?.await?;
    Ok(Guest { connection, _endpoint: endpoint })
}

/// Believes any server: it is not the server that is on trial.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("QUIC knows TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
