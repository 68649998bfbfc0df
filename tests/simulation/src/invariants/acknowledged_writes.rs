//! A write that was acknowledged is in the history, at its revision, after everything that was acknowledged before it
//! was asked for. One that was refused has changed nothing.

use std::collections::BTreeMap;

use plenary_cluster::simulation::Payload;
use plenary_cluster::state::{Applied, Command};

use super::{Scene, Sight};
use crate::check::Invariant;
use crate::history::{Ask, Outcome, Ticket};

#[derive(Debug, Default)]
pub(crate) struct AcknowledgedWrites {
    /// The highest revision that was acknowledged.
    acknowledged: u64,
    /// What that was when each question was asked.
    floors: BTreeMap<Ticket, u64>,
    /// Revision up to which `decided` was read.
    read: usize,
    /// Commands that changed something, as text, and where.
    decided: BTreeMap<String, u64>,
}

impl AcknowledgedWrites {
    fn written(&self, command: &Command, revision: u64, applied: &Applied, scene: &Scene<'_>) -> Result<(), String> {
        let Some(moment) = scene.chronicle.at(revision) else {
            return Err(format!("a write was acknowledged at {revision}, which nobody has applied"));
        };
        let Payload::Proposal(proposal) = &moment.entry.payload else {
            return Err(format!("a write was acknowledged at {revision}, where there is none"));
        };
        if proposal.command != *command {
            return Err(format!("{command:?} was acknowledged at {revision}, where another one stands"));
        }
        if moment.applied.as_ref() != Some(applied) {
            return Err(format!("{command:?} was answered {applied:?} and came to {:?}", moment.applied));
        }
        Ok(())
    }

    /// Commands differ from each other by the ids and texts in them, unless repeating them is harmless.
    fn read_on(&mut self, scene: &Scene<'_>) {
        for moment in scene.chronicle.moments().get(self.read..).unwrap_or_default() {
            if let (Payload::Proposal(proposal), true) = (&moment.entry.payload, moment.decided) {
                self.decided.entry(format!("{:?}", proposal.command)).or_insert_with(|| moment.id().index);
            }
        }
        self.read = scene.chronicle.moments().len();
    }

    fn refused(&mut self, command: &Command, scene: &Scene<'_>) -> Result<(), String> {
        if !is_unique(command) {
            return Ok(());
        }
        self.read_on(scene);
        match self.decided.get(&format!("{command:?}")) {
            Some(index) => Err(format!("{command:?} was refused and is at {index}")),
            None => Ok(()),
        }
    }
}

/// Whether the clients ask for exactly this but once.
const fn is_unique(command: &Command) -> bool {
    match command {
        Command::CreateMeeting(_) | Command::UpdateMeeting { .. } | Command::OpenSession { .. } => true,
        Command::AdmitNode { .. }
        | Command::RemoveNode { .. }
        | Command::RegisterNode { .. }
        | Command::NodeDown { .. }
        | Command::DeleteMeeting { .. }
        | Command::StartMeeting { .. }
        | Command::EndMeeting { .. }
        | Command::JoinMeeting { .. }
        | Command::CloseSession { .. }
        | Command::PublishTracks { .. } => false,
    }
}

impl Invariant for AcknowledgedWrites {
    fn name(&self) -> &'static str {
        "acknowledged_writes"
    }

    fn source(&self) -> &'static str {
        "Raft §6.3, linearizable semantics; Herlihy and Wing 1990, by revision"
    }

    fn see(&mut self, sight: &Sight<'_>, scene: &Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Asked { ticket, .. } => {
                self.floors.insert(*ticket, self.acknowledged);
                Ok(())
            }
            Sight::Answered {
                ticket,
                ask: Ask::Write(command),
                outcome: Outcome::Written { revision, applied, .. },
            } => {
                let floor = self.floors.remove(ticket).unwrap_or(0);
                self.acknowledged = self.acknowledged.max(*revision);
                self.written(command, *revision, applied, scene)?;
                if *revision > floor {
                    return Ok(());
                }
                Err(format!("a write at {revision} was asked for when {floor} was acknowledged"))
            }
            Sight::Answered { ask: Ask::Write(command), outcome: Outcome::Rejected(_), .. } => {
                self.refused(command, scene)
            }
            Sight::Answered { .. }
            | Sight::Disk(_)
            | Sight::Committed { .. }
            | Sight::Leads { .. }
            | Sight::Followed { .. }
            | Sight::Stopped { .. }
            | Sight::Healed { .. } => Ok(()),
        }
    }
}
