//! The loop around one [`Session`]: a WebSocket at `/ws`. It reads, hands in, carries out, and decides nothing.
//!
//! Every queue is bounded: a client that does not read for five seconds is cut off.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use plenary_cluster::directory::ProposeError;
use plenary_cluster::model::{MeetingId, ParticipantId, SessionId};
use plenary_cluster::state::Command;
use plenary_protocol::{ProtocolError, ServerFrame};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::admission::{Opened, admit};
use super::hub::{News, Subscription};
use super::session::{Admission, Output, Session};
use super::wire::propose_error;
use crate::app::App;
use crate::port::{MediaCommand, MediaEvent};

/// The first request must be `join` within this.
const JOIN_WITHIN: Duration = Duration::from_secs(10);

/// How often the client is pinged.
const PING_EVERY: Duration = Duration::from_secs(15);

/// A client that says nothing for so long, not even a pong, is gone.
const SILENCE: Duration = Duration::from_secs(40);

/// A client that takes nothing for so long is too slow.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// Frames above the protocol's limit are read up to this, so that the client can be told; larger ones cut the connection.
const READ_LIMIT: usize = 16 * 1024 * 1024;

/// Bytes that may wait in the connection's write buffer.
const WRITE_LIMIT: usize = 2 * 1024 * 1024;

/// News taken at once: one roster push tells of all of them.
const NEWS_AT_ONCE: usize = 64;

/// How often the closing of a session is proposed before it is left to the directory's own detection.
const CLOSE_ATTEMPTS: u32 = 20;

/// `GET /ws`.
pub(crate) async fn upgrade(State(app): State<App>, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade.max_message_size(READ_LIMIT).max_frame_size(READ_LIMIT).max_write_buffer_size(WRITE_LIMIT);
    upgrade.on_upgrade(move |socket| async move { Connection::new(app, socket).run().await })
}

/// What a directory operation in hand comes to.
enum Decided {
    Admission(Result<Box<Opened>, ProtocolError>),
    Published(Result<(), ProtocolError>),
}

struct Connection {
    app: App,
    session: Session,
    sink: SplitSink<WebSocket, Message>,
    stream: SplitStream<WebSocket>,
    decisions: FuturesOrdered<BoxFuture<'static, Decided>>,
    events: Option<mpsc::Receiver<MediaEvent>>,
    subscription: Option<Subscription>,
    /// What is to be closed at the end.
    opened: Option<(MeetingId, ParticipantId, SessionId)>,
    heard: Instant,
}

/// What woke the loop.
enum Wake {
    Frame(Option<Result<Message, axum::Error>>),
    Decided(Decided),
    Media(Option<MediaEvent>),
    News(Vec<News>),
    Ping,
    JoinDeadline,
    Shutdown,
}

impl Connection {
    fn new(app: App, socket: WebSocket) -> Self {
        let (sink, stream) = socket.split();
        Self {
            app,
            session: Session::default(),
            sink,
            stream,
            decisions: FuturesOrdered::new(),
            events: None,
            subscription: None,
            opened: None,
            heard: now(),
        }
    }

    async fn run(mut self) {
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let join_by = now() + JOIN_WITHIN;
        let shutdown = self.app.shutdown.clone();
        let mut stopping = false;
        let left = loop {
            let wake = tokio::select! {
                () = shutdown.cancelled(), if !stopping => Wake::Shutdown,
                Some(decided) = self.decisions.next() => Wake::Decided(decided),
                event = receive(&mut self.events), if self.events.is_some() => Wake::Media(event),
                news = receive_news(&mut self.subscription), if self.subscription.is_some() => Wake::News(news),
                frame = self.stream.next(), if self.session.wants_input() => Wake::Frame(frame),
                _ = ping.tick() => Wake::Ping,
                () = join_overdue(&self.session, join_by) => Wake::JoinDeadline,
            };
            stopping |= matches!(wake, Wake::Shutdown);
            if let ControlFlow::Break(left) = self.handle(wake).await {
                break left;
            }
        };
        self.finish(left).await;
    }

    async fn handle(&mut self, wake: Wake) -> ControlFlow<bool> {
        match wake {
            Wake::Frame(Some(Ok(message))) => self.frame(message)?,
            Wake::Frame(Some(Err(_)) | None) => return ControlFlow::Break(true),
            Wake::Decided(decided) => self.decided(decided),
            Wake::Media(Some(event)) => self.session.handle_media(event),
            Wake::Media(None) => {
                self.events = None;
                self.session.handle_media_gone();
            }
            Wake::News(news) => self.news(&news),
            Wake::Ping => self.ping().await?,
            Wake::JoinDeadline => self.session.handle_join_deadline(),
            Wake::Shutdown => self.session.handle_shutdown(),
        }
        self.carry_out().await
    }

    fn frame(&mut self, message: Message) -> ControlFlow<bool> {
        self.heard = now();
        match message {
            Message::Text(text) => self.session.handle_text(&text),
            Message::Binary(_) => self.session.handle_binary(),
            Message::Ping(_) | Message::Pong(_) => {}
            // Closing the page is leaving: who comes back joins anew.
            Message::Close(_) => return ControlFlow::Break(true),
        }
        ControlFlow::Continue(())
    }

    fn decided(&mut self, decided: Decided) {
        match decided {
            Decided::Admission(Ok(opened)) => {
                let Opened { admission, events, subscription } = *opened;
                self.opened = Some((admission.meeting, admission.participant, admission.session));
                self.events = Some(events);
                self.subscription = Some(subscription);
                self.session.handle_admission(Ok(admission));
            }
            Decided::Admission(Err(fault)) => self.session.handle_admission(Err(fault)),
            Decided::Published(outcome) => self.session.handle_published(outcome),
        }
    }

    fn news(&mut self, news: &[News]) {
        let missed = news.iter().any(|news| matches!(news, News::Reset));
        if missed {
            self.session.handle_reset(&self.app.directory().read_local());
            return;
        }
        self.session.handle_events(news.iter().flat_map(|news| match news {
            News::Events(events) => events.iter(),
            News::Reset => [].iter(),
        }));
    }

    async fn ping(&mut self) -> ControlFlow<bool> {
        if now().duration_since(self.heard) > SILENCE {
            return ControlFlow::Break(true);
        }
        self.send(Message::Ping(axum::body::Bytes::new())).await
    }

    async fn carry_out(&mut self) -> ControlFlow<bool> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(frame) => self.send(text(&frame)).await?,
                Output::Join { token, meeting } => {
                    let app = self.app.clone();
                    self.decisions.push_back(Box::pin(async move {
                        Decided::Admission(admit(&app, &token, &meeting).await.map(Box::new))
                    }));
                }
                Output::Publish(tracks) => {
                    let Some((meeting, participant, session)) = self.opened else { continue };
                    let command = Command::PublishTracks { meeting, participant, session, tracks };
                    let directory = Arc::clone(&self.app.services.directory);
                    self.decisions.push_back(Box::pin(async move {
                        let outcome = directory.propose(Some(meeting), command).await;
                        Decided::Published(outcome.map(drop).map_err(|fault| propose_error(&fault)))
                    }));
                }
                Output::Media(command) => self.media(command),
                Output::Close { left } => {
                    // The client may have gone first.
                    let _ = timeout(SEND_WITHIN, self.sink.close()).await;
                    return ControlFlow::Break(left);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn media(&mut self, command: MediaCommand) {
        let Some((_, _, session)) = self.opened else { return };
        if self.app.media().command(session, command).is_err() {
            self.session.handle_media_gone();
        }
    }

    async fn send(&mut self, message: Message) -> ControlFlow<bool> {
        match timeout(SEND_WITHIN, self.sink.send(message)).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => ControlFlow::Break(true),
            Err(_) => {
                metrics::counter!("plenary_signal_too_slow_total").increment(1);
                ControlFlow::Break(true)
            }
        }
    }

    /// Closes the media side at once, then sees to it that the directory knows.
    async fn finish(mut self, left: bool) {
        drop(self.subscription.take());
        // A join in hand may still open a session: wait for it, or the session would be nobody's.
        while let Some(decided) = self.decisions.next().await {
            if let Decided::Admission(Ok(opened)) = decided {
                let Admission { meeting, participant, session, .. } = opened.admission;
                self.opened = Some((meeting, participant, session));
            }
        }
        let Some((meeting, participant, session)) = self.opened else { return };
        // Gone already when the media side closed it.
        let _ = self.app.media().command(session, MediaCommand::Close);
        let left = left || !self.app.shutdown.is_cancelled();
        let command = Command::CloseSession { meeting, participant, session, left };
        for _ in 0..CLOSE_ATTEMPTS {
            match self.app.directory().propose(Some(meeting), command.clone()).await {
                // Refused: the session is no longer the participant's, so there is nothing to close. Closing one needs
                // no room, so a full disk is none of its reasons.
                Ok(_) | Err(ProposeError::Rejected(_) | ProposeError::StorageFull { .. }) => return,
                Err(ProposeError::Unavailable { retry_after }) => tokio::time::sleep(retry_after).await,
            }
        }
        tracing::warn!(%session, "closing a session could not be agreed on");
    }
}

/// Resolves once a join is awaited and its time is over. A join in hand may take longer; the loop must not turn about it.
async fn join_overdue(session: &Session, by: Instant) {
    if session.awaits_join() {
        tokio::time::sleep_until(by).await;
    } else {
        std::future::pending().await
    }
}

async fn receive(events: &mut Option<mpsc::Receiver<MediaEvent>>) -> Option<MediaEvent> {
    match events {
        Some(events) => events.recv().await,
        None => None,
    }
}

async fn receive_news(subscription: &mut Option<Subscription>) -> Vec<News> {
    let mut news = Vec::new();
    if let Some(subscription) = subscription {
        subscription.news.recv_many(&mut news, NEWS_AT_ONCE).await;
    }
    news
}

fn text(frame: &ServerFrame) -> Message {
    Message::Text(serde_json::to_string(frame).expect("frames are plain data").into())
}

/// Where signalling reads the clock: the loop is where time enters, the session has none.
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use plenary_protocol::ErrorCode;

    use super::super::wire::error;
    use super::*;

    /// Whether the deadline of this session's join wakes its loop, once it has passed.
    async fn wakes(session: &Session) -> bool {
        let by = now();
        tokio::select! {
            biased;
            () = join_overdue(session, by) => true,
            () = tokio::time::sleep_until(by + Duration::from_millis(20)) => false,
        }
    }

    #[tokio::test]
    async fn an_overdue_join_wakes_the_loop_only_while_none_is_in_hand() {
        let mut session = Session::default();
        assert!(wakes(&session).await);
        session.handle_text(r#"{"v":1,"id":1,"type":"join","token":"t","meeting":"m"}"#);
        assert!(!wakes(&session).await, "the directory decides, however long it takes");
        session.handle_admission(Err(error(ErrorCode::NoQuorum, "no quorum of nodes answers; try again")));
        assert!(wakes(&session).await, "refused after its time: it ends now");
        session.handle_join_deadline();
        assert!(!wakes(&session).await, "closed");
    }
}
