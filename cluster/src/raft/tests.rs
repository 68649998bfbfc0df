//! Clusters of members in one process, over a mesh in memory.

mod agree;
mod full_disk;
mod mesh;
mod recover;

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, interval};

use super::{Options, RaftNode, Registration, StartError, StoreError};
use crate::clock::Clock;
use crate::directory::Directory;
use crate::model::{
    Features, MeetingId, MeetingType, NodeAddresses, NodeId, NodeStatus, RecordingConfig, RoomId, Timestamp,
};
use crate::state::{Applied, Command, NewMeeting, State};
use mesh::Mesh;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a condition.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = interval(Duration::from_millis(10));
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        looks.tick().await;
    }
}

/// Tries until it succeeds.
async fn eventually<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(mut attempt: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + PATIENCE;
    let mut tries = interval(Duration::from_millis(20));
    loop {
        match attempt().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "tried in vain: {error:?}"),
        }
        tries.tick().await;
    }
}

fn address(port: u64) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("a small number")))
}

fn meeting(n: u128) -> MeetingId {
    MeetingId::from_uuid(uuid::Uuid::from_u128(n))
}

fn create(n: u128) -> Command {
    Command::CreateMeeting(Arc::new(NewMeeting {
        id: meeting(n),
        room: RoomId::from_uuid(uuid::Uuid::from_u128(n)),
        tenant: "campus".parse().expect("printable"),
        creator: "ada".parse().expect("printable"),
        name: format!("Meeting {n}"),
        description: String::new(),
        start_time: None,
        end_time: None,
        location: String::new(),
        invited: Vec::new(),
        meta_data: "{}".to_owned(),
        meeting_type: MeetingType::Scheduled,
        max_participants: 10,
        password_hash: None,
        waiting_room_enabled: false,
        require_host_approval: false,
        guests_allowed: true,
        features: Features::default(),
        recording: RecordingConfig::default(),
    }))
}

/// A node and its folder.
struct Member {
    node: Arc<RaftNode>,
    folder: TempDir,
}

/// A cluster whose members share a mesh.
struct Cluster {
    mesh: Mesh,
    members: Vec<Member>,
}

impl Cluster {
    /// One founder, registered.
    async fn founded() -> Self {
        let mesh = Mesh::default();
        let folder = tempfile::tempdir().expect("a folder");
        let node = start(&mesh, 1, &folder).await;
        node.initialize().await.expect("founds");
        register(&node).await;
        Self { mesh, members: vec![Member { node, folder }] }
    }

    /// Three voters, and everyone knows that the change is over: until then the founder is needed for any election.
    async fn of_three() -> Self {
        let mut cluster = Self::founded().await;
        cluster.admit().await;
        cluster.admit().await;
        for member in &cluster.members {
            let settled = || {
                member.node.with_metrics(|metrics| {
                    let committed = metrics.committed_membership_config.membership();
                    committed.get_joint_config().len() == 1 && committed.voter_ids().count() == 3
                })
            };
            until("three voters", settled).await;
        }
        cluster
    }

    /// Admits one more node, which starts with an empty store and registers. Its place among the members.
    async fn admit(&mut self) -> usize {
        let place = self.members.len();
        let token = u128::try_from(place).expect("small");
        let control = address(100 + u64::try_from(place).expect("small"));
        let admit = Command::AdmitNode { token, expires: Timestamp::from_millis(i64::MAX), control };
        let admitted = self.members[0].node.propose(None, admit).await.expect("admits").applied;
        let Applied::Admitted { node: id } = admitted else { panic!("not admitted: {admitted:?}") };
        let folder = tempfile::tempdir().expect("a folder");
        let node = start(&self.mesh, id.number(), &folder).await;
        register(&node).await;
        self.members.push(Member { node, folder });
        place
    }

    fn node(&self, place: usize) -> &Arc<RaftNode> {
        &self.members[place].node
    }

    /// Where the leader is, once everyone agrees.
    async fn leader(&self) -> usize {
        let agreed = || {
            let leader = self.node(0).status().leader?;
            self.members.iter().all(|member| member.node.status().leader == Some(leader)).then_some(leader)
        };
        until("all follow one leader", || agreed().is_some()).await;
        let leader = agreed().expect("there was one just now");
        self.members.iter().position(|member| member.node.id() == leader).expect("the leader is one of us")
    }

    /// Takes a member out without a goodbye.
    async fn kill(&mut self, place: usize) -> TempDir {
        let Member { node, folder } = self.members.remove(place);
        self.mesh.leave(node.id());
        node.shutdown().await;
        folder
    }
}

async fn start(mesh: &Mesh, id: u64, folder: &TempDir) -> Arc<RaftNode> {
    let id = NodeId::new(id);
    let node = loop {
        let options = Options {
            id,
            data_dir: folder.path().to_owned(),
            control_address: address(100),
            clock: Clock::system(),
            rpc: mesh.of(id),
        };
        match RaftNode::start(options).await {
            // The life before lets go of its store in the background.
            Err(StartError::Store(StoreError::InUse { .. })) => tokio::task::yield_now().await,
            started => break started.expect("starts"),
        }
    };
    mesh.join(&node);
    node
}

async fn register(node: &Arc<RaftNode>) -> u64 {
    let number = node.id().number();
    let at = |base| address(base + number);
    let registration = Registration {
        addresses: NodeAddresses { http: at(1000), control: at(2000), media_link: at(3000) },
        workers: 1,
        zone: String::new(),
        version: "0".to_owned(),
    };
    eventually(|| node.register(registration.clone())).await
}
