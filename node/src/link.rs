//! QUIC between nodes: who they are, how they trust each other, and what carries their words and media.
//!
//! Two endpoints, each with a socket of its own, so that media can't delay a heartbeat:
//!
//! - [`ControlLink`]: request and answer, one bidirectional stream each ([`plenary_cluster::raft::Rpc`]). A newcomer
//!   without a certificate may speak one other protocol on it, [`enroll`], and nothing else.
//! - [`MediaLink`]: datagrams and an ordered reliable stream between nodes that pull tracks from each other.
//!
//! **Invariant:** nothing a peer says is looked at before its certificate has named a node of this cluster. The
//! one exception is an enrolment, whose token is checked first.
//!
//! Not for: what is said (Raft, relay frames) and to whom (the directory decides).

pub mod enroll;
pub mod identity;
pub mod pki;
pub mod token;

mod accept;
mod control;
mod media;
mod refusal;
mod roster;
mod scope;
mod socket;
mod tls;

#[cfg(test)]
mod testing;

pub use control::{ControlLink, Handler, PeerStats};
pub use enroll::{EnrollError, EnrollReply, EnrollRequest, JoinError, Joined, join};
pub use identity::{ClusterSecret, Identity};
pub use media::{DownReason, Dropped, LinkStats, MediaLink, MediaSink};
pub use pki::{ClusterCa, Fingerprint, NodeKey, NodeRole, PeerIdentity, PkiError};
pub use refusal::{Refusal, RefusalCounts};
pub use roster::{Roster, Standings};
pub use socket::LinkMtu;
pub use token::{JoinToken, TokenError};

/// Why an endpoint can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket can't be bound.
    #[error(
        "can't bind the {endpoint} endpoint to {address}: check that the address is this machine's and the port is free"
    )]
    Bind {
        /// `control` or `media`.
        endpoint: &'static str,
        /// What we tried to bind.
        address: std::net::SocketAddr,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// The identity does not make a TLS configuration.
    #[error("the node's identity is unusable")]
    Identity(#[from] PkiError),
}
