//! What the interfaces share, and the server that carries them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use plenary_cluster::directory::Directory;
use plenary_protocol::IceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::auth::Tokens;
use crate::port::Media;
use crate::signal::hub::Hub;
use crate::signal::websocket;

/// How long open requests and sessions get to end when the node stops.
const DRAIN: Duration = Duration::from_secs(3);

/// What an operator can set.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Serve `POST /api/auth/guest`.
    pub guest_users: bool,
    /// STUN and TURN servers that clients are told.
    pub ice_servers: Vec<IceServer>,
}

/// What the interfaces stand on.
pub struct Services {
    /// The cluster's agreement.
    pub directory: Arc<dyn Directory>,
    /// This node's media plane.
    pub media: Arc<dyn Media>,
    /// Issues and verifies tokens.
    pub tokens: Arc<Tokens>,
    /// What an operator can set.
    pub settings: Settings,
}

/// What every handler reaches.
pub(crate) struct Shared {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) media: Arc<dyn Media>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) settings: Settings,
    pub(crate) hub: Arc<Hub>,
    pub(crate) shutdown: CancellationToken,
}

/// REST, signalling and the web client on one port.
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// A server that is not listening yet.
    #[must_use]
    pub fn new(services: Services) -> Self {
        let Services { directory, media, tokens, settings } = services;
        let hub = Hub::new(Arc::clone(&directory));
        let shutdown = CancellationToken::new();
        Self { shared: Arc::new(Shared { directory, media, tokens, settings, hub, shutdown }) }
    }

    /// Serves until cancelled, then tells sessions and lets open requests end.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(self, listener: TcpListener, cancelled: CancellationToken) -> std::io::Result<()> {
        let shutdown = self.shared.shutdown.clone();
        let hub = Arc::clone(&self.shared.hub);
        let router = self.router().into_make_service_with_connect_info::<SocketAddr>();
        let stop = shutdown.clone();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
        let hub = hub.run(shutdown.clone());
        let stop = async {
            cancelled.cancelled().await;
            shutdown.cancel();
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = async { tokio::join!(serving, hub).0 } => served,
            () = stop => Ok(()),
        }
    }

    fn router(self) -> Router {
        Router::new().route("/ws", get(websocket::upgrade)).with_state(self.shared)
    }
}
