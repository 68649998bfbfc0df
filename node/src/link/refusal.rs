//! Peers turned away: why, how often, and one line in the log each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use quinn::ConnectionError;
use serde::Serialize;

/// Counter of refused peers, labelled with [`Refusal::label`].
pub(crate) const REFUSED_TOTAL: &str = "plenary_link_refused_total";

/// Why a connection between nodes was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The peer showed no certificate.
    NoCertificate,
    /// The peer's certificate is of another authority.
    UnknownAuthority,
    /// The peer is not the node that was dialled.
    WrongNode,
    /// The peer's certificate is malformed, expired or names no node of this cluster.
    BadCertificate,
    /// The peer's certificate is for another role than the request.
    Role,
    /// The peer was removed from the cluster, or its id was never given to anyone.
    NotAMember,
    /// The peer speaks none of the endpoint's protocols.
    Protocol,
    /// The peer refused us.
    ByPeer,
    /// The handshake failed otherwise.
    Handshake,
    /// Too many handshakes at once.
    Overload,
}

impl Refusal {
    const ALL: [Self; 10] = [
        Self::NoCertificate,
        Self::UnknownAuthority,
        Self::WrongNode,
        Self::BadCertificate,
        Self::Role,
        Self::NotAMember,
        Self::Protocol,
        Self::ByPeer,
        Self::Handshake,
        Self::Overload,
    ];

    /// The reason as metrics and log name it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::UnknownAuthority => "unknown_authority",
            Self::WrongNode => "wrong_node",
            Self::BadCertificate => "bad_certificate",
            Self::Role => "role",
            Self::NotAMember => "not_a_member",
            Self::Protocol => "protocol",
            Self::ByPeer => "by_peer",
            Self::Handshake => "handshake",
            Self::Overload => "overload",
        }
    }

    /// What a failed handshake was about; `None` when the peer was just not there (any more).
    pub(crate) fn of(error: &ConnectionError) -> Option<Self> {
        match error {
            ConnectionError::TransportError(error) => Some(Self::of_alert(u64::from(error.code), &error.reason)),
            ConnectionError::ConnectionClosed(close) if is_alert(u64::from(close.error_code)) => Some(Self::ByPeer),
            ConnectionError::VersionMismatch => Some(Self::Protocol),
            ConnectionError::ConnectionClosed(_)
            | ConnectionError::ApplicationClosed(_)
            | ConnectionError::Reset
            | ConnectionError::TimedOut
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => None,
        }
    }

    /// RFC 9001 §4.8: a TLS alert is the QUIC error 0x100 + alert. The alerts are RFC 8446 §6's.
    fn of_alert(code: u64, reason: &str) -> Self {
        match code.wrapping_sub(0x100) {
            116 => Self::NoCertificate,
            48 => Self::UnknownAuthority,
            120 => Self::Protocol,
            // One alert stands for every flaw in a certificate; rustls's words tell a wrong name from the rest.
            42 if reason.contains("not valid for name") || reason.contains("NotValidForName") => Self::WrongNode,
            42..=46 | 51 => Self::BadCertificate,
            _ => Self::Handshake,
        }
    }

    const fn index(self) -> usize {
        self as usize
    }
}

fn is_alert(code: u64) -> bool {
    (0x100..0x200).contains(&code)
}

/// How many peers were refused since the endpoint was opened, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusalCounts(std::collections::BTreeMap<&'static str, u64>);

impl RefusalCounts {
    /// How often `reason` was the reason.
    #[must_use]
    pub fn of(&self, reason: Refusal) -> u64 {
        self.0.get(reason.label()).copied().unwrap_or(0)
    }
}

/// The book of refusals that an endpoint keeps.
#[derive(Debug, Default)]
pub(crate) struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    /// Counts and logs one.
    pub(crate) fn note(&self, endpoint: &'static str, remote: SocketAddr, refusal: Refusal, detail: &str) {
        self.0[refusal.index()].fetch_add(1, Ordering::Relaxed);
        metrics::counter!(REFUSED_TOTAL, "reason" => refusal.label()).increment(1);
        tracing::warn!(endpoint, %remote, reason = refusal.label(), detail, "node link refused");
    }

    pub(crate) fn counts(&self) -> RefusalCounts {
        let count = |refusal: Refusal| (refusal.label(), self.0[refusal.index()].load(Ordering::Relaxed));
        RefusalCounts(Refusal::ALL.into_iter().map(count).collect())
    }
}
