//! Where a room's home is. Pure: a function of committed state alone, so every node computes the same.

use crate::model::{NodeId, RoomId};

/// The node that is to own the singletons of `room`, out of `nodes`: the one with the highest rendezvous weight,
/// so that a node that comes or goes moves only the rooms it gains or had. `None` when there are no nodes.
///
/// [Thaler, Ravishankar: Using Name-Based Mappings to Increase Hit Rates, 1998]
#[must_use]
pub fn home(room: RoomId, nodes: impl IntoIterator<Item = NodeId>) -> Option<NodeId> {
    nodes.into_iter().max_by_key(|node| (weight(room, *node), *node))
}

/// A well-mixed number for the pair. It is part of replicated state's meaning: a change needs a new cluster version.
fn weight(room: RoomId, node: NodeId) -> u64 {
    let (high, low) = room.uuid().as_u64_pair();
    mix(mix(high ^ mix(low)) ^ node.number())
}

/// The finaliser of SplitMix64 [Steele, Lea, Flood 2014]: every input bit reaches every output bit.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn rooms() -> impl Iterator<Item = RoomId> {
        (0..3000).map(|n| RoomId::from_uuid(Uuid::from_u128(n)))
    }

    fn nodes(numbers: &[u64]) -> Vec<NodeId> {
        numbers.iter().copied().map(NodeId::new).collect()
    }

    #[test]
    fn without_nodes_there_is_no_home() {
        assert_eq!(home(RoomId::from_uuid(Uuid::nil()), []), None);
    }

    #[test]
    fn rooms_spread_evenly() {
        let nodes = nodes(&[1, 5, 9]);
        for node in &nodes {
            let homed = rooms().filter(|room| home(*room, nodes.clone()) == Some(*node)).count();
            assert!((850..1150).contains(&homed), "node {node} has {homed} of 3000");
        }
    }

    #[test]
    fn a_lost_node_moves_only_its_own_rooms() {
        for room in rooms() {
            let before = home(room, nodes(&[1, 5, 9]));
            let after = home(room, nodes(&[1, 9]));
            assert!(before == after || before == Some(NodeId::new(5)));
        }
    }
}
