//! A node's epochs grow, nobody has a session on an epoch that has passed, and a death is of the epoch that it names.

use std::collections::BTreeMap;

use plenary_cluster::model::{NodeId, NodeStatus};
use plenary_cluster::simulation::Payload;
use plenary_cluster::state::{Applied, Command};

use super::{Scene, Sight};
use crate::check::Invariant;
use crate::history::Moment;

#[derive(Debug, Default)]
pub(crate) struct Epochs(BTreeMap<NodeId, u64>);

impl Epochs {
    fn death(&self, moment: &Moment) -> Result<(), String> {
        let Payload::Proposal(proposal) = &moment.entry.payload else { return Ok(()) };
        let Command::NodeDown { node, epoch } = &proposal.command else { return Ok(()) };
        let known = self.0.get(node).copied();
        if moment.applied != Some(Applied::Done) || known == Some(*epoch) || !moment.decided {
            return Ok(());
        }
        Err(format!("{node} was declared down in epoch {epoch} at {}; it has {known:?}", moment.id()))
    }

    fn growth(&mut self, moment: &Moment) -> Result<(), String> {
        for node in moment.state.nodes() {
            let before = self.0.insert(node.id, node.epoch).unwrap_or(0);
            if node.epoch < before {
                return Err(format!("{} went back from epoch {before} to {}", node.id, node.epoch));
            }
        }
        Ok(())
    }
}

impl Invariant for Epochs {
    fn name(&self) -> &'static str {
        "epochs"
    }

    fn source(&self) -> &'static str {
        "Kleppmann 2016, fencing tokens; ARCHITECTURE.md: work of an older epoch is refused"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        let Sight::Committed { moment, .. } = sight else { return Ok(()) };
        self.death(moment)?;
        if !moment.decided {
            return Ok(());
        }
        self.growth(moment)?;
        for meeting in moment.state.meetings() {
            for participant in moment.state.participants(meeting.id) {
                let Some(session) = &participant.session else { continue };
                let current = moment
                    .state
                    .node(session.node)
                    .is_some_and(|node| node.epoch == session.node_epoch && node.status == NodeStatus::Up);
                if !current {
                    let (node, epoch) = (session.node, session.node_epoch);
                    return Err(format!("{} is served by {node} in epoch {epoch} at {}", participant.id, moment.id()));
                }
            }
        }
        Ok(())
    }
}
