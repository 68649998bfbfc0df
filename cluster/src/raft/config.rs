//! How openraft is set, and why.

use std::ops::RangeInclusive;
use std::time::Duration;

use openraft::{Config, ConfigError, SnapshotPolicy};

/// How often a leader tells its followers that it lives. openraft gives up on an answer after the same time, and only
/// answers keep a quorum and a node alive: so this is also the longest round trip a cluster bears.
pub(super) const HEARTBEAT: Duration = Duration::from_millis(200);

/// Bounds of the election timeout. A follower campaigns once it has heard nothing for the leader's lease, which
/// openraft takes to be the upper bound, plus a random time between the two: 900 to 1200 ms. That is for when the
/// failure detector does not run; with it, a leader that is silent is replaced after a third of that ([`super::watch`]).
pub(super) const ELECTION_MIN: Duration = Duration::from_millis(300);
/// See [`ELECTION_MIN`].
pub(super) const ELECTION_MAX: Duration = Duration::from_millis(600);

/// For how long a snapshot chunk may be under way.
pub(super) const SNAPSHOT_CHUNK_TIME: Duration = Duration::from_secs(5);

/// Entries between two snapshots, at least and at most.
pub(super) const SNAPSHOT_EVERY: RangeInclusive<u64> = 10_000..=100_000;

/// Entries that stay in the log behind a snapshot, for followers that lag a little.
pub(super) const KEEP_BEHIND: u64 = 1000;

/// Entries in one append request at most.
const APPEND_ENTRIES: u64 = 256;

/// Proposals and other calls that may wait for openraft's core.
const QUEUE: u64 = 8192;

pub(crate) fn config() -> Result<Config, ConfigError> {
    Config {
        cluster_name: "plenary".to_owned(),
        heartbeat_interval: millis(HEARTBEAT),
        election_timeout_min: millis(ELECTION_MIN),
        election_timeout_max: millis(ELECTION_MAX),
        install_snapshot_timeout: millis(SNAPSHOT_CHUNK_TIME),
        max_payload_entries: APPEND_ENTRIES,
        // Made when `snapshot_is_due`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: KEEP_BEHIND,
        api_channel_size: Some(QUEUE),
        notification_channel_size: Some(QUEUE),
        // A node that was away must not unseat a leader that everybody else hears.
        enable_pre_vote: Some(true),
        // A restarted leader must be elected again: what it applied was not synced, so it may have forgotten some.
        enable_leader_restore: Some(false),
        // A follower whose log went backwards has lost what it acknowledged; it must not be mended in silence.
        allow_log_reversion: Some(false),
        backoff: "100ms".to_owned(),
        ..Config::default()
    }
    .validate()
}

/// Whether a state of so many `records` (meetings, rooms and participants) is to be written down, so many `entries` after
/// the last time. A snapshot holds all of them: up to 100,000 one record is written again for each entry.
pub(super) fn snapshot_is_due(entries: u64, records: usize) -> bool {
    let fair = u64::try_from(records).unwrap_or(u64::MAX);
    entries >= fair.clamp(*SNAPSHOT_EVERY.start(), *SNAPSHOT_EVERY.end())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_as_rare_as_the_state_is_large() {
        let due = |entries| (0..).step_by(1000).take_while(|records| snapshot_is_due(entries, *records)).last();
        assert_eq!(due(9999), None);
        assert_eq!(due(10_000), Some(10_000));
        assert_eq!(due(50_000), Some(50_000));
        assert!(snapshot_is_due(100_000, usize::MAX));
    }

    #[test]
    fn safety_does_not_hang_on_defaults() {
        let config = config().expect("valid");
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.allow_log_reversion, Some(false));
        assert!(config.enable_tick && config.enable_elect && config.enable_heartbeat);
    }
}
