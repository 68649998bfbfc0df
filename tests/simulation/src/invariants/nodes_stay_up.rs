//! A node whose disk is whole does not stop by itself, and starts again.

use super::{Scene, Sight};
use crate::check::Invariant;

#[derive(Debug)]
pub(crate) struct NodesStayUp;

impl Invariant for NodesStayUp {
    fn name(&self) -> &'static str {
        "nodes_stay_up"
    }

    fn source(&self) -> &'static str {
        "ARCHITECTURE.md: a node stops when its storage is damaged; the state's own invariants (cluster/src/state/invariant.rs)"
    }

    fn see(&mut self, sight: &Sight<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Stopped { node, reason } if !scene.harmed.contains(node) => Err(format!("{node} stopped: {reason}")),
            Sight::Stopped { .. }
            | Sight::Disk(_)
            | Sight::Committed { .. }
            | Sight::Leads { .. }
            | Sight::Asked { .. }
            | Sight::Answered { .. }
            | Sight::Followed { .. }
            | Sight::Healed { .. } => Ok(()),
        }
    }
}
