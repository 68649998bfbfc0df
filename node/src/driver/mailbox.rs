//! The way into a worker from other threads: a bounded queue and an eventfd that ends the worker's wait.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use bytes::Bytes;
use plenary_api::port::MediaEvent;
use plenary_cluster::model::NodeId;
use plenary_media::io::{Command, Peer};
use plenary_media::relay::Frame;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::mpsc;

/// Commands and link changes a worker holds at most. A worker that is this far behind is lost anyway.
const CONTROL_CAPACITY: usize = 4096;

/// Relay media a worker holds at most: about 50 ms of 100 Mbit/s in packets of 1100 bytes.
const MEDIA_CAPACITY: usize = 1024;

/// What a worker is told.
#[derive(Debug)]
pub enum Message {
    /// Open a session; what it says goes to `events`.
    Open {
        /// [`Command::OpenSession`].
        command: Command,
        /// Bounded; a session whose owner does not keep up is closed.
        events: mpsc::Sender<MediaEvent>,
    },
    /// Anything else that was decided.
    Command(Command),
    /// A neighbour can be reached.
    PeerUp(Peer),
    /// A neighbour can't be reached.
    PeerDown(Peer),
    /// A frame of another node, still encoded.
    Encoded {
        /// Who sent it.
        from: NodeId,
        /// See `plenary_media::relay::wire`.
        bytes: Bytes,
    },
    /// A frame of another worker of this node.
    Frame {
        /// Who sent it.
        from: Peer,
        /// The frame.
        frame: Frame,
    },
    /// Finish and end the thread.
    Stop,
}

/// The worker's queue is full or the worker is gone; the message was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("worker does not keep up")]
pub struct MailboxFull;

/// The sending side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailbox {
    control: SyncSender<Message>,
    media: SyncSender<Message>,
    wake: Arc<Wake>,
}

/// The worker's side.
#[derive(Debug)]
pub(super) struct Inbox {
    control: Receiver<Message>,
    media: Receiver<Message>,
    wake: Arc<Wake>,
}

#[derive(Debug)]
struct Wake {
    fd: OwnedFd,
    pending: AtomicBool,
}

/// Makes the two sides.
pub(super) fn mailbox() -> std::io::Result<(Mailbox, Inbox)> {
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let wake = Arc::new(Wake { fd, pending: AtomicBool::new(false) });
    let (control, control_inbox) = sync_channel(CONTROL_CAPACITY);
    let (media, media_inbox) = sync_channel(MEDIA_CAPACITY);
    Ok((
        Mailbox { control, media, wake: Arc::clone(&wake) },
        Inbox { control: control_inbox, media: media_inbox, wake },
    ))
}

impl Mailbox {
    /// Leaves a message that must not be lost.
    ///
    /// # Errors
    /// [`MailboxFull`]; the caller must undo what it began.
    pub fn control(&self, message: Message) -> Result<(), MailboxFull> {
        self.leave(&self.control, message)
    }

    /// Leaves media, which may be lost.
    ///
    /// # Errors
    /// [`MailboxFull`]; to be counted.
    pub fn media(&self, message: Message) -> Result<(), MailboxFull> {
        self.leave(&self.media, message)
    }

    fn leave(&self, queue: &SyncSender<Message>, message: Message) -> Result<(), MailboxFull> {
        queue.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => MailboxFull,
        })?;
        self.wake.signal();
        Ok(())
    }
}

impl Wake {
    fn signal(&self) {
        // One write wakes the worker for all messages left until it looks.
        if !self.pending.swap(true, Ordering::AcqRel) {
            // The counter can't overflow: it is 0 or 1 while `pending` guards it.
            let _ = rustix::io::write(&self.fd, &1_u64.to_ne_bytes());
        }
    }
}

impl Inbox {
    /// Becomes readable when a message waits.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wake.fd.as_fd()
    }

    /// Takes note that the worker is about to look; messages left from now on wake it again.
    pub(super) fn acknowledge(&self) {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.wake.fd, &mut counter);
        // The swap and the fence keep the queues from being looked at before the flag is down: a message left in between
        // would wake nobody.
        self.wake.pending.swap(false, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// The next message, decisions before media.
    pub(super) fn take(&self) -> Option<Message> {
        self.control.try_recv().or_else(|_| self.media.try_recv()).ok()
    }

    /// Whether a message waits for which no wake will come, because the worker stopped looking early.
    pub(super) fn rearm(&self) {
        self.wake.signal();
    }
}
