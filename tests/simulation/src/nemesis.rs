//! What goes wrong, and when: drawn from the seed, told to the world, which carries it out.

use std::time::Duration;

use plenary_cluster::model::NodeId;
use plenary_cluster::simulation::{Random, sleep};

use crate::history::{History, Told};

/// Kinds of faults, to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// A minority is cut off.
    Minority,
    /// The leader is cut off with less than a majority.
    LeaderAlone,
    /// Two halves that only one node reaches.
    Bridge,
    /// Messages get through in one direction only.
    OneWay,
    /// All cuts are mended.
    Mend,
    /// One node stands still for a while.
    Pause,
    /// One node is killed, what it had not synced is gone, and it starts again later.
    Crash,
    /// All nodes at once.
    CrashAll,
    /// A disk becomes slow, or quick again.
    SlowDisk,
    /// The network becomes lossy, or better.
    Weather,
    /// A wall clock jumps.
    ClockJump,
    /// A disk loses what it had said it synced, or an entry in the middle of the log rots.
    Damage,
    /// Somebody new joins.
    Newcomer,
    /// Leadership is handed over.
    Transfer,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Minority,
        Self::LeaderAlone,
        Self::Bridge,
        Self::OneWay,
        Self::Mend,
        Self::Pause,
        Self::Crash,
        Self::CrashAll,
        Self::SlowDisk,
        Self::Weather,
        Self::ClockJump,
        Self::Damage,
        Self::Newcomer,
        Self::Transfer,
    ];
}

/// One act of the nemesis. The numbers are drawn when it is planned; whom they hit follows from who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Decides whom.
    pub lot: u64,
    /// How long, where it ends by itself.
    pub time: Duration,
}

/// How often each kind comes, in relation to the others.
const WEIGHTS: [(FaultKind, u64); 13] = [
    (FaultKind::Minority, 8),
    (FaultKind::LeaderAlone, 10),
    (FaultKind::Bridge, 6),
    (FaultKind::OneWay, 8),
    (FaultKind::Mend, 22),
    (FaultKind::Pause, 14),
    (FaultKind::Crash, 20),
    (FaultKind::CrashAll, 4),
    (FaultKind::SlowDisk, 6),
    (FaultKind::Weather, 6),
    (FaultKind::ClockJump, 6),
    (FaultKind::Damage, 3),
    (FaultKind::Transfer, 6),
];

fn draw(random: &mut Random) -> Fault {
    let mut at = random.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
    let mut kind = FaultKind::Mend;
    for (one, weight) in WEIGHTS {
        if at < weight {
            kind = one;
            break;
        }
        at -= weight;
    }
    let longest = Duration::from_millis([300, 1_500, 5_000][random.index(3)]);
    Fault { kind, lot: random.next(), time: random.time(Duration::from_millis(10), longest) }
}

/// Acts until `chaos` is over.
pub(crate) async fn run(mut random: Random, history: History, chaos: Duration, between: Duration, newcomers: usize) {
    let mut left = chaos;
    let mut newcomers = newcomers;
    loop {
        let wait = random.time(Duration::from_millis(1), between * 2);
        let Some(rest) = left.checked_sub(wait) else { return };
        left = rest;
        sleep(wait).await;
        let fault = if newcomers > 0 && random.chance(25) {
            newcomers -= 1;
            Fault { kind: FaultKind::Newcomer, lot: random.next(), time: Duration::ZERO }
        } else {
            draw(&mut random)
        };
        history.note(Told::Fault(fault));
    }
}

/// The links that a cut severs.
pub(crate) fn links(fault: Fault, nodes: &[NodeId], leader: Option<NodeId>) -> Vec<(NodeId, NodeId)> {
    let mut random = Random::new(fault.lot);
    let mut order = nodes.to_vec();
    for at in (1..order.len()).rev() {
        order.swap(at, random.index(at + 1));
    }
    let minority = (order.len().saturating_sub(1)) / 2;
    match fault.kind {
        FaultKind::Minority => apart(&order[..minority.max(1).min(order.len())], &order),
        FaultKind::LeaderAlone => {
            let leader = leader.or_else(|| order.first().copied());
            let with = order.iter().filter(|id| Some(**id) != leader).take(minority.saturating_sub(1));
            let side: Vec<NodeId> = leader.iter().chain(with).copied().collect();
            apart(&side, &order)
        }
        FaultKind::Bridge => match order.split_first() {
            Some((_, rest)) => apart(&rest[..rest.len() / 2], rest),
            None => Vec::new(),
        },
        FaultKind::OneWay => {
            let some = 1 + random.index(order.len());
            let pairs = order.iter().flat_map(|from| order.iter().map(move |to| (*from, *to)));
            let mut pairs: Vec<_> = pairs.filter(|(from, to)| from != to).collect();
            for at in (1..pairs.len()).rev() {
                pairs.swap(at, random.index(at + 1));
            }
            pairs.truncate(some);
            pairs
        }
        FaultKind::Mend
        | FaultKind::Pause
        | FaultKind::Crash
        | FaultKind::CrashAll
        | FaultKind::SlowDisk
        | FaultKind::Weather
        | FaultKind::ClockJump
        | FaultKind::Damage
        | FaultKind::Newcomer
        | FaultKind::Transfer => Vec::new(),
    }
}

/// Both directions between a side and everybody else.
fn apart(side: &[NodeId], all: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    let others = all.iter().filter(|id| !side.contains(id));
    others.flat_map(|other| side.iter().flat_map(move |one| [(*one, *other), (*other, *one)])).collect()
}
