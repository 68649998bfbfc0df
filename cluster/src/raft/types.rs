//! openraft's types with ours filled in, named once.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::model::NodeId;
use crate::state::{Outcome, Proposal};
use crate::store::StateMachine;

/// A member as the membership records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Where its control endpoint was to be dialled when it was added; the state knows newer ones.
    pub(crate) control: SocketAddr,
}

openraft::declare_raft_types!(
    /// What our Raft group is made of.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Outcome,
        NodeId = NodeId,
        Node = Member,
        AsyncRuntime = super::runtime::Runtime,
);

pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.id.proposer, self.id.epoch, self.id.sequence)
    }
}

/// What openraft's own store tests ask for.
#[cfg(test)]
mod for_suite {
    use super::{Member, NodeId};

    impl Default for Member {
        fn default() -> Self {
            Self { control: std::net::SocketAddr::from(([127, 0, 0, 1], 0)) }
        }
    }

    impl From<u64> for NodeId {
        fn from(number: u64) -> Self {
            Self::new(number)
        }
    }
}
