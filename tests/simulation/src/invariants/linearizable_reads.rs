//! A linearizable read sees everything that anybody was told of before it was asked for.

use std::collections::BTreeMap;

use super::{Scene, Sight};
use crate::check::Invariant;
use crate::history::{Ask, Outcome, Ticket};

#[derive(Debug, Default)]
pub(crate) struct LinearizableReads {
    /// The highest revision that a write or a linearizable read was answered with.
    seen: u64,
    floors: BTreeMap<Ticket, u64>,
}

impl Invariant for LinearizableReads {
    fn name(&self) -> &'static str {
        "linearizable_reads"
    }

    fn source(&self) -> &'static str {
        "Raft §6.4, read-only queries; Herlihy and Wing 1990, real-time order"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Asked { ticket, ask: Ask::ReadLinearizable } => {
                self.floors.insert(*ticket, self.seen);
                Ok(())
            }
            Sight::Answered { ticket, ask: Ask::ReadLinearizable, outcome: Outcome::State(state) } => {
                let (floor, read) = (self.floors.remove(ticket).unwrap_or(0), state.revision());
                self.seen = self.seen.max(read);
                if read >= floor {
                    return Ok(());
                }
                Err(format!("a linearizable read saw {read} when {floor} had been seen before it began"))
            }
            Sight::Answered { outcome: Outcome::Written { revision, .. }, .. } => {
                self.seen = self.seen.max(*revision);
                Ok(())
            }
            Sight::Asked { .. }
            | Sight::Answered { .. }
            | Sight::Disk(_)
            | Sight::Committed { .. }
            | Sight::Leads { .. }
            | Sight::Followed { .. }
            | Sight::Stopped { .. }
            | Sight::Healed { .. } => Ok(()),
        }
    }
}
