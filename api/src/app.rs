//! What every request handler has at hand.

use std::sync::Arc;
use std::time::Duration;

use plenary_cluster::clock::Clock;
use plenary_cluster::directory::Directory;

use plenary_protocol::IceServer;
use tokio_util::sync::CancellationToken;

use crate::auth::{Passwords, Tokens};
use crate::port::Media;
use crate::signal::hub::Hub;

/// How this node answers clients.
#[derive(Clone)]
pub struct Settings {
    /// Signs and verifies tokens; the same on every node of the cluster.
    pub secret: Vec<u8>,
    /// Whether `POST /api/auth/guest` gives anyone a user token. For development.
    pub guest_tokens: bool,
    /// How long such a token lasts.
    pub guest_lifetime: Duration,
    /// STUN and TURN servers for browsers.
    pub ice_servers: Vec<IceServer>,
}

impl Settings {
    /// No guests, no STUN or TURN.
    #[must_use]
    pub const fn new(secret: Vec<u8>) -> Self {
        let guest_lifetime = Duration::from_hours(12);
        Self { secret, guest_tokens: false, guest_lifetime, ice_servers: Vec::new() }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret and TURN credentials stay out of logs.
        f.debug_struct("Settings").field("guest_tokens", &self.guest_tokens).finish_non_exhaustive()
    }
}

/// What this crate stands on.
#[derive(Clone)]
pub struct Services {
    /// What the cluster agrees on.
    pub directory: Arc<dyn Directory>,
    /// The media plane of this node.
    pub media: Arc<dyn Media>,
    /// Renders all metrics in Prometheus' text format.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// The wall clock.
    pub clock: Clock,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// Shared by all handlers of one server.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) services: Services,
    pub(crate) tokens: Tokens,
    pub(crate) passwords: Passwords,
    pub(crate) hub: Arc<Hub>,
    /// Cancelled when the node stops: signalling sessions are told.
    pub(crate) shutdown: CancellationToken,
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    pub(crate) fn new(settings: Settings, services: Services) -> Self {
        let tokens = Tokens::new(&settings.secret);
        let (hub, shutdown) = (Hub::new(Arc::clone(&services.directory)), CancellationToken::new());
        Self(Arc::new(Inner { settings, services, tokens, passwords: Passwords::default(), hub, shutdown }))
    }

    pub(crate) fn media(&self) -> &dyn Media {
        &*self.services.media
    }

    pub(crate) fn directory(&self) -> &dyn Directory {
        &*self.services.directory
    }

    /// The TURN servers among the ICE servers.
    pub(crate) fn turn_servers(&self) -> Vec<&IceServer> {
        let is_turn = |url: &String| url.starts_with("turn:") || url.starts_with("turns:");
        self.settings.ice_servers.iter().filter(|server| server.urls.iter().any(is_turn)).collect()
    }
}
