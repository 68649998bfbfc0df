//! REST over an in-memory directory: who may do what, and what errors say.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::future::{BoxFuture, FutureExt};
use plenary_cluster::clock::Clock;
use plenary_cluster::directory::{Directory, ProposeError, RaftStatus, ReadError, Written};
use plenary_cluster::local::Local;
use plenary_cluster::model::{MeetingId, Timestamp};
use plenary_cluster::state::{Command, State};
use serde_json::json;
use support::{World, request};
use tokio::sync::watch;

/// A directory in which someone else deletes a meeting right after each write to it, while that is set.
struct Overtaken {
    directory: Arc<Local>,
    on: Arc<AtomicBool>,
}

impl Directory for Overtaken {
    fn propose(&self, meeting: Option<MeetingId>, command: Command) -> BoxFuture<'_, Result<Written, ProposeError>> {
        async move {
            let written = self.directory.propose(meeting, command).await?;
            if let (Some(id), true) = (meeting, self.on.load(Ordering::SeqCst)) {
                // Refused unless the meeting is live.
                let _ = self.directory.propose(meeting, Command::EndMeeting { meeting: id }).await;
                self.directory.propose(meeting, Command::DeleteMeeting { meeting: id }).await?;
            }
            Ok(written)
        }
        .boxed()
    }

    fn read_local(&self) -> Arc<State> {
        self.directory.read_local()
    }

    fn read_at_least(&self, revision: u64) -> BoxFuture<'_, Result<Arc<State>, ReadError>> {
        self.directory.read_at_least(revision)
    }

    fn read_linearizable(&self) -> BoxFuture<'_, Result<Arc<State>, ReadError>> {
        self.directory.read_linearizable()
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        self.directory.revisions()
    }

    fn status(&self) -> RaftStatus {
        self.directory.status()
    }
}

#[tokio::test]
async fn a_write_is_acknowledged_though_the_meeting_is_deleted_right_after_it() {
    let on = Arc::new(AtomicBool::new(false));
    let world = World::over(|directory| Arc::new(Overtaken { directory, on: Arc::clone(&on) }));
    let host = world.token("host");
    let created = async || {
        on.store(false, Ordering::SeqCst);
        let answer = world.ask("POST", "/api/meeting", Some(&host), Some(&json!({"meeting_name": "first"}))).await;
        on.store(true, Ordering::SeqCst);
        answer.json()["data"]["id"].as_str().unwrap().to_owned()
    };

    let path = format!("/api/meeting/{}", created().await);
    let before = world.directory.read_local().revision();
    let answer = world.ask("PATCH", &path, Some(&host), Some(&json!({"meeting_name": "second"}))).await;
    assert_eq!((answer.status, &answer.json()["data"]["meeting_name"]), (StatusCode::OK, &json!("second")));
    assert_eq!(answer.headers["plenary-revision"], (before + 1).to_string(), "the write's, not the deletion's");
    let gone = world.ask("GET", &path, Some(&host), None).await;
    assert_eq!(gone.code(), "MEETING_NOT_FOUND");

    let path = format!("/api/meeting/{}", created().await);
    let answer = world.ask("POST", &format!("{path}/start"), Some(&host), None).await;
    assert_eq!((answer.status, &answer.json()["data"]["status"]), (StatusCode::OK, &json!("live")));

    let path = format!("/api/meeting/{}", created().await);
    on.store(false, Ordering::SeqCst);
    world.ask("POST", &format!("{path}/start"), Some(&host), None).await;
    on.store(true, Ordering::SeqCst);
    let answer = world.ask("POST", &format!("{path}/end"), Some(&host), None).await;
    assert_eq!((answer.status, &answer.json()["data"]["status"]), (StatusCode::OK, &json!("ended")));

    let answer = world.ask("POST", "/api/meeting", Some(&host), Some(&json!({"meeting_name": "third"}))).await;
    assert_eq!((answer.status, &answer.json()["data"]["meeting_name"]), (StatusCode::CREATED, &json!("third")));
}

#[tokio::test]
async fn errors_have_the_envelope_and_the_problem_members() {
    let world = World::new();
    let answer = world.ask("GET", "/api/meeting", None, None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["www-authenticate"], "Bearer");
    let body = answer.json();
    assert_eq!(body["code"], "AUTHENTICATION_REQUIRED");
    assert_eq!(
        (&body["success"], &body["status"], &body["instance"]),
        (&json!(false), &json!(401), &json!("/api/meeting"))
    );
    assert_eq!(answer.headers["x-request-id"], body["request_id"].as_str().unwrap());
    for key in ["message", "type", "title", "detail", "errors"] {
        assert!(!body[key].is_null(), "{key}");
    }
}

#[tokio::test]
async fn routes_that_are_not_there_answer_in_the_envelope_too() {
    let world = World::new();
    let host = world.token("host");
    let missing = world.ask("GET", "/api/meeting/system/stats", Some(&host), None).await;
    assert_eq!((missing.status, missing.code()), (StatusCode::NOT_FOUND, "NOT_FOUND".to_owned()));
    let method = world.ask("DELETE", "/api/meeting", Some(&host), None).await;
    assert_eq!((method.status, method.code()), (StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED".to_owned()));
    assert!(method.headers.contains_key("allow"));
}

#[tokio::test]
async fn a_bad_body_names_every_field_and_the_fix() {
    let world = World::new();
    let host = world.token("host");
    let body = json!({"meeting_type": "yearly", "max_participants": 0, "features": {"chat_enabled": "no"},
                      "meeting_start_time": "2025-07-30T11:00:00Z", "meeting_end_time": "2025-07-30T10:00:00Z"});
    let answer = world.ask("POST", "/api/meeting", Some(&host), Some(&body)).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "VALIDATION_FAILED".to_owned()));
    let mut paths = answer.paths();
    paths.sort();
    let wanted = ["features.chat_enabled", "max_participants", "meeting_end_time", "meeting_name", "meeting_type"];
    assert_eq!(paths, wanted);

    let malformed = world.send(request("POST", "/api/meeting", Some(&host), Some("{\"a\":".to_owned()))).await;
    assert_eq!((malformed.status, malformed.code()), (StatusCode::BAD_REQUEST, "MALFORMED_JSON".to_owned()));
    let list = world.send(request("POST", "/api/meeting", Some(&host), Some("[]".to_owned()))).await;
    assert_eq!(list.code(), "MALFORMED_JSON");
    let large = world.send(request("POST", "/api/meeting", Some(&host), Some(" ".repeat(65 * 1024)))).await;
    assert_eq!((large.status, large.code()), (StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE".to_owned()));
    let form = Request::post("/api/meeting").header("authorization", format!("Bearer {host}"));
    let form = form.header("content-type", "text/plain").body(Body::from("a=b")).unwrap();
    assert_eq!(world.send(form).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[tokio::test]
async fn tokens_that_are_no_good_are_told_apart() {
    let world = World::new();
    let user = plenary_api::auth::User {
        id: "ada".parse().unwrap(),
        tenant: "campus_123".parse().unwrap(),
        name: None,
        email: None,
        user_type: None,
    };
    let past = Timestamp::from_millis(Clock::system().now().millis() - 3_600_000);
    let expired = world.tokens.issue_user(&user, past, std::time::Duration::from_mins(1)).unwrap();
    assert_eq!(world.ask("GET", "/api/meeting", Some(&expired), None).await.code(), "TOKEN_EXPIRED");
    assert_eq!(world.ask("GET", "/api/meeting", Some("nonsense"), None).await.code(), "INVALID_TOKEN");
    let (id, _) = world.live().await;
    let room = world.place(&id, "bob").await;
    assert_eq!(world.ask("GET", "/api/meeting", Some(&room), None).await.code(), "INVALID_TOKEN");
}

#[tokio::test]
async fn rights_follow_the_role_and_strangers_see_nothing() {
    let world = World::new();
    let (id, host) = world.live().await;
    let path = format!("/api/meeting/{id}");
    let other_tenant = world.token_of("bob", "campus_999");
    for (token, status) in [(&host, 200), (&world.token("bob"), 200), (&world.token("eve"), 404), (&other_tenant, 404)]
    {
        assert_eq!(world.ask("GET", &path, Some(token), None).await.status.as_u16(), status);
    }
    let bob = world.token("bob");
    for (method, path) in [("PUT", path.clone()), ("DELETE", path.clone()), ("POST", format!("{path}/end"))] {
        let answer = world.ask(method, &path, Some(&bob), None).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::FORBIDDEN, "ACCESS_DENIED".to_owned()), "{method}");
    }
    let listed = async |token: &str| {
        world.ask("GET", "/api/meeting", Some(token), None).await.json()["data"].as_array().unwrap().len()
    };
    assert_eq!((listed(&host).await, listed(&bob).await, listed(&other_tenant).await), (1, 1, 0));
}

#[tokio::test]
async fn start_and_end_may_be_repeated_and_a_live_meeting_stays() {
    let world = World::new();
    let (id, host) = world.live().await;
    let ask = async |method: &str, tail: &str| {
        world.ask(method, &format!("/api/meeting/{id}{tail}"), Some(&host), None).await
    };
    let (first, second) = (ask("POST", "/start").await.json(), ask("POST", "/start").await.json());
    assert_eq!(first["data"]["live_stats"]["start_time"], second["data"]["live_stats"]["start_time"]);
    let deleted = ask("DELETE", "").await;
    assert_eq!((deleted.status, deleted.code()), (StatusCode::CONFLICT, "MEETING_LIVE".to_owned()));
    let (first, second) = (ask("POST", "/end").await.json(), ask("POST", "/end").await.json());
    assert_eq!((&first["data"], &first["data"]["status"]), (&second["data"], &json!("ended")));
    let again = ask("POST", "/start").await;
    assert_eq!((again.status, again.code()), (StatusCode::GONE, "MEETING_ENDED".to_owned()));
    assert_eq!(ask("DELETE", "").await.status, StatusCode::OK);
    assert_eq!(ask("GET", "").await.code(), "MEETING_NOT_FOUND");
}

#[tokio::test]
async fn an_update_merges_and_null_takes_the_password_away() {
    let world = World::new();
    let host = world.token("host");
    let body = json!({"meeting_name": "Old", "meeting_location": "Room A", "meeting_password": "x",
                      "features": {"chat_enabled": false}});
    let id = world.meeting(&host, &body).await;
    let path = format!("/api/meeting/{id}");
    let change = json!({"meeting_name": "New", "meeting_password": null, "features": {"video_enabled": false}});
    let data = world.ask("PATCH", &path, Some(&host), Some(&change)).await.json()["data"].clone();
    assert_eq!((&data["meeting_name"], &data["meeting_location"]), (&json!("New"), &json!("Room A")));
    assert_eq!(data["has_password"], false);
    assert_eq!((&data["features"]["chat_enabled"], &data["features"]["video_enabled"]), (&json!(false), &json!(false)));
}

#[tokio::test]
async fn the_password_is_for_those_who_were_not_invited() {
    let world = World::new();
    let host = world.token("host");
    let id = world
        .meeting(
            &host,
            &json!({"meeting_name": "M", "meeting_password": "secret", "participants": ["bob@example.org"]}),
        )
        .await;
    let join = format!("/api/meeting/{id}/join");
    assert_eq!(world.ask("POST", &join, Some(&host), None).await.status, StatusCode::OK, "the host starts it");
    assert_eq!(world.ask("POST", &join, Some(&world.token("bob")), None).await.status, StatusCode::OK);
    let guest = |password: Option<&str>| json!({"participant_name": "Guest", "meeting_password": password});
    for wrong in [None, Some("guess")] {
        let answer = world.ask("POST", &join, None, Some(&guest(wrong))).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "INVALID_MEETING_PASSWORD".to_owned()));
        assert_eq!(answer.paths(), ["meeting_password"]);
    }
    let answer = world.ask("POST", &join, None, Some(&guest(Some("secret")))).await;
    assert_eq!((answer.status, &answer.json()["data"]["role"]), (StatusCode::OK, &json!("attendee")));
    let nameless = world.ask("POST", &join, None, Some(&json!({"meeting_password": "secret"}))).await;
    assert_eq!(nameless.paths(), ["participant_name"]);
}

#[tokio::test]
async fn those_who_would_wait_are_told_so() {
    let world = World::new();
    let host = world.token("host");
    for (field, bob) in [("waiting_room_enabled", StatusCode::OK), ("require_host_approval", StatusCode::FORBIDDEN)] {
        let body = json!({"meeting_name": "M", field: true, "guests_allowed": true, "participants": ["bob"]});
        let id = world.meeting(&host, &body).await;
        let join = format!("/api/meeting/{id}/join");
        assert_eq!(world.ask("POST", &join, Some(&host), None).await.status, StatusCode::OK);
        assert_eq!(world.ask("POST", &join, Some(&world.token("bob")), None).await.status, bob, "{field}");
        let guest = world.ask("POST", &join, None, Some(&json!({"participant_name": "Guest"}))).await;
        assert_eq!((guest.status, guest.code()), (StatusCode::FORBIDDEN, "ADMISSION_REQUIRED".to_owned()));
    }
}

#[tokio::test]
async fn early_late_and_unknown_joins_have_their_codes() {
    let world = World::new();
    let host = world.token("host");
    let bob = world.token("bob");
    let id = world.meeting(&host, &json!({"meeting_name": "M"})).await;
    let join = format!("/api/meeting/{id}/join");
    assert_eq!(
        world.ask("POST", &join, None, Some(&json!({"participant_name": "G"}))).await.code(),
        "AUTHENTICATION_REQUIRED"
    );
    assert_eq!(world.ask("POST", &join, Some(&bob), None).await.code(), "MEETING_NOT_LIVE");
    assert_eq!(world.ask("POST", &join, Some(&world.token_of("bob", "other")), None).await.code(), "MEETING_NOT_FOUND");
    assert_eq!(world.ask("POST", &join, Some(&host), None).await.status, StatusCode::OK);
    assert_eq!(world.ask("POST", &join, Some(&bob), None).await.status, StatusCode::OK);
    world.ask("POST", &format!("/api/meeting/{id}/end"), Some(&host), None).await;
    assert_eq!(world.ask("POST", &join, Some(&bob), None).await.code(), "MEETING_ENDED");
    assert_eq!(world.ask("POST", "/api/meeting/meeting_1/join", Some(&bob), None).await.code(), "MEETING_NOT_FOUND");
}

#[tokio::test]
async fn without_a_quorum_writes_wait_and_reads_go_on() {
    let world = World::new();
    let (id, host) = world.live().await;
    world.directory.set_available(false);
    let answer = world.ask("POST", "/api/meeting", Some(&host), Some(&json!({"meeting_name": "M"}))).await;
    assert_eq!((answer.status, answer.code()), (StatusCode::SERVICE_UNAVAILABLE, "NO_QUORUM".to_owned()));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(world.ask("GET", &format!("/api/meeting/{id}"), Some(&host), None).await.status, StatusCode::OK);
    assert_eq!(world.ask("GET", "/livez", None, None).await.status, StatusCode::OK);
    assert_eq!(world.ask("GET", "/readyz", None, None).await.status, StatusCode::SERVICE_UNAVAILABLE);
    world.directory.set_available(true);
    assert_eq!(world.ask("GET", "/readyz", None, None).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_list_is_paged_and_filtered() {
    let world = World::new();
    let host = world.token("host");
    for name in ["One", "Two", "Three"] {
        world.meeting(&host, &json!({"meeting_name": name})).await;
    }
    let list = async |query: &str| world.ask("GET", &format!("/api/meeting?{query}"), Some(&host), None).await;
    let first = list("limit=2").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = list(&format!("limit=2&cursor={cursor}")).await.json();
    let names = |page: &serde_json::Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|item| item["meeting_name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((names(&first), names(&second)), (vec!["Three".into(), "Two".into()], vec!["One".into()]));
    assert!(second["next_cursor"].is_null());
    assert_eq!(names(&list("q=tHr").await.json()), ["Three"]);
    assert_eq!(list("status=odd&limit=0").await.paths(), ["status", "limit"]);
}

#[tokio::test]
async fn a_guest_gets_a_user_token_and_can_hold_a_meeting() {
    let world = World::new();
    let answer = world.ask("POST", "/api/auth/guest", None, Some(&json!({"name": "Ada"}))).await;
    let token = answer.json()["data"]["token"].as_str().unwrap().to_owned();
    let id = world.meeting(&token, &json!({"meeting_name": "M"})).await;
    let joined = world.ask("POST", &format!("/api/meeting/{id}/join"), Some(&token), None).await.json();
    assert_eq!((&joined["data"]["role"], &joined["data"]["status"]), (&json!("host"), &json!("live")));
}

#[tokio::test]
async fn the_web_client_is_served_under_a_strict_policy() {
    let world = World::new();
    for path in ["/", "/m/meeting_0123"] {
        let page = world.ask("GET", path, None, None).await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(page.headers["content-type"].to_str().unwrap().starts_with("text/html"));
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"));
        assert_eq!(
            (&page.headers["cache-control"], &page.headers["x-content-type-options"]),
            (&"no-cache".parse().unwrap(), &"nosniff".parse().unwrap())
        );
    }
    let missing = world.ask("GET", "/assets/none.js", None, None).await;
    assert_eq!((missing.status, missing.code()), (StatusCode::NOT_FOUND, "NOT_FOUND".to_owned()));
    assert_eq!(world.ask("GET", "/metrics", None, None).await.text, "up 1\n");
}

#[tokio::test]
async fn answers_name_their_revision_and_reads_keep_the_promise_asked_for() {
    let world = World::new();
    let host = world.token("host");
    let body = json!({ "meeting_name": "Planning" });
    let revision =
        |answer: &support::Answer| answer.headers["plenary-revision"].to_str().unwrap().parse::<u64>().unwrap();
    let created = world.ask("POST", "/api/meeting", Some(&host), Some(&body)).await;
    assert_eq!(revision(&created), world.directory.read_local().revision());
    let path = format!("/api/meeting/{}", created.json()["data"]["id"].as_str().unwrap());
    let read = async |header: &str, value: &str| {
        let mut request = request("GET", &path, Some(&host), None);
        request.headers_mut().insert(header.parse::<axum::http::HeaderName>().unwrap(), value.parse().unwrap());
        world.send(request).await
    };
    for (header, value) in [("plenary-consistency", "linearizable"), ("plenary-consistency", "local"), ("x", "y")] {
        let answer = read(header, value).await;
        assert_eq!((answer.status, revision(&answer)), (StatusCode::OK, revision(&created)), "{header}: {value}");
    }
    assert_eq!(read("plenary-at-least", &revision(&created).to_string()).await.status, StatusCode::OK);
    let ahead = read("plenary-at-least", &(revision(&created) + 1).to_string()).await;
    assert_eq!((ahead.status, ahead.code()), (StatusCode::SERVICE_UNAVAILABLE, "REVISION_NOT_REACHED".to_owned()));
    assert!(ahead.headers.contains_key("retry-after"));
    for (header, value) in [("plenary-at-least", "soon"), ("plenary-consistency", "perfect")] {
        let answer = read(header, value).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "VALIDATION_FAILED".to_owned()));
        assert!(answer.paths()[0].eq_ignore_ascii_case(header));
    }
    world.directory.set_available(false);
    assert_eq!(read("plenary-consistency", "linearizable").await.code(), "NO_QUORUM");
    assert_eq!(read("plenary-consistency", "local").await.status, StatusCode::OK);
    assert_eq!(world.ask("DELETE", &path, Some(&host), None).await.code(), "NO_QUORUM");
}
