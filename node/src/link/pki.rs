//! The cluster's certificate authority and what a node's certificate says.
//!
//! A node certificate carries two names: the DNS name that a dialler asks for
//! (`node-<id>.<cluster>.plenary`), so that reaching another node than the one dialled fails in the handshake, and
//! the URI `plenary://<cluster>/<role>/<id>`, which is what [`PeerIdentity`] reads.

use std::fmt;

use aws_lc_rs::digest;
use chrono::{DateTime, Datelike, Utc};
use plenary_cluster::model::{NodeId, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use uuid::Uuid;

/// How long the authority holds: it is not replaced, so a cluster must outlive its hardware on one.
const AUTHORITY_DAYS: i64 = 3650;
/// How long a node's certificate holds. Nodes renew theirs long before; a stolen one is of no use for long.
const NODE_DAYS: i64 = 30;
/// Certificates begin this much before they are made, for clocks that are behind.
const BACKDATED_DAYS: i64 = 1;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

/// Why key material can't be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file of the identity can't be read or written.
    #[error("can't access {path}: check that the data folder exists and belongs to this user")]
    File {
        /// Which file.
        path: std::path::PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file of the identity does not hold what it should.
    #[error(
        "{path} is damaged ({what}): restore it from a backup, or let the node join again with an empty data folder"
    )]
    Damaged {
        /// Which file.
        path: std::path::PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// A certificate names no node of a cluster.
    #[error("certificate is not a node's: {0}")]
    NotANode(&'static str),
    /// A certificate or key could not be made or parsed.
    #[error("certificate operation failed")]
    Certificate(#[from] rcgen::Error),
    /// Certificate and key do not make a TLS configuration.
    #[error("tls refuses the identity")]
    Tls(#[from] rustls::Error),
}

/// What the holder of a certificate may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeRole {
    /// A node: Raft, relayed media, admitting newcomers.
    Node,
    /// To enrol, and nothing else.
    Joiner,
    /// An operator. Operators talk to a node through its local socket, so between nodes this role opens no door.
    Admin,
}

impl NodeRole {
    const ALL: [Self; 3] = [Self::Node, Self::Joiner, Self::Admin];

    /// The role as certificates name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Joiner => "joiner",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// SHA-256 over a certificate's DER form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(bytes)
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who is at the other end, as its verified certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerIdentity {
    /// The cluster it belongs to.
    pub cluster: Uuid,
    /// Its id.
    pub node: NodeId,
    /// What it may do.
    pub role: NodeRole,
}

impl PeerIdentity {
    /// The DNS name under which this node is dialled.
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("node-{}.{}.plenary", self.node, self.cluster.as_simple())
    }

    fn uri(&self) -> String {
        format!("plenary://{}/{}/{}", self.cluster.as_simple(), self.role.as_str(), self.node)
    }

    /// Reads the identity from a certificate. Does not verify the certificate: TLS has done so.
    ///
    /// # Errors
    /// [`PkiError::NotANode`] when the certificate does not name exactly one node.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Self, PkiError> {
        let parsed =
            webpki::EndEntityCert::try_from(certificate).map_err(|_| PkiError::NotANode("it does not parse"))?;
        let mut uris = parsed.valid_uri_names().filter_map(|uri| uri.strip_prefix("plenary://"));
        let (Some(path), None) = (uris.next(), uris.next()) else {
            return Err(PkiError::NotANode("expected one name of the form plenary://cluster/role/node"));
        };
        Self::parse(path).ok_or(PkiError::NotANode("its name is malformed or its role is unknown"))
    }

    fn parse(path: &str) -> Option<Self> {
        let mut parts = path.split('/');
        let cluster = Uuid::try_parse(parts.next()?).ok()?;
        let role = NodeRole::parse(parts.next()?)?;
        let node = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { cluster, node, role })
    }
}

/// A node's private key before and after it has a certificate.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// Draws a new key (ECDSA P-256).
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, PkiError> {
        Ok(Self(KeyPair::generate()?))
    }

    /// A signing request in DER form: proves possession of the key and says nothing else.
    ///
    /// # Errors
    /// When signing fails.
    pub fn request(&self) -> Result<Vec<u8>, PkiError> {
        Ok(CertificateParams::default().serialize_request(&self.0)?.der().to_vec())
    }

    /// The first key in a PEM text, whatever else it holds.
    pub(crate) fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes());
        let key = key.map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        Ok(Self(KeyPair::try_from(&key)?))
    }

    pub(crate) fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    pub(crate) fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.serialize_der()))
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

/// The certificate authority of a cluster. Every full member holds it, so any of them can admit a newcomer.
pub struct ClusterCa {
    cluster: Uuid,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl ClusterCa {
    /// Makes the authority of a new cluster.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate(cluster: Uuid, now: Timestamp) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = validity(now, AUTHORITY_DAYS);
        params.distinguished_name = common_name(&format!("plenary cluster {}", cluster.as_simple()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { cluster, certificate, issuer: Issuer::new(params, key) })
    }

    /// Takes the authority over from its stored or received form.
    ///
    /// # Errors
    /// When certificate or key do not parse.
    pub fn from_parts(cluster: Uuid, certificate: CertificateDer<'static>, key_pem: &str) -> Result<Self, PkiError> {
        let issuer = Issuer::from_ca_cert_der(&certificate, KeyPair::from_pem(key_pem)?)?;
        Ok(Self { cluster, certificate, issuer })
    }

    /// Issues the certificate of `node` for the key that signed `request` (DER). Only the key is taken from it.
    ///
    /// # Errors
    /// When the request is malformed or its signature is wrong.
    pub fn issue(&self, node: NodeId, request: &[u8], now: Timestamp) -> Result<CertificateDer<'static>, PkiError> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))?;
        let identity = PeerIdentity { cluster: self.cluster, node, role: NodeRole::Node };
        let mut params = validity(now, NODE_DAYS);
        params.distinguished_name = common_name(&format!("plenary node {node}"));
        params.subject_alt_names =
            vec![SanType::DnsName(identity.server_name().try_into()?), SanType::URI(identity.uri().try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&request.public_key, &self.issuer)?.der().clone())
    }

    /// The cluster it stands for.
    #[must_use]
    pub const fn cluster(&self) -> Uuid {
        self.cluster
    }

    /// Its self-signed certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What a join token pins.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

impl fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterCa").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// Whether a signing request (DER) parses and was signed by the key it names.
pub(crate) fn check_request(request: &[u8]) -> Result<(), PkiError> {
    CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))?;
    Ok(())
}

/// A certificate in PEM form.
pub(crate) fn certificate_to_pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// The one certificate in a PEM text.
pub(crate) fn certificate_from_pem(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn validity(now: Timestamp, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    if let Some((year, month, day)) = date(now.millis() - BACKDATED_DAYS * DAY_MILLIS) {
        params.not_before = rcgen::date_time_ymd(year, month, day);
    }
    if let Some((year, month, day)) = date(now.millis() + days * DAY_MILLIS) {
        params.not_after = rcgen::date_time_ymd(year, month, day);
    }
    params
}

/// When a node's certificate that was issued at `issued` is to be replaced: a third of its time is left then.
pub(crate) fn renewal_time(issued: Timestamp) -> Timestamp {
    Timestamp::from_millis(issued.millis().saturating_add(NODE_DAYS * DAY_MILLIS / 3 * 2))
}

/// The UTC date of a time; `None` for times that no calendar holds.
fn date(millis: i64) -> Option<(i32, u8, u8)> {
    let date = DateTime::<Utc>::from_timestamp_millis(millis)?.date_naive();
    Some((date.year(), u8::try_from(date.month()).ok()?, u8::try_from(date.day()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    #[test]
    fn a_certificate_names_its_node() {
        let cluster = Uuid::from_u128(7);
        let ca = ClusterCa::generate(cluster, NOW).unwrap();
        let request = NodeKey::generate().unwrap().request().unwrap();
        let certificate = ca.issue(NodeId::new(42), &request, NOW).unwrap();
        let identity = PeerIdentity::from_certificate(&certificate).unwrap();
        assert_eq!(identity, PeerIdentity { cluster, node: NodeId::new(42), role: NodeRole::Node });
        assert_eq!(identity.server_name(), "node-42.00000000000000000000000000000007.plenary");
    }

    #[test]
    fn a_certificate_without_a_node_name_is_no_identity() {
        let ca = ClusterCa::generate(Uuid::from_u128(7), NOW).unwrap();
        assert!(matches!(PeerIdentity::from_certificate(ca.certificate()), Err(PkiError::NotANode(_))));
    }

    #[test]
    fn malformed_names_are_refused() {
        let cluster = Uuid::from_u128(7).as_simple().to_string();
        for path in ["", "x/node/1", &cluster, &format!("{cluster}/guest/1"), &format!("{cluster}/node/1/2")] {
            assert_eq!(PeerIdentity::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_request_with_a_broken_signature_is_refused() {
        let ca = ClusterCa::generate(Uuid::from_u128(7), NOW).unwrap();
        let mut request = NodeKey::generate().unwrap().request().unwrap();
        let last = request.len() - 1;
        request[last] ^= 1;
        assert!(ca.issue(NodeId::new(1), &request, NOW).is_err());
    }

    #[test]
    fn a_certificate_survives_pem() {
        let ca = ClusterCa::generate(Uuid::from_u128(7), NOW).unwrap();
        let pem = certificate_to_pem(ca.certificate());
        assert_eq!(certificate_from_pem(&pem).as_ref(), Some(ca.certificate()));
    }
}
