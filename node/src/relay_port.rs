//! Between the workers and the media link: outgoing frames to the link, incoming ones to the worker they are for.

use std::sync::Arc;

use bytes::Bytes;
use metrics::counter;
use parking_lot::RwLock;
use plenary_cluster::model::NodeId;
use plenary_media::io::Peer;
use plenary_media::relay::wire;

use crate::driver::{Mailbox, Message, NodeLinks};
use crate::link::{DownReason, MediaLink, MediaSink};

/// Takes what the media link receives to the workers. Made before the workers are; until then there are no links either.
#[derive(Debug, Default)]
pub struct WorkerSink {
    mailboxes: RwLock<Vec<Mailbox>>,
}

impl WorkerSink {
    /// Called once the workers run.
    pub fn connect(&self, mailboxes: &[Mailbox]) {
        *self.mailboxes.write() = mailboxes.to_vec();
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        for mailbox in self.mailboxes.read().iter() {
            if mailbox.control(message()).is_err() {
                counter!("plenary_relay_dropped_total", "kind" => "link_change").increment(1);
            }
        }
    }

    /// The worker that an encoded frame is for; `None` for a frame that no version of ours sends.
    fn route(&self, bytes: &[u8]) -> Option<Mailbox> {
        let mailboxes = self.mailboxes.read();
        let count = u16::try_from(mailboxes.len()).expect("a node has at most 128 workers");
        let worker = wire::route(bytes, count)?;
        mailboxes.get(usize::from(worker)).cloned()
    }
}

impl MediaSink for WorkerSink {
    fn up(&self, node: NodeId) {
        self.tell_all(|| Message::PeerUp(Peer::Node(node)));
    }

    fn down(&self, node: NodeId, reason: DownReason) {
        tracing::info!(%node, reason = reason.label(), "media link down");
        self.tell_all(|| Message::PeerDown(Peer::Node(node)));
    }

    fn datagram(&self, from: NodeId, bytes: Bytes) {
        let Some(mailbox) = self.route(&bytes) else { return };
        if mailbox.media(Message::Encoded { from, bytes }).is_err() {
            counter!("plenary_relay_dropped_total", "kind" => "media").increment(1);
        }
    }

    fn reliable(&self, from: NodeId, bytes: &Bytes) -> bool {
        let Some(mailbox) = self.route(bytes) else { return true };
        mailbox.control(Message::Encoded { from, bytes: bytes.clone() }).is_ok()
    }
}

/// The workers' way to other nodes.
pub struct LinkCarrier(pub Arc<MediaLink>);

impl NodeLinks for LinkCarrier {
    fn send_datagram(&self, to: NodeId, bytes: Bytes) {
        // Dropped frames are counted by the link.
        let _ = self.0.send_datagram(to, bytes);
    }

    fn send_reliable(&self, to: NodeId, bytes: Bytes) {
        let _ = self.0.send_reliable(to, bytes);
    }
}
