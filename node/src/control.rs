//! Keeps what this node does in line with what the directory says: `desired = f(state)`.
//!
//! Follows the directory's events; for each meeting that changed, works out which of this node's workers need a view
//! of its room, and which nodes this one needs a media link to. What could not be delivered is tried again; nothing is
//! started by a call that can be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use plenary_cluster::directory::Directory;
use plenary_cluster::model::{MeetingId, NodeId, NodeStatus, Participant, RoomId};
use plenary_cluster::state::{EventKind, State};
use plenary_media::io::{Command, MemberView, RoomView};
use plenary_media::relay::ingress_worker;
use tokio_util::sync::CancellationToken;

use crate::driver::{Mailbox, Message};
use crate::link::MediaLink;

/// How soon something that could not be delivered is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// The reconcile loop of one node.
pub struct Control {
    node: NodeId,
    directory: Arc<dyn Directory>,
    workers: Vec<Mailbox>,
    links: Arc<MediaLink>,
    /// What each worker was last told of each meeting's room.
    told: BTreeMap<MeetingId, Told>,
    /// Meetings whose workers are to be told anew.
    dirty: BTreeSet<MeetingId>,
    /// The media links last asked for.
    peers: BTreeMap<NodeId, SocketAddr>,
    followed: u64,
}

#[derive(Debug)]
struct Told {
    room: RoomId,
    workers: BTreeMap<u16, RoomView>,
}

/// A room as this node serves it: the view, and the workers that need it.
#[derive(Debug, PartialEq, Eq)]
struct Served {
    view: RoomView,
    workers: BTreeSet<u16>,
}

impl Control {
    /// The loop over this node's workers and links.
    #[must_use]
    pub fn new(node: NodeId, directory: Arc<dyn Directory>, workers: Vec<Mailbox>, links: Arc<MediaLink>) -> Self {
        let (told, dirty, peers) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        Self { node, directory, workers, links, told, dirty, peers, followed: 0 }
    }

    /// Runs until cancelled.
    pub async fn run(mut self, cancelled: CancellationToken) {
        let mut revisions = self.directory.revisions();
        self.resync(&self.directory.read_local());
        loop {
            let state = self.directory.read_local();
            self.follow(&state);
            self.reconcile(&state);
            tokio::select! {
                () = cancelled.cancelled() => return,
                changed = revisions.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if !self.dirty.is_empty() => {}
            }
        }
    }

    /// Marks the meetings that changed since the last look.
    fn follow(&mut self, state: &State) {
        match state.events_since(self.followed) {
            Ok(events) => {
                let changed: Vec<EventKind> = events.map(|event| event.kind.clone()).collect();
                for kind in changed {
                    self.mark(kind);
                }
            }
            Err(resync) => {
                tracing::info!(revision = resync.revision, "directory moved on without us; reading it anew");
                self.resync(state);
            }
        }
        self.followed = state.revision();
    }

    fn mark(&mut self, kind: EventKind) {
        match kind {
            EventKind::MeetingChanged { meeting, status: _ }
            | EventKind::ParticipantChanged { meeting, entry: _ }
            | EventKind::ParticipantLeft { meeting, participant: _ } => {
                self.dirty.insert(meeting);
            }
            // Addresses and liveness of nodes matter only to the links, which are worked out each time.
            EventKind::NodeChanged { node: _ } => {}
        }
    }

    fn resync(&mut self, state: &State) {
        self.dirty.extend(self.told.keys().copied());
        self.dirty.extend(state.meetings().map(|meeting| meeting.id));
        self.followed = state.revision();
    }

    fn reconcile(&mut self, state: &State) {
        for meeting in std::mem::take(&mut self.dirty) {
            if !self.tell(state, meeting) {
                self.dirty.insert(meeting);
            }
        }
        let peers = peers(self.node, state, self.told.values().flat_map(|told| told.workers.values()));
        if peers != self.peers {
            self.links.set_peers(&peers);
            self.peers = peers;
        }
    }

    /// Brings the workers' views of one meeting up to date. False if one of them could not be told.
    fn tell(&mut self, state: &State, meeting: MeetingId) -> bool {
        let count = u16::try_from(self.workers.len()).expect("a node has at most 128 workers");
        let served = served(state, meeting, self.node, count);
        let Some(room) = served.as_ref().map(|served| served.view.room).or_else(|| Some(self.told.get(&meeting)?.room))
        else {
            return true;
        };
        let told = self.told.entry(meeting).or_insert_with(|| Told { room, workers: BTreeMap::new() });
        let wanted = served.map_or_else(BTreeMap::new, |Served { view, workers }| {
            workers.into_iter().map(|worker| (worker, view.clone())).collect::<BTreeMap<_, _>>()
        });
        let mut all = true;
        let gone: Vec<u16> = told.workers.keys().filter(|worker| !wanted.contains_key(worker)).copied().collect();
        for worker in gone {
            let done = send(&self.workers, worker, Command::CloseRoom(room));
            if done {
                told.workers.remove(&worker);
            }
            all &= done;
        }
        for (worker, view) in wanted {
            if told.workers.get(&worker) != Some(&view) {
                let done = send(&self.workers, worker, Command::Room(view.clone()));
                if done {
                    told.workers.insert(worker, view);
                }
                all &= done;
            }
        }
        if told.workers.is_empty() && all {
            self.told.remove(&meeting);
        }
        all
    }
}

fn send(workers: &[Mailbox], worker: u16, command: Command) -> bool {
    workers.get(usize::from(worker)).is_none_or(|mailbox| mailbox.control(Message::Command(command)).is_ok())
}

/// The meeting's room as this node serves it; `None` when nobody in it is served here.
fn served(state: &State, meeting: MeetingId, node: NodeId, workers: u16) -> Option<Served> {
    let room = state.meeting(meeting)?.room;
    let members: Vec<MemberView> = state.connected(meeting).filter_map(member).collect();
    let mut needing: BTreeSet<u16> =
        members.iter().filter(|member| member.node == node).map(|member| member.worker).collect();
    if needing.is_empty() {
        return None;
    }
    needing.insert(ingress_worker(room, workers));
    Some(Served { view: RoomView { room, members }, workers: needing })
}

fn member(participant: &Participant) -> Option<MemberView> {
    let session = participant.session.as_ref()?;
    Some(MemberView {
        participant: participant.id,
        session: session.id,
        node: session.node,
        worker: session.worker,
        tracks: session.tracks.clone(),
    })
}

/// The nodes that share a room with this one, and where to dial their media links.
fn peers<'a>(node: NodeId, state: &State, views: impl Iterator<Item = &'a RoomView>) -> BTreeMap<NodeId, SocketAddr> {
    let others: BTreeSet<NodeId> =
        views.flat_map(|view| &view.members).map(|member| member.node).filter(|other| *other != node).collect();
    let address = |other: NodeId| {
        let other = state.node(other).filter(|other| other.status == NodeStatus::Up)?;
        Some((other.id, other.addresses.media_link))
    };
    others.into_iter().filter_map(address).collect()
}
