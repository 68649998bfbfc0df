//! What goes wrong, and when: drawn from a seed, carried out by [`crate::chaos`].
//!
//! Faults come in rounds. A round's faults begin within a short while and last for as long as each was drawn, so that
//! many overlap; then everything is mended and the cluster has to be whole again. Whom a fault hits is decided when it
//! begins, by who leads and who runs then, with the fault's own `draw`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The leader is cut off with too few others.
    MinorityLeader,
    /// Too few followers are cut off from the leader.
    MajorityLeader,
    /// Two halves do not hear each other; one node hears both.
    Bridge,
    /// A node is heard and hears nothing of another, one of them being the leader.
    OneWay,
    /// Packets are lost between all nodes.
    Loss,
    /// A process stands still (SIGSTOP) and goes on.
    Pause,
    /// The leader is killed (SIGKILL) and comes back.
    KillLeader,
    /// A follower is killed and comes back.
    KillFollower,
    /// All nodes are killed at once and come back.
    KillAll,
    /// A node's wall clock jumps, and jumps back.
    Clock,
    /// A node's disk is full.
    DiskFull,
    /// A node's disk is slow to sync.
    SlowSync,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::MinorityLeader,
        Self::MajorityLeader,
        Self::Bridge,
        Self::OneWay,
        Self::Loss,
        Self::Pause,
        Self::KillLeader,
        Self::KillFollower,
        Self::KillAll,
        Self::Clock,
        Self::DiskFull,
        Self::SlowSync,
    ];

    /// Its name in options and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MinorityLeader => "minority-leader",
            Self::MajorityLeader => "majority-leader",
            Self::Bridge => "bridge",
            Self::OneWay => "one-way",
            Self::Loss => "loss",
            Self::Pause => "pause",
            Self::KillLeader => "kill-leader",
            Self::KillFollower => "kill-follower",
            Self::KillAll => "kill-all",
            Self::Clock => "clock",
            Self::DiskFull => "disk-full",
            Self::SlowSync => "slow-sync",
        }
    }

    /// How long it may last, in milliseconds.
    const fn span(self) -> (u64, u64) {
        match self {
            // From a hiccup to far beyond an election.
            Self::Pause => (100, 10_000),
            Self::KillAll => (100, 1_000),
            Self::MinorityLeader
            | Self::MajorityLeader
            | Self::Bridge
            | Self::OneWay
            | Self::Loss
            | Self::KillLeader
            | Self::KillFollower
            | Self::Clock
            | Self::DiskFull
            | Self::SlowSync => (500, 5_000),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(kind) = Self::ALL.into_iter().find(|kind| kind.name() == text) else {
            bail!("no fault {text:?}: there are {}", Self::ALL.map(Self::name).join(", "));
        };
        Ok(kind)
    }
}

/// A fault that is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// What goes wrong.
    pub kind: Kind,
    /// When, since the round began.
    pub begin: Duration,
    /// For how long.
    pub lasts: Duration,
    /// Decides whom it hits and how hard.
    pub draw: u64,
}

/// Rounds without end.
#[derive(Debug)]
pub struct Plan {
    random: StdRng,
    kinds: Vec<Kind>,
}

/// Faults of a round, at least and at most.
const ROUND: (usize, usize) = (4, 8);

/// Within which all faults of a round begin, in milliseconds.
const BEGIN_WITHIN: u64 = 4_000;

impl Plan {
    /// The rounds of a seed, of these kinds.
    ///
    /// # Panics
    /// When there are no kinds.
    #[must_use]
    pub fn new(seed: u64, kinds: &[Kind]) -> Self {
        assert!(!kinds.is_empty(), "no faults, no plan");
        Self { random: StdRng::seed_from_u64(seed), kinds: kinds.to_vec() }
    }

    /// The next round, `most` faults at most, in the order in which they begin.
    pub fn round(&mut self, most: usize) -> Vec<Planned> {
        let count = self.random.random_range(ROUND.0..=ROUND.1).min(most);
        let mut faults: Vec<Planned> = (0..count).map(|_| self.fault()).collect();
        faults.sort_by_key(|fault| fault.begin);
        faults
    }

    fn fault(&mut self) -> Planned {
        let kind = *self.kinds.choose(&mut self.random).expect("there are kinds");
        let (shortest, longest) = kind.span();
        Planned {
            kind,
            begin: Duration::from_millis(self.random.random_range(0..BEGIN_WITHIN)),
            lasts: Duration::from_millis(self.random.random_range(shortest..=longest)),
            draw: self.random.random(),
        }
    }
}

/// How many of these times, each from its begin to its end, share a moment with another.
#[must_use]
pub fn overlapping(times: &[(Duration, Duration)]) -> usize {
    let meets =
        |one: usize, other: usize| one != other && times[one].0 < times[other].1 && times[other].0 < times[one].1;
    (0..times.len()).filter(|one| (0..times.len()).any(|other| meets(*one, other))).count()
}

/// Which packets between two nodes are lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Sent by this node,
    pub from: usize,
    /// to that one.
    pub to: usize,
    /// Share that is lost; 1 is all.
    pub share: f64,
}

fn apart(one: &[usize], other: &[usize]) -> Vec<Cut> {
    let both = one.iter().flat_map(|from| other.iter().flat_map(|to| [(*from, *to), (*to, *from)]));
    both.map(|(from, to)| Cut { from, to, share: 1.0 }).collect()
}

/// What a fault of the network cuts, among nodes 1 to `count` of which `leader` leads; nothing for other kinds.
#[must_use]
pub fn cuts(kind: Kind, draw: u64, count: usize, leader: usize) -> Vec<Cut> {
    let mut random = StdRng::seed_from_u64(draw);
    // The leader first, the others from a drawn one on.
    let turn = random.random_range(0..count - 1);
    let mut order: Vec<usize> = (1..=count).filter(|node| *node != leader).collect();
    order.rotate_left(turn);
    order.insert(0, leader);
    let minority = (count - 1) / 2;
    match kind {
        Kind::MinorityLeader => apart(&order[..minority], &order[minority..]),
        Kind::MajorityLeader => apart(&order[count - minority..], &order[..count - minority]),
        Kind::Bridge => {
            // The one that hears both is the leader or another.
            order.rotate_left(random.random_range(0..count));
            let half = count.div_ceil(2);
            apart(&order[1..half], &order[half..])
        }
        Kind::OneWay => {
            let others = &order[1..=random.random_range(1..count)];
            let hears = random.random::<bool>();
            let way = |other: &usize| if hears { (*other, leader) } else { (leader, *other) };
            others.iter().map(way).map(|(from, to)| Cut { from, to, share: 1.0 }).collect()
        }
        Kind::Loss => {
            let share = f64::from(random.random_range(1..=30_u32)) / 100.0;
            let all = (1..=count).flat_map(|from| (1..=count).map(move |to| (from, to)));
            all.filter(|(from, to)| from != to).map(|(from, to)| Cut { from, to, share }).collect()
        }
        Kind::Pause
        | Kind::KillLeader
        | Kind::KillFollower
        | Kind::KillAll
        | Kind::Clock
        | Kind::DiskFull
        | Kind::SlowSync => Vec::new(),
    }
}
