//! Signalling over real sockets on the loopback interface, with a media plane that only takes notes.

mod support;

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::{SinkExt, StreamExt};
use plenary_api::Server;
use plenary_api::auth::Grant;
use plenary_api::port::{MediaCommand, MediaEvent};
use plenary_cluster::clock::Clock;
use plenary_cluster::model::{MeetingId, ParticipantStatus, Timestamp};
use serde_json::{Value, json};
use support::World;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;

/// Nothing here takes longer, but on a machine that is busy with something else.
const DEADLINE: Duration = Duration::from_secs(20);

/// A world whose server listens.
struct Open {
    world: World,
    url: String,
    stop: CancellationToken,
    /// Ends with the test.
    tasks: JoinSet<std::io::Result<()>>,
}

impl Open {
    async fn new() -> Self {
        let world = World::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/ws", listener.local_addr().expect("an address"));
        let stop = CancellationToken::new();
        let server = Server::new(world.settings.clone(), world.services.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(listener, stop.clone()));
        Self { world, url, stop, tasks }
    }

    async fn connect(&self) -> Client {
        let (socket, _) = connect_async(&self.url).await.expect("a connection");
        Client { socket, id: 0 }
    }

    /// Someone with a place in the meeting, joined.
    async fn joined(&self, meeting: &str, user: &str) -> (Client, Value) {
        let token = self.world.place(meeting, user).await;
        let mut client = self.connect().await;
        let joined = client.ask(json!({"type": "join", "token": token, "meeting": meeting})).await;
        assert_eq!(joined["type"], "joined", "{joined}");
        (client, joined)
    }

    /// Waits until the directory has it so.
    async fn until(&self, holds: impl Fn(&plenary_cluster::state::State) -> bool) {
        let directory = &self.world.services.directory;
        let mut revisions = directory.revisions();
        let wait = async {
            while !holds(&directory.read_local()) {
                revisions.changed().await.expect("the directory lives");
            }
        };
        timeout(DEADLINE, wait).await.expect("the directory should have come to it");
    }
}

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    id: u64,
}

impl Client {
    async fn send_text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.expect("an open socket");
    }

    /// The next frame; `None` once the connection is closed.
    async fn frame(&mut self) -> Option<Value> {
        loop {
            match timeout(DEADLINE, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).expect("JSON")),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            }
        }
    }

    /// The next frame that is as wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.frame().await.unwrap_or_else(|| panic!("closed before {what}"));
            if wanted(&frame) {
                return frame;
            }
        }
    }

    async fn push(&mut self, kind: &str) -> Value {
        self.until(kind, |frame| frame["type"] == kind && frame.get("seq").is_some()).await
    }

    async fn ask(&mut self, mut request: Value) -> Value {
        self.id += 1;
        let id = self.id;
        request["v"] = 1.into();
        request["id"] = id.into();
        self.send_text(request.to_string()).await;
        self.until("a reply", |frame| frame["re"] == id).await
    }
}

#[tokio::test]
async fn people_see_each_other_come_publish_and_go() {
    let open = Open::new().await;
    let (meeting, _) = open.world.live().await;
    let (mut ada, joined) = open.joined(&meeting, "host").await;
    assert_eq!(joined["roster"].as_array().unwrap().len(), 1);
    assert_eq!((&joined["pool"], &joined["node"]), (&json!({"audio": 3, "video": 4}), &json!(1)));

    let (mut bob, joined) = open.joined(&meeting, "bob").await;
    assert_eq!(joined["roster"].as_array().unwrap().len(), 2);
    let bob_id = joined["participant"].as_str().unwrap().to_owned();
    let change = |frame: &Value| frame["changes"][0].clone();
    assert_eq!(change(&ada.push("roster").await)["member"]["name"], "bob");

    let published = bob.ask(json!({"type": "publish", "tracks": [{"source": "camera"}]})).await;
    assert_eq!(published["type"], "ok");
    let tracks = change(&ada.push("roster").await)["member"]["tracks"].clone();
    assert_eq!(tracks, json!([{"source": "camera", "muted": false}]));

    assert_eq!(bob.ask(json!({"type": "leave"})).await["type"], "ok");
    assert_eq!(bob.push("closed").await["code"], "left");
    assert_eq!(bob.frame().await, None);
    assert_eq!(change(&ada.push("roster").await), json!({"change": "left", "id": bob_id}));
}

#[tokio::test]
async fn a_closed_page_is_a_leave_and_its_media_ends() {
    let open = Open::new().await;
    let (meeting, _) = open.world.live().await;
    let (bob, joined) = open.joined(&meeting, "bob").await;
    let id = joined["participant"].as_str().unwrap().parse().unwrap();
    drop(bob);
    let meeting: MeetingId = meeting.parse().unwrap();
    open.until(|state| state.participant(meeting, id).unwrap().status == ParticipantStatus::Left).await;
    let commands = open.world.media.commands.lock();
    assert!(commands.iter().any(|(_, command)| matches!(command, MediaCommand::Close)));
}

#[tokio::test]
async fn an_offer_is_answered_and_media_has_its_say() {
    let open = Open::new().await;
    let (meeting, _) = open.world.live().await;
    let (mut ada, joined) = open.joined(&meeting, "host").await;
    let offer = |sdp: &str| json!({"type": "offer", "sdp": sdp, "tracks": [], "slots": ["0"]});
    assert_eq!(ada.ask(offer("v=0")).await["sdp"], "v=0 answer");
    let malformed = ada.ask(offer("nonsense")).await;
    assert_eq!((&malformed["code"], &malformed["errors"][0]["path"]), (&json!("MALFORMED_SDP"), &json!("sdp")));
    let session = joined["session"].as_str().unwrap().parse().unwrap();
    let media = open.world.media.sessions.lock().get(&session).unwrap().clone();
    media.send(MediaEvent::Connected).await.unwrap();
    media.send(MediaEvent::Pool { audio: 3, video: 9 }).await.unwrap();
    ada.push("media_connected").await;
    assert_eq!(ada.push("pool").await["size"], json!({"audio": 3, "video": 9}));
}

#[tokio::test]
async fn refusals_name_the_field_and_leave_the_call_alone() {
    let open = Open::new().await;
    let world = &open.world;
    let (meeting, host) = world.live().await;
    let (mut ada, _) = open.joined(&meeting, "host").await;
    let place = world.place(&meeting, "bob").await;
    let other = world.meeting(&host, &json!({"meeting_name": "Other"})).await;
    let grant = world.tokens.verify_room(&place).unwrap();
    let past = Timestamp::from_millis(Clock::system().now().millis() - 3_600_000);
    let expired = world.tokens.issue_room(&grant, past).unwrap();
    let nowhere: MeetingId = "meeting_00000000000000000000000000000001".parse().unwrap();
    let unknown = world.tokens.issue_room(&Grant { meeting: nowhere, ..grant }, Clock::system().now()).unwrap();
    let table = [
        (json!({"type": "join", "meeting": meeting}), "INVALID_TOKEN", "token"),
        (json!({"type": "join", "meeting": meeting, "token": "junk"}), "INVALID_TOKEN", "token"),
        (json!({"type": "join", "meeting": meeting, "token": expired}), "TOKEN_EXPIRED", "token"),
        (json!({"type": "join", "meeting": other, "token": place}), "TOKEN_MEETING_MISMATCH", "token"),
        (json!({"type": "join", "meeting": nowhere, "token": unknown}), "MEETING_NOT_FOUND", "meeting"),
        (json!({"type": "dance"}), "UNKNOWN_TYPE", "type"),
        (json!({"type": "leave"}), "NOT_JOINED", "join"),
    ];
    let mut stranger = open.connect().await;
    for (request, code, word) in table {
        let refused = stranger.ask(request).await;
        assert_eq!(refused["code"], code, "{refused}");
        assert!(refused["message"].as_str().unwrap().contains(word), "{refused}");
    }
    stranger.send_text("{\"v\":1,".to_owned()).await;
    assert_eq!(stranger.until("an error", |frame| frame["re"] == 0).await["code"], "MALFORMED_MESSAGE");
    assert_eq!(ada.ask(json!({"type": "ping"})).await["type"], "ok");
}

#[tokio::test]
async fn a_message_of_ten_mebibytes_gets_its_code_before_the_connection_ends() {
    let open = Open::new().await;
    let (meeting, _) = open.world.live().await;
    let (mut ada, _) = open.joined(&meeting, "host").await;
    let mut stranger = open.connect().await;
    stranger.send_text("x".repeat(10 * 1024 * 1024)).await;
    let refused = stranger.until("an error", |frame| frame["re"] == 0).await;
    assert_eq!(refused["code"], "MESSAGE_TOO_LARGE");
    assert!(refused["message"].as_str().unwrap().contains("262144"), "{refused}");
    stranger.push("closed").await;
    assert_eq!(stranger.frame().await, None);
    assert_eq!(ada.ask(json!({"type": "ping"})).await["type"], "ok");
}

#[tokio::test]
async fn the_end_of_the_meeting_and_a_second_session_end_the_first() {
    let open = Open::new().await;
    let (meeting, host) = open.world.live().await;
    let (mut first, _) = open.joined(&meeting, "host").await;
    let (mut second, _) = open.joined(&meeting, "host").await;
    assert_eq!(first.push("closed").await["code"], "session_replaced");
    let ended = open.world.ask("POST", &format!("/api/meeting/{meeting}/end"), Some(&host), None).await;
    assert_eq!(ended.status, StatusCode::OK);
    assert_eq!(second.push("meeting").await["state"], "ended");
    assert_eq!(second.push("closed").await["code"], "meeting_ended");
}

#[tokio::test]
async fn a_stopping_node_says_so() {
    let mut open = Open::new().await;
    let (meeting, _) = open.world.live().await;
    let (mut ada, _) = open.joined(&meeting, "host").await;
    open.stop.cancel();
    let closed = ada.push("closed").await;
    assert_eq!((&closed["code"], &closed["rejoin"]), (&json!("shutting_down"), &json!(true)));
    let ended = timeout(DEADLINE, open.tasks.join_next()).await.unwrap();
    assert!(ended.unwrap().unwrap().is_ok());
}
