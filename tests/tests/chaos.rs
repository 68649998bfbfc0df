//! A share of `scripts/chaos`: real nodes under faults, and what their clients saw. Needs root.

use std::time::Duration;

use anyhow::Result;
use plenary_tests::chaos::{Limits, as_client, stage};
use plenary_tests::faults::Kind;
use plenary_tests::{say, setting};

#[test]
fn a_cluster_under_faults_forgets_nothing_and_does_not_fork() -> Result<()> {
    let limits = Limits {
        faults: setting("CHAOS_FAULTS", 20) as usize,
        time: Duration::MAX,
        seed: setting("CHAOS_SEED", 3).into(),
        // A full disk may leave a store that only an operator can mend; `scripts/chaos` has that fault too.
        kinds: Kind::ALL.into_iter().filter(|kind| *kind != Kind::DiskFull).collect(),
    };
    let report = as_client("share", 3, async |lan| stage(lan, 3, &limits).await)?;
    say(&report);
    say(report.json());
    assert_eq!(report.complaints(), Vec::<String>::new());
    Ok(())
}
