//! The sending end of a link that is up: never waits, drops by rule, counts what it drops.

use std::sync::OnceLock;

use bytes::Bytes;
use quinn::{Connection, SendDatagramError, VarInt};
use tokio::sync::mpsc;

use super::stats::Counters;
use super::wire::{Frame, MAX_PAYLOAD};
use super::{DownReason, Dropped};

/// Reliable frames that may wait. Overflow closes the link: the peer is not reading, and a frame must not be skipped.
pub(crate) const RELIABLE_QUEUE: usize = 1024;
/// Datagrams too large for a packet that may wait for a stream.
pub(crate) const OVERSIZE_QUEUE: usize = 64;

/// Senders into a link; shared with whoever sends.
#[derive(Debug)]
pub(crate) struct Outlet {
    pub(crate) connection: Connection,
    pub(crate) dialled_by_us: bool,
    reliable: mpsc::Sender<Frame>,
    oversize: mpsc::Sender<Bytes>,
    /// Why this side ended the link, if it did.
    fault: OnceLock<DownReason>,
}

/// The receiving ends of an [`Outlet`]'s queues.
pub(crate) struct Queues {
    pub(crate) reliable: mpsc::Receiver<Frame>,
    pub(crate) oversize: mpsc::Receiver<Bytes>,
}

impl Outlet {
    pub(crate) fn new(connection: Connection, dialled_by_us: bool) -> (Self, Queues) {
        let (reliable, reliable_queue) = mpsc::channel(RELIABLE_QUEUE);
        let (oversize, oversize_queue) = mpsc::channel(OVERSIZE_QUEUE);
        let queues = Queues { reliable: reliable_queue, oversize: oversize_queue };
        (Self { connection, dialled_by_us, reliable, oversize, fault: OnceLock::new() }, queues)
    }

    pub(crate) fn send_datagram(&self, payload: Bytes, counters: &Counters) -> Result<(), Dropped> {
        let length = payload.len();
        let displaces = self.connection.datagram_send_buffer_space() < length;
        match self.connection.send_datagram(payload.clone()) {
            Ok(()) => {
                if displaces {
                    counters.displacing.add(length);
                }
            }
            Err(SendDatagramError::TooLarge | SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled) => {
                self.send_oversize(payload)?;
                counters.datagrams_on_streams.add(length);
            }
            Err(SendDatagramError::ConnectionLost(_)) => return Err(Dropped::NoLink),
        }
        counters.datagrams_sent.add(length);
        Ok(())
    }

    fn send_oversize(&self, payload: Bytes) -> Result<(), Dropped> {
        if payload.len() > MAX_PAYLOAD {
            return Err(Dropped::TooLarge);
        }
        self.oversize.try_send(payload).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Dropped::Full,
            mpsc::error::TrySendError::Closed(_) => Dropped::NoLink,
        })
    }

    pub(crate) fn send_reliable(&self, payload: Bytes, counters: &Counters) -> Result<(), Dropped> {
        let length = payload.len();
        if length > MAX_PAYLOAD {
            return Err(Dropped::TooLarge);
        }
        self.send_frame(Frame::Data(payload))?;
        counters.reliable_sent.add(length);
        Ok(())
    }

    pub(crate) fn send_frame(&self, frame: Frame) -> Result<(), Dropped> {
        self.reliable.try_send(frame).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                self.fail(DownReason::QueueFull);
                Dropped::Full
            }
            mpsc::error::TrySendError::Closed(_) => Dropped::NoLink,
        })
    }

    /// Ends the link from this side.
    pub(crate) fn fail(&self, reason: DownReason) {
        // The first reason is the true one.
        let _ = self.fault.set(reason);
        self.connection.close(VarInt::from_u32(reason.code()), reason.label().as_bytes());
    }

    /// Why the link is over, once it is.
    pub(crate) fn why_down(&self) -> DownReason {
        match (self.fault.get(), self.connection.close_reason()) {
            (Some(reason), _) => *reason,
            (None, Some(error)) => DownReason::of(&error),
            (None, None) => DownReason::Closed,
        }
    }
}
