//! TLS configurations of the links: TLS 1.3 only, both sides show a certificate of the cluster's authority, and the
//! dialler names the node it means.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientCertVerifierBuilder, ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::identity::Identity;
use super::pki::{Fingerprint, PkiError};

/// What a connection is for; negotiated in the handshake (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alpn {
    /// Requests between members.
    Control,
    /// Relayed media between members.
    Media,
    /// A newcomer's enrolment.
    Join,
}

impl Alpn {
    const ALL: [Self; 3] = [Self::Control, Self::Media, Self::Join];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Control => "plenary-control/1",
            Self::Media => "plenary-media/1",
            Self::Join => "plenary-join/1",
        }
    }

    fn wire(self) -> Vec<u8> {
        self.name().as_bytes().to_vec()
    }

    /// The protocol that a finished handshake agreed on.
    pub(crate) fn of(connection: &quinn::Connection) -> Option<Self> {
        let data = connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
        let protocol = data.protocol?;
        Self::ALL.into_iter().find(|alpn| alpn.name().as_bytes() == protocol)
    }
}

/// The control endpoint's: members on `plenary-control/1`, and newcomers, who have no certificate yet, on
/// `plenary-join/1`. Whoever asks for control without a certificate is refused after the handshake.
pub(crate) fn control_server(identity: &Identity) -> Result<QuicServerConfig, PkiError> {
    server(identity, verifier(identity)?.allow_unauthenticated(), &[Alpn::Control, Alpn::Join])
}

/// The media endpoint's: members only.
pub(crate) fn media_server(identity: &Identity) -> Result<QuicServerConfig, PkiError> {
    server(identity, verifier(identity)?, &[Alpn::Media])
}

/// A member's, dialling another.
pub(crate) fn client(identity: &Identity, alpn: Alpn) -> Result<QuicClientConfig, PkiError> {
    let own = identity.credentials();
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(identity)?)
        .with_client_auth_cert(identity.chain(&own), own.key().to_der())?;
    config.alpn_protocols = vec![alpn.wire()];
    quic_client(config)
}

/// A newcomer's: it trusts the authority that its token names, whichever node answers.
pub(crate) fn newcomer(pinned: Fingerprint) -> Result<QuicClientConfig, PkiError> {
    let provider = provider();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedAuthority { pinned, provider }))
        .with_no_client_auth();
    config.alpn_protocols = vec![Alpn::Join.wire()];
    quic_client(config)
}

/// For tests: trusts `trusted`'s authority and shows `shown`'s certificate.
#[cfg(test)]
pub(crate) fn client_with_parts(
    trusted: &Identity,
    shown: &Identity,
    alpn: Alpn,
) -> Result<QuicClientConfig, PkiError> {
    let own = shown.credentials();
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(trusted)?)
        .with_client_auth_cert(shown.chain(&own), own.key().to_der())?;
    config.alpn_protocols = vec![alpn.wire()];
    quic_client(config)
}

/// For tests: a client that shows no certificate.
#[cfg(test)]
pub(crate) fn client_without_certificate(trusted: &Identity, alpn: Alpn) -> Result<QuicClientConfig, PkiError> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(trusted)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.wire()];
    quic_client(config)
}

fn verifier(identity: &Identity) -> Result<ClientCertVerifierBuilder, PkiError> {
    Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots(identity)?), provider()))
}

fn server(
    identity: &Identity,
    verifier: ClientCertVerifierBuilder,
    alpns: &[Alpn],
) -> Result<QuicServerConfig, PkiError> {
    let own = identity.credentials();
    let verifier = verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain(&own), own.key().to_der())?;
    config.alpn_protocols = alpns.iter().map(|alpn| alpn.wire()).collect();
    // A resumed session would carry an identity past its certificate's end.
    config.send_tls13_tickets = 0;
    QuicServerConfig::try_from(config).map_err(|error| rustls::Error::General(error.to_string()).into())
}

fn quic_client(mut config: rustls::ClientConfig) -> Result<QuicClientConfig, PkiError> {
    config.resumption = rustls::client::Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(|error| rustls::Error::General(error.to_string()).into())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(identity: &Identity) -> Result<RootCertStore, PkiError> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.ca().certificate().clone())?;
    Ok(roots)
}

/// Accepts a server whose chain ends in the authority with the pinned fingerprint. Its name does not matter: any
/// member may admit.
#[derive(Debug)]
struct PinnedAuthority {
    pinned: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates
            .iter()
            .find(|certificate| Fingerprint::of(certificate) == self.pinned)
            .ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let end_entity = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&end_entity, &roots, &[], now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::PeerIncompatible::Tls12NotOffered.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
