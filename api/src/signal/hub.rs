//! Follows the directory once for all signalling sessions of this node, and tells each what concerns its meeting.
//!
//! Each subscriber has a bounded queue. One that does not keep up misses news and is told [`News::Reset`] as soon as it
//! has room: it then reads the meeting anew.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plenary_cluster::directory::Directory;
use plenary_cluster::model::MeetingId;
use plenary_cluster::state::{Event, EventKind};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// News a session may be behind before it has to read the meeting anew.
const CAPACITY: usize = 64;

/// How soon one that is behind is reminded, should nothing else happen.
const REMIND_AFTER: Duration = Duration::from_millis(200);

/// What a session is told of its meeting.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Something happened: all that is new, so that the events of one entry are never told apart.
    Events(Arc<[Event]>),
    /// Something was missed: read the meeting anew.
    Reset,
}

/// The hub. One for each node.
pub struct Hub {
    directory: Arc<dyn Directory>,
    subscribers: Mutex<BTreeMap<MeetingId, BTreeMap<u64, Subscriber>>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Subscriber {
    queue: mpsc::Sender<News>,
    /// Missed something, and does not know it yet.
    behind: bool,
}

/// A place in the hub, given up when dropped.
pub struct Subscription {
    hub: Arc<Hub>,
    meeting: MeetingId,
    key: u64,
    /// What the hub says.
    pub news: mpsc::Receiver<News>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("meetings", &self.subscribers.lock().len()).finish_non_exhaustive()
    }
}

impl Hub {
    /// A hub without subscribers.
    #[must_use]
    pub fn new(directory: Arc<dyn Directory>) -> Arc<Self> {
        Arc::new(Self { directory, subscribers: Mutex::default(), next: AtomicU64::new(0) })
    }

    /// Takes a place. News of entries applied from now on arrive.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>, meeting: MeetingId) -> Subscription {
        let (queue, news) = mpsc::channel(CAPACITY);
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.subscribers.lock().entry(meeting).or_default().insert(key, Subscriber { queue, behind: false });
        Subscription { hub: Arc::clone(self), meeting, key, news }
    }

    /// Follows the directory until cancelled.
    pub async fn run(&self, cancelled: CancellationToken) {
        let mut revisions = self.directory.revisions();
        let mut followed = self.directory.read_local().revision();
        loop {
            tokio::select! {
                () = cancelled.cancelled() => return,
                changed = revisions.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(REMIND_AFTER), if self.is_anyone_behind() => {}
            }
            let state = self.directory.read_local();
            match state.events_since(followed) {
                Ok(events) => self.tell(events),
                Err(_) => self.reset_all(),
            }
            followed = state.revision();
            self.remind();
        }
    }

    fn tell<'a>(&self, events: impl Iterator<Item = &'a Event>) {
        let mut subscribers = self.subscribers.lock();
        let mut by_meeting: BTreeMap<MeetingId, Vec<Event>> = BTreeMap::new();
        for event in events {
            if let Some(meeting) = meeting(&event.kind).filter(|meeting| subscribers.contains_key(meeting)) {
                by_meeting.entry(meeting).or_default().push(event.clone());
            }
        }
        for (meeting, events) in by_meeting {
            let events: Arc<[Event]> = events.into();
            for subscriber in subscribers.get_mut(&meeting).into_iter().flat_map(BTreeMap::values_mut) {
                subscriber.tell(News::Events(Arc::clone(&events)));
            }
        }
    }

    fn reset_all(&self) {
        self.subscribers.lock().values_mut().flat_map(BTreeMap::values_mut).for_each(|one| one.behind = true);
    }

    fn is_anyone_behind(&self) -> bool {
        self.subscribers.lock().values().flat_map(BTreeMap::values).any(|one| one.behind)
    }

    fn remind(&self) {
        self.subscribers.lock().values_mut().flat_map(BTreeMap::values_mut).for_each(Subscriber::remind);
    }
}

impl Subscriber {
    fn tell(&mut self, news: News) {
        // One that is behind reads the meeting anew later, and so gets this too.
        if !self.behind && self.queue.try_send(news).is_err() {
            self.behind = true;
            metrics::counter!("plenary_signal_news_dropped_total").increment(1);
        }
    }

    fn remind(&mut self) {
        if self.behind && self.queue.try_send(News::Reset).is_ok() {
            self.behind = false;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscribers = self.hub.subscribers.lock();
        if let Some(here) = subscribers.get_mut(&self.meeting) {
            here.remove(&self.key);
            if here.is_empty() {
                subscribers.remove(&self.meeting);
            }
        }
    }
}

const fn meeting(kind: &EventKind) -> Option<MeetingId> {
    match kind {
        EventKind::MeetingChanged { meeting, .. }
        | EventKind::ParticipantChanged { meeting, .. }
        | EventKind::ParticipantLeft { meeting, .. } => Some(*meeting),
        EventKind::NodeChanged { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use plenary_cluster::clock::Clock;
    use plenary_cluster::local::Local;
    use tokio::task::JoinSet;
    use tokio::time::timeout;
    use uuid::Uuid;

    use super::*;

    /// Longer than anything here takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn one_that_fell_behind_is_reminded_though_nothing_else_happens() {
        let hub = Hub::new(Arc::new(Local::new(Clock::system())));
        let meeting = MeetingId::from_uuid(Uuid::from_u128(1));
        let mut subscription = hub.subscribe(meeting);
        let event = Event { revision: 1, ordinal: 0, kind: EventKind::MeetingChanged { meeting, status: None } };
        for _ in 0..=CAPACITY {
            hub.tell(std::iter::once(&event));
        }
        assert!(hub.is_anyone_behind());

        // Nothing is ever written to this directory: only the reminder can bring the reset.
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let hub = Arc::clone(&hub);
            async move { hub.run(CancellationToken::new()).await }
        });
        for _ in 0..CAPACITY {
            let news = subscription.news.recv().await.expect("the hub lives");
            assert!(matches!(news, News::Events(_)), "{news:?}");
        }
        let reminded = timeout(PATIENCE, subscription.news.recv()).await.expect("reminded");
        assert_eq!(reminded, Some(News::Reset));
        assert!(!hub.is_anyone_behind());
    }
}
