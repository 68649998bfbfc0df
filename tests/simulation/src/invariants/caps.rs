//! Nobody is let into a full meeting, wherever they come in.

use plenary_cluster::simulation::Payload;
use plenary_cluster::state::{Applied, Command};

use super::{Scene, Sight};
use crate::check::Invariant;

#[derive(Debug)]
pub(crate) struct Caps;

impl Invariant for Caps {
    fn name(&self) -> &'static str {
        "caps"
    }

    fn source(&self) -> &'static str {
        "ARCHITECTURE.md: caps are decided in apply, cluster-wide"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        let Sight::Committed { moment, .. } = sight else { return Ok(()) };
        let Payload::Proposal(proposal) = &moment.entry.payload else { return Ok(()) };
        let Command::OpenSession { meeting, .. } = &proposal.command else { return Ok(()) };
        let Some(record) = moment.state.meeting(*meeting) else { return Ok(()) };
        // Counted from the records, not by the index that `apply` goes by. No client lowers a cap.
        let connected = moment.state.participants(*meeting).filter(|participant| participant.session.is_some()).count();
        let full = connected > record.max_participants as usize;
        if full && moment.applied == Some(Applied::Done) {
            let most = record.max_participants;
            return Err(format!("{connected} people are in {meeting} at {}, which takes {most}", moment.id()));
        }
        Ok(())
    }
}
