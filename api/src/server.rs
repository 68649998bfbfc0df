//! One node's HTTP server: all routes on one port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Services, Settings};
use crate::signal::websocket;
use crate::{assets, rest};

/// How long open requests and sessions get to end when the node stops.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves clients until told to stop.
#[derive(Debug)]
pub struct Server {
    app: App,
}

impl Server {
    /// A server that does not listen yet.
    #[must_use]
    pub fn new(settings: Settings, services: Services) -> Self {
        Self { app: App::new(settings, services) }
    }

    /// All routes.
    pub fn router(&self) -> Router {
        let router = rest::routes(&self.app).merge(assets::routes()).route("/ws", get(websocket::upgrade));
        rest::finish(router, self.app.clone())
    }

    /// Serves until cancelled, then tells the sessions and lets open requests end.
    ///
    /// # Errors
    /// When the listener fails for good.
    pub async fn run(self, listener: TcpListener, cancelled: CancellationToken) -> io::Result<()> {
        let (shutdown, hub) = (self.app.shutdown.clone(), Arc::clone(&self.app.hub));
        let router = self.router().into_make_service_with_connect_info::<SocketAddr>();
        let told = shutdown.clone();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async move { told.cancelled().await });
        let stopped = async {
            cancelled.cancelled().await;
            shutdown.cancel();
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = async { tokio::join!(serving.into_future(), hub.run(shutdown.clone())).0 } => served,
            () = stopped => Ok(()),
        }
    }
}
