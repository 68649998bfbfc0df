//! Who is upstream of whom: pure functions of where a track comes from and where we are.

use plenary_cluster::model::{NodeId, RoomId};

use crate::io::Peer;

/// Where a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// The node.
    pub node: NodeId,
    /// The worker on it.
    pub worker: u16,
}

/// The worker of a node that speaks with other nodes for a room. Every node computes it for every other one.
#[must_use]
pub fn ingress_worker(room: RoomId, workers: u16) -> u16 {
    // A 64-bit finaliser (xor-shift-multiply) over both halves: UUIDv7 keeps its entropy in the low half.
    let bits = room.uuid().as_u128();
    let mut hash = (bits >> 64) as u64 ^ low_half(bits);
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^= hash >> 29;
    let worker = hash % u64::from(workers.max(1));
    u16::try_from(worker).expect("a remainder of a u16 fits a u16")
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
const fn low_half(bits: u128) -> u64 {
    bits as u64
}

/// Whom to pull a track from, `None` when it is published here.
///
/// `workers` is the number of workers on our node. The tree that follows from this has no loops: another worker's
/// track comes from that worker, another node's from its ingress worker to ours and from there to our siblings.
#[must_use]
pub fn upstream(origin: Place, me: Place, workers: u16, room: RoomId) -> Option<Peer> {
    if origin.node == me.node {
        return (origin.worker != me.worker).then_some(Peer::Worker(origin.worker));
    }
    let ingress = ingress_worker(room, workers);
    Some(if ingress == me.worker { Peer::Node(origin.node) } else { Peer::Worker(ingress) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(node: u64, worker: u16) -> Place {
        Place { node: NodeId::new(node), worker }
    }

    fn room(number: u128) -> RoomId {
        RoomId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn a_local_track_has_no_upstream() {
        assert_eq!(upstream(place(1, 0), place(1, 0), 4, room(7)), None);
    }

    #[test]
    fn another_worker_is_asked_directly() {
        assert_eq!(upstream(place(1, 3), place(1, 0), 4, room(7)), Some(Peer::Worker(3)));
    }

    #[test]
    fn only_the_ingress_worker_asks_another_node() {
        for number in 0..64 {
            let ingress = ingress_worker(room(number), 4);
            for worker in 0..4 {
                let asked = upstream(place(1, 0), place(2, worker), 4, room(number));
                let expected = if worker == ingress { Peer::Node(NodeId::new(1)) } else { Peer::Worker(ingress) };
                assert_eq!(asked, Some(expected));
            }
        }
    }

    #[test]
    fn rooms_spread_over_the_workers() {
        let mut rooms = [0_u32; 4];
        for number in 0..4_000 {
            rooms[usize::from(ingress_worker(room(number), 4))] += 1;
        }
        assert!(rooms.iter().all(|count| (800..1200).contains(count)), "{rooms:?}");
    }
}
