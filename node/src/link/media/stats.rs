//! What crossed a link, counted since this node started.

use std::sync::atomic::{AtomicU64, Ordering};

use plenary_cluster::model::NodeId;
use serde::{Deserialize, Serialize};

/// One peer's link, with counters that survive reconnections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStats {
    /// The other end.
    pub peer: NodeId,
    /// Whether the link is up.
    pub up: bool,
    /// Whether this node dialled the present connection.
    pub dialled_by_us: bool,
    /// Smoothed round trip in microseconds; `None` while down.
    pub rtt_micros: Option<u64>,
    /// How often the link came up.
    pub ups: u64,
    /// Datagrams handed to the link, those that needed a stream included.
    pub datagrams_sent: u64,
    /// Their bytes.
    pub datagram_bytes_sent: u64,
    /// Of them, how many were too large for a datagram and went over a stream of their own.
    pub datagrams_on_streams: u64,
    /// Datagrams that arrived.
    pub datagrams_received: u64,
    /// Their bytes.
    pub datagram_bytes_received: u64,
    /// Reliable frames handed to the link.
    pub reliable_sent: u64,
    /// Their bytes.
    pub reliable_bytes_sent: u64,
    /// Reliable frames that arrived.
    pub reliable_received: u64,
    /// Their bytes.
    pub reliable_bytes_received: u64,
    /// Datagrams and frames that the link did not take.
    pub dropped: u64,
    /// Datagrams taken while the send queue was full: each pushed older ones out.
    pub displacing: u64,
}

/// Count and bytes of one kind of traffic.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    count: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub(crate) fn add(&self, bytes: usize) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The counters behind [`LinkStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) ups: Tally,
    pub(crate) datagrams_sent: Tally,
    pub(crate) datagrams_on_streams: Tally,
    pub(crate) datagrams_received: Tally,
    pub(crate) reliable_sent: Tally,
    pub(crate) reliable_received: Tally,
    pub(crate) dropped: Tally,
    pub(crate) displacing: Tally,
}
