//! What a seed stands for: the size of the cluster, how bad its network and disks are, how long it suffers.

use std::time::Duration;

use plenary_cluster::simulation::{Latency, Random, Tuning};

/// The plan of one simulation.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Nodes in the end; the founder and those it admits.
    pub(crate) nodes: usize,
    /// Of those, how many join only while faults are under way.
    pub(crate) late: usize,
    pub(crate) clients: u64,
    /// For how long faults happen.
    pub(crate) chaos: Duration,
    /// Between two faults, about.
    pub(crate) between_faults: Duration,
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    pub(crate) delay: (Duration, Duration),
    pub(crate) latency: Latency,
    pub(crate) tuning: Tuning,
    /// Milliseconds by which a node's wall clock may be wrong.
    pub(crate) skew: u64,
}

impl Plan {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let nodes = [3, 3, 4, 5][random.index(4)];
        let millis = Duration::from_millis;
        let most = [millis(3), millis(15), millis(60)][random.index(3)];
        Self {
            nodes,
            late: if nodes > 3 { random.index(nodes - 2) } else { 0 },
            clients: random.between(3, 6),
            chaos: millis(random.between(12_000, 20_000)),
            between_faults: millis(random.between(300, 1_500)),
            loss: [0, 1, 3, 8][random.index(4)],
            duplicates: [0, 2, 10][random.index(3)],
            delay: (Duration::from_micros(200), most),
            latency: Latency {
                least: Duration::from_micros(100),
                most: [millis(1), millis(6), millis(30)][random.index(3)],
                rare: millis(400),
            },
            tuning: Tuning { snapshot_every: random.between(10, 80), keep_behind: random.between(0, 20) },
            skew: [0, 50, 5_000][random.index(3)],
        }
    }
}
