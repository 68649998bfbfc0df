//! The tasks that move bytes between a connection and the rest of the node. Each runs until the connection is over.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use plenary_cluster::model::NodeId;
use quinn::{RecvStream, SendStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::outlet::{Outlet, Queues};
use super::stats::Counters;
use super::wire::{self, Frame, Incoming, StreamError};
use super::{DownReason, MediaSink};

/// Streams that a peer may have open: the reliable one and datagrams too large for a packet.
pub(crate) const MAX_STREAMS: u16 = 64;

/// Where what arrives goes.
#[derive(Clone)]
pub(crate) struct Inlet {
    pub(crate) peer: NodeId,
    pub(crate) sink: Arc<dyn MediaSink>,
    pub(crate) counters: Arc<Counters>,
}

impl Inlet {
    fn datagram(&self, payload: bytes::Bytes) {
        self.counters.datagrams_received.add(payload.len());
        self.sink.datagram(self.peer, payload);
    }

    /// Waits while the sink is full: the peer is slowed down by the stream's flow control, and nothing is lost.
    async fn reliable(&self, payload: bytes::Bytes) {
        self.counters.reliable_received.add(payload.len());
        while !self.sink.reliable(self.peer, &payload) {
            tokio::time::sleep(FULL_RETRY).await;
        }
    }
}

/// How soon a full sink is offered a frame again.
const FULL_RETRY: std::time::Duration = std::time::Duration::from_millis(5);

/// The reliable streams of a link: ours if we have opened it already, and the peer's after its first frame.
pub(crate) struct ReliableStreams {
    pub(crate) ours: Option<SendStream>,
    pub(crate) theirs: RecvStream,
}

/// Starts all of a link's pumps. The set yields when one of them ends, and then the link is over.
pub(crate) fn start(
    outlet: &Arc<Outlet>,
    queues: Queues,
    streams: ReliableStreams,
    wanted: bool,
    inlet: &Inlet,
    they_want: watch::Sender<bool>,
) -> JoinSet<()> {
    let mut pumps = JoinSet::new();
    let Queues { reliable, oversize } = queues;
    pumps.spawn(ending(Arc::clone(outlet), write_reliable(Arc::clone(outlet), streams.ours, wanted, reliable)));
    pumps.spawn(ending(Arc::clone(outlet), write_oversize(Arc::clone(outlet), oversize)));
    pumps.spawn(ending(Arc::clone(outlet), read_reliable(streams.theirs, inlet.clone(), they_want)));
    pumps.spawn(ending(Arc::clone(outlet), read_datagrams(Arc::clone(outlet), inlet.clone())));
    pumps.spawn(ending(Arc::clone(outlet), read_oversize(Arc::clone(outlet), inlet.clone())));
    pumps
}

/// Runs a pump; a peer that breaks the protocol loses the link.
async fn ending(outlet: Arc<Outlet>, pump: impl Future<Output = Result<(), StreamError>>) {
    match pump.await {
        Ok(()) => {}
        Err(StreamError::Ended(reason)) => tracing::debug!(reason, "media link stream ended"),
        Err(StreamError::Malformed(what)) => {
            tracing::warn!(remote = %outlet.connection.remote_address(), what, "media link peer breaks the protocol");
            outlet.fail(DownReason::Malformed);
        }
    }
}

async fn write_reliable(
    outlet: Arc<Outlet>,
    ours: Option<SendStream>,
    wanted: bool,
    mut queue: tokio::sync::mpsc::Receiver<Frame>,
) -> Result<(), StreamError> {
    let mut send = match ours {
        Some(send) => send,
        None => wire::open_reliable(&outlet.connection, wanted).await?,
    };
    while let Some(frame) = queue.recv().await {
        wire::write_frame(&mut send, frame).await?;
    }
    Ok(())
}

async fn write_oversize(
    outlet: Arc<Outlet>,
    mut queue: tokio::sync::mpsc::Receiver<bytes::Bytes>,
) -> Result<(), StreamError> {
    while let Some(payload) = queue.recv().await {
        wire::write_datagram(&outlet.connection, payload).await?;
    }
    Ok(())
}

async fn read_reliable(mut recv: RecvStream, inlet: Inlet, they_want: watch::Sender<bool>) -> Result<(), StreamError> {
    loop {
        match wire::read_frame(&mut recv).await? {
            Frame::Data(payload) => inlet.reliable(payload).await,
            Frame::Wanted(wanted) => {
                they_want.send_replace(wanted);
            }
        }
    }
}

async fn read_datagrams(outlet: Arc<Outlet>, inlet: Inlet) -> Result<(), StreamError> {
    loop {
        let datagram = outlet.connection.read_datagram().await;
        inlet.datagram(datagram.map_err(|error| StreamError::Ended(error.to_string()))?);
    }
}

async fn read_oversize(outlet: Arc<Outlet>, inlet: Inlet) -> Result<(), StreamError> {
    // QUIC's limit on streams bounds this set; it lives in this task, so nothing is delivered once that has ended.
    let mut reading = FuturesUnordered::new();
    loop {
        tokio::select! {
            stream = outlet.connection.accept_uni() => {
                let stream = stream.map_err(|error| StreamError::Ended(error.to_string()))?;
                reading.push(read_one(stream));
            }
            Some(datagram) = reading.next() => match datagram {
                Ok(datagram) => inlet.datagram(datagram),
                Err(StreamError::Ended(reason)) => tracing::debug!(reason, "datagram stream ended early"),
                Err(error @ StreamError::Malformed(_)) => return Err(error),
            },
        }
    }
}

async fn read_one(stream: RecvStream) -> Result<bytes::Bytes, StreamError> {
    match wire::read_kind(stream).await? {
        Incoming::Datagram(recv) => wire::read_datagram(recv).await,
        Incoming::Reliable(_) => Err(StreamError::Malformed("second reliable stream")),
    }
}
