//! Seeds keep every invariant, and a seed is the same run each time.

use plenary_simulation::{Settings, simulate};

/// What the daily share is: enough to see each kind of fault hundreds of times, within some seconds.
const SEEDS: u64 = 150;

/// Seeds whose traces are compared.
const TWICE: u64 = 100;

#[test]
fn seeds_keep_every_invariant() {
    for seed in 0..SEEDS {
        let report = simulate(Settings { seed, ..Settings::default() });
        if let Some(violation) = report.violation {
            panic!("seed {seed}: {violation}\n  replay: scripts/simulate --seed {seed} --trace");
        }
        assert!(report.counts.committed > 10, "seed {seed} committed next to nothing");
    }
}

#[test]
fn a_seed_replays_to_the_byte_of_its_trace() {
    let hash = |seed| simulate(Settings { seed, ..Settings::default() }).hash;
    let mut hashes = Vec::new();
    for seed in 0..TWICE {
        let first = hash(seed);
        assert_eq!(first, hash(seed), "seed {seed} runs in two ways: scripts/simulate --seed {seed} --trace");
        hashes.push(first);
    }
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len() as u64, TWICE, "two seeds stand for one run");
}
