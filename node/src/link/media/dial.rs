//! Making a media connection, from either side, up to the point where both know whether the other wants it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use plenary_cluster::model::NodeId;
use quinn::{ClientConfig, Connection, Endpoint};

use super::pump::ReliableStreams;
use super::wire;
use crate::link::identity::Identity;
use crate::link::refusal::{Refusal, Refusals};

/// From the first packet to the peer's first frame. The far side of the world makes it in two round trips.
const DIAL_TIME: Duration = Duration::from_secs(1);

/// What dialling needs, shared by all peers of the endpoint.
pub(crate) struct Dialler {
    pub(crate) endpoint: Endpoint,
    /// Replaced when the node's certificate is.
    pub(crate) client: ArcSwap<ClientConfig>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) refusals: Arc<Refusals>,
}

/// A connection whose other end has spoken.
pub(crate) struct Established {
    pub(crate) connection: Connection,
    pub(crate) streams: ReliableStreams,
    /// Whether the peer wants the link.
    pub(crate) they_want: bool,
    /// Where we dialled; `None` when the peer dialled.
    pub(crate) dialled: Option<SocketAddr>,
}

impl Dialler {
    /// Dials `node` and waits until it has taken the link; the error says why there is none.
    pub(crate) async fn dial(self: Arc<Self>, node: NodeId, address: SocketAddr) -> Result<Established, String> {
        match tokio::time::timeout(DIAL_TIME, self.attempt(node, address)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!("no answer from {address}")),
        }
    }

    async fn attempt(&self, node: NodeId, address: SocketAddr) -> Result<Established, String> {
        let name = self.identity.server_name(node);
        let client = ClientConfig::clone(&self.client.load());
        let connecting = self.endpoint.connect_with(client, address, &name);
        let connection = connecting.map_err(|error| error.to_string())?.await.map_err(|error| {
            self.note(address, &error);
            error.to_string()
        })?;
        let spoken = async {
            let ours = wire::open_reliable(&connection, true).await?;
            let (theirs, they_want) = wire::accept_reliable(&connection).await?;
            Ok::<_, wire::StreamError>((ReliableStreams { ours: Some(ours), theirs }, they_want))
        };
        match spoken.await {
            Ok((streams, they_want)) => Ok(Established { connection, streams, they_want, dialled: Some(address) }),
            Err(error) => {
                // TLS 1.3 servers judge our certificate after our side of the handshake is done.
                connection.close_reason().iter().for_each(|error| self.note(address, error));
                Err(error.to_string())
            }
        }
    }

    fn note(&self, address: SocketAddr, error: &quinn::ConnectionError) {
        if let Some(refusal) = Refusal::of(error) {
            self.refusals.note("media", address, refusal, &error.to_string());
        }
    }
}

/// The accepting side's half: waits until the dialler has spoken.
pub(crate) async fn greet(connection: Connection) -> Result<Established, String> {
    let spoken = tokio::time::timeout(DIAL_TIME, wire::accept_reliable(&connection));
    let Ok(spoken) = spoken.await else { return Err("peer said nothing".to_owned()) };
    let (theirs, they_want) = spoken.map_err(|error| error.to_string())?;
    Ok(Established { connection, streams: ReliableStreams { ours: None, theirs }, they_want, dialled: None })
}
