//! What each role may do: one table.

use plenary_cluster::model::Role;

/// Something a member may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read the meeting.
    ViewMeeting,
    /// List its participants.
    ViewParticipants,
    /// Change the meeting.
    UpdateMeeting,
    /// Delete the meeting.
    DeleteMeeting,
    /// Start it.
    StartMeeting,
    /// End it for everyone.
    EndMeeting,
}

impl Action {
    /// All actions.
    pub const ALL: [Self; 6] = [
        Self::ViewMeeting,
        Self::ViewParticipants,
        Self::UpdateMeeting,
        Self::DeleteMeeting,
        Self::StartMeeting,
        Self::EndMeeting,
    ];

    /// The words for it in "you may not …".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::ViewMeeting => "see this meeting",
            Self::ViewParticipants => "see its participants",
            Self::UpdateMeeting => "change this meeting",
            Self::DeleteMeeting => "delete this meeting",
            Self::StartMeeting => "start this meeting",
            Self::EndMeeting => "end this meeting",
        }
    }
}

/// The table: whether a role may do something.
#[must_use]
pub const fn allows(role: Role, action: Action) -> bool {
    match action {
        Action::ViewMeeting | Action::ViewParticipants => true,
        Action::UpdateMeeting | Action::StartMeeting | Action::EndMeeting => matches!(role, Role::Host | Role::CoHost),
        Action::DeleteMeeting => matches!(role, Role::Host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_what_the_documentation_says() {
        //                      view   people update delete start  end
        let table = [
            (Role::Host, [true, true, true, true, true, true]),
            (Role::CoHost, [true, true, true, false, true, true]),
            (Role::Presenter, [true, true, false, false, false, false]),
            (Role::Attendee, [true, true, false, false, false, false]),
        ];
        for (role, row) in table {
            assert_eq!(Action::ALL.map(|action| allows(role, action)), row, "{role:?}");
        }
    }
}
