//! How a newcomer becomes a member: it shows a join token and a key, and is given a node id, a certificate, and what
//! every member holds (the cluster's authority and secret).
//!
//! The newcomer trusts whoever's certificate ends in the authority that the token pins; the member trusts whoever
//! shows a token that this cluster made, that has not expired and that the replicated state has not seen before.
//! On the wire: one stream, the control link's framing, bodies of `version u16` and a bincode value.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use plenary_cluster::model::{NodeId, Timestamp};
use quinn::{Connection, ConnectionError, Endpoint, VarInt};
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::accept::peer_identity;
use super::control::{Handler, WireError, read_answer, read_body, write_answer, write_body};
use super::identity::{ClusterSecret, Identity};
use super::pki::{ClusterCa, NodeKey, PkiError, check_request};
use super::refusal::Refusal;
use super::token::{JoinToken, TokenError};
use super::{socket, tls};

/// Version of the bodies.
const VERSION: u16 = 1;
/// Longest body; a request is a token and a key, an answer three certificates and keys.
const MAX_BODY: usize = 16 << 10;
/// An enrolment takes one proposal; who takes longer than this is let go.
const ENROLMENT_TIME: Duration = Duration::from_secs(10);
/// A member that is there answers a dial within this.
const DIAL_TIME: Duration = Duration::from_secs(3);

/// A newcomer whose token was found genuine and not expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnrollRequest {
    /// The token's id, to be spent.
    pub token: u128,
    /// When the token expires.
    pub expires: Timestamp,
    /// Where the newcomer says its control endpoint will be.
    pub control: SocketAddr,
}

/// The newcomer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnrollReply {
    /// The id that Raft gave it.
    pub node: NodeId,
}

/// Why a member does not let a newcomer in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EnrollError {
    /// The token was not made by this cluster, or was changed.
    #[error(
        "token: not made by this cluster, or changed since; make one with `plenary token` on a member of this cluster"
    )]
    Forged,
    /// The token's time is over.
    #[error("token: expired at {at}; make a new one with `plenary token` on a member")]
    Expired {
        /// When it expired.
        at: Timestamp,
    },
    /// The token let somebody in before.
    #[error("token: already used; each lets one node in, make a new one with `plenary token` on a member")]
    Spent,
    /// The request does not parse, or its key does not prove itself.
    #[error("request: malformed ({what}); use the same version of Plenary on both nodes")]
    Malformed {
        /// What is wrong with it.
        what: String,
    },
    /// The cluster can't decide now.
    #[error("cluster: can't admit anyone now ({reason}); try again when a majority of its members is up")]
    Unavailable {
        /// Its words.
        reason: String,
    },
}

impl From<TokenError> for EnrollError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Malformed | TokenError::Version => Self::Malformed { what: "token".to_owned() },
            TokenError::Forged => Self::Forged,
            TokenError::Expired { at } => Self::Expired { at },
        }
    }
}

/// Why this node did not become a member.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Nobody answers there.
    #[error(
        "join: no member answers at {address} ({reason}); give the control address of a running member and let UDP through"
    )]
    Unreachable {
        /// Whom we dialled.
        address: SocketAddr,
        /// What the carrier says.
        reason: String,
    },
    /// The node there is of another cluster than the token.
    #[error(
        "join: the node at {address} is not of the token's cluster; use an address and a token of the same cluster"
    )]
    WrongCluster {
        /// Whom we dialled.
        address: SocketAddr,
    },
    /// The member said no.
    #[error(transparent)]
    Refused(#[from] EnrollError),
    /// The member's answer makes no sense.
    #[error("join: answer of {address} is malformed ({what}); use the same version of Plenary on both nodes")]
    Answer {
        /// Whom we dialled.
        address: SocketAddr,
        /// What is wrong with it.
        what: String,
    },
    /// Key material could not be made.
    #[error(transparent)]
    Identity(#[from] PkiError),
}

/// What joining brings.
#[derive(Debug)]
pub struct Joined {
    /// Who this node is from now on; not stored yet.
    pub identity: Identity,
    /// The member that let us in.
    pub introducer: NodeId,
}

#[derive(Serialize, Deserialize)]
struct RequestBody {
    token: String,
    signing_request: Vec<u8>,
    control: SocketAddr,
}

#[derive(Serialize, Deserialize)]
struct ReplyBody {
    certificate: Vec<u8>,
    ca_certificate: Vec<u8>,
    ca_key: String,
    secret: [u8; 32],
    cluster: u128,
}

/// Asks the member at `address` to let this node in, whose control endpoint will be dialled at `control`.
///
/// # Errors
/// [`JoinError`], which names the fix. Whether the token was spent is unknown only for [`JoinError::Answer`].
pub async fn join(address: SocketAddr, token: &JoinToken, control: SocketAddr) -> Result<Joined, JoinError> {
    let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let unreachable = |reason: String| JoinError::Unreachable { address, reason };
    let endpoint = Endpoint::client(SocketAddr::new(any, 0)).map_err(|error| unreachable(error.to_string()))?;
    let outcome = match tokio::time::timeout(ENROLMENT_TIME, ask(&endpoint, address, token, control)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(JoinError::Answer { address, what: "none in time".to_owned() }),
    };
    endpoint.close(VarInt::from_u32(0), b"done");
    outcome
}

async fn ask(
    endpoint: &Endpoint,
    address: SocketAddr,
    token: &JoinToken,
    control: SocketAddr,
) -> Result<Joined, JoinError> {
    let key = NodeKey::generate()?;
    let connection = dial(endpoint, address, token).await?;
    let malformed = |what: &dyn std::fmt::Display| JoinError::Answer { address, what: what.to_string() };
    let introducer = match peer_identity(&connection) {
        Some(Ok(peer)) => peer.node,
        Some(Err(_)) | None => return Err(malformed(&"its certificate names no node")),
    };
    let body = RequestBody { token: token.to_string(), signing_request: key.request()?, control };
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| malformed(&error))?;
    write_body(&mut send, encode(&body)).await.map_err(|error| malformed(&error))?;
    let answer = read_answer(&mut recv).await.map_err(|error| malformed(&error))?;
    let answer = answer.map_err(|reason| malformed(&reason))?;
    let reply: Result<ReplyBody, EnrollError> = decode(&answer).map_err(|what| malformed(&what))?;
    let reply = reply?;
    let ca_certificate = CertificateDer::from(reply.ca_certificate);
    let ca = ClusterCa::from_parts(Uuid::from_u128(reply.cluster), ca_certificate, &reply.ca_key)?;
    if ca.fingerprint() != token.fingerprint() {
        return Err(JoinError::WrongCluster { address });
    }
    let secret = ClusterSecret::from_bytes(reply.secret);
    let identity = Identity::from_parts(ca, secret, CertificateDer::from(reply.certificate), key)?;
    Ok(Joined { identity, introducer })
}

async fn dial(endpoint: &Endpoint, address: SocketAddr, token: &JoinToken) -> Result<Connection, JoinError> {
    let unreachable = |reason: String| JoinError::Unreachable { address, reason };
    let client = socket::client(tls::newcomer(token.fingerprint())?, &socket::control_transport(0));
    let connecting =
        endpoint.connect_with(client, address, "member.plenary").map_err(|error| unreachable(error.to_string()))?;
    match tokio::time::timeout(DIAL_TIME, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) if Refusal::of(&error) == Some(Refusal::UnknownAuthority) => {
            Err(JoinError::WrongCluster { address })
        }
        Ok(Err(error @ ConnectionError::TimedOut)) => Err(unreachable(error.to_string())),
        Ok(Err(error)) => Err(unreachable(error.to_string())),
        Err(_) => Err(unreachable("no answer".to_owned())),
    }
}

/// The member's side: one request, one answer, no more.
pub(crate) async fn admit(identity: &Identity, handler: &dyn Handler, connection: &Connection) {
    let remote = connection.remote_address();
    match tokio::time::timeout(ENROLMENT_TIME, serve(identity, handler, connection)).await {
        Ok(Ok(Ok(node))) => tracing::info!(%remote, %node, "newcomer enrolled"),
        Ok(Ok(Err(error))) => tracing::warn!(%remote, %error, "newcomer refused"),
        Ok(Err(error)) => tracing::debug!(%remote, %error, "enrolment broke off"),
        Err(_) => tracing::warn!(%remote, "enrolment took too long"),
    }
}

async fn serve(
    identity: &Identity,
    handler: &dyn Handler,
    connection: &Connection,
) -> Result<Result<NodeId, EnrollError>, WireError> {
    let Ok((mut send, mut recv)) = connection.accept_bi().await else { return Err(WireError::CutOff) };
    let body = read_body(&mut recv, MAX_BODY).await?;
    let outcome = decide(identity, handler, &body).await;
    let (outcome, reply) = match outcome {
        Ok((node, reply)) => (Ok(node), Ok(reply)),
        Err(error) => (Err(error.clone()), Err(error)),
    };
    write_answer(&mut send, Ok(encode(&reply))).await?;
    // Until it is acknowledged: dropping the connection would cut it off.
    let _ = send.stopped().await;
    Ok(outcome)
}

async fn decide(identity: &Identity, handler: &dyn Handler, body: &[u8]) -> Result<(NodeId, ReplyBody), EnrollError> {
    let malformed = |what: &str| EnrollError::Malformed { what: what.to_owned() };
    let request: RequestBody = decode(body).map_err(malformed)?;
    let token: JoinToken = request.token.parse()?;
    let now = wall_clock();
    token.verify(identity.secret(), now)?;
    // Before the token is spent, so that it isn't lost to a request that can't be answered.
    check_request(&request.signing_request).map_err(|_| malformed("key"))?;
    let accepted = EnrollRequest { token: token.id(), expires: token.expires(), control: request.control };
    let node = handler.enroll(accepted).await?.node;
    let ca = identity.ca();
    let certificate = ca.issue(node, &request.signing_request, now).map_err(|_| malformed("key"))?;
    let reply = ReplyBody {
        certificate: certificate.to_vec(),
        ca_certificate: ca.certificate().to_vec(),
        ca_key: ca.key_pem(),
        secret: *identity.secret().as_bytes(),
        cluster: identity.cluster().as_u128(),
    };
    Ok((node, reply))
}

fn encode(body: &impl Serialize) -> Bytes {
    let value = (VERSION, body);
    // Fixed-width version first, so that any version can tell it is another.
    let bytes = bincode::serde::encode_to_vec(value, bincode::config::standard().with_fixed_int_encoding());
    Bytes::from(bytes.expect("in-memory encoding of plain values does not fail"))
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, &'static str> {
    let config = bincode::config::standard().with_fixed_int_encoding().with_limit::<MAX_BODY>();
    let version = body.first_chunk().map(|bytes| u16::from_le_bytes(*bytes));
    if version != Some(VERSION) {
        return Err("version");
    }
    let decoded: Result<((u16, T), usize), _> = bincode::serde::decode_from_slice(body, config);
    match decoded {
        Ok(((_, value), read)) if read == body.len() => Ok(value),
        Ok(_) | Err(_) => Err("body"),
    }
}

/// The time that tokens expire by: the member's wall clock.
#[expect(
    clippy::disallowed_methods,
    reason = "an expiry is compared with the wall clock, here and nowhere else in the links"
)]
pub(crate) fn wall_clock() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
