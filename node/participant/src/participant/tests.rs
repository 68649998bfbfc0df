//! Participants over real sockets on loopback, against a node of a few lines.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::{SinkExt, StreamExt};
use plenary_protocol::{ErrorCode, Reply, ReplyFrame, RequestFrame, VERSION};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::echo::Echo;
use crate::report::SlotKind;
use crate::signalling::Received;

const DEADLINE: Duration = Duration::from_secs(10);

/// What the node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Sends back what is published.
    Echo,
    /// Answers a join by REST with an error.
    RefuseByRest,
    /// Answers a join by signalling with an error.
    RefuseBySignalling,
    /// Never answers a request.
    Silent,
}

/// Starts a node; it ends with the returned set.
async fn node(manner: Manner) -> (String, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(serve(stream, manner));
        }
    });
    (url, tasks)
}

async fn serve(mut stream: TcpStream, manner: Manner) {
    let mut beginning = [0; 4];
    stream.peek(&mut beginning).await.unwrap();
    if beginning == *b"POST" {
        let (status, body) = match manner {
            Manner::RefuseByRest => ("409 Conflict", r#"{"success":false,"code":"MEETING_FULL","message":"full"}"#),
            Manner::Echo | Manner::RefuseBySignalling | Manner::Silent => {
                ("200 OK", r#"{"success":true,"data":{"access_token":"jwt","participant_id":"participant_1"}}"#)
            }
        };
        let mut request = [0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        assert!(request[..length].starts_with(b"POST /api/meeting/meeting_1/join HTTP/1.1\r\n"));
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    } else {
        serve_session(stream, manner).await;
    }
}

async fn serve_session(stream: TcpStream, manner: Manner) {
    let mut messages = accept_async(stream).await.unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut echo = Echo::new(clock::now(), socket.local_addr().unwrap());
    let mut buffer = [0; 2048];
    loop {
        for (destination, contents) in echo.drain() {
            socket.send_to(&contents, destination).await.unwrap();
        }
        tokio::select! {
            message = messages.next() => {
                let Some(Ok(Message::Text(text))) = message else { return };
                if let Some(reply) = answer(&mut echo, manner, &text) {
                    messages.send(Message::text(serde_json::to_string(&reply).unwrap())).await.unwrap();
                }
            }
            received = socket.recv_from(&mut buffer) => {
                let (length, source) = received.unwrap();
                echo.handle_datagram(clock::now(), source, &buffer[..length]);
            }
            () = tokio::time::sleep_until(echo.timeout.into()) => echo.handle_timeout(clock::now()),
        }
    }
}

fn answer(echo: &mut Echo, manner: Manner, text: &str) -> Option<ReplyFrame> {
    let error = |code, message: &str| {
        let (message, errors) = (message.to_owned(), Vec::new());
        Reply::Error(ProtocolError { code, message, errors, retry_after_ms: None })
    };
    let Ok(RequestFrame { id, request, .. }) = serde_json::from_str(text) else {
        return Some(ReplyFrame { v: VERSION, re: 0, reply: error(ErrorCode::MalformedMessage, "not a request") });
    };
    let reply = match manner {
        Manner::Echo | Manner::RefuseByRest => echo.answer(&request),
        Manner::RefuseBySignalling => error(ErrorCode::InvalidToken, "token: not one of ours"),
        Manner::Silent => return None,
    };
    Some(ReplyFrame { v: VERSION, re: id, reply })
}

fn options(url: &str) -> Options {
    Options { deadline: DEADLINE, ..Options::new(url, "meeting_1", "Ada") }
}

#[tokio::test]
async fn media_flows_over_real_sockets() {
    let (url, _node) = node(Manner::Echo).await;
    let ada = Participant::join(options(&url)).await.unwrap();
    assert_eq!(ada.id(), "participant_1");
    let seed = ada.publisher();
    let flows = |report: &Report| {
        report.frames_from(seed, SlotKind::Video) >= 30 && report.frames_from(seed, SlotKind::Audio) >= 50
    };
    let report = ada.wait_for(flows, DEADLINE).await.unwrap();
    let video = &report.slots_of(SlotKind::Video).next().unwrap().stats;
    assert_eq!((video.hash_mismatches, video.foreign_packets, video.timestamp_faults), (0, 0, 0));
    assert!(report.connected && report.ended.is_none());
    assert!(report.network.received > 0 && report.published_rtp_bytes() > 0);

    ada.measure().await;
    ada.set_muted(SourceName::Camera, true).await;
    let muted = |report: &Report| report.published[&SourceName::Camera].muted;
    ada.wait_for(muted, DEADLINE).await.unwrap();
    let still = |report: &Report| report.longest_gap(SlotKind::Video) > Duration::from_millis(300);
    ada.wait_for(still, DEADLINE).await.unwrap();

    let report = ada.leave().await;
    assert_eq!(report.ended, Some(Ended::Left));
}

#[tokio::test]
async fn waiting_gives_up_at_its_deadline_and_says_how_things_stand() {
    let (url, _node) = node(Manner::Echo).await;
    let ada = Participant::join(options(&url)).await.unwrap();
    let never = ada.wait_for(|report| report.offers > 1, Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(never.report.offers, 1);
    assert_eq!(ada.abort().await.ended, Some(Ended::Aborted));
}

#[tokio::test]
async fn a_lost_node_ends_it() {
    let (url, node) = node(Manner::Echo).await;
    let ada = Participant::join(options(&url)).await.unwrap();
    drop(node);
    let ended = |report: &Report| matches!(report.ended, Some(Ended::SignallingLost { .. }));
    let report = ada.wait_for(ended, DEADLINE).await.unwrap();
    assert_eq!(report.offers, 1, "the last report stays");
    ada.set_speech(Speech::Silent).await;
    ada.wait_for(|report| report.offers > 1, DEADLINE).await.unwrap_err();
}

#[tokio::test]
async fn refusals_name_their_step() {
    let (url, _rest) = node(Manner::RefuseByRest).await;
    let refused = Participant::join(options(&url)).await.unwrap_err();
    assert!(
        matches!(&refused, JoinError::Rest(RestError::Refused { code, .. }) if code == "MEETING_FULL"),
        "{refused:?}"
    );

    let (url, _signalling) = node(Manner::RefuseBySignalling).await;
    let refused = Participant::join(options(&url)).await.unwrap_err();
    assert!(matches!(&refused, JoinError::Rejected(error) if error.code == ErrorCode::InvalidToken), "{refused:?}");

    let (url, _silent) = node(Manner::Silent).await;
    let impatient = Options { deadline: Duration::from_millis(200), ..options(&url) };
    let late = Participant::join(impatient).await.unwrap_err();
    assert!(matches!(late, JoinError::TimedOut(_)), "{late:?}");

    let nobody: SocketAddr = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    let refused = Participant::join(options(&format!("http://{nobody}"))).await.unwrap_err();
    assert!(matches!(refused, JoinError::Rest(RestError::Unreachable(_))), "{refused:?}");
}

#[tokio::test]
async fn signalling_alone_can_say_anything() {
    let (url, node) = node(Manner::Echo).await;
    let mut signalling = Signalling::connect(&url).await.unwrap();
    assert_eq!(signalling.ask(Request::Ping).await.unwrap(), Reply::Ok);
    signalling.send_text("{").await.unwrap();
    let Reply::Error(error) = signalling.reply().await.unwrap() else { panic!("no error") };
    assert_eq!(error.code, ErrorCode::MalformedMessage);
    drop(node);
    match signalling.receive().await {
        Ok(Received::Closed { .. }) | Err(SignallingError::Broken(_)) => {}
        other => panic!("still open: {other:?}"),
    }
    let wrong = Signalling::connect("https://127.0.0.1:1").await.unwrap_err();
    assert!(matches!(wrong, SignallingError::Scheme(_)));
}
