//! Who belongs to the cluster, as the doors of this node ask at each handshake.
//!
//! A certificate says who someone is; whether they still belong is the directory's to say. Endpoints open before the
//! directory does, so until [`Roster::follow`] every certificate of the cluster is believed.

use std::sync::{Arc, OnceLock};

use plenary_cluster::model::NodeId;
use plenary_cluster::state::Standing;

/// Says how a node stands with the cluster now.
pub type Standings = Arc<dyn Fn(NodeId) -> Standing + Send + Sync>;

/// The directory's word on who belongs to the cluster; shared by the endpoints.
#[derive(Clone, Default)]
pub struct Roster(Arc<OnceLock<Standings>>);

impl Roster {
    /// From now on `standings` is asked. Only the first call counts.
    pub fn follow(&self, standings: Standings) {
        // A node has one directory.
        let _ = self.0.set(standings);
    }

    pub(crate) fn standing(&self, node: NodeId) -> Standing {
        self.0.get().map_or(Standing::NotKnownYet, |standings| standings(node))
    }
}

impl std::fmt::Debug for Roster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Roster(..)")
    }
}
