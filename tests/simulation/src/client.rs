//! A client: asks any node, waits for the answer as long as it cares to, and keeps an unknown outcome unknown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use plenary_cluster::directory::{Directory, ProposeError, Written};
use plenary_cluster::model::NodeId;
use plenary_cluster::raft::RaftNode;
use plenary_cluster::simulation::{Group, Handle, Random, sleep};

use crate::history::{Ask, History, Outcome, Ticket, Told};
use crate::known::{Known, admission};
use crate::network::{Host, Network};

/// Clients are never paused nor killed.
pub(crate) const CLIENTS: Group = Group(2);

/// For how long a client waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// What all clients share.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) handle: Handle,
    pub(crate) network: Network,
    pub(crate) history: History,
    pub(crate) known: Known,
    pub(crate) tickets: Arc<AtomicU64>,
    pub(crate) stopped: Arc<AtomicBool>,
}

impl Clients {
    /// Asks until it is stopped.
    pub(crate) async fn run(self, mut random: Random) {
        let pause = Duration::from_millis(random.between(10, 80));
        while !self.stopped.load(Ordering::Relaxed) {
            sleep(random.time(Duration::ZERO, pause * 2)).await;
            let hosts = self.network.servers();
            let Some((node, host)) = random.pick(&hosts) else { continue };
            let ask = self.think(&mut random, host);
            if random.chance(10) {
                // What it knows grows old before it asks.
                sleep(random.time(Duration::ZERO, PATIENCE)).await;
            }
            drop(self.ask(*node, ask).await);
        }
    }

    fn think(&self, random: &mut Random, host: &Host) -> Ask {
        match random.below(100) {
            0..10 => Ask::ReadLocal,
            10..20 => Ask::ReadAtLeast(self.known.revision()),
            20..35 => Ask::ReadLinearizable,
            _ => Ask::Write(Box::new(self.known.invent(random, host.node.id(), host.node.epoch()))),
        }
    }

    /// Asks a node once. `None` when nobody listens there.
    pub(crate) async fn ask(&self, node: NodeId, ask: Ask) -> Option<Outcome> {
        let host = self.network.host(node).filter(|host| host.serves)?;
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        self.history.note(Told::Asked { ticket, node, ask: ask.clone() });
        let serving = self.handle.spawn_in(host.group, serve(host.node, ask));
        let outcome = match select(serving, std::pin::pin!(sleep(PATIENCE))).await {
            Either::Left((Ok(outcome), _)) => outcome,
            Either::Left((Err(_), _)) | Either::Right(_) => Outcome::Unknown,
        };
        match &outcome {
            Outcome::Written { revision, .. } => self.known.told(*revision),
            Outcome::State(state) => self.known.told(state.revision()),
            Outcome::Rejected(_) | Outcome::Unknown => {}
        }
        self.history.note(Told::Answered { ticket, outcome: outcome.clone() });
        Some(outcome)
    }

    /// Asks to let a node in, at whichever node, until one does.
    pub(crate) async fn admit(&self, random: &mut Random) -> NodeId {
        loop {
            let hosts = self.network.servers();
            if let Some((node, _)) = random.pick(&hosts) {
                let outcome = self.ask(*node, Ask::Write(Box::new(admission(random)))).await;
                if let Some(Outcome::Written { applied: plenary_cluster::state::Applied::Admitted { node }, .. }) =
                    outcome
                {
                    return node;
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Runs on the node.
async fn serve(node: Arc<RaftNode>, ask: Ask) -> Outcome {
    let read = match ask {
        Ask::Write(command) => return write(&node, *command).await,
        Ask::ReadLocal => Ok(node.read_local()),
        Ask::ReadAtLeast(revision) => node.read_at_least(revision).await,
        Ask::ReadLinearizable => node.read_linearizable().await,
    };
    read.map_or(Outcome::Unknown, Outcome::State)
}

async fn write(node: &RaftNode, command: plenary_cluster::state::Command) -> Outcome {
    if let plenary_cluster::state::Command::OpenSession { meeting, .. } = &command {
        // A polite front end looks first; that it looks here must not be what holds the cap.
        let state = node.read_local();
        let full =
            state.meeting(*meeting).is_some_and(|record| state.connected_count(*meeting) >= record.max_participants);
        if full {
            return Outcome::Unknown;
        }
    }
    match node.propose(None, command).await {
        Ok(Written { revision, applied }) => {
            Outcome::Written { revision, applied, local: node.read_local().revision() }
        }
        Err(ProposeError::Rejected(rejection)) => Outcome::Rejected(rejection),
        Err(ProposeError::Unavailable { .. } | ProposeError::StorageFull { .. }) => Outcome::Unknown,
    }
}
