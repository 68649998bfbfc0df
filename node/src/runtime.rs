//! One node, put together: identity, links, directory, workers, API. Started in order, stopped in reverse.
//!
//! Start: HTTP port (so that a taken one is told before anything is written) → identity → control link → Raft →
//! media link and workers → registration → API. Stop: API refuses and closes its sessions → reconcile loop → workers
//! → links → Raft.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use plenary_api::{Server, Services, Settings};
use plenary_cluster::clock::Clock;
use plenary_cluster::directory::{Directory, ProposeError, Written};
use plenary_cluster::model::{Features, MeetingId, MeetingType, NodeAddresses, NodeId, RecordingConfig, RoomId};
use plenary_cluster::raft::{Options, RaftNode, Registration, Rpc};
use plenary_cluster::state::{Applied, Command, NewMeeting, Rejection};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use crate::identity::Origin;

use crate::admin::Admin;
use crate::belonging::Belonging;
use crate::config::Config;
use crate::control::Control;
use crate::driver::{NodeLinks, Workers, primary_address};
use crate::identity;
use crate::link::{
    ControlLink, EnrollError, EnrollReply, EnrollRequest, Handler, Identity, LinkMtu, MediaLink, Roster,
};
use crate::port::MediaPort;
use crate::relay_port::{LinkCarrier, WorkerSink};
use crate::renewal::Renewal;
use crate::telemetry;

/// How often a proposal of our own start-up is tried again while there is no leader.
const REGISTER_RETRY: Duration = Duration::from_millis(200);

/// How long the parts of a stopping node get to finish.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// A running node.
pub struct Node {
    id: NodeId,
    data_dir: PathBuf,
    addresses: NodeAddresses,
    media_addresses: Vec<Vec<SocketAddr>>,
    directory: Arc<RaftNode>,
    control_link: Arc<ControlLink>,
    media_link: Arc<MediaLink>,
    workers: Workers,
    tasks: JoinSet<anyhow::Result<()>>,
    cancelled: CancellationToken,
}

impl Node {
    /// Starts all parts and returns once the node serves.
    ///
    /// # Errors
    /// When a port is taken, the data folder can't be used, or the cluster does not let the node in.
    pub async fn start(config: Config, origin: Origin) -> anyhow::Result<Self> {
        let (listener, http) = bind_http(&config).await?;
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|error| anyhow::anyhow!("`data_dir`: {}: {error}", config.data_dir.display()))?;
        let listen = control_address(&config)?;
        let control = advertised(listen, config.control.advertise);
        // Nothing is founded or joined before it is known that the node can serve; further workers' ports follow these.
        bindable("media_link.listen", config.media_link.listen)?;
        for listen in &config.media.listen {
            bindable("media.listen", *listen)?;
        }
        let identity = Arc::new(identity::obtain(origin, &config.data_dir, control).await?);
        let id = identity.node();

        let roster = Roster::default();
        let control_link = Arc::new(ControlLink::bind(listen, Arc::clone(&identity), roster.clone())?);
        let directory = start_directory(&config, id, control, &control_link).await?;
        let standings = Arc::clone(&directory);
        roster.follow(Arc::new(move |node| standings.standing(node)));
        let sink = Arc::new(WorkerSink::default());
        let media_link = Arc::new(MediaLink::bind(
            config.media_link.listen,
            Arc::clone(&identity),
            LinkMtu::default(),
            Arc::clone(&sink) as _,
            roster,
        )?);
        let carrier: Arc<dyn NodeLinks> = Arc::new(LinkCarrier(Arc::clone(&media_link)));
        let workers = Workers::start(id, &config.media, &carrier)?;
        sink.connect(workers.mailboxes());
        let media_bound = media_link.local_address().ok_or_else(|| anyhow::anyhow!("media link has no address"))?;
        let media = advertised(media_bound, config.media_link.advertise);
        let mut node = Self {
            id,
            data_dir: config.data_dir.clone(),
            addresses: NodeAddresses { http, control, media_link: media },
            media_addresses: workers.addresses().to_vec(),
            directory,
            control_link,
            media_link,
            workers,
            tasks: JoinSet::new(),
            cancelled: CancellationToken::new(),
        };
        node.serve(config, identity, listener).await?;
        Ok(node)
    }

    /// Registers with the cluster, then starts what clients and operators talk to.
    async fn serve(&mut self, config: Config, identity: Arc<Identity>, listener: TcpListener) -> anyhow::Result<()> {
        let port = Arc::new(MediaPort::new(self.id, &self.workers, &config.media));
        let registration = Registration {
            addresses: self.addresses.clone(),
            workers: self.workers.count(),
            zone: config.zone.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let registrar = Registrar { directory: Arc::clone(&self.directory), media: Arc::clone(&port), registration };
        let belonging = Belonging::new(&self.directory, &self.control_link, &self.media_link, &config.data_dir);
        tokio::select! {
            registered = registrar.register() => registered?,
            // Its store may fail before anybody waits for that.
            failure = self.directory.stopped() => anyhow::bail!("the directory stopped: {failure}"),
            words = belonging.lost() => {
                belonging.note();
                anyhow::bail!("{words}: {}", identity::removed_help(&config.data_dir));
            }
        }
        let cancelled = self.cancelled.clone();
        self.tasks.spawn(async move { registrar.run(cancelled).await });
        let cancelled = self.cancelled.clone();
        self.tasks.spawn(async move {
            belonging.keep_removed_out(cancelled).await;
            Ok(())
        });
        let renewal = Arc::new(Renewal {
            identity: Arc::clone(&identity),
            folder: identity::folder(&config.data_dir),
            control: Arc::clone(&self.control_link),
            media: Arc::clone(&self.media_link),
            renewing: Mutex::default(),
        });
        let (keeper, cancelled) = (Arc::clone(&renewal), self.cancelled.clone());
        self.tasks.spawn(async move {
            keeper.run(cancelled).await;
            Ok(())
        });

        let directory: Arc<dyn Directory> = Arc::clone(&self.directory) as _;
        let mailboxes = self.workers.mailboxes().to_vec();
        let control = Control::new(self.id, Arc::clone(&directory), mailboxes, Arc::clone(&self.media_link));
        let cancelled = self.cancelled.clone();
        self.tasks.spawn(async move {
            control.run(cancelled).await;
            Ok(())
        });
        let admin = Admin {
            directory: Arc::clone(&self.directory),
            identity: Arc::clone(&identity),
            renewal,
            media: Arc::clone(&port),
            links: Arc::clone(&self.media_link),
            addresses: self.media_addresses.clone(),
        };
        let (cancelled, data_dir) = (self.cancelled.clone(), config.data_dir.clone());
        self.tasks.spawn(async move { Ok(admin.run(data_dir, cancelled).await?) });
        self.serve_api(&config, &identity, listener, directory, port)
    }

    fn serve_api(
        &mut self,
        config: &Config,
        identity: &Identity,
        listener: TcpListener,
        directory: Arc<dyn Directory>,
        media: Arc<MediaPort>,
    ) -> anyhow::Result<()> {
        let metrics = telemetry::start_metrics()?;
        let metrics: Arc<dyn Fn() -> String + Send + Sync> = Arc::new(move || metrics.render());
        let services = Services { directory, media, metrics, clock: Clock::system() };
        let secret = identity.secret().as_bytes().to_vec();
        let settings = Settings { guest_tokens: config.auth.guest_users, ..Settings::new(secret) };
        let (server, cancelled) = (Server::new(settings, services), self.cancelled.clone());
        self.tasks.spawn(async move { Ok(server.run(listener, cancelled).await?) });
        Ok(())
    }

    /// What the cluster agrees on, as this node sees it.
    #[must_use]
    pub fn directory(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.directory) as _
    }

    /// The last start-up line of `plenary node`, which scripts read.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let media: Vec<String> = self.media_addresses.iter().flatten().map(ToString::to_string).collect();
        let NodeAddresses { http, control, media_link } = &self.addresses;
        let (media, id) = (media.join(","), self.id);
        format!("ready http={http} control={control} media_link={media_link} media={media} node={id}")
    }

    /// Where a meeting is joined.
    #[must_use]
    pub fn meeting_url(&self, meeting: MeetingId) -> String {
        format!("http://{}/m/{meeting}", self.addresses.http)
    }

    /// Makes a meeting that anyone may join, and starts it.
    ///
    /// # Errors
    /// When the directory refuses.
    pub async fn create_live_meeting(&self, name: &str) -> anyhow::Result<MeetingId> {
        let meeting = MeetingId::from_uuid(Uuid::now_v7());
        let new = NewMeeting {
            id: meeting,
            room: RoomId::from_uuid(Uuid::now_v7()),
            tenant: "default".parse()?,
            creator: "plenary-dev".parse()?,
            name: name.to_owned(),
            description: String::new(),
            start_time: None,
            end_time: None,
            location: String::new(),
            invited: Vec::new(),
            meta_data: "{}".to_owned(),
            meeting_type: MeetingType::Instant,
            max_participants: 100,
            password_hash: None,
            waiting_room_enabled: false,
            require_host_approval: false,
            guests_allowed: true,
            features: Features::default(),
            recording: RecordingConfig::default(),
        };
        self.directory.propose(Some(meeting), Command::CreateMeeting(Arc::new(new))).await?;
        self.directory.propose(Some(meeting), Command::StartMeeting { meeting }).await?;
        Ok(meeting)
    }

    /// Runs until SIGINT or SIGTERM, until the node is removed from the cluster, or until a part fails.
    ///
    /// # Errors
    /// When a part of the node failed.
    pub async fn run_until_signalled(mut self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let belonging = Belonging::new(&self.directory, &self.control_link, &self.media_link, &self.data_dir);
        let outcome = tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            words = belonging.lost() => {
                tracing::warn!(node = %self.id, reason = words, "this node is no longer of the cluster and stops");
                belonging.part().await;
                Ok(())
            }
            failure = self.directory.stopped() => Err(anyhow::anyhow!("the directory stopped: {failure}")),
            Some(ended) = self.tasks.join_next() => match ended {
                Ok(Ok(())) => Err(anyhow::anyhow!("a part of the node ended early")),
                Ok(Err(error)) => Err(error),
                Err(error) => Err(error.into()),
            },
        };
        self.stop().await;
        outcome
    }

    async fn stop(mut self) {
        self.cancelled.cancel();
        let drained = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_DEADLINE, drained).await.is_err() {
            tracing::warn!("parts of the node did not stop in time");
        }
        self.workers.stop();
        self.media_link.close().await;
        self.directory.shutdown().await;
        self.control_link.close().await;
    }
}

async fn bind_http(config: &Config) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let wanted = config.http.listen;
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        anyhow::anyhow!(
            "HTTP port {wanted}: {error}; choose another with `http.listen` (`plenary dev`: --port), 0 picks a free one"
        )
    })?;
    let bound = listener.local_addr()?;
    Ok((listener, advertised(bound, config.http.advertise)))
}

/// What others are told: as configured, else as bound, with an address of this machine in place of a wildcard.
fn advertised(bound: SocketAddr, configured: Option<SocketAddr>) -> SocketAddr {
    if let Some(address) = configured {
        let port = if address.port() == 0 { bound.port() } else { address.port() };
        return SocketAddr::new(address.ip(), port);
    }
    if bound.ip().is_unspecified() {
        let address = primary_address().unwrap_or_else(|| {
            tracing::warn!(
                port = bound.port(),
                "this machine has no route to anywhere: others are told 127.0.0.1; set `advertise` of each listener"
            );
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        });
        return SocketAddr::new(address, bound.port());
    }
    bound
}

async fn start_directory(
    config: &Config,
    id: NodeId,
    control: SocketAddr,
    link: &Arc<ControlLink>,
) -> anyhow::Result<Arc<RaftNode>> {
    let rpc: Arc<dyn Rpc> = Arc::clone(link) as _;
    let data_dir = config.data_dir.join("raft");
    let had_store = identity::had_store(&config.data_dir, &data_dir)?;
    let options = Options { id, data_dir, control_address: control, clock: Clock::system(), rpc };
    let directory = RaftNode::start(options).await?;
    // A founder that was cut off before it had founded anything does so now.
    if !had_store && id == identity::FIRST_NODE && !directory.is_initialized().await? {
        directory.initialize().await?;
    }
    identity::note_store(&config.data_dir)?;
    link.serve(Arc::new(Member(Arc::clone(&directory))));
    Ok(directory)
}

/// A free port must be known before the control endpoint opens: a newcomer tells it to the cluster when it asks to be
/// let in. Between this look and the opening somebody else might take it; then the node does not start.
fn control_address(config: &Config) -> anyhow::Result<SocketAddr> {
    bindable("control.listen", config.control.listen)
}

/// The address that a UDP socket gets here; it is given back at once.
fn bindable(key: &str, listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    let socket = UdpSocket::bind(listen).map_err(|error| {
        anyhow::anyhow!("`{key}`: {listen}: {error}; name an address of this machine and a free port")
    })?;
    Ok(socket.local_addr()?)
}

/// Keeps this node registered: at its start, and again should the others have declared it down.
struct Registrar {
    directory: Arc<RaftNode>,
    media: Arc<MediaPort>,
    registration: Registration,
}

impl Registrar {
    async fn run(self, cancelled: CancellationToken) -> anyhow::Result<()> {
        let mut revisions = self.directory.revisions();
        loop {
            if self.directory.must_register() {
                tracing::warn!("this node was declared down; registering anew");
                tokio::select! {
                    () = cancelled.cancelled() => return Ok(()),
                    registered = self.register() => registered?,
                }
            }
            tokio::select! {
                () = cancelled.cancelled() => return Ok(()),
                changed = revisions.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    /// Goes on until a leader has it.
    async fn register(&self) -> anyhow::Result<()> {
        loop {
            match self.directory.register(self.registration.clone()).await {
                Ok(epoch) => {
                    self.media.set_epoch(epoch);
                    return Ok(());
                }
                Err(ProposeError::Unavailable { .. }) => tokio::time::sleep(REGISTER_RETRY).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What this node does for other members.
struct Member(Arc<RaftNode>);

impl Handler for Member {
    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'_, Result<Bytes, String>> {
        self.0.handle(from, request)
    }

    fn enroll(&self, request: EnrollRequest) -> BoxFuture<'_, Result<EnrollReply, EnrollError>> {
        Box::pin(async move {
            let EnrollRequest { token, expires, control } = request;
            let command = Command::AdmitNode { token, expires, control };
            match self.0.propose(None, command).await {
                Ok(Written { applied: Applied::Admitted { node }, .. }) => Ok(EnrollReply { node }),
                Ok(Written { applied, .. }) => {
                    Err(EnrollError::Unavailable { reason: format!("admission was answered with {applied:?}") })
                }
                Err(ProposeError::Rejected(Rejection::TokenSpent)) => Err(EnrollError::Spent),
                Err(error) => Err(EnrollError::Unavailable { reason: error.to_string() }),
            }
        })
    }
}
