//! What a participant is like.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plenary_protocol::{Interest, PoolSize, SourceName};

use crate::source::{Speech, Video};

/// What a [`crate::Participant`] joins with. [`Options::new`] is a person with microphone and camera who talks all the
/// time; change what differs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where a node's HTTP is, for example `http://127.0.0.1:4500`.
    pub base_url: String,
    /// The meeting.
    pub meeting: String,
    /// Shown name.
    pub name: String,
    /// User token; none for a guest.
    pub user_token: Option<String>,
    /// The meeting's password.
    pub password: Option<String>,
    /// Seed of everything synthetic, carried by every packet. Differs for each `new`, also between processes.
    pub publisher: u64,
    /// Sources with an m-line.
    pub sources: Vec<SourceName>,
    /// Sources published from the start.
    pub publish: Vec<SourceName>,
    /// What camera and screen make.
    pub video: Video,
    /// When somebody talks.
    pub speech: Speech,
    /// Receive slots of the first offer.
    pub pool: PoolSize,
    /// What to see and hear; none leaves the node's default.
    pub interest: Option<Interest>,
    /// Address for media; none takes the one that routes to the node.
    pub local_ip: Option<IpAddr>,
    /// How long joining may take.
    pub deadline: Duration,
}

impl Options {
    /// A person with microphone and camera.
    #[must_use]
    pub fn new(base_url: impl Into<String>, meeting: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            meeting: meeting.into(),
            name: name.into(),
            user_token: None,
            password: None,
            publisher: next_publisher(),
            sources: vec![SourceName::Microphone, SourceName::Camera],
            publish: vec![SourceName::Microphone, SourceName::Camera],
            video: Video::default(),
            speech: Speech::default(),
            pool: PoolSize { audio: 3, video: 4 },
            interest: None,
            local_ip: None,
            deadline: Duration::from_secs(10),
        }
    }

    /// The same person, publishing nothing.
    #[must_use]
    pub fn watching(mut self) -> Self {
        self.publish.clear();
        self
    }
}

/// Unique on this machine: the process id above a counter.
fn next_publisher() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    u64::from(std::process::id()) << 24 | NEXT.fetch_add(1, Ordering::Relaxed)
}
