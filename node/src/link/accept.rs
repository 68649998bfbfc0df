//! Taking a peer in: the handshake, then who it is.

use std::sync::Arc;
use std::time::Duration;

use plenary_cluster::model::NodeId;
use plenary_cluster::state::Standing;
use quinn::{Connection, Endpoint, Incoming, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::pki::{NodeRole, PeerIdentity, PkiError};
use super::refusal::{Refusal, Refusals};
use super::roster::Roster;
use super::socket::MAX_HANDSHAKES;
use super::tls::Alpn;

/// A peer that has not finished its handshake by then is let go.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// With more handshakes than this in progress, a peer has to prove its address first (RFC 9000 §8.1.2).
const PROVE_ADDRESS_ABOVE: usize = MAX_HANDSHAKES / 4;
/// QUIC application error: refused after the handshake.
const REFUSED: VarInt = VarInt::from_u32(1);
/// QUIC application error: the peer was removed from the cluster. Code of both endpoints, apart from the media link's
/// own.
pub(crate) const REMOVED: VarInt = VarInt::from_u32(0x52);

/// A peer after its handshake.
pub(crate) enum Accepted {
    /// A member of this cluster, on the protocol it asked for.
    Member(Connection, PeerIdentity),
    /// Somebody without a certificate who wants to enrol.
    Newcomer(Connection),
}

/// The door of an endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) endpoint: &'static str,
    pub(crate) cluster: Uuid,
    roster: Roster,
    pub(crate) refusals: Arc<Refusals>,
    handshakes: Arc<Semaphore>,
}

impl Door {
    pub(crate) fn new(endpoint: &'static str, cluster: Uuid, roster: Roster) -> Self {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        Self { endpoint, cluster, roster, refusals: Arc::default(), handshakes }
    }

    /// The next peer that may begin its handshake; `None` when the endpoint is closed.
    pub(crate) async fn next(&self, endpoint: &Endpoint) -> Option<(Incoming, OwnedSemaphorePermit)> {
        loop {
            let incoming = endpoint.accept().await?;
            let Ok(permit) = Arc::clone(&self.handshakes).try_acquire_owned() else {
                self.refuse(&incoming, Refusal::Overload, "too many handshakes in progress");
                incoming.refuse();
                continue;
            };
            let busy = self.handshakes.available_permits() < MAX_HANDSHAKES - PROVE_ADDRESS_ABOVE;
            if !(busy && incoming.may_retry()) {
                return Some((incoming, permit));
            }
            if incoming.retry().is_err() {
                tracing::debug!("peer could not be asked to prove its address");
            }
        }
    }

    /// Carries the handshake through and tells who it is. A refused peer is counted and logged.
    pub(crate) async fn admit(&self, incoming: Incoming) -> Option<Accepted> {
        let remote = incoming.remote_address();
        let connecting = match incoming.accept() {
            Ok(connecting) => connecting,
            Err(error) => return self.failed(remote, &error),
        };
        match tokio::time::timeout(HANDSHAKE_TIME, connecting).await {
            Ok(Ok(connection)) => self.identify(connection),
            Ok(Err(error)) => self.failed(remote, &error),
            Err(_) => {
                self.refusals.note(self.endpoint, remote, Refusal::Handshake, "handshake took too long");
                None
            }
        }
    }

    fn identify(&self, connection: Connection) -> Option<Accepted> {
        let (code, refusal, detail) = match (Alpn::of(&connection), peer_identity(&connection)) {
            (Some(Alpn::Join), None) => return Some(Accepted::Newcomer(connection)),
            (Some(Alpn::Join), Some(Ok(peer))) if peer.role == NodeRole::Joiner && peer.cluster == self.cluster => {
                return Some(Accepted::Newcomer(connection));
            }
            (Some(Alpn::Control | Alpn::Media), Some(Ok(peer))) => match self.judge(peer) {
                Ok(()) => return Some(Accepted::Member(connection, peer)),
                Err(refused) => refused,
            },
            (Some(Alpn::Control | Alpn::Media), None) => {
                (REFUSED, Refusal::NoCertificate, "members must show a certificate".to_owned())
            }
            (Some(Alpn::Control | Alpn::Media), Some(Err(_))) => {
                (REFUSED, Refusal::BadCertificate, "names no node".to_owned())
            }
            (Some(Alpn::Join), Some(_)) => (REFUSED, Refusal::Protocol, "a member has no need to join".to_owned()),
            (None, _) => (REFUSED, Refusal::Protocol, "no protocol agreed on".to_owned()),
        };
        self.refusals.note(self.endpoint, connection.remote_address(), refusal, &detail);
        connection.close(code, detail.as_bytes());
        None
    }

    /// Whether the holder of a genuine certificate may make requests of nodes here.
    fn judge(&self, peer: PeerIdentity) -> Result<(), (VarInt, Refusal, String)> {
        let node = peer.node;
        if peer.cluster != self.cluster {
            return Err((REFUSED, Refusal::BadCertificate, "node of another cluster".to_owned()));
        }
        if peer.role != NodeRole::Node {
            let role = peer.role.as_str();
            return Err((REFUSED, Refusal::Role, format!("role {role} may not speak for a node")));
        }
        match self.roster.standing(node) {
            Standing::Member | Standing::NotKnownYet => Ok(()),
            Standing::Removed => Err((REMOVED, Refusal::NotAMember, format!("node {node} was removed"))),
            Standing::Stranger => Err((REFUSED, Refusal::NotAMember, format!("node {node} was never admitted"))),
        }
    }

    /// Whether a node still belongs, to its knowledge and ours.
    pub(crate) fn admits(&self, node: NodeId) -> bool {
        match self.roster.standing(node) {
            Standing::Member | Standing::NotKnownYet => true,
            Standing::Removed | Standing::Stranger => false,
        }
    }

    fn refuse(&self, incoming: &Incoming, refusal: Refusal, detail: &str) {
        self.refusals.note(self.endpoint, incoming.remote_address(), refusal, detail);
    }

    fn failed<T>(&self, remote: std::net::SocketAddr, error: &quinn::ConnectionError) -> Option<T> {
        if let Some(refusal) = Refusal::of(error) {
            self.refusals.note(self.endpoint, remote, refusal, &error.to_string());
        }
        None
    }
}

/// What the peer's verified certificate says; `None` when it showed none.
pub(crate) fn peer_identity(connection: &Connection) -> Option<Result<PeerIdentity, PkiError>> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.first().map(PeerIdentity::from_certificate)
}
