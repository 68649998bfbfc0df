//! The last packets of a track, kept to answer the NACKs of downstream neighbours.

use std::time::{Duration, Instant};

use crate::packet::Packet;

/// Packets kept per track: at 260 packets/s (a 2.5 Mbit/s screen) about two seconds.
const PACKETS: usize = 512;

/// How long a packet is worth sending again: after that no forwarder would take it.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The last packets of one track by sequence number. Empty until the first packet is kept.
#[derive(Debug, Default)]
pub struct Ring {
    packets: Vec<Option<(Instant, Packet)>>,
}

impl Ring {
    /// Keeps a packet, forgetting the one that is 512 older.
    pub fn keep(&mut self, now: Instant, packet: &Packet) {
        if self.packets.is_empty() {
            self.packets.resize(PACKETS, None);
        }
        self.packets[index(packet.sequence)] = Some((now, packet.clone()));
    }

    /// The packet with this sequence number, unless it is too old or was never kept.
    #[must_use]
    pub fn find(&self, now: Instant, sequence: u64) -> Option<&Packet> {
        let (kept_at, packet) = self.packets.get(index(sequence))?.as_ref()?;
        let young = now.saturating_duration_since(*kept_at) <= MAX_AGE;
        (packet.sequence == sequence && young).then_some(packet)
    }

    /// Gives all memory back.
    pub fn clear(&mut self) {
        self.packets = Vec::new();
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a remainder of 512 fits")]
const fn index(sequence: u64) -> usize {
    (sequence % PACKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::sample;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn a_packet_is_found_until_it_is_old_or_overwritten() {
        let start = Instant::now();
        let mut ring = Ring::default();
        assert!(ring.find(start, 5).is_none());
        ring.keep(start, &sample(5, start));
        assert_eq!(ring.find(start, 5).map(|packet| packet.sequence), Some(5));
        assert!(ring.find(start, 5 + PACKETS as u64).is_none());
        assert!(ring.find(start + MAX_AGE + Duration::from_millis(1), 5).is_none());
        ring.keep(start, &sample(5 + PACKETS as u64, start));
        assert!(ring.find(start, 5).is_none());
    }
}
