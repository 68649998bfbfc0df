use std::net::UdpSocket;

use plenary_cluster::state::Standing;

use super::*;
use crate::link::refusal::Refusal;
use crate::link::testing::{ANY_PORT, Cluster, Echo, Log, eventually, kill, mortal};

const PATIENT: Duration = Duration::from_secs(10);

fn start(identity: &Arc<Identity>, address: SocketAddr) -> (ControlLink, SocketAddr) {
    let link = ControlLink::bind(address, Arc::clone(identity), Roster::default()).unwrap();
    link.serve(Arc::new(Echo::default()));
    let address = link.local_address().unwrap();
    (link, address)
}

async fn call(from: &ControlLink, to: u64, at: SocketAddr, request: &'static str) -> Result<Bytes, RpcError> {
    from.call(NodeId::new(to), at, Bytes::from(request), PATIENT).await
}

#[tokio::test]
async fn members_call_each_other_and_know_who_calls() {
    let cluster = Cluster::new();
    let (one, at_one) = start(&cluster.node(1), ANY_PORT);
    let (two, at_two) = start(&cluster.node(2), ANY_PORT);
    let (three, _) = start(&cluster.node(3), ANY_PORT);
    assert_eq!(call(&one, 2, at_two, "hi").await, Ok(Bytes::from("1:hi")));
    assert_eq!(call(&two, 1, at_one, "hi").await, Ok(Bytes::from("2:hi")));
    assert_eq!(call(&three, 1, at_one, "").await, Ok(Bytes::from("3:")));
    let refused = RpcError::Refused { target: NodeId::new(2), reason: "not today".to_owned() };
    assert_eq!(call(&one, 2, at_two, "fail").await, Err(refused));
    let peers = one.peers();
    assert_eq!((peers.len(), peers[0].node, peers[0].address), (1, NodeId::new(2), Some(at_two)));
    assert!(peers[0].rtt_micros.is_some());
    for link in [one, two, three] {
        link.close().await;
    }
}

#[tokio::test]
async fn large_bodies_pass_both_ways_and_larger_ones_are_refused() {
    let cluster = Cluster::new();
    let (one, _) = start(&cluster.node(1), ANY_PORT);
    let (_two, at_two) = start(&cluster.node(2), ANY_PORT);
    assert_eq!(call(&one, 2, at_two, "big").await.map(|body| body.len()), Ok(48 << 20));
    let request = Bytes::from(vec![1; 48 << 20]);
    let answer = one.call(NodeId::new(2), at_two, request, PATIENT).await.unwrap();
    assert_eq!(answer.len(), (48 << 20) + 2);
    let request = Bytes::from(vec![1; wire::MAX_BODY + 1]);
    let answer = one.call(NodeId::new(2), at_two, request, PATIENT).await;
    assert!(matches!(answer, Err(RpcError::Unreachable { .. })));
}

#[tokio::test]
async fn a_call_that_gets_no_answer_ends_at_its_deadline_and_the_next_is_served() {
    let cluster = Cluster::new();
    let (one, _) = start(&cluster.node(1), ANY_PORT);
    let (_two, at_two) = start(&cluster.node(2), ANY_PORT);
    let answer = one.call(NodeId::new(2), at_two, Bytes::from("hang"), Duration::from_millis(100)).await;
    assert_eq!(answer, Err(RpcError::Timeout { target: NodeId::new(2) }));
    assert!(call(&one, 2, at_two, "hi").await.is_ok());
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_and_the_log_says_why() {
    let (log, _guard) = Log::capture();
    let (stranger, _) = start(&Cluster::new().node(1), ANY_PORT);
    let (two, at_two) = start(&Cluster::new().node(2), ANY_PORT);
    // The stranger refuses our certificate first; show that our side alone refuses too.
    assert!(matches!(call(&stranger, 2, at_two, "hi").await, Err(RpcError::Unreachable { .. })));
    assert_eq!(stranger.refusals().of(Refusal::UnknownAuthority), 1);
    eventually("the refused side notices", || two.refusals().of(Refusal::ByPeer) == 1).await;
    assert!(log.text().contains("reason=\"unknown_authority\""), "{}", log.text());
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_by_the_server() {
    let (log, _guard) = Log::capture();
    let ours = Cluster::new().node(2);
    let (two, at_two) = start(&ours, ANY_PORT);
    // Trusts our authority but shows a certificate of its own.
    let foreign = Cluster::new().node(1);
    let client = tls::client_with_parts(&ours, &foreign, Alpn::Control).unwrap();
    let error = speak(client, at_two, &ours.server_name(NodeId::new(2))).await;
    eventually("the server refuses", || two.refusals().of(Refusal::UnknownAuthority) == 1).await;
    assert!(error.contains("aborted by peer"), "{error}");
    let text = log.text();
    assert!(
        text.contains("WARN") && text.contains("node link refused") && text.contains("remote=127.0.0.1:"),
        "{text}"
    );
    assert!(text.contains("reason=\"unknown_authority\""), "{text}");
}

#[tokio::test]
async fn a_member_without_a_certificate_is_refused() {
    let (log, _guard) = Log::capture();
    let ours = Cluster::new().node(2);
    let (two, at_two) = start(&ours, ANY_PORT);
    let error = speak(
        tls::client_without_certificate(&ours, Alpn::Control).unwrap(),
        at_two,
        &ours.server_name(NodeId::new(2)),
    )
    .await;
    eventually("the server refuses", || two.refusals().of(Refusal::NoCertificate) == 1).await;
    assert!(error.contains("closed by peer"), "{error}");
    assert!(log.text().contains("reason=\"no_certificate\""), "{}", log.text());
}

#[tokio::test]
async fn another_node_than_the_one_dialled_is_refused() {
    let (log, _guard) = Log::capture();
    let cluster = Cluster::new();
    let (one, _) = start(&cluster.node(1), ANY_PORT);
    let (_two, at_two) = start(&cluster.node(2), ANY_PORT);
    assert!(matches!(call(&one, 3, at_two, "hi").await, Err(RpcError::Unreachable { .. })));
    assert_eq!(one.refusals().of(Refusal::WrongNode), 1, "{:?}\n{}", one.refusals(), log.text());
    assert!(log.text().contains("reason=\"wrong_node\""), "{}", log.text());
    assert!(call(&one, 2, at_two, "hi").await.is_ok());
}

#[tokio::test]
async fn a_peer_that_never_answers_fails_fast_and_delays_nobody() {
    let cluster = Cluster::new();
    let (one, _) = start(&cluster.node(1), ANY_PORT);
    let (_two, at_two) = start(&cluster.node(2), ANY_PORT);
    let hung = UdpSocket::bind(ANY_PORT).unwrap();
    let at_hung = hung.local_addr().unwrap();
    assert!(call(&one, 2, at_two, "hi").await.is_ok());
    let begin = Instant::now();
    let (dead, alive) = tokio::join!(call(&one, 3, at_hung, "hi"), async {
        for _ in 0..50 {
            call(&one, 2, at_two, "hi").await.unwrap();
        }
        begin.elapsed()
    });
    assert!(matches!(dead, Err(RpcError::Unreachable { .. })), "{dead:?}");
    assert!(begin.elapsed() < Duration::from_millis(600), "{:?}", begin.elapsed());
    assert!(alive < Duration::from_millis(600), "{alive:?}");
    // The dial goes on in the background: the next call learns at once that it has not ended.
    let begin = Instant::now();
    assert!(call(&one, 3, at_hung, "hi").await.is_err());
    assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_restarted_peer_is_reached_again_on_the_same_and_on_another_port() {
    let cluster = Cluster::new();
    let (one, _) = start(&cluster.node(1), ANY_PORT);
    let identity = cluster.node(2);
    let (two, at_two) = start(&identity, ANY_PORT);
    assert!(call(&one, 2, at_two, "hi").await.is_ok());
    two.close().await;
    drop(two);
    // Its predecessor's socket closes when its tasks have ended.
    let mut again = None;
    eventually("the port is free", || {
        again = ControlLink::bind(at_two, Arc::clone(&identity), Roster::default()).ok();
        again.is_some()
    })
    .await;
    let two = again.unwrap();
    two.serve(Arc::new(Echo::default()));
    reached(&one, at_two).await;
    two.close().await;
    drop(two);
    let (_two, elsewhere) = start(&identity, ANY_PORT);
    reached(&one, elsewhere).await;
}

#[tokio::test]
async fn a_peer_that_was_killed_and_restarted_is_reached_before_any_timeout() {
    let cluster = Cluster::new();
    let ((one, _), identity) = (start(&cluster.node(1), ANY_PORT), cluster.node(2));
    let process = mortal();
    let guard = process.enter();
    let (killed, at) = start(&identity, ANY_PORT);
    drop(guard);
    assert!(call(&one, 2, at, "hi").await.is_ok());
    kill(process).await;
    drop(killed);
    let mut again = None;
    eventually("the port is free", || {
        again = ControlLink::bind(at, Arc::clone(&identity), Roster::default()).ok();
        again.is_some()
    })
    .await;
    let begin = Instant::now();
    again.as_ref().unwrap().serve(Arc::new(Echo::default()));
    reached(&one, at).await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}

async fn reached(from: &ControlLink, at: SocketAddr) {
    let retry = async { while call(from, 2, at, "hi").await.is_err() {} };
    assert!(tokio::time::timeout(Duration::from_secs(5), retry).await.is_ok(), "not reached again");
}

/// Dials as somebody else and waits until the server has closed the connection; returns its words.
async fn speak(client: quinn::crypto::rustls::QuicClientConfig, at: SocketAddr, name: &str) -> String {
    let endpoint = Endpoint::client(ANY_PORT).unwrap();
    let client = socket::client(client, &socket::control_transport(0));
    match endpoint.connect_with(client, at, name).unwrap().await {
        Ok(connection) => connection.closed().await.to_string(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_no_call_fails_meanwhile() {
    let (cluster, dir) = (Cluster::new(), tempfile::tempdir().unwrap());
    let (identity, two) = (cluster.node(1), cluster.node(2));
    let ((one, at_one), (two, at_two)) = (start(&identity, ANY_PORT), start(&two, ANY_PORT));
    assert!(call(&one, 2, at_two, "hi").await.is_ok());
    let first = one.targets.lock()[&NodeId::new(2)].current().unwrap().1;
    for _ in 0..5 {
        identity.renew(dir.path(), crate::link::testing::now()).unwrap();
        one.reload().unwrap();
        for _ in 0..20 {
            assert_eq!(call(&one, 2, at_two, "hi").await, Ok(Bytes::from("1:hi")));
        }
        assert!(call(&two, 1, at_one, "hi").await.is_ok());
    }
    let now = || one.targets.lock()[&NodeId::new(2)].current().unwrap().1;
    eventually("the connection was made anew", || now().stable_id() != first.stable_id()).await;
    drop(first);
    assert_eq!(one.refusals(), two.refusals(), "nobody was refused");
}

#[tokio::test]
async fn a_removed_node_is_cut_off_refused_and_told_why() {
    let cluster = Cluster::new();
    let removed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let roster = Roster::default();
    let says = Arc::clone(&removed);
    roster.follow(Arc::new(move |node| match (says.load(std::sync::atomic::Ordering::SeqCst), node.number()) {
        (true, 2) => Standing::Removed,
        (_, 3) => Standing::Stranger,
        (_, _) => Standing::Member,
    }));
    let one = ControlLink::bind(ANY_PORT, cluster.node(1), roster).unwrap();
    one.serve(Arc::new(Echo::default()));
    let at_one = one.local_address().unwrap();
    let (two, at_two) = start(&cluster.node(2), ANY_PORT);
    let (three, _) = start(&cluster.node(3), ANY_PORT);
    assert!(call(&one, 2, at_two, "hi").await.is_ok());
    assert!(call(&two, 1, at_one, "hi").await.is_ok());
    assert!(call(&three, 1, at_one, "hi").await.is_err(), "its id was never given to anyone");

    removed.store(true, std::sync::atomic::Ordering::SeqCst);
    one.expel(NodeId::new(2));
    assert!(matches!(call(&one, 2, at_two, "hi").await, Err(RpcError::Unreachable { .. })));
    let banished = async {
        while call(&two, 1, at_one, "hi").await.is_ok() {}
        two.banished().await
    };
    let words = tokio::time::timeout(PATIENT, banished).await.unwrap();
    assert!(words.contains("removed"), "{words}");
    let refused = async {
        // The stranger was the first.
        while one.refusals().of(Refusal::NotAMember) < 2 {
            assert!(call(&two, 1, at_one, "hi").await.is_err(), "a removed node was answered");
        }
    };
    assert!(tokio::time::timeout(PATIENT, refused).await.is_ok(), "its next handshake was not refused");
}

#[tokio::test]
async fn a_probe_is_answered_by_who_lives_and_by_nobody_else() {
    let cluster = Cluster::new();
    let (one, _) = start(&cluster.node(1), ANY_PORT);
    let process = mortal();
    let guard = process.enter();
    let (two, at_two) = start(&cluster.node(2), ANY_PORT);
    drop(guard);
    let (dead_after, node) = (Duration::from_millis(300), NodeId::new(2));
    assert!(one.probe(node, at_two, PATIENT).await);
    for _ in 0..20 {
        let (a, b) = tokio::join!(one.probe(node, at_two, PATIENT), one.probe(node, at_two, PATIENT));
        assert!(a && b, "each of several probes has its answer");
    }
    kill(process).await;
    for _ in 0..3 {
        assert!(!one.probe(node, at_two, dead_after).await, "the dead do not answer");
    }
    drop(two);
}
