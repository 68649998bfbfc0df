//! Carrying a proposal out.

use super::{Applied, Command, Proposal, Rejection, State};

impl State {
    /// Applies the entry at log index `index`. Total and deterministic: every node that applies the same entries in
    /// the same order comes to the same state and the same answers.
    ///
    /// Time never runs backwards: a proposal from the past happens at [`State::now`].
    pub fn apply(&mut self, index: u64, proposal: &Proposal) -> Applied {
        self.advance(index);
        self.now = if planted!(TimeGoesBack) { proposal.time } else { self.now.max(proposal.time) };
        if let Some(applied) = self.repeated(proposal) {
            return applied;
        }
        let applied = self.carry_out(proposal).unwrap_or_else(Applied::Rejected);
        self.remember(proposal.id, &applied);
        self.trim_outbox();
        if cfg!(debug_assertions) {
            self.check_after(proposal);
        }
        applied
    }

    /// Counts an entry that carries no proposal.
    pub fn advance(&mut self, index: u64) {
        debug_assert!(index > self.revision || index == 0, "entries are applied in the order of the log");
        self.revision = self.revision.max(index);
    }

    fn carry_out(&mut self, proposal: &Proposal) -> Result<Applied, Rejection> {
        match &proposal.command {
            Command::AdmitNode { token, expires, control } => self.admit_node(*token, *expires, *control),
            Command::RegisterNode { node, addresses, workers, zone, version } => {
                let registration = if proposal.id.epoch == 0 { proposal.id.sequence } else { 0 };
                self.register_node(*node, registration, addresses, *workers, zone, version)
            }
            Command::NodeDown { node, epoch } => self.node_down(*node, *epoch),
            Command::CreateMeeting(new) => self.create_meeting(new),
            Command::UpdateMeeting { meeting, patch } => self.update_meeting(*meeting, patch),
            Command::DeleteMeeting { meeting } => self.delete_meeting(*meeting),
            Command::StartMeeting { meeting } => self.start_meeting(*meeting),
            Command::EndMeeting { meeting } => self.end_meeting(*meeting),
            Command::JoinMeeting { meeting, participant, user, name, role, device } => {
                self.join_meeting(*meeting, *participant, user.as_ref(), name, *role, device)
            }
            Command::OpenSession { meeting, participant, session, node, node_epoch, worker } => {
                self.open_session(*meeting, *participant, *session, (*node, *node_epoch), *worker)
            }
            Command::CloseSession { meeting, participant, session, left } => {
                self.close_session(*meeting, *participant, *session, *left)
            }
            Command::PublishTracks { meeting, participant, session, tracks } => {
                self.publish_tracks(*meeting, *participant, *session, tracks)
            }
            Command::RemoveNode { node, while_up } => self.remove_node(*node, *while_up),
        }
    }
}
