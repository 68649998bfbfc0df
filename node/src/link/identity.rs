//! Who this node is: its certificate and key, the cluster's authority and the cluster secret; and their files.
//!
//! | file | what |
//! |---|---|
//! | `cluster.id` | the cluster's UUID |
//! | `cluster-ca.pem`, `cluster-ca.key` | the authority |
//! | `cluster.secret` | 32 random bytes in hexadecimal, for join tokens |
//! | `node.pem` | this node's certificate and key, in one file so that a renewal replaces both or neither; written last, it marks the identity as whole |

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use plenary_cluster::model::{NodeId, Timestamp};
use rustls::pki_types::CertificateDer;
use uuid::Uuid;

use super::pki::{
    ClusterCa, NodeKey, NodeRole, PeerIdentity, PkiError, certificate_from_pem, certificate_to_pem, renewal_time,
};

const CLUSTER_ID: &str = "cluster.id";
const CA_CERTIFICATE: &str = "cluster-ca.pem";
const CA_KEY: &str = "cluster-ca.key";
const SECRET: &str = "cluster.secret";
const NODE_CERTIFICATE: &str = "node.pem";

/// What only members of the cluster know; join tokens are made with it.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret([u8; 32]);

impl ClusterSecret {
    /// Draws a new secret.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, PkiError> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| rcgen::Error::RingUnspecified)?;
        Ok(Self(bytes))
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn hmac_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }

    fn to_hex(&self) -> String {
        format!("{:032x}{:032x}", be_u128(&self.0, 0), be_u128(&self.0, 16))
    }

    fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&u128::from_str_radix(&text[..32], 16).ok()?.to_be_bytes());
        bytes[16..].copy_from_slice(&u128::from_str_radix(&text[32..], 16).ok()?.to_be_bytes());
        Some(Self(bytes))
    }
}

fn be_u128(bytes: &[u8; 32], from: usize) -> u128 {
    bytes[from..from + 16].iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

/// What this node shows of itself at present.
#[derive(Debug)]
pub(crate) struct Credentials {
    certificate: CertificateDer<'static>,
    key: NodeKey,
    /// When the certificate was issued; `None` when another member issued it.
    issued: Option<Timestamp>,
}

impl Credentials {
    pub(crate) const fn key(&self) -> &NodeKey {
        &self.key
    }

    /// One file's worth: PEM ignores what stands outside its blocks.
    fn to_pem(&self) -> String {
        let issued = self.issued.map_or_else(String::new, |issued| format!("{ISSUED}{}\n", issued.millis()));
        format!("{issued}{}{}", certificate_to_pem(&self.certificate), self.key.to_pem())
    }

    fn from_pem(text: &str) -> Option<Self> {
        let issued = text.lines().find_map(|line| line.strip_prefix(ISSUED)?.parse().ok());
        Some(Self {
            certificate: certificate_from_pem(text)?,
            key: NodeKey::from_pem(text).ok()?,
            issued: issued.map(Timestamp::from_millis),
        })
    }
}

/// Begins the line that says when a certificate was issued, in Unix milliseconds.
const ISSUED: &str = "issued ";

/// Everything this node needs to prove who it is and to admit others.
#[derive(Debug)]
pub struct Identity {
    peer: PeerIdentity,
    ca: ClusterCa,
    credentials: ArcSwap<Credentials>,
    secret: ClusterSecret,
}

impl Identity {
    /// The identity of the first node of a new cluster.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn found(cluster: Uuid, node: NodeId, now: Timestamp) -> Result<Self, PkiError> {
        Self::issued_by(ClusterCa::generate(cluster, now)?, ClusterSecret::generate()?, node, now)
    }

    /// The identity of `node` with a fresh key, issued by an authority that is at hand.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn issued_by(ca: ClusterCa, secret: ClusterSecret, node: NodeId, now: Timestamp) -> Result<Self, PkiError> {
        let credentials = issue(&ca, node, now)?;
        Self::from_credentials(ca, secret, credentials)
    }

    /// Puts an identity together; the certificate says which node it is.
    ///
    /// # Errors
    /// When the certificate names no node of the authority's cluster.
    pub fn from_parts(
        ca: ClusterCa,
        secret: ClusterSecret,
        certificate: CertificateDer<'static>,
        key: NodeKey,
    ) -> Result<Self, PkiError> {
        Self::from_credentials(ca, secret, Credentials { certificate, key, issued: None })
    }

    fn from_credentials(ca: ClusterCa, secret: ClusterSecret, credentials: Credentials) -> Result<Self, PkiError> {
        let peer = PeerIdentity::from_certificate(&credentials.certificate)?;
        if peer.cluster != ca.cluster() {
            return Err(PkiError::NotANode("it belongs to another cluster"));
        }
        if peer.role != NodeRole::Node {
            return Err(PkiError::NotANode("it is for another role"));
        }
        Ok(Self { peer, ca, credentials: ArcSwap::from_pointee(credentials), secret })
    }

    /// Replaces key and certificate, on disk first. The authority is at hand on every node, so this needs nobody else.
    /// Endpoints show the new certificate once they are told to.
    ///
    /// # Errors
    /// When the system gives no randomness or `dir` can't be written.
    pub fn renew(&self, dir: &Path, now: Timestamp) -> Result<(), PkiError> {
        let credentials = issue(&self.ca, self.peer.node, now)?;
        write(dir, NODE_CERTIFICATE, &credentials.to_pem())?;
        self.credentials.store(Arc::new(credentials));
        Ok(())
    }

    /// Whether a third or less of the certificate's time is left, or how much is left is not known.
    #[must_use]
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.credentials.load().issued.is_none_or(|issued| now < issued || now >= renewal_time(issued))
    }

    /// This node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.peer.node
    }

    /// The cluster it belongs to.
    #[must_use]
    pub const fn cluster(&self) -> Uuid {
        self.peer.cluster
    }

    /// The cluster's authority.
    #[must_use]
    pub const fn ca(&self) -> &ClusterCa {
        &self.ca
    }

    /// The cluster's secret.
    #[must_use]
    pub const fn secret(&self) -> &ClusterSecret {
        &self.secret
    }

    /// The name under which another node of this cluster is dialled.
    pub(crate) fn server_name(&self, node: NodeId) -> String {
        PeerIdentity { node, ..self.peer }.server_name()
    }

    /// What this node shows now.
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        self.credentials.load_full()
    }

    /// The certificate of `credentials` and its authority's.
    pub(crate) fn chain(&self, credentials: &Credentials) -> Vec<CertificateDer<'static>> {
        vec![credentials.certificate.clone(), self.ca.certificate().clone()]
    }

    /// Reads the identity in `dir`; `None` when there is none yet.
    ///
    /// # Errors
    /// When a file can't be read or does not hold what it should; the error names the file.
    pub fn load(dir: &Path) -> Result<Option<Self>, PkiError> {
        let Some(certificate) = read(dir, NODE_CERTIFICATE)? else { return Ok(None) };
        let cluster = required(dir, CLUSTER_ID, "a UUID", |text| Uuid::try_parse(text.trim()).ok())?;
        let ca_certificate = required(dir, CA_CERTIFICATE, "a PEM certificate", certificate_from_pem)?;
        let ca = required(dir, CA_KEY, "the PEM key of the cluster's authority", |pem| {
            ClusterCa::from_parts(cluster, ca_certificate.clone(), pem).ok()
        })?;
        let secret = required(dir, SECRET, "64 hexadecimal digits", |text| ClusterSecret::from_hex(text.trim()))?;
        let damaged = |what| PkiError::Damaged { path: dir.join(NODE_CERTIFICATE), what };
        let credentials =
            Credentials::from_pem(&certificate).ok_or_else(|| damaged("a PEM certificate and its key"))?;
        Self::from_credentials(ca, secret, credentials)
            .map(Some)
            .map_err(|_| damaged("the certificate of a node of this cluster"))
    }

    /// Writes the identity to `dir`, readable by this user only, durable when it returns.
    ///
    /// # Errors
    /// When a file can't be written; the error names it.
    pub fn store(&self, dir: &Path) -> Result<(), PkiError> {
        fs::create_dir_all(dir).map_err(|source| PkiError::File { path: dir.to_owned(), source })?;
        write(dir, CLUSTER_ID, &self.cluster().to_string())?;
        write(dir, CA_CERTIFICATE, &certificate_to_pem(self.ca.certificate()))?;
        write(dir, CA_KEY, &self.ca.key_pem())?;
        write(dir, SECRET, &self.secret.to_hex())?;
        write(dir, NODE_CERTIFICATE, &self.credentials.load().to_pem())
    }
}

/// A fresh key and its certificate.
fn issue(ca: &ClusterCa, node: NodeId, now: Timestamp) -> Result<Credentials, PkiError> {
    let key = NodeKey::generate()?;
    let certificate = ca.issue(node, &key.request()?, now)?;
    Ok(Credentials { certificate, key, issued: Some(now) })
}

fn read(dir: &Path, name: &str) -> Result<Option<String>, PkiError> {
    let path = dir.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { path, source }),
    }
}

fn required<T>(
    dir: &Path,
    name: &str,
    what: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, PkiError> {
    read(dir, name)?.as_deref().and_then(parse).ok_or_else(|| PkiError::Damaged { path: dir.join(name), what })
}

/// Writes beside, syncs, renames, syncs the folder: after a power cut the file is the old or the new one.
fn write(dir: &Path, name: &str, text: &str) -> Result<(), PkiError> {
    let path = dir.join(name);
    let beside = dir.join(format!("{name}.tmp"));
    let attempt = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        fs::File::open(dir)?.sync_all()
    };
    attempt().map_err(|source| PkiError::File { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    #[test]
    fn an_identity_survives_its_files_which_only_the_user_can_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Identity::load(dir.path()).unwrap().is_none());
        let identity = Identity::found(Uuid::from_u128(9), NodeId::new(3), NOW).unwrap();
        identity.store(dir.path()).unwrap();
        let back = Identity::load(dir.path()).unwrap().unwrap();
        assert_eq!((back.node(), back.cluster()), (NodeId::new(3), Uuid::from_u128(9)));
        assert_eq!(back.ca().fingerprint(), identity.ca().fingerprint());
        assert_eq!(back.secret(), identity.secret());
        for entry in fs::read_dir(dir.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let key = NodeKey::generate().unwrap().request().unwrap();
        assert!(back.ca().issue(NodeId::new(4), &key, NOW).is_ok(), "the stored authority still issues");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        Identity::found(Uuid::from_u128(9), NodeId::new(3), NOW).unwrap().store(dir.path()).unwrap();
        for name in [CLUSTER_ID, CA_CERTIFICATE, CA_KEY, SECRET, NODE_CERTIFICATE] {
            let whole = fs::read(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name), "garbage").unwrap();
            let error = Identity::load(dir.path()).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            fs::write(dir.path().join(name), whole).unwrap();
        }
    }

    #[test]
    fn a_renewed_certificate_is_another_of_the_same_node_and_survives_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::found(Uuid::from_u128(9), NodeId::new(3), NOW).unwrap();
        identity.store(dir.path()).unwrap();
        let before = identity.credentials();
        let later = Timestamp::from_millis(NOW.millis() + 1000);
        identity.renew(dir.path(), later).unwrap();
        let after = identity.credentials();
        assert_ne!(before.certificate, after.certificate);
        assert_eq!(PeerIdentity::from_certificate(&after.certificate).unwrap().node, NodeId::new(3));
        let back = Identity::load(dir.path()).unwrap().unwrap().credentials();
        assert_eq!((&back.certificate, back.issued), (&after.certificate, Some(later)));
        assert_eq!(back.key.to_pem(), after.key.to_pem());
    }

    #[test]
    fn a_certificate_is_due_when_a_third_of_its_time_is_left() {
        let identity = Identity::found(Uuid::from_u128(9), NodeId::new(3), NOW).unwrap();
        let in_days = |days: i64| Timestamp::from_millis(NOW.millis() + days * 24 * 60 * 60 * 1000);
        assert_eq!([0, 19, 20, 40].map(|days| identity.is_due(in_days(days))), [false, false, true, true]);
        assert!(identity.is_due(in_days(-1)), "the clock was wrong when it was issued, or is now");
    }

    #[test]
    fn secrets_do_not_print() {
        let identity = Identity::found(Uuid::from_u128(9), NodeId::new(3), NOW).unwrap();
        assert!(!format!("{identity:?}").contains(&identity.secret().to_hex()));
        assert!(!format!("{identity:?}").contains("PRIVATE"));
    }
}
