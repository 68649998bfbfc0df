//! Bugs planted on purpose: a harness is believed when it catches them.
//!
//! One at a time, for the simulations of this thread. Most live in the simulated disk and in the network around the
//! members; what can only go wrong in the product's own code has a one-line hook there, `planted!(..)`, which is
//! `false` in a build without the feature.

use std::cell::Cell;

use super::executor::Handle;
use crate::model::Timestamp;
use crate::raft::types::{LogId, SnapshotMeta, StoredMembership};
use crate::state::Proposal;

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

macro_rules! bugs {
    ($($(#[doc = $words:literal])+ $bug:ident,)+) => {
        /// What is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bug {
            $($(#[doc = $words])+ $bug,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug,)+];

            /// Its name, as the command line takes it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => stringify!($bug),)+
                }
            }

            /// What is wrong, in a sentence.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$bug => concat!($($words),+),)+
                }
            }
        }
    };
}

bugs! {
    /// The log says that entries are durable before they are synced.
    AcknowledgeBeforeSync,
    /// A vote is given before it is synced.
    VoteNotSynced,
    /// Appending over a conflicting end of the log does not cut it on disk.
    ConflictNotCut,
    /// Damage in the middle of the log is cut away as if it were a torn end.
    CutMidLog,
    /// The high-water mark is not looked at: a log that came up short is served.
    MarkIgnored,
    /// The last committed id is noted too far: what was only appended is applied at the next start.
    CommittedTooFar,
    /// Rows are written without the id they belong to: entries are applied again after a restart.
    AppliedNotWritten,
    /// Installing a snapshot leaves rows that it does not have.
    InstallLeavesRows,
    /// A snapshot forgets the membership.
    SnapshotWithoutMembership,
    /// A snapshot holds a later state than the id it names.
    SnapshotOfLaterState,
    /// Nodes stamp entries with their own clock while they apply them.
    ApplyReadsClock,
    /// Applying depends on how many entries come at once.
    ApplyDependsOnBatch,
    /// Repeats are not recognised.
    ForgetRepeats,
    /// Each attempt of a forwarded proposal has a name of its own.
    RetryUnderNewName,
    /// The epoch of a node is not looked at when a session opens on it.
    IgnoreNodeEpoch,
    /// A declaration of death for an older epoch is taken for the newer one.
    DownForOlderEpoch,
    /// The cap of a meeting is checked against a local read, outside of `apply`.
    CapOutsideApply,
    /// A room that moves keeps its epoch.
    HomeEpochNotRaised,
    /// Time in the state follows the leader's clock backwards.
    TimeGoesBack,
    /// The outbox is trimmed without saying up to where.
    OutboxTrimmedInSilence,
    /// A leader answers linearizable reads without asking a quorum.
    StaleRead,
    /// A read at a revision does not wait for it.
    ReadDoesNotWait,
    /// A write is answered before it is applied where it was asked for.
    AnswerBeforeApply,
    /// A repeat whose first outcome is unknown is reported as refused.
    UnknownReportedRefused,
    /// What is meant for one member reaches another: a learner's answer counts as a voter's.
    LearnerCounted,
    /// A member that lost its folder comes back under its old id.
    ComesBackEmpty,
    /// A restarted node reads an older vote than it gave.
    OldVoteRead,
    /// A member that lags refuses a leader whose admission it has not applied yet.
    StrangerRefused,
    /// Messages of a deposed leader are taken for the present one's.
    OldLeaderHeard,
}

/// Plants a bug for the simulations of this thread, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether a bug is planted on this thread.
#[must_use]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// A proposal as a node applies that does not do it as the others do; as it is unless such a bug is planted.
pub(crate) fn disturbed(mut proposal: Proposal, before_it_in_its_batch: usize) -> Proposal {
    let noise = if is_planted(Bug::ApplyReadsClock) {
        Handle::current().map_or(0, |handle| handle.now().subsec_nanos() % 1000)
    } else if is_planted(Bug::ApplyDependsOnBatch) {
        u32::try_from(before_it_in_its_batch).unwrap_or(0)
    } else {
        0
    };
    proposal.time = Timestamp::from_millis(proposal.time.millis() + i64::from(noise));
    proposal
}

/// What a snapshot says that it is; as it is unless such a bug is planted.
pub(crate) fn misnamed(mut meta: SnapshotMeta) -> SnapshotMeta {
    if is_planted(Bug::SnapshotWithoutMembership) {
        meta.last_membership = StoredMembership::default();
    }
    if is_planted(Bug::SnapshotOfLaterState) {
        meta.last_log_id =
            meta.last_log_id.map(|id| LogId::new(*id.committed_leader_id(), id.index().saturating_sub(1)));
    }
    meta
}
