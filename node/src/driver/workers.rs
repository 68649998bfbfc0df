//! All workers of a node: started together, found by index, stopped together.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use plenary_cluster::model::NodeId;
use plenary_media::io::Settings;
use plenary_media::{Sfu, generate_certificate};

use super::mailbox::{Mailbox, Message, mailbox};
use super::socket::{BoundSocket, SocketError};
use super::worker::{NodeLinks, Parts, Worker, WorkerGauges, clock};
use crate::config::Media;

/// Workers can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be bound.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The system gives no thread or eventfd.
    #[error("media worker can't be started")]
    System(#[from] std::io::Error),
}

/// The media workers of this node.
#[derive(Debug)]
pub struct Workers {
    mailboxes: Vec<Mailbox>,
    gauges: Vec<Arc<WorkerGauges>>,
    threads: Vec<JoinHandle<()>>,
    addresses: Vec<Vec<SocketAddr>>,
}

/// How many workers a configuration asks for.
#[must_use]
pub fn worker_count(config: &Media) -> u16 {
    if config.workers > 0 {
        return config.workers;
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u16::try_from(cores.min(128)).expect("128 fits")
}

impl Workers {
    /// Binds all sockets, then starts all threads.
    ///
    /// # Errors
    /// [`StartError`] when an address is taken or the system refuses; nothing is left running then.
    pub fn start(node: NodeId, config: &Media, links: &Arc<dyn NodeLinks>) -> Result<Self, StartError> {
        let count = worker_count(config);
        let bound = (0..count).map(|worker| bind(config, worker)).collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<Vec<SocketAddr>> =
            bound.iter().map(|sockets| sockets.iter().map(BoundSocket::advertised).collect()).collect();
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) =
            (0..count).map(|_| mailbox()).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let gauges: Vec<Arc<WorkerGauges>> = (0..count).map(|_| Arc::default()).collect();
        let certificate = generate_certificate();
        let mut threads = Vec::new();
        for ((index, sockets), inbox) in (0..count).zip(bound).zip(inboxes) {
            let settings = Settings {
                node,
                worker: index,
                workers: count,
                addresses: addresses[usize::from(index)].clone(),
                loudest: config.loudest,
                linger: Duration::from_millis(config.linger_ms),
                seed: rand::random(),
            };
            let parts = Parts {
                sfu: Sfu::new(clock(), settings, certificate.clone()),
                sockets: sockets.into(),
                inbox,
                siblings: mailboxes.clone(),
                index,
                links: Arc::clone(links),
                gauges: Arc::clone(&gauges[usize::from(index)]),
            };
            let thread = std::thread::Builder::new().name(format!("media-{index}"));
            threads.push(thread.spawn(move || Worker::new(parts).run())?);
        }
        Ok(Self { mailboxes, gauges, threads, addresses })
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u16 {
        u16::try_from(self.mailboxes.len()).expect("a node has at most 128 workers")
    }

    /// The way into a worker.
    #[must_use]
    pub fn mailbox(&self, worker: u16) -> Option<&Mailbox> {
        self.mailboxes.get(usize::from(worker))
    }

    /// The ways into all of them, by index.
    #[must_use]
    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.mailboxes
    }

    /// How they do, by index.
    #[must_use]
    pub fn gauges(&self) -> &[Arc<WorkerGauges>] {
        &self.gauges
    }

    /// What each offers to clients, by index.
    #[must_use]
    pub fn addresses(&self) -> &[Vec<SocketAddr>] {
        &self.addresses
    }

    /// Ends all threads and waits for them.
    pub fn stop(&mut self) {
        for mailbox in &self.mailboxes {
            // A worker whose mailbox is full or gone ends with the process.
            let _ = mailbox.control(Message::Stop);
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("media worker panicked");
            }
        }
    }
}

fn bind(config: &Media, worker: u16) -> Result<Vec<BoundSocket>, SocketError> {
    let advertised = |index: usize| config.advertise.get(index).copied();
    let sockets = config.listen.iter().enumerate().map(|(index, listen)| {
        let port = if listen.port() == 0 { 0 } else { listen.port().saturating_add(worker) };
        BoundSocket::bind(SocketAddr::new(listen.ip(), port), advertised(index).or_else(|| reachable(listen.ip())))
    });
    sockets.collect()
}

/// For a wildcard address: the address by which this machine reaches others, or loopback when it reaches none.
fn reachable(listen: IpAddr) -> Option<IpAddr> {
    if !listen.is_unspecified() {
        return None;
    }
    Some(primary_address().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)))
}

/// The source address that the system would use towards the outside. Connecting a UDP socket sends nothing; the
/// address is one of RFC 5737's, which nobody has.
#[must_use]
pub fn primary_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_unspecified())
}
