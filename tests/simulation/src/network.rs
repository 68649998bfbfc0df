//! The network between the nodes: what is sent may be late, twice, out of order, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, FutureExt, pending, select};
use parking_lot::Mutex;
use plenary_cluster::model::NodeId;
use plenary_cluster::raft::{RaftNode, Rpc, RpcError};
use plenary_cluster::simulation::{Bug, Group, Handle, Random, forge, is_planted, sleep};
use tokio::sync::oneshot;

use crate::history::{History, Told};

/// The wires themselves are never paused nor killed.
const WIRES: Group = Group(1);

/// One message in so many takes up to this long, whatever the network is like otherwise.
const STRAY: (u64, Duration) = (200, Duration::from_secs(3));

/// Who answers under a node's id right now.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) node: Arc<RaftNode>,
    pub(crate) group: Group,
    /// It has registered: from then on it has a face to clients.
    pub(crate) serves: bool,
}

/// The network. Clones share it.
#[derive(Clone)]
pub(crate) struct Network {
    handle: Handle,
    history: History,
    state: Arc<Mutex<State>>,
}

struct State {
    random: Random,
    hosts: BTreeMap<NodeId, Host>,
    /// From whom to whom nothing gets through.
    cut: BTreeSet<(NodeId, NodeId)>,
    loss: u64,
    duplicates: u64,
    delay: (Duration, Duration),
}

type Answer = Result<Bytes, RpcError>;

impl Network {
    pub(crate) fn new(handle: Handle, history: History, random: Random) -> Self {
        let state = State {
            random,
            hosts: BTreeMap::new(),
            cut: BTreeSet::new(),
            loss: 0,
            duplicates: 0,
            delay: (Duration::from_micros(200), Duration::from_millis(2)),
        };
        Self { handle, history, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn end(&self, from: NodeId) -> Arc<dyn Rpc> {
        Arc::new(End { from, network: self.clone() })
    }

    pub(crate) fn plug(&self, id: NodeId, host: Host) {
        self.state.lock().hosts.insert(id, host);
    }

    pub(crate) fn unplug(&self, id: NodeId) -> Option<Host> {
        self.state.lock().hosts.remove(&id)
    }

    pub(crate) fn host(&self, id: NodeId) -> Option<Host> {
        self.state.lock().hosts.get(&id).cloned()
    }

    pub(crate) fn hosts(&self) -> Vec<(NodeId, Host)> {
        self.state.lock().hosts.iter().map(|(id, host)| (*id, host.clone())).collect()
    }

    /// Those whom clients can ask.
    pub(crate) fn servers(&self) -> Vec<(NodeId, Host)> {
        self.hosts().into_iter().filter(|(_, host)| host.serves).collect()
    }

    pub(crate) fn serve(&self, id: NodeId) {
        if let Some(host) = self.state.lock().hosts.get_mut(&id) {
            host.serves = true;
        }
    }

    pub(crate) fn cut(&self, links: impl IntoIterator<Item = (NodeId, NodeId)>) {
        self.state.lock().cut.extend(links);
    }

    pub(crate) fn set_quality(&self, loss: u64, duplicates: u64, delay: (Duration, Duration)) {
        let mut state = self.state.lock();
        (state.loss, state.duplicates, state.delay) = (loss, duplicates, delay);
    }

    pub(crate) fn heal(&self) {
        self.state.lock().cut.clear();
    }

    /// When copies of a message arrive: none, one or two.
    fn fates(&self) -> Vec<Duration> {
        let state = &mut *self.state.lock();
        let copies =
            if state.random.chance(state.loss) { 0 } else { 1 + usize::from(state.random.chance(state.duplicates)) };
        let (least, most) = state.delay;
        let mut time = || {
            let stray = state.random.below(STRAY.0) == 0 && state.loss > 0;
            state.random.time(least, if stray { STRAY.1 } else { most })
        };
        (0..copies).map(|_| time()).collect()
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.state.lock().cut.contains(&(from, to))
    }

    /// Who gets a message for `target`.
    fn addressee(&self, target: NodeId) -> Option<Host> {
        let state = self.state.lock();
        if !is_planted(Bug::LearnerCounted) {
            return state.hosts.get(&target).cloned();
        }
        // The latest newcomer answers for whoever is not there.
        state.hosts.get(&target).or_else(|| state.hosts.values().last()).cloned()
    }

    async fn exchange(&self, from: NodeId, target: NodeId, request: Bytes) -> Answer {
        let (sender, answer) = oneshot::channel();
        let sender = Arc::new(Mutex::new(Some(sender)));
        for time in self.fates() {
            let (network, request, sender) = (self.clone(), request.clone(), Arc::clone(&sender));
            drop(self.handle.spawn_in(WIRES, async move {
                sleep(time).await;
                network.deliver(from, target, request, sender);
            }));
        }
        drop(sender);
        match answer.await {
            Ok(answer) => answer,
            // Nobody is left who could answer; the caller can't know.
            Err(_) => pending().await,
        }
    }

    fn deliver(&self, from: NodeId, target: NodeId, mut request: Bytes, sender: Reply) {
        if self.is_cut(from, target) {
            return;
        }
        let Some(host) = self.addressee(target) else {
            // Nobody listens there: mostly the sender is told so.
            if self.state.lock().random.chance(70) {
                self.send_back(target, from, Err(unreachable(target)), sender);
            }
            return;
        };
        let kind = request.get(1).copied().unwrap_or(0);
        let what = format!("{kind} {} {:08x}", request.len(), crc32fast::hash(&request));
        self.history.note(Told::Delivered { from, to: target, what });
        if is_planted(Bug::OldLeaderHeard) {
            request = forge(&host.node, &request);
        }
        let network = self.clone();
        drop(self.handle.spawn_in(host.group, async move {
            let answer = host.node.handle(from, request).await;
            let answer = answer.map_err(|reason| RpcError::Refused { target, reason });
            network.send_back(target, from, answer, sender);
        }));
    }

    fn send_back(&self, from: NodeId, to: NodeId, answer: Answer, sender: Reply) {
        for time in self.fates() {
            let (network, answer, sender) = (self.clone(), answer.clone(), Arc::clone(&sender));
            drop(self.handle.spawn_in(WIRES, async move {
                sleep(time).await;
                let waiting = if network.is_cut(from, to) { None } else { sender.lock().take() };
                if let Some(waiting) = waiting {
                    drop(waiting.send(answer));
                }
            }));
        }
    }
}

type Reply = Arc<Mutex<Option<oneshot::Sender<Answer>>>>;

fn unreachable(target: NodeId) -> RpcError {
    RpcError::Unreachable { target, reason: "nobody listens".to_owned() }
}

/// One node's end of the network.
struct End {
    from: NodeId,
    network: Network,
}

impl Rpc for End {
    fn call(&self, target: NodeId, _address: SocketAddr, request: Bytes, deadline: Duration) -> BoxFuture<'_, Answer> {
        async move {
            let exchange = std::pin::pin!(self.network.exchange(self.from, target, request));
            match select(exchange, std::pin::pin!(sleep(deadline))).await {
                Either::Left((answer, _)) => answer,
                Either::Right(_) => Err(RpcError::Timeout { target }),
            }
        }
        .boxed()
    }
}
