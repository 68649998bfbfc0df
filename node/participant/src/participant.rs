//! A participant as tests hold it: a handle on a task that drives a [`crate::Peer`].

use std::io;
use std::time::Duration;

use plenary_protocol::{Interest, ProtocolError, Request, SourceName};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock;
use crate::driver::{Driver, Order, Progress, media_socket};
use crate::options::Options;
use crate::peer::{Command, Peer, PeerError, PeerOptions};
use crate::report::{Ended, Report};
use crate::rest::{RestError, Ticket};
use crate::signalling::{Signalling, SignallingError};
use crate::source::Speech;

/// Orders under way; a caller waits when there are more.
const ORDERS: usize = 64;

/// How long leaving and reporting may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Someone in a meeting. Dropping it drops everything without a word, like [`Participant::abort`].
#[derive(Debug)]
pub struct Participant {
    publisher: u64,
    id: String,
    orders: mpsc::Sender<Order>,
    progress: watch::Receiver<Progress>,
    task: JoinSet<()>,
}

/// Why there is no participant.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No room token.
    #[error("joining by REST failed")]
    Rest(#[from] RestError),
    /// No signalling connection.
    #[error("connecting for signalling failed")]
    Signalling(#[from] SignallingError),
    /// No socket for media.
    #[error("opening a socket for media failed")]
    Socket(#[from] io::Error),
    /// The socket's address is of no use.
    #[error(transparent)]
    Address(#[from] PeerError),
    /// The node refused the join or the first offer.
    #[error("refused with {:?}", .0.code)]
    Rejected(#[source] ProtocolError),
    /// It ended before it was joined.
    #[error("ended while joining: {0:?}")]
    Ended(Ended),
    /// Not joined in time.
    #[error("not joined within {0:?}")]
    TimedOut(Duration),
}

/// A condition did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("not within {deadline:?}; ended: {:?}", .report.ended)]
pub struct WaitError {
    /// How long it was waited for.
    pub deadline: Duration,
    /// How things stand instead.
    pub report: Box<Report>,
}

impl Participant {
    /// Joins a meeting: REST, signalling, offer. Returns when the node has answered the offer; media may take a few
    /// round trips more ([`Report::connected`]).
    ///
    /// # Errors
    ///
    /// [`JoinError`] names the step that failed.
    pub async fn join(options: Options) -> Result<Self, JoinError> {
        let deadline = options.deadline;
        let joining = async {
            let ticket = Ticket::request(&options).await?;
            Self::join_with(options, ticket).await
        };
        timeout(deadline, joining).await.map_err(|_| JoinError::TimedOut(deadline))?
    }

    /// Joins with a ticket that was got before, or made up.
    ///
    /// # Errors
    ///
    /// [`JoinError`] names the step that failed.
    pub async fn join_with(options: Options, ticket: Ticket) -> Result<Self, JoinError> {
        let authority = options.base_url.trim_start_matches("http://").trim_end_matches('/');
        let signalling = Signalling::connect(&options.base_url).await?;
        let socket = media_socket(authority, options.local_ip).await?;
        let publisher = options.publisher;
        let peer_options = PeerOptions {
            publisher,
            epoch: clock::epoch(),
            local: socket.local_addr()?,
            meeting: options.meeting,
            token: ticket.token,
            sources: options.sources,
            publish: options.publish,
            video: options.video,
            speech: options.speech,
            pool: options.pool,
            interest: options.interest,
        };
        let peer = Peer::new(clock::now(), peer_options)?;
        let (orders, orders_of_driver) = mpsc::channel(ORDERS);
        let (progress_of_driver, progress) = watch::channel(Progress::default());
        let driver = Driver::new(peer, signalling, socket, orders_of_driver, progress_of_driver);
        let mut task = JoinSet::new();
        task.spawn(driver.run());
        let mut participant = Self { publisher, id: ticket.participant, orders, progress, task };
        participant.joined(options.deadline).await?;
        Ok(participant)
    }

    /// The seed that its packets carry.
    #[must_use]
    pub const fn publisher(&self) -> u64 {
        self.publisher
    }

    /// Its participant id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it did and received so far; the last one once it has ended.
    pub async fn report(&self) -> Report {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.orders.send(Order::Report(reply)).await.ok()?;
            answer.await.ok()
        };
        match timeout(PATIENCE, asked).await.ok().flatten() {
            Some(report) => report,
            None => self.last_report().unwrap_or_else(|| self.lost_report()),
        }
    }

    /// Waits until `condition` holds and returns the report in which it does.
    ///
    /// # Errors
    ///
    /// [`WaitError`] with how things stand when it does not hold in time.
    pub async fn wait_for(&self, condition: impl Fn(&Report) -> bool, deadline: Duration) -> Result<Report, WaitError> {
        let mut progress = self.progress.clone();
        let waiting = async {
            loop {
                let report = self.report().await;
                if condition(&report) {
                    return Some(report);
                }
                if report.ended.is_some() {
                    return None;
                }
                // An error means that the task is gone, and then the next report has ended.
                let _ = progress.changed().await;
            }
        };
        match timeout(deadline, waiting).await.ok().flatten() {
            Some(report) => Ok(report),
            None => Err(WaitError { deadline, report: Box::new(self.report().await) }),
        }
    }

    /// Mutes or unmutes a source.
    pub async fn set_muted(&self, source: SourceName, muted: bool) {
        self.command(Command::SetMuted { source, muted }).await;
    }

    /// Publishes these sources and no others.
    pub async fn publish(&self, sources: impl Into<Vec<SourceName>>) {
        self.command(Command::Publish(sources.into())).await;
    }

    /// Says what to see and hear.
    pub async fn set_interest(&self, interest: Interest) {
        self.command(Command::SetInterest(interest)).await;
    }

    /// Changes when it talks.
    pub async fn set_speech(&self, speech: Speech) {
        self.command(Command::SetSpeech(speech)).await;
    }

    /// Sends any request; an error reply appears in [`Report::errors`].
    pub async fn request(&self, request: Request) {
        self.command(Command::Request(request)).await;
    }

    /// Measures gaps, freezes and delays anew from now on.
    pub async fn measure(&self) {
        self.command(Command::Measure).await;
    }

    /// Leaves: tells the node, closes the media connection. Returns the last report.
    pub async fn leave(mut self) -> Report {
        self.command(Command::Leave).await;
        if timeout(PATIENCE, self.ended()).await.is_err() {
            tracing::warn!("the node did not answer a leave");
        }
        let report = self.report().await;
        self.task.shutdown().await;
        report
    }

    /// Drops everything without a word. Returns the last report.
    pub async fn abort(mut self) -> Report {
        let mut report = self.report().await;
        self.task.shutdown().await;
        report.ended.get_or_insert(Ended::Aborted);
        report
    }

    /// An ended participant takes no more commands: its report says why it ended.
    async fn command(&self, command: Command) {
        if self.orders.send(Order::Command(command)).await.is_err() {
            tracing::debug!("a command came after the end");
        }
    }

    async fn joined(&mut self, deadline: Duration) -> Result<(), JoinError> {
        let joined = self.progress.wait_for(|progress| progress.joined || progress.ended.is_some());
        match timeout(deadline, joined).await {
            Err(_) => return Err(JoinError::TimedOut(deadline)),
            Ok(Err(_)) => return Err(JoinError::Ended(Ended::Aborted)),
            Ok(Ok(_)) => {}
        }
        match self.last_report().and_then(|report| report.ended) {
            None => Ok(()),
            Some(Ended::Rejected(error)) => Err(JoinError::Rejected(error)),
            Some(
                ended @ (Ended::Left
                | Ended::Aborted
                | Ended::Closed(_)
                | Ended::SignallingLost { .. }
                | Ended::Misunderstood { .. }),
            ) => Err(JoinError::Ended(ended)),
        }
    }

    async fn ended(&mut self) {
        // An error means that the task is gone: ended as well.
        let _ = self.progress.wait_for(|progress| progress.ended.is_some()).await;
    }

    fn last_report(&self) -> Option<Report> {
        self.progress.borrow().ended.as_deref().cloned()
    }

    /// Stands in when the task is gone without a last word.
    fn lost_report(&self) -> Report {
        Report { publisher: self.publisher, ended: Some(Ended::Aborted), ..Report::default() }
    }
}

#[cfg(test)]
mod tests;
