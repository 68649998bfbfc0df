//! One simulation: steps the executor, sees what happened, carries out faults, and heals in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use plenary_cluster::directory::Directory;
use plenary_cluster::model::NodeId;
use plenary_cluster::simulation::{
    Bug, Damage, Disk, Executor, Glance, Group, Handle, Journal, Latency, Random, Seen, Step, glance, plant, sleep,
};
use tempfile::TempDir;

use crate::check::{Checks, Scene, Sight, Violation};
use crate::chronicle::Chronicle;
use crate::client::{CLIENTS, Clients};
use crate::history::{Ask, History, Outcome, Ticket, Told};
use crate::known::Known;
use crate::nemesis::{self, Fault, FaultKind};
use crate::network::Network;
use crate::plan::Plan;
use crate::process::Process;
use crate::trace::Trace;

/// The founder.
const FOUNDER: NodeId = NodeId::new(1);

/// Whoever stands beside the cluster and acts on it.
const STAGE: Group = Group(3);

/// Groups of node processes begin here; each life has its own.
const PROCESSES: u64 = 100;

/// By then the cluster has to be up, with nothing in its way.
const UP_BY: Duration = Duration::from_secs(40);

/// For how long a healed cluster may take to agree and to take writes again.
const HEAL: Duration = Duration::from_secs(30);

/// Steps without the clock moving after which something spins.
const SPIN: u64 = 2_000_000;

/// What to simulate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Where everything comes from.
    pub seed: u64,
    /// A bug to plant.
    pub bug: Option<Bug>,
    /// Keep the trace as text.
    pub keep_trace: bool,
}

/// What happened, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines of the trace.
    pub lines: u64,
    /// Steps of the executor.
    pub steps: u64,
    /// Entries committed.
    pub committed: u64,
    /// Things asked, and how many of them stayed unknown.
    pub asked: u64,
    /// Answers that said nothing.
    pub unknown: u64,
    /// Snapshots installed.
    pub installed: u64,
    /// Elections won.
    pub leaders: u64,
    /// Faults by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Simulated time.
    pub time: Duration,
}

/// What came of one simulation.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Hash of its trace.
    pub hash: String,
    /// The first invariant that was broken.
    pub violation: Option<Violation>,
    /// What happened.
    pub counts: Counts,
    /// The trace, if it was to be kept.
    pub trace: Vec<String>,
}

/// Runs one simulation from its seed to its end, or to the first violation.
///
/// # Panics
/// Without a folder for snapshots.
#[must_use]
pub fn simulate(settings: Settings) -> Report {
    plant(settings.bug);
    let mut world = World::new(settings);
    world.run();
    let report = world.finish();
    plant(None);
    report
}

/// A node, alive or not.
struct Slot {
    disk: Disk,
    life: u64,
    group: Group,
    up: bool,
    paused: bool,
    skew: Arc<AtomicI64>,
    glance: Option<Glance>,
    stopped: bool,
}

struct World {
    seed: u64,
    plan: Plan,
    executor: Executor,
    handle: Handle,
    random: Random,
    network: Network,
    journal: Journal,
    history: History,
    known: Known,
    clients: Clients,
    slots: BTreeMap<NodeId, Slot>,
    disks: BTreeMap<NodeId, Disk>,
    harmed: BTreeSet<NodeId>,
    chronicle: Chronicle,
    checks: Checks,
    asked: BTreeMap<Ticket, Ask>,
    recovered: BTreeSet<NodeId>,
    /// Nodes to be started, or resumed, once their time has come.
    returns: Arc<parking_lot::Mutex<Vec<Return>>>,
    newcomers: Arc<parking_lot::Mutex<Vec<NodeId>>>,
    trace: Trace,
    counts: Counts,
    folder: TempDir,
    lives: u64,
}

/// A fault that ends by itself.
#[derive(Debug, Clone, Copy)]
enum Return {
    Start(NodeId, u64),
    Resume(NodeId, u64),
    /// Unless a later fault came between.
    Mend(u64),
}

impl World {
    fn new(settings: Settings) -> Self {
        let mut random = Random::new(settings.seed);
        let plan = Plan::draw(&mut random.fork());
        let executor = Executor::new(random.fork());
        let handle = executor.handle();
        let (history, known) = (History::default(), Known::default());
        let network = Network::new(handle.clone(), history.clone(), random.fork());
        let clients = Clients {
            handle: handle.clone(),
            network: network.clone(),
            history: history.clone(),
            known: known.clone(),
            tickets: Arc::default(),
            stopped: Arc::new(AtomicBool::new(false)),
        };
        Self {
            seed: settings.seed,
            plan,
            executor,
            handle,
            random,
            network,
            journal: Journal::default(),
            history,
            known,
            clients,
            slots: BTreeMap::new(),
            disks: BTreeMap::new(),
            harmed: BTreeSet::new(),
            chronicle: Chronicle::default(),
            checks: Checks::new(),
            asked: BTreeMap::new(),
            recovered: BTreeSet::new(),
            returns: Arc::default(),
            newcomers: Arc::default(),
            trace: Trace::new(settings.keep_trace),
            counts: Counts::default(),
            folder: scratch(),
            lives: 0,
        }
    }

    fn run(&mut self) {
        self.bring_up();
        let (loss, duplicates, delay) = (self.plan.loss, self.plan.duplicates, self.plan.delay);
        self.network.set_quality(loss, duplicates, delay);
        for _ in 0..self.plan.clients {
            let task = self.clients.clone().run(self.random.fork());
            drop(self.handle.spawn_in(CLIENTS, task));
        }
        let Plan { chaos, between_faults, late, .. } = self.plan;
        let acts = nemesis::run(self.random.fork(), self.history.clone(), chaos, between_faults, late);
        drop(self.handle.spawn_in(STAGE, acts));
        let until = self.handle.now() + chaos;
        self.drive(until, |_| false);
        self.heal();
    }

    /// Founds the cluster and lets the others in, with nothing in the way.
    fn bring_up(&mut self) {
        self.add(FOUNDER);
        let early = self.plan.nodes - self.plan.late;
        self.let_in(early - 1);
        let wanted = voters_of(early);
        let up = self.drive(UP_BY, |world| {
            let config = world.chronicle.moments().last().map(|moment| Arc::clone(&moment.config));
            config.is_some_and(|config| config.members.len() == early && voters(&config.voters) == wanted)
        });
        if !up && self.checks.violation.is_none() {
            let words = format!("{early} nodes did not become a cluster in {} s", UP_BY.as_secs());
            self.checks.broken(self.handle.now(), "liveness", "a cluster that nothing disturbs comes up", words);
        }
    }

    fn let_in(&mut self, count: usize) {
        let (clients, newcomers, mut random) = (self.clients.clone(), Arc::clone(&self.newcomers), self.random.fork());
        drop(self.handle.spawn_in(STAGE, async move {
            for _ in 0..count {
                let node = clients.admit(&mut random).await;
                newcomers.lock().push(node);
            }
        }));
    }

    /// A node with an empty disk.
    fn add(&mut self, id: NodeId) {
        let folder = self.folder.path().join(id.to_string());
        let disk = Disk::new(id, &folder, self.journal.clone(), self.random.fork(), self.plan.latency);
        let skew = i64::try_from(self.random.below(self.plan.skew + 1)).unwrap_or(0);
        self.disks.insert(id, disk.clone());
        let slot = Slot {
            disk,
            life: 0,
            group: Group::default(),
            up: false,
            paused: false,
            skew: Arc::new(AtomicI64::new(skew)),
            glance: None,
            stopped: false,
        };
        self.slots.insert(id, slot);
        self.start(id);
    }

    fn start(&mut self, id: NodeId) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| !slot.up) else { return };
        self.lives += 1;
        slot.life = self.lives;
        slot.group = Group(PROCESSES + self.lives);
        (slot.up, slot.paused, slot.stopped, slot.glance) = (true, false, false, None);
        let process = Process {
            id,
            life: slot.life,
            group: slot.group,
            disk: slot.disk.clone(),
            tuning: self.plan.tuning,
            network: self.network.clone(),
            history: self.history.clone(),
            skew: Arc::clone(&slot.skew),
            founds: id == FOUNDER && slot.life == 1,
        };
        drop(self.handle.spawn_in(slot.group, process.run()));
    }

    fn crash(&mut self, id: NodeId) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.up) else { return };
        slot.up = false;
        // What the tasks let go of must not hold the last handle to the node: its threads of control end here.
        let host = self.network.unplug(id);
        slot.disk.crash();
        self.handle.kill(slot.group);
        drop(host);
        self.handle.kill(slot.group);
    }

    /// Steps until `until`, until `done`, or until an invariant is broken. True when done.
    fn drive(&mut self, until: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let mut spinning = 0;
        // The clock moves from timer to timer: one of ours makes it stop here.
        drop(self.handle.spawn_in(STAGE, sleep(until.saturating_sub(self.handle.now()))));
        while self.handle.now() < until && self.checks.violation.is_none() {
            let step = self.executor.step();
            self.counts.steps += 1;
            match step {
                Step::Polled(group) => {
                    spinning += 1;
                    self.look(group);
                }
                Step::Moved => spinning = 0,
                Step::Idle => return done(self),
            }
            if spinning > SPIN {
                let words = format!("{SPIN} steps at {:?} without an end", self.handle.now());
                self.checks.broken(self.handle.now(), "liveness", "a task that waits lets time pass", words);
            }
            if self.take_in() && done(self) {
                return true;
            }
        }
        false
    }

    /// Sees what one step did. True when it did something.
    fn take_in(&mut self) -> bool {
        let (seen, told) = (self.journal.take(), self.history.take());
        let something = !seen.is_empty() || !told.is_empty();
        for seen in seen {
            self.see(&seen);
        }
        for told in told {
            self.hear(told);
        }
        for (group, words) in self.handle.take_panics() {
            self.panicked(group, &words);
        }
        let returns = std::mem::take(&mut *self.returns.lock());
        for one in returns {
            self.bring_back(one);
        }
        let newcomers = std::mem::take(&mut *self.newcomers.lock());
        for id in newcomers {
            self.add(id);
        }
        something
    }

    fn check(&mut self, sight: &Sight<'_>) {
        let Self { chronicle, disks, harmed, checks, handle, .. } = self;
        checks.see(handle.now(), sight, &Scene { chronicle, disks, harmed });
    }

    fn see(&mut self, seen: &Seen) {
        self.trace.add(self.handle.now(), seen);
        match seen {
            Seen::Appended { entry, previous, .. } => self.chronicle.append(entry, *previous),
            Seen::Applied { id, installed, .. } => {
                self.counts.installed += u64::from(*installed);
                self.commit(*id);
            }
            Seen::Cut { .. }
            | Seen::Purged { .. }
            | Seen::Synced { .. }
            | Seen::Voted { .. }
            | Seen::Opened { .. }
            | Seen::Refused { .. } => {}
        }
        self.check(&Sight::Disk(seen));
    }

    /// Someone applied up to `id`: follows the log there.
    fn commit(&mut self, id: plenary_cluster::simulation::LogId) {
        let now = self.handle.now();
        let first = match self.chronicle.extend(id) {
            Ok(first) => first,
            Err(words) => {
                let source = "Raft §5.4.3, state machine safety: no other entry is ever applied at an index";
                self.checks.broken(now, "state_machine_safety", source, words);
                return;
            }
        };
        let Self { chronicle, disks, harmed, checks, .. } = self;
        let scene = Scene { chronicle, disks, harmed };
        for moment in chronicle.moments().get(first..).unwrap_or_default() {
            let holders = disks.iter().filter(|(_, disk)| disk.holds(moment.id())).map(|(id, _)| *id).collect();
            checks.see(now, &Sight::Committed { moment, holders: &holders }, &scene);
        }
    }

    fn hear(&mut self, told: Told) {
        self.trace.add(self.handle.now(), &told);
        match told {
            Told::Asked { ticket, ask, .. } => {
                self.counts.asked += 1;
                self.check(&Sight::Asked { ticket, ask: &ask });
                self.asked.insert(ticket, ask);
            }
            Told::Answered { ticket, outcome } => {
                self.counts.unknown += u64::from(matches!(outcome, Outcome::Unknown));
                if let Some(ask) = self.asked.remove(&ticket) {
                    self.check(&Sight::Answered { ticket, ask: &ask, outcome: &outcome });
                }
            }
            Told::Followed { node, after, upto, events } => {
                self.check(&Sight::Followed { node, after, upto, events: events.as_deref() });
            }
            Told::NotStarted { node, reason } => self.check(&Sight::Stopped { node, reason: &reason }),
            Told::Registered { node, epoch } => self.known.registered(node, epoch),
            Told::Recovered { node } => drop(self.recovered.insert(node)),
            Told::Fault(fault) => self.strike(fault),
            Told::Delivered { .. } | Told::Started { .. } => {}
        }
    }

    /// Looks at the node whose task just ran.
    fn look(&mut self, group: Group) {
        let found = self.slots.iter_mut().find(|(_, slot)| slot.up && slot.group == group);
        let Some((id, slot)) = found else { return };
        let Some(host) = self.network.host(*id) else { return };
        let now = glance(&host.node);
        if slot.glance == Some(now) {
            return;
        }
        let led = slot.glance.is_some_and(|before| before.leads && before.ballot == now.ballot);
        slot.glance = Some(now);
        let (node, life, stopped) = (*id, slot.life, now.stopped && !slot.stopped);
        slot.stopped |= now.stopped;
        if now.leads && !led {
            self.counts.leaders += 1;
            self.trace.add(self.handle.now(), format_args!("{node} leads by {}", now.ballot));
            self.check(&Sight::Leads { node, life, ballot: now.ballot });
        }
        if stopped {
            self.check(&Sight::Stopped { node, reason: "raft has stopped" });
        }
    }

    fn panicked(&mut self, group: Group, words: &str) {
        let found = self.slots.iter().find(|(_, slot)| slot.group == group).map(|(id, _)| *id);
        self.trace.add(self.handle.now(), format_args!("panic in {group:?}: {words}"));
        let node = found.unwrap_or(NodeId::new(0));
        self.check(&Sight::Stopped { node, reason: words });
    }

    fn bring_back(&mut self, one: Return) {
        match one {
            Return::Start(id, life) => {
                if self.slots.get(&id).is_some_and(|slot| slot.life == life) {
                    self.trace.add(self.handle.now(), format_args!("{id} is started again"));
                    self.start(id);
                }
            }
            Return::Mend(faults) => {
                if faults == self.counts.faults.values().sum::<u64>() {
                    self.network.heal();
                    self.trace.add(self.handle.now(), "cuts are mended");
                }
            }
            Return::Resume(id, life) => {
                if let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.life == life && slot.paused) {
                    slot.paused = false;
                    self.handle.resume(slot.group);
                    self.trace.add(self.handle.now(), format_args!("{id} goes on"));
                }
            }
        }
    }

    fn later(&self, time: Duration, one: Return) {
        let returns = Arc::clone(&self.returns);
        drop(self.handle.spawn_in(STAGE, async move {
            sleep(time).await;
            returns.lock().push(one);
        }));
    }

    fn leader(&self) -> Option<NodeId> {
        let leads = |slot: &Slot| slot.up && slot.glance.is_some_and(|glance| glance.leads);
        let leaders = self.slots.iter().filter(|(_, slot)| leads(slot));
        leaders.max_by_key(|(_, slot)| slot.glance.map(|glance| glance.ballot)).map(|(id, _)| *id)
    }

    /// Carries out a fault.
    fn strike(&mut self, fault: Fault) {
        *self.counts.faults.entry(fault.kind).or_default() += 1;
        let ids: Vec<NodeId> = self.slots.keys().copied().collect();
        let mut random = Random::new(fault.lot);
        let leader = self.leader();
        // The leader is where it hurts.
        let anyone = random.pick(&ids).copied();
        let victim = if random.chance(40) { leader.or(anyone) } else { anyone };
        let Some(victim) = victim else { return };
        match fault.kind {
            FaultKind::Minority | FaultKind::LeaderAlone | FaultKind::Bridge | FaultKind::OneWay => {
                if random.chance(60) {
                    self.network.heal();
                }
                self.network.cut(nemesis::links(fault, &ids, leader));
                self.later(fault.time, Return::Mend(self.counts.faults.values().sum()));
            }
            FaultKind::Mend => self.network.heal(),
            FaultKind::Pause => self.pause(victim, fault.time),
            FaultKind::Crash => self.crash_for(victim, fault.time),
            FaultKind::CrashAll => {
                for id in ids {
                    let time = fault.time.mul_f64(0.2) + random.time(Duration::ZERO, Duration::from_secs(1));
                    self.crash_for(id, time);
                }
            }
            FaultKind::SlowDisk => self.slow_disk(victim, &mut random),
            FaultKind::Weather => self.weather(&mut random),
            FaultKind::ClockJump => self.jump(victim, &mut random),
            FaultKind::Damage => self.damage(victim, &mut random),
            FaultKind::Newcomer => self.let_in(1),
            FaultKind::Transfer => self.transfer(leader, victim),
        }
    }

    fn pause(&mut self, id: NodeId, time: Duration) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.up && !slot.paused) else { return };
        slot.paused = true;
        let (group, life) = (slot.group, slot.life);
        self.handle.pause(group);
        self.later(time, Return::Resume(id, life));
    }

    fn crash_for(&mut self, id: NodeId, time: Duration) {
        let Some(slot) = self.slots.get(&id).filter(|slot| slot.up) else { return };
        let life = slot.life;
        self.crash(id);
        self.later(time, Return::Start(id, life));
    }

    fn slow_disk(&self, id: NodeId, random: &mut Random) {
        let slow = Latency {
            least: Duration::from_millis(20),
            most: Duration::from_millis(250),
            rare: Duration::from_secs(2),
        };
        if let Some(slot) = self.slots.get(&id) {
            slot.disk.set_latency(if random.chance(60) { slow } else { self.plan.latency });
        }
    }

    fn weather(&self, random: &mut Random) {
        let (loss, duplicates) = ([0, 5, 30][random.index(3)], [0, 10][random.index(2)]);
        let most = Duration::from_millis([2, 40, 400][random.index(3)]);
        self.network.set_quality(loss, duplicates, (Duration::from_micros(200), most));
    }

    fn jump(&self, id: NodeId, random: &mut Random) {
        if let Some(slot) = self.slots.get(&id) {
            let far = i64::try_from(random.below(7_200_000)).unwrap_or(0) - 3_600_000;
            slot.skew.store(far, Ordering::Relaxed);
        }
    }

    /// Harms the disk of one node in a simulation at most: its log is lost, and Raft bears a minority of such.
    fn damage(&mut self, id: NodeId, random: &mut Random) {
        let config = self.chronicle.moments().last().map(|moment| Arc::clone(&moment.config));
        let spare = config.is_some_and(|config| config.voters.len() == 1 && voters(&config.voters) >= 3);
        if !self.harmed.is_empty() || !spare || !self.slots.get(&id).is_some_and(|slot| slot.up) {
            return;
        }
        self.crash(id);
        let damage = if random.chance(50) { Damage::Rot } else { Damage::ShortTail };
        let (harmed, life) = match self.slots.get(&id) {
            Some(slot) => (slot.disk.harm(damage), slot.life),
            None => return,
        };
        if harmed {
            self.harmed.insert(id);
        }
        self.later(Duration::from_millis(200), Return::Start(id, life));
    }

    fn transfer(&self, leader: Option<NodeId>, to: NodeId) {
        let Some(host) = leader.filter(|leader| *leader != to).and_then(|leader| self.network.host(leader)) else {
            return;
        };
        drop(self.handle.spawn_in(host.group, async move { drop(host.node.transfer_leadership(Some(to)).await) }));
    }

    /// Ends every fault and expects the cluster to find itself: all agree, and writes are taken at every node.
    fn heal(&mut self) {
        if self.checks.violation.is_some() {
            return;
        }
        self.trace.add(self.handle.now(), "healing");
        self.network.heal();
        self.network.set_quality(0, 0, (Duration::from_micros(200), Duration::from_millis(2)));
        let ids: Vec<NodeId> = self.slots.keys().copied().collect();
        for id in ids {
            let Some(slot) = self.slots.get_mut(&id) else { continue };
            slot.disk.set_latency(self.plan.latency);
            if slot.paused {
                slot.paused = false;
                self.handle.resume(slot.group);
            }
            self.start(id);
        }
        self.clients.stopped.store(true, Ordering::Relaxed);
        let clients = (self.clients.clone(), self.random.fork());
        drop(self.handle.spawn_in(CLIENTS, probe(clients.0, clients.1)));
        let until = self.handle.now() + HEAL;
        self.drive(until, |world| world.wrong().is_empty());
        if self.checks.violation.is_none() {
            let wrong = self.wrong();
            self.check(&Sight::Healed { wrong: &wrong });
        }
    }

    /// What is not yet as it should be after healing.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let tip = self.chronicle.moments().len() as u64;
        for (id, slot) in self.slots.iter().filter(|(id, _)| !self.harmed.contains(id)) {
            let Some(host) = self.network.host(*id).filter(|_| slot.up) else {
                wrong.push(format!("{id} is not up"));
                continue;
            };
            if !self.recovered.contains(id) {
                wrong.push(format!("{id} has not taken a write since"));
            }
            let at = host.node.read_local().revision();
            if at + 1 != tip {
                wrong.push(format!("{id} has applied up to {at} and {} entries are committed", tip));
            }
            if host.node.must_register() {
                wrong.push(format!("{id} has no current epoch"));
            }
        }
        wrong
    }

    fn finish(self) -> Report {
        let Self { seed, mut counts, trace, handle, executor, checks, chronicle, folder, network, .. } = self;
        counts.time = handle.now();
        counts.committed = chronicle.moments().len() as u64;
        counts.lines = trace.count;
        for (id, _) in network.hosts() {
            drop(network.unplug(id));
        }
        drop(executor);
        drop(folder);
        let (hash, trace) = trace.finish();
        Report { seed, hash, violation: checks.violation, counts, trace }
    }
}

/// After healing: writes through every node until each has taken one.
async fn probe(clients: Clients, mut random: Random) {
    let mut left: Vec<NodeId> = clients.network.servers().into_iter().map(|(id, _)| id).collect();
    let mut seen: BTreeSet<NodeId> = left.iter().copied().collect();
    loop {
        for (id, _) in clients.network.servers() {
            if seen.insert(id) {
                left.push(id);
            }
        }
        let Some(node) = left.first().copied() else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let command = clients.known.invent(&mut random, node, 0);
        match clients.ask(node, Ask::Write(Box::new(command))).await {
            Some(Outcome::Written { .. } | Outcome::Rejected(_)) => {
                clients.history.note(Told::Recovered { node });
                left.remove(0);
            }
            Some(Outcome::Unknown | Outcome::State(_)) | None => {
                left.rotate_left(1);
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn voters(sets: &[BTreeSet<NodeId>]) -> usize {
    match sets {
        [only] => only.len(),
        _ => 0,
    }
}

/// How many voters a cluster of this size has once it is at rest.
const fn voters_of(nodes: usize) -> usize {
    match nodes {
        0..3 => 1,
        3 | 4 => 3,
        _ => 5,
    }
}

/// A folder in memory if there is one: snapshots are real files, and nobody needs them afterwards.
fn scratch() -> TempDir {
    let mut builder = tempfile::Builder::new();
    builder.prefix("plenary-simulation-");
    builder.tempdir_in("/dev/shm").or_else(|_| builder.tempdir()).expect("a folder for snapshots")
}
