//! The clients: they use every node at once, and write down what they did and what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::site::Site;
use crate::history::{Call, Label, Listing, Operation, Outcome, Promise, Seen, Stage, Token};
use crate::{Answer, Rest, Signalling, until_within};

/// Clients that read and write.
const CLIENTS: u32 = 16;

/// Guests that come into meetings and leave them.
const GUESTS: u32 = 6;

/// An answer that takes longer is not waited for: longer than a node itself tries.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// Meetings that are used at once, at least and at most.
const MEETINGS: (usize, usize) = (20, 120);

/// How long all nodes may take to list the same.
const AGREE_WITHIN: Duration = Duration::from_secs(15);

/// A meeting that was acknowledged, and whose id is known for that.
#[derive(Debug, Clone)]
struct Known {
    label: Label,
    id: String,
}

/// What happened beside the history.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Calls whose node could not be reached: nothing was sent.
    pub(super) unsent: AtomicUsize,
    /// Answers without a revision where one belongs.
    pub(super) unversioned: AtomicUsize,
    /// Sessions opened by guests, and those refused because the meeting was full.
    pub(super) admitted: AtomicUsize,
    pub(super) full: AtomicUsize,
}

#[derive(Debug)]
struct Shared {
    /// The HTTP side of each node, as the owner of all meetings.
    doors: Vec<Rest>,
    /// The same as nobody, with its address.
    streets: Vec<(Rest, std::net::SocketAddr)>,
    meetings: Mutex<Vec<Known>>,
    operations: Mutex<Vec<Operation>>,
    next: AtomicU64,
    tally: Tally,
    started: Instant,
    /// Held by every call; taken whole by who wants silence.
    gate: RwLock<()>,
}

/// All clients of a stage.
#[derive(Debug)]
pub(super) struct Crew {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Crew {
    /// Sets the clients to work.
    pub(super) fn start(site: &Site<'_>, seed: u64, started: Instant) -> Result<Self> {
        let street = |node: &crate::Node| Ok((node.rest()?.with_patience(PATIENCE), node.ports().http));
        let shared = Arc::new(Shared {
            doors: site.doors()?.into_iter().map(|door| door.with_patience(PATIENCE)).collect(),
            streets: site.cluster.nodes().iter().map(street).collect::<Result<_>>()?,
            meetings: Mutex::default(),
            operations: Mutex::default(),
            next: AtomicU64::new(1),
            tally: Tally::default(),
            started,
            gate: RwLock::new(()),
        });
        let mut tasks = JoinSet::new();
        for number in 1..=CLIENTS + GUESTS {
            let random = StdRng::seed_from_u64(seed ^ (u64::from(number) << 32));
            let client = Client { number, shared: Arc::clone(&shared), random, seen: 0 };
            if number <= CLIENTS {
                tasks.spawn(client.work());
            } else {
                tasks.spawn(client.visit());
            }
        }
        Ok(Self { shared, tasks })
    }

    /// Writes through every node until each has acknowledged. A node that ends meanwhile is started again: one whose disk
    /// was full may only find out now. One that has acknowledged is over that.
    pub(super) async fn write_everywhere(&self, site: &mut Site<'_>, limit: Duration) -> Result<()> {
        for node in 1..=self.shared.doors.len() {
            let random = StdRng::seed_from_u64(0);
            let mut client = Client { number: 0, shared: Arc::clone(&self.shared), random, seen: 0 };
            let what = format!("node {node} takes a write");
            let written = until_within(limit, &what, async || {
                site.revive()?;
                Ok(client.create(node).await)
            });
            written.await?;
        }
        site.filled = false;
        Ok(())
    }

    /// Stills all clients and waits until every node lists the same meetings.
    ///
    /// The first node's list holds up to some revision; the others are asked for theirs at that revision or later. Values
    /// never come back, so what is equal then stood at that very revision.
    pub(super) async fn agree(&self) -> Result<Listing> {
        let _silence = self.shared.gate.write().await;
        let mut lists = Vec::new();
        let agreed = until_within(AGREE_WITHIN, "all nodes list the same meetings", async || {
            let begin = self.shared.started.elapsed();
            lists.clear();
            let mut revision = 0;
            for door in &self.shared.doors {
                let (upto, list) = list(door, revision).await?;
                revision = if lists.is_empty() { upto } else { revision };
                lists.push(list);
            }
            let same = lists.windows(2).all(|pair| pair[0] == pair[1]);
            let end = self.shared.started.elapsed();
            Ok(same.then_some((revision, begin, end)))
        });
        let (revision, begin, end) = match agreed.await {
            Ok(times) => times,
            Err(error) => bail!(error.context(differences(&lists))),
        };
        let meetings = lists.pop().context("there are nodes")?;
        Ok(Listing { revision, begin, end, meetings: meetings.into_values().collect() })
    }

    /// Sends the clients home; gives what they wrote down.
    pub(super) async fn finish(mut self) -> (Vec<Operation>, Tally) {
        let silence = self.shared.gate.write().await;
        self.tasks.abort_all();
        drop(silence);
        while self.tasks.join_next().await.is_some() {}
        let operations = std::mem::take(&mut *self.shared.operations.lock());
        let count = |of: &AtomicUsize| AtomicUsize::new(of.load(Ordering::Relaxed));
        let Tally { unsent, unversioned, admitted, full } = &self.shared.tally;
        let tally = Tally {
            unsent: count(unsent),
            unversioned: count(unversioned),
            admitted: count(admitted),
            full: count(full),
        };
        (operations, tally)
    }
}

/// All meetings by their ids, as one node has them at `revision` or later, and the latest revision it was asked at.
async fn list(door: &Rest, revision: u64) -> Result<(u64, BTreeMap<String, (Label, Seen)>)> {
    let (mut all, mut cursor, mut upto) = (BTreeMap::new(), String::new(), revision);
    loop {
        let path = format!("/api/meeting?limit=200{cursor}");
        let page = door.read(&path, Promise::AtLeast(revision)).await?;
        ensure!(page.status.is_success() && page.revision >= Some(revision), "{}: {}", page.status, page.body);
        upto = upto.max(page.revision.unwrap_or(0));
        for item in page.body["data"].as_array().context("data")? {
            let id = item["id"].as_str().context("id")?.to_owned();
            all.insert(id, seen(item).with_context(|| item.to_string())?);
        }
        let Some(next) = page.body["next_cursor"].as_str() else { return Ok((upto, all)) };
        cursor = format!("&cursor={next}");
    }
}

/// A few of the meetings that the nodes list differently.
fn differences(lists: &[BTreeMap<String, (Label, Seen)>]) -> String {
    let Some(first) = lists.first() else { return "no node listed anything".to_owned() };
    let odd = lists.iter().enumerate().flat_map(|(index, list)| {
        let other = list.iter().filter(|(id, value)| first.get(*id) != Some(*value));
        let less = first.iter().filter(|(id, _)| !list.contains_key(*id));
        other.map(move |item| (index, item)).chain(less.map(|item| (0, item)))
    });
    let odd = odd.take(5).map(|(index, item)| format!("node {}: {item:?}", index + 1)).collect::<Vec<_>>();
    format!("{} meetings on the first node; {}", first.len(), odd.join("; "))
}

fn name(label: Label, token: Token) -> String {
    format!("chaos-{}-{}", label.0, token.0)
}

/// A meeting in an answer.
fn seen(data: &Value) -> Option<(Label, Seen)> {
    let mut parts = data["meeting_name"].as_str()?.strip_prefix("chaos-")?.split('-');
    let label = Label(parts.next()?.parse().ok()?);
    let token = Token(parts.next()?.parse().ok()?);
    let stage = match data["status"].as_str()? {
        "scheduled" => Stage::Scheduled,
        "live" => Stage::Live,
        "ended" => Stage::Ended,
        _ => return None,
    };
    let number = |name: &str| u32::try_from(data["live_stats"][name].as_u64()?).ok();
    let people = number("participant_count").zip(number("peak_participants"));
    Some((label, Seen { token, stage, people }))
}

/// One client.
#[derive(Debug)]
struct Client {
    number: u32,
    shared: Arc<Shared>,
    random: StdRng,
    /// The highest revision it saw.
    seen: u64,
}

impl Client {
    async fn work(mut self) {
        loop {
            let shared = Arc::clone(&self.shared);
            let pass = shared.gate.read().await;
            let node = self.random.random_range(1..=shared.doors.len());
            let meeting = shared.meetings.lock().choose(&mut self.random).cloned();
            let count = shared.meetings.lock().len();
            match meeting.filter(|_| count >= MEETINGS.0) {
                None => drop(self.create(node).await),
                Some(meeting) => self.something(node, &meeting, count).await,
            }
            drop(pass);
            sleep(Duration::from_millis(self.random.random_range(0..30))).await;
        }
    }

    async fn something(&mut self, node: usize, known: &Known, count: usize) {
        let (label, path) = (known.label, format!("/api/meeting/{}", known.id));
        match self.random.random_range(0..100) {
            0..8 if count < MEETINGS.1 => drop(self.create(node).await),
            0..36 => {
                let token = self.token();
                let body = json!({ "meeting_name": name(label, token) });
                self.write(node, Call::Update { meeting: label, token }, Method::PATCH, &path, Some(body)).await;
            }
            36..42 => drop(self.write(node, Call::Start(label), Method::POST, &format!("{path}/start"), None).await),
            42..44 => drop(self.write(node, Call::End(label), Method::POST, &format!("{path}/end"), None).await),
            44..50 => {
                let deleted = self.write(node, Call::Delete(label), Method::DELETE, &path, None).await;
                if deleted.is_some_and(|answer| answer.status.is_success()) {
                    self.forget(label);
                }
            }
            50..67 => self.read(node, known, &path, Promise::Local).await,
            67..84 => self.read(node, known, &path, Promise::AtLeast(self.seen)).await,
            _ => self.read(node, known, &path, Promise::Linearizable).await,
        }
    }

    fn token(&self) -> Token {
        Token(self.shared.next.fetch_add(1, Ordering::Relaxed))
    }

    fn forget(&self, label: Label) {
        self.shared.meetings.lock().retain(|known| known.label != label);
    }

    /// Makes a meeting; gives the revision when that was acknowledged.
    async fn create(&mut self, node: usize) -> Option<u64> {
        let (label, token) = (Label(self.token().0), self.token());
        let cap = self.random.random_range(1..=3);
        let body = json!({
            "meeting_name": name(label, token),
            "meeting_type": "instant",
            "guests_allowed": true,
            "max_participants": cap,
        });
        let call = Call::Create { meeting: label, token, cap };
        let answer = self.write(node, call, Method::POST, "/api/meeting", Some(body)).await?;
        let id = answer.body["data"]["id"].as_str().filter(|_| answer.status.is_success())?.to_owned();
        self.shared.meetings.lock().push(Known { label, id });
        answer.revision
    }

    fn note(&mut self, node: usize, begin: Duration, call: Call, outcome: Outcome) {
        let end = self.shared.started.elapsed();
        let operation = Operation { client: self.number, node, begin, end, call, outcome };
        self.seen = self.seen.max(operation.revision().unwrap_or(0));
        self.shared.operations.lock().push(operation);
    }

    async fn write(
        &mut self,
        node: usize,
        call: Call,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Option<Answer> {
        let begin = self.shared.started.elapsed();
        let body = body.map(|body| body.to_string());
        let answer = self.shared.doors[node - 1].write(method, path, body).await;
        self.written(node, begin, call, answer)
    }

    fn written(
        &mut self,
        node: usize,
        begin: Duration,
        call: Call,
        answer: Result<Answer, reqwest::Error>,
    ) -> Option<Answer> {
        let (outcome, answer) = match answer {
            Ok(answer) if answer.status.is_success() => (self.versioned(&answer), Some(answer)),
            Ok(answer) if answer.status.is_client_error() => (Outcome::Refused, Some(answer)),
            Ok(answer) => (Outcome::Unknown, Some(answer)),
            Err(error) if error.is_connect() => {
                self.shared.tally.unsent.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            Err(_) => (Outcome::Unknown, None),
        };
        self.note(node, begin, call, outcome);
        answer
    }

    fn versioned(&self, answer: &Answer) -> Outcome {
        let Some(revision) = answer.revision else {
            self.shared.tally.unversioned.fetch_add(1, Ordering::Relaxed);
            return Outcome::Unknown;
        };
        Outcome::Written { revision }
    }

    async fn read(&mut self, node: usize, known: &Known, path: &str, promise: Promise) {
        let begin = self.shared.started.elapsed();
        let outcome = match self.shared.doors[node - 1].read(path, promise).await {
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                self.forget(known.label);
                Outcome::Absent
            }
            Ok(answer) if answer.status.is_success() => match (answer.revision, seen(&answer.body["data"])) {
                (Some(revision), Some((_, seen))) => Outcome::Value { revision, seen },
                (None, _) | (_, None) => {
                    self.shared.tally.unversioned.fetch_add(1, Ordering::Relaxed);
                    Outcome::Unknown
                }
            },
            Ok(answer) if answer.status.is_client_error() => Outcome::Refused,
            Ok(_) => Outcome::Unknown,
            Err(error) if error.is_connect() => {
                self.shared.tally.unsent.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(_) => Outcome::Unknown,
        };
        self.note(node, begin, Call::Read { meeting: known.label, promise }, outcome);
    }

    /// Comes into meetings as a guest and stays a while.
    async fn visit(mut self) {
        loop {
            let shared = Arc::clone(&self.shared);
            let node = self.random.random_range(1..=shared.doors.len());
            // The newest few are fought over.
            let some = shared.meetings.lock().iter().rev().take(8).cloned().collect::<Vec<_>>();
            if let Some(known) = some.choose(&mut self.random).cloned() {
                self.visit_one(node, &known).await;
            }
            sleep(Duration::from_millis(self.random.random_range(0..50))).await;
        }
    }

    async fn visit_one(&mut self, node: usize, known: &Known) {
        let shared = Arc::clone(&self.shared);
        let pass = shared.gate.read().await;
        let begin = shared.started.elapsed();
        let (street, address) = &shared.streets[node - 1];
        let body = json!({ "participant_name": format!("guest {}", self.number) }).to_string();
        let answer = street.write(Method::POST, &format!("/api/meeting/{}/join", known.id), Some(body)).await;
        let answer = self.written(node, begin, Call::Join(known.label), answer);
        drop(pass);
        let Some(answer) = answer else { return };
        if answer.code() == "MEETING_FULL" {
            shared.tally.full.fetch_add(1, Ordering::Relaxed);
        }
        let Some(token) = answer.body["data"]["access_token"].as_str() else { return };
        match timeout(PATIENCE, Signalling::join(*address, &known.id, token)).await {
            Ok(Ok(session)) => {
                shared.tally.admitted.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(self.random.random_range(50..1_500))).await;
                drop(session);
            }
            Ok(Err(error)) if error.to_string().to_lowercase().contains("full") => {
                shared.tally.full.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}
