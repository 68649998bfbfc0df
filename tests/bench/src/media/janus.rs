//! Janus's VideoRoom plugin as a backend of the [`door`](super::door), through its HTTP API.
//!
//! Janus has a connection for publishing and another for watching, and offers the latter itself. So people come twice
//! (`Plan::apart`), and a watcher's offer and Janus's are each made the answer to the other ([`sdp`]): Janus is ICE lite
//! and takes the passive end of DTLS either way.

mod sdp;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::door::{Backend, Offer};
use crate::http::Http;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Events taken in one request.
const EVENTS: u32 = 32;

/// A session with a Janus.
#[derive(Clone)]
pub(super) struct Janus {
    shared: Arc<Shared>,
    /// Takes events in until the last clone is gone.
    _events: Arc<JoinSet<()>>,
}

struct Shared {
    api: Mutex<Http>,
    path: String,
    helpers: u32,
    next: AtomicU64,
    waiting: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    rooms: Mutex<BTreeMap<u64, Room>>,
    /// By handle: room and feed of publishers whose media connections are not up yet. Nobody can watch them.
    coming: Mutex<HashMap<u64, (u64, Feed)>>,
    /// Told whenever somebody can be watched.
    published: Notify,
    handles: Mutex<HashMap<u64, u64>>,
}

/// Who publishes in a room, and how many have come to watch.
#[derive(Default)]
struct Room {
    feeds: Vec<Feed>,
    watchers: usize,
}

/// A publisher and the mids of its first m-line of each kind.
#[derive(Debug, Clone)]
struct Feed {
    client: u64,
    audio: Option<String>,
    video: Option<String>,
}

impl Janus {
    /// Opens a session; rooms get so many helper threads (VideoRoom's `threads`).
    pub(super) async fn connect(address: SocketAddr, helpers: u32) -> Result<Self> {
        let mut api = Http::connect(address, HeaderMap::new()).await?;
        let answer = ask(&mut api, "/janus", json!({"janus": "create", "transaction": "session"})).await?;
        let path = format!("/janus/{}", number(&answer["data"]["id"])?);
        let mut events = Http::connect(address, HeaderMap::new()).await?;
        let shared = Arc::new(Shared {
            api: Mutex::new(api),
            path,
            helpers,
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            rooms: Mutex::default(),
            coming: Mutex::default(),
            published: Notify::new(),
            handles: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        let taken = Arc::clone(&shared);
        tasks.spawn(async move {
            if let Err(error) = taken.take_events(&mut events).await {
                tracing::debug!(%error, "events ended");
            }
        });
        Ok(Self { shared, _events: Arc::new(tasks) })
    }
}

impl Backend for Janus {
    async fn offer(&self, offer: Offer) -> Result<String> {
        let shared = &self.shared;
        let room: u64 = offer.meeting.parse().context("a meeting's number")?;
        let handle = shared.attach().await?;
        shared.handles.lock().await.insert(offer.client, handle);
        shared.make_room(handle, room).await?;
        if offer.slots.is_empty() {
            shared.publish(handle, room, offer).await
        } else {
            shared.watch(handle, room, offer).await
        }
    }

    async fn leave(&self, client: u64) -> Result<()> {
        let Some(handle) = self.shared.handles.lock().await.remove(&client) else { return Ok(()) };
        self.shared.ask(&format!("/{handle}"), json!({"janus": "detach"})).await?;
        Ok(())
    }
}

impl Shared {
    async fn take_events(&self, http: &mut Http) -> Result<()> {
        let path = format!("{}?maxev={EVENTS}", self.path);
        loop {
            let (_, body) = http.send(Method::GET, &path, Bytes::new()).await?;
            let events: Value = serde_json::from_slice(&body)?;
            let events = if let Value::Array(several) = events { several } else { vec![events] };
            for event in events {
                if event["janus"] == "webrtcup" {
                    self.show(number(&event["sender"])?).await;
                }
                let waiting = event["transaction"].as_str().filter(|_| event["janus"] == "event");
                if let Some(transaction) = waiting
                    && let Some(waiter) = self.waiting.lock().await.remove(transaction)
                {
                    // Who asked may be gone.
                    let _ = waiter.send(event);
                }
            }
        }
    }

    async fn attach(&self) -> Result<u64> {
        let answer = self.ask("", json!({"janus": "attach", "plugin": "janus.plugin.videoroom"})).await?;
        number(&answer["data"]["id"])
    }

    /// Makes a room unless it is there.
    async fn make_room(&self, handle: u64, room: u64) -> Result<()> {
        let mut rooms = self.rooms.lock().await;
        if rooms.contains_key(&room) {
            return Ok(());
        }
        let body = json!({
            "request": "create", "room": room, "publishers": 2000, "audiocodec": "opus", "videocodec": "vp8",
            "bitrate": 0, "threads": self.helpers,
        });
        let answer = self.ask(&format!("/{handle}"), json!({"janus": "message", "body": body})).await?;
        ensure!(answer["plugindata"]["data"]["videoroom"] == "created", "the room was not made: {answer}");
        rooms.insert(room, Room::default());
        Ok(())
    }

    async fn publish(&self, handle: u64, room: u64, offer: Offer) -> Result<String> {
        let mids = |kind| sdp::mids(&offer.sdp, kind).into_iter().next();
        let feed = Feed { client: offer.client, audio: mids("audio"), video: mids("video") };
        self.coming.lock().await.insert(handle, (room, feed));
        let body = json!({"request": "joinandconfigure", "ptype": "publisher", "room": room, "id": offer.client});
        let event = self.event(handle, body, Some(json!({"type": "offer", "sdp": offer.sdp}))).await?;
        text(&event["jsep"]["sdp"])
    }

    /// The media connection of a handle is up: if it publishes, others can watch it from now on.
    async fn show(&self, handle: u64) {
        let Some((room, feed)) = self.coming.lock().await.remove(&handle) else { return };
        self.rooms.lock().await.entry(room).or_default().feeds.push(feed);
        self.published.notify_waiters();
    }

    async fn watch(&self, handle: u64, room: u64, offer: Offer) -> Result<String> {
        let kinds = sdp::kinds(&offer.sdp);
        ensure!(kinds.len() == offer.slots.len(), "a watcher of Janus has slots only");
        let streams =
            timeout(PATIENCE, self.streams(room, &kinds)).await.context("too few publish for these slots")??;
        let body = json!({"request": "join", "ptype": "subscriber", "room": room, "streams": streams});
        let event = self.event(handle, body, None).await?;
        let theirs = text(&event["jsep"]["sdp"])?;
        let answer = sdp::answer_to_janus(&offer.sdp, &theirs)?;
        let started = self.event(handle, json!({"request": "start"}), Some(json!({"type": "answer", "sdp": answer})));
        started.await?;
        sdp::answer_of_janus(&theirs, &offer.sdp)
    }

    /// What the next watcher of a room is shown, once enough publish there.
    async fn streams(&self, room: u64, kinds: &[String]) -> Result<Vec<Value>> {
        loop {
            let mut published = pin!(self.published.notified());
            published.as_mut().enable();
            if let Some(streams) = self.rooms.lock().await.entry(room).or_default().streams(kinds)? {
                return Ok(streams);
            }
            published.await;
        }
    }

    /// Sends a message to the plugin and waits for its event.
    async fn event(&self, handle: u64, body: Value, jsep: Option<Value>) -> Result<Value> {
        let transaction = self.transaction();
        let (waiter, waited) = oneshot::channel();
        self.waiting.lock().await.insert(transaction.clone(), waiter);
        let mut message = json!({"janus": "message", "transaction": transaction, "body": body});
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        let path = format!("{}/{handle}", self.path);
        ask(&mut *self.api.lock().await, &path, message).await?;
        let event = timeout(PATIENCE, waited).await.with_context(|| format!("no event came for {body}"))??;
        let data = &event["plugindata"]["data"];
        if let Some(error) = data["error"].as_str() {
            bail!("{error}");
        }
        Ok(event)
    }

    async fn ask(&self, path: &str, mut message: Value) -> Result<Value> {
        message["transaction"] = self.transaction().into();
        ask(&mut *self.api.lock().await, &format!("{}{path}", self.path), message).await
    }

    fn transaction(&self) -> String {
        self.next.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

impl Room {
    /// What the next watcher is shown in slots of these kinds: others in turn, from a different one for each. Of four who
    /// publish and watch with three slots, each so sees the other three. Nothing while there are more slots than that.
    fn streams(&mut self, kinds: &[String]) -> Result<Option<Vec<Value>>> {
        let slots = |kind: &str| kinds.iter().filter(|other| *other == kind).count();
        if slots("audio").max(slots("video")) > self.feeds.len() {
            return Ok(None);
        }
        self.watchers += 1;
        let mut used: HashMap<&str, usize> = HashMap::new();
        let mut streams = Vec::new();
        for kind in kinds {
            let number = used.entry(kind).or_default();
            let feed = &self.feeds[(self.watchers + *number) % self.feeds.len()];
            *number += 1;
            let mid = if kind == "audio" { &feed.audio } else { &feed.video };
            let mid = mid.as_ref().with_context(|| format!("publisher {} has no {kind}", feed.client))?;
            streams.push(json!({"feed": feed.client, "mid": mid}));
        }
        Ok(Some(streams))
    }
}

async fn ask(http: &mut Http, path: &str, message: Value) -> Result<Value> {
    let (status, body) = http.send(Method::POST, path, Bytes::from(serde_json::to_vec(&message)?)).await?;
    ensure!(status.is_success(), "Janus answers {status}");
    let answer: Value = serde_json::from_slice(&body)?;
    ensure!(answer["janus"] != "error", "Janus: {}", answer["error"]);
    Ok(answer)
}

fn number(value: &Value) -> Result<u64> {
    value.as_u64().context("Janus names no id")
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).context("Janus sends no description")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_four_sees_the_other_three() {
        let mid = |kind: &str, client: u64| Some(format!("{kind}{client}"));
        let feeds = (0..4).map(|client| Feed { client, audio: mid("a", client), video: mid("v", client) }).collect();
        let mut room = Room { feeds, watchers: 0 };
        let kinds: Vec<String> = ["audio", "audio", "audio", "video", "video", "video"].map(str::to_owned).into();
        for watcher in 0..4 {
            let streams = room.streams(&kinds).expect("mids").expect("enough publish");
            let seen: Vec<u64> = streams.iter().map(|stream| stream["feed"].as_u64().expect("a feed")).collect();
            assert_eq!(seen[..3], seen[3..]);
            assert!(!seen.contains(&watcher), "{watcher}: {seen:?}");
            assert_eq!(streams[5]["mid"], format!("v{}", seen[5]));
        }
        let more = room.streams(&vec!["audio".to_owned(); 5]).expect("no mid is missing");
        assert!(more.is_none(), "it waits for a fifth");
    }
}
