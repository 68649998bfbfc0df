use std::sync::Arc;

use plenary_cluster::raft::Rpc as _;

use super::*;
use crate::link::refusal::Refusal as Reason;
use crate::link::testing::{ANY_PORT, Cluster, Echo, eventually, now};
use crate::link::{ControlLink, Roster};

const CONTROL: SocketAddr = ANY_PORT;

fn member(cluster: &Cluster) -> (Arc<Identity>, ControlLink, SocketAddr) {
    let identity = cluster.node(1);
    let link = ControlLink::bind(ANY_PORT, Arc::clone(&identity), Roster::default()).unwrap();
    link.serve(Arc::new(Echo::default()));
    let address = link.local_address().unwrap();
    (identity, link, address)
}

fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_millis(now().millis() + seconds * 1000)
}

#[tokio::test]
async fn a_newcomer_with_a_token_becomes_a_member_that_others_accept() {
    let (identity, link, address) = member(&Cluster::new());
    let token = JoinToken::mint(&identity, 5, in_seconds(60));
    let joined = join(address, &token, CONTROL).await.unwrap();
    assert_eq!((joined.introducer, joined.identity.node()), (NodeId::new(1), NodeId::new(41)));
    let newcomer = ControlLink::bind(ANY_PORT, Arc::new(joined.identity), Roster::default()).unwrap();
    newcomer.serve(Arc::new(Echo::default()));
    let (deadline, at_newcomer) = (Duration::from_secs(5), newcomer.local_address().unwrap());
    let answer = newcomer.call(NodeId::new(1), address, Bytes::from("hi"), deadline).await;
    assert_eq!(answer, Ok(Bytes::from("41:hi")));
    let answer = link.call(NodeId::new(41), at_newcomer, Bytes::from("hi"), deadline).await;
    assert_eq!(answer, Ok(Bytes::from("1:hi")));
}

#[tokio::test]
async fn a_newcomer_can_admit_the_next() {
    let (identity, _link, address) = member(&Cluster::new());
    let joined = join(address, &JoinToken::mint(&identity, 5, in_seconds(60)), CONTROL).await.unwrap();
    let token = JoinToken::mint(&joined.identity, 6, in_seconds(60));
    assert_eq!(join(address, &token, CONTROL).await.unwrap().identity.node(), NodeId::new(42));
}

#[tokio::test]
async fn expired_spent_and_tampered_tokens_are_refused() {
    let (identity, _link, address) = member(&Cluster::new());
    let expires = in_seconds(-1);
    let outcome = join(address, &JoinToken::mint(&identity, 5, expires), CONTROL).await;
    assert!(matches!(outcome, Err(JoinError::Refused(EnrollError::Expired { at })) if at == expires), "{outcome:?}");
    let token = JoinToken::mint(&identity, 5, in_seconds(60));
    assert!(join(address, &token, CONTROL).await.is_ok());
    let outcome = join(address, &token, CONTROL).await;
    assert!(matches!(outcome, Err(JoinError::Refused(EnrollError::Spent))), "{outcome:?}");
    let mut forged = JoinToken::mint(&identity, 6, in_seconds(60)).to_string();
    forged.pop();
    forged.pop();
    let forged: JoinToken = format!("{forged}AA").parse().unwrap();
    let outcome = join(address, &forged, CONTROL).await;
    assert!(matches!(outcome, Err(JoinError::Refused(EnrollError::Forged))), "{outcome:?}");
}

#[tokio::test]
async fn a_foreign_token_sends_no_secret_anywhere() {
    let (_, _link, address) = member(&Cluster::new());
    let foreign = JoinToken::mint(&Cluster::new().node(1), 5, in_seconds(60));
    let outcome = join(address, &foreign, CONTROL).await;
    assert!(matches!(outcome, Err(JoinError::WrongCluster { .. })), "{outcome:?}");
}

#[tokio::test]
async fn an_address_where_nobody_answers_is_named() {
    let silent = std::net::UdpSocket::bind(ANY_PORT).unwrap();
    let address = silent.local_addr().unwrap();
    let token = JoinToken::mint(&Cluster::new().node(1), 5, in_seconds(60));
    let error = join(address, &token, CONTROL).await.unwrap_err();
    assert!(matches!(error, JoinError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn a_join_connection_can_do_nothing_but_enrol() {
    let (identity, link, address) = member(&Cluster::new());
    let token = JoinToken::mint(&identity, 5, in_seconds(60));
    let endpoint = Endpoint::client(ANY_PORT).unwrap();
    let connection = dial(&endpoint, address, &token).await.unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    write_body(&mut send, Bytes::from("hi")).await.unwrap();
    let answer = read_answer(&mut recv).await.unwrap().unwrap();
    let reply: Result<ReplyBody, EnrollError> = decode(&answer).unwrap();
    assert!(matches!(reply, Err(EnrollError::Malformed { .. })));
    eventually("the member hangs up", || connection.close_reason().is_some()).await;
    // With a certificate, on the newcomers' protocol: refused as well.
    let client = socket::client(tls::client(&identity, tls::Alpn::Join).unwrap(), &socket::control_transport(0));
    let name = identity.server_name(NodeId::new(1));
    let connection = endpoint.connect_with(client, address, &name).unwrap().await.unwrap();
    eventually("the member hangs up", || connection.close_reason().is_some()).await;
    assert_eq!(link.refusals().of(Reason::Protocol), 1);
}
