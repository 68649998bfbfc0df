//! What a worker counts.

/// Relay frames by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameCounts {
    /// [`Frame::Pull`](crate::relay::Frame::Pull).
    pub pull: u64,
    /// [`Frame::Release`](crate::relay::Frame::Release).
    pub release: u64,
    /// [`Frame::Keyframe`](crate::relay::Frame::Keyframe).
    pub keyframe: u64,
    /// [`Frame::Media`](crate::relay::Frame::Media).
    pub media: u64,
    /// Payload bytes in them.
    pub media_bytes: u64,
    /// [`Frame::Nack`](crate::relay::Frame::Nack).
    pub nack: u64,
}

/// A worker's gauges and counters. Counters only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Open sessions.
    pub sessions: usize,
    /// Rooms with a session, a view or a relay here.
    pub rooms: usize,
    /// Datagrams from clients that found their session.
    pub datagrams_received: u64,
    /// Bytes in them.
    pub bytes_received: u64,
    /// Datagrams to clients.
    pub datagrams_sent: u64,
    /// Bytes in them.
    pub bytes_sent: u64,
    /// Datagrams that no session claims: dropped without an answer.
    pub unknown_datagrams: u64,
    /// RTP packets of published tracks, repairs included.
    pub packets_received: u64,
    /// Payload bytes in them.
    pub payload_received: u64,
    /// RTP packets written to slots, without retransmissions.
    pub packets_forwarded: u64,
    /// Payload bytes in them.
    pub payload_forwarded: u64,
    /// Packets of muted or unpublished tracks, dropped at their origin.
    pub silenced_packets: u64,
    /// Keyframes asked for by slots, clients and neighbours.
    pub keyframes_asked: u64,
    /// Of these, answered by a request that was already on its way.
    pub keyframes_coalesced: u64,
    /// Keyframe requests sent to publishers.
    pub keyframes_requested: u64,
    /// Packets asked for again over relays.
    pub relay_nacked: u64,
    /// Packets sent again over relays.
    pub relay_resent: u64,
    /// Packets that came over relays after they had been missing.
    pub relay_recovered: u64,
    /// Packets that came over relays twice or unasked: dropped.
    pub relay_dropped: u64,
    /// Relay frames received.
    pub frames_received: FrameCounts,
    /// Relay frames sent.
    pub frames_sent: FrameCounts,
    /// Sessions that were dropped because of a bug.
    pub faults: u64,
}
