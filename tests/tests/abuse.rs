//! Whatever is thrown at a node during a call is answered with a stable code, and the call does not notice.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plenary_api::auth::Tokens;
use plenary_cluster::model::Timestamp;
use plenary_participant::{Participant, Report, SlotKind};
use plenary_protocol::MAX_FRAME_BYTES;
use plenary_tests::{Cluster, DEADLINE, Meeting, Rest, Signalling, knock, say, until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a gap may be above the undisturbed one: a frame's time at 30 a second, so that not one more was missed.
const ABOVE_UNDISTURBED: Duration = Duration::from_millis(34);
/// Far above every limit.
const OVERSIZED: usize = 10 << 20;
/// When the expired tokens were issued.
const LONG_AGO: Timestamp = Timestamp::from_millis(0);
/// A session description that is none.
const NOT_SDP: &str = "v=0\r\nthis is no session description\r\n";

/// Joins over REST as a guest and gives the room token.
async fn room_token(rest: &Rest, meeting: &Meeting, name: &str) -> Result<String> {
    let path = format!("/api/meeting/{}/join", meeting.id);
    let answer = rest.post(&path, json!({ "participant_name": name })).await?.success()?;
    Ok(answer["data"]["access_token"].as_str().context("access_token")?.to_owned())
}

/// The cluster's own tokens, to issue some with a time that is over.
fn tokens(cluster: &Cluster) -> Result<Tokens> {
    let secret = std::fs::read_to_string(cluster.node(1).data_dir().join("identity/cluster.secret"))?;
    let bytes = (0..32).map(|at| u8::from_str_radix(&secret.trim()[2 * at..2 * at + 2], 16));
    Ok(Tokens::new(&bytes.collect::<Result<Vec<_>, _>>()?))
}

/// Checks one answer: the code, a sentence, and the field where there is one.
fn check(what: &str, answer: &Value, code: &str, names: &str) {
    assert_eq!(answer["code"], code, "{what}: {answer}");
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(message.len() > 10, "{what}: the message says what to do: {answer}");
    let named = message.contains(names) || answer["errors"].to_string().contains(names);
    assert!(named, "{what}: `{names}` is not named: {answer}");
}

/// Posts 10 MiB as curl does: it reads while it writes, so an answer that comes before the end of the body is seen.
async fn oversized(node: SocketAddr, token: &str) -> Result<String> {
    let (mut reader, mut writer) = tokio::net::TcpStream::connect(node).await?.into_split();
    let head = format!(
        "POST /api/meeting HTTP/1.1\r\nHost: {node}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {OVERSIZED}\r\n\r\n"
    );
    writer.write_all(head.as_bytes()).await?;
    let body = vec![b'x'; OVERSIZED];
    let mut answer = vec![0; 4096];
    tokio::select! {
        // The node may have stopped reading; what counts is its answer.
        length = reader.read(&mut answer) => answer.truncate(length?),
        () = async { let _ = writer.write_all(&body).await; std::future::pending().await } => {}
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn rest_abuse(cluster: &Cluster, meeting: &Meeting) -> Result<()> {
    let nobody = cluster.node(1).rest()?;
    let host = cluster.host(1)?;
    let create = json!({ "meeting_name": "x" });
    let tokens = tokens(cluster)?;
    let user = tokens.verify_user(&cluster.user_token("old").await?)?;
    let old = tokens.issue_user(&user, LONG_AGO, Duration::from_secs(60))?;

    let answer = nobody.post("/api/meeting", create.clone()).await?;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    check("no token", &answer.body, "AUTHENTICATION_REQUIRED", "Authorization");
    let answer = nobody.with_token("not.a.token").post("/api/meeting", create.clone()).await?;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    check("a token that is none", &answer.body, "INVALID_TOKEN", "Authorization");
    let answer = nobody.with_token(old).post("/api/meeting", create).await?;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    check("expired token", &answer.body, "TOKEN_EXPIRED", "Authorization");
    let unknown = format!("/api/meeting/meeting_{}", "0".repeat(32));
    let answer = host.get(&unknown).await?;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    check("unknown meeting", &answer.body, "MEETING_NOT_FOUND", "meeting");
    let path = format!("/api/meeting/{}/join", meeting.id);
    let answer = nobody.send(Method::POST, &path, Some("{\"participant_name\": ".to_owned())).await?;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    check("malformed JSON", &answer.body, "MALFORMED_JSON", "JSON");
    let answer = host.post("/api/meeting", json!({ "meeting_name": 7 })).await?;
    ensure!(answer.status.is_client_error(), "{}", answer.status);
    check("wrong type", &answer.body, "VALIDATION_FAILED", "meeting_name");
    let answer = oversized(cluster.node(1).ports().http, &cluster.user_token("host").await?).await?;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"PAYLOAD_TOO_LARGE\"") && answer.contains("65536 bytes"), "{answer}");
    Ok(())
}

async fn join_abuse(cluster: &Cluster, meeting: &Meeting) -> Result<()> {
    let rest = cluster.node(1).rest()?;
    let http = cluster.node(1).ports().http;
    let other = cluster.create_live_meeting().await?;
    let good = room_token(&rest, meeting, "good").await?;
    let foreign = room_token(&rest, &other, "foreign").await?;
    let tokens = tokens(cluster)?;
    let old = tokens.issue_room(&tokens.verify_room(&good)?, LONG_AGO)?;
    let unknown = format!("meeting_{}", "0".repeat(32));
    let table = [
        ("no token", meeting.id.as_str(), String::new(), "INVALID_TOKEN", "token"),
        ("a user's token", &meeting.id, cluster.user_token("user").await?, "INVALID_TOKEN", "token"),
        ("expired token", &meeting.id, old, "TOKEN_EXPIRED", "token"),
        ("another meeting's token", &meeting.id, foreign, "TOKEN_MEETING_MISMATCH", "meeting"),
        ("unknown meeting", &unknown, good, "TOKEN_MEETING_MISMATCH", "meeting"),
    ];
    for (what, meeting, token, code, names) in table {
        let mut signalling = Signalling::open(http).await?;
        let answer = signalling.request(json!({ "type": "join", "meeting": meeting, "token": token })).await?;
        check(what, &answer, code, names);
    }
    Ok(())
}

async fn signalling_abuse(cluster: &Cluster, meeting: &Meeting) -> Result<()> {
    let rest = cluster.node(1).rest()?;
    let http = cluster.node(1).ports().http;
    let token = room_token(&rest, meeting, "rude").await?;

    let mut early = Signalling::open(http).await?;
    let answer = early.request(json!({ "type": "publish", "tracks": [] })).await?;
    check("a request before joining", &answer, "NOT_JOINED", "join");

    let mut rude = Signalling::join(http, &meeting.id, &token).await?;
    rude.send("{\"v\":1,\"id\":").await?;
    let answer = rude.until(|frame| frame["type"] == "error").await?;
    check("malformed JSON", &answer, "MALFORMED_MESSAGE", "JSON");

    let mut rude = Signalling::join(http, &meeting.id, &token).await?;
    let answer = rude.request(json!({ "type": "dance" })).await?;
    check("unknown type", &answer, "UNKNOWN_TYPE", "dance");
    let answer = rude.request(json!({ "type": "offer", "sdp": NOT_SDP, "tracks": [], "slots": [] })).await?;
    check("malformed SDP", &answer, "MALFORMED_SDP", "sdp");

    let mut rude = Signalling::join(http, &meeting.id, &token).await?;
    // The node may close before all of it is sent.
    let _ = rude.send(&"x".repeat(OVERSIZED)).await;
    let last = rude.remainder().await?;
    let said = last.iter().find(|frame| frame["code"] == "MESSAGE_TOO_LARGE").context("it says why it closes")?;
    check("10 MiB", said, "MESSAGE_TOO_LARGE", &MAX_FRAME_BYTES.to_string());
    Ok(())
}

/// The sum of a counter over its labels.
fn counter(metrics: &str, name: &str) -> f64 {
    let of = |line: &&str| line.split(['{', ' ']).next() == Some(name);
    metrics.lines().filter(of).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

async fn garbage_udp(cluster: &Cluster) -> Result<()> {
    let rest = cluster.node(1).rest()?;
    let before = counter(&rest.text("/metrics").await?, "plenary_media_unknown_datagrams_total");
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let door: SocketAddr = cluster.node(1).ports().media[0];
    // Shapes of STUN without integrity, DTLS, RTP, RTCP and nothing at all, each with rubbish in it.
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    stun.resize(20, 7);
    let shapes = [stun, vec![22; 300], vec![0x80; 1200], vec![0x80, 200, 0, 6, 1, 1, 1, 1], vec![0xff; 64], vec![0]];
    for shape in &shapes {
        for _ in 0..50 {
            socket.send_to(shape, door)?;
        }
    }
    until("garbage is counted", async || {
        let now = counter(&rest.text("/metrics").await?, "plenary_media_unknown_datagrams_total");
        Ok((now >= before + 250.0).then_some(()))
    })
    .await?;
    let mut buffer = [0; 1500];
    assert!(socket.recv_from(&mut buffer).is_err(), "garbage was answered");
    Ok(())
}

async fn wrong_certificate(cluster: &Cluster) -> Result<()> {
    let ports = cluster.node(1).ports().clone();
    for (door, protocol) in [(ports.control, "plenary-control/1"), (ports.media_link, "plenary-media/1")] {
        let closed = knock(door, protocol).await?;
        assert!(closed.contains("certificate") || closed.contains("CA"), "{protocol}: {closed}");
    }
    until("both refusals are in the log with their reason", async || {
        let log = cluster.node(1).log();
        let refused =
            log.lines().filter(|line| line.contains("node link refused") && line.contains("unknown_authority"));
        Ok((refused.count() >= 2).then_some(()))
    })
    .await
}

/// The longest time that `viewer` saw no new frame, over `frames` more of them.
async fn longest_gap(viewer: &Participant, publisher: u64, frames: u64) -> Result<Duration> {
    viewer.measure().await;
    let seen = viewer.report().await.frames_from(publisher, SlotKind::Video);
    let more = |report: &Report| report.frames_from(publisher, SlotKind::Video) >= seen + frames;
    Ok(viewer.wait_for(more, DEADLINE).await.context("frames flow")?.longest_gap(SlotKind::Video))
}

#[tokio::test(flavor = "multi_thread")]
async fn abuse_is_answered_and_the_call_goes_on() -> Result<()> {
    let mut cluster = Cluster::start(1).await?;
    let meeting = cluster.create_live_meeting().await?;
    let ada = Participant::join(cluster.person(1, &meeting, "Ada")).await?;
    let bob = Participant::join(cluster.person(1, &meeting, "Bob")).await?;
    longest_gap(&bob, ada.publisher(), 30).await.context("the call begins")?;
    let undisturbed = longest_gap(&bob, ada.publisher(), 150).await?;
    let pid = cluster.node(1).pid()?;

    bob.measure().await;
    rest_abuse(&cluster, &meeting).await.context("REST")?;
    join_abuse(&cluster, &meeting).await.context("joins")?;
    signalling_abuse(&cluster, &meeting).await.context("signalling")?;
    garbage_udp(&cluster).await.context("garbage UDP")?;
    wrong_certificate(&cluster).await.context("wrong certificate")?;

    let disturbed = bob.report().await.longest_gap(SlotKind::Video);
    say(format!("abuse: longest gap {disturbed:.0?}, undisturbed {undisturbed:.0?}, pid {pid} before and after"));
    assert!(disturbed <= undisturbed + ABOVE_UNDISTURBED, "{disturbed:?}, undisturbed {undisturbed:?}");
    assert_eq!(cluster.node(1).pid()?, pid);
    assert!(cluster.is_running(1), "the node still runs");
    longest_gap(&bob, ada.publisher(), 30).await.context("the call goes on")?;
    Ok(())
}
