use std::net::UdpSocket;

use super::*;
use crate::link::refusal::Refusal;
use crate::link::testing::{ANY_PORT, Cluster, Log, eventually, kill, mortal};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Up(u64),
    Down(u64, DownReason),
    Datagram(u64, Bytes),
    Reliable(u64, Bytes),
}

/// Keeps what links bring, and checks the order that sinks are promised.
#[derive(Default)]
struct Book(Mutex<Vec<Seen>>);

impl Book {
    fn write(&self, peer: NodeId, seen: Seen, must_be_up: bool) {
        let mut book = self.0.lock();
        let last = book.iter().rev().find_map(|seen| match seen {
            Seen::Up(node) if *node == peer.number() => Some(true),
            Seen::Down(node, _) if *node == peer.number() => Some(false),
            Seen::Up(_) | Seen::Down(..) | Seen::Datagram(..) | Seen::Reliable(..) => None,
        });
        assert_eq!(last.unwrap_or(false), must_be_up, "{seen:?} after {book:?}");
        book.push(seen);
    }

    fn seen(&self) -> Vec<Seen> {
        self.0.lock().clone()
    }

    fn ups(&self) -> usize {
        self.0.lock().iter().filter(|seen| matches!(seen, Seen::Up(_))).count()
    }

    fn downs(&self) -> Vec<DownReason> {
        let reason = |seen: &Seen| if let Seen::Down(_, reason) = seen { Some(*reason) } else { None };
        self.0.lock().iter().filter_map(reason).collect()
    }
}

impl MediaSink for Book {
    fn up(&self, peer: NodeId) {
        self.write(peer, Seen::Up(peer.number()), false);
    }

    fn down(&self, peer: NodeId, reason: DownReason) {
        self.write(peer, Seen::Down(peer.number(), reason), true);
    }

    fn datagram(&self, peer: NodeId, payload: Bytes) {
        self.write(peer, Seen::Datagram(peer.number(), payload), true);
    }

    fn reliable(&self, peer: NodeId, payload: &Bytes) -> bool {
        self.write(peer, Seen::Reliable(peer.number(), payload.clone()), true);
        true
    }
}

struct End {
    link: MediaLink,
    book: Arc<Book>,
    node: u64,
    address: SocketAddr,
}

impl End {
    fn start(identity: &Arc<Identity>) -> Self {
        Self::try_start(identity, ANY_PORT).unwrap()
    }

    fn try_start(identity: &Arc<Identity>, address: SocketAddr) -> Result<Self, LinkError> {
        let book = Arc::new(Book::default());
        let sink = Arc::clone(&book);
        let link = MediaLink::bind(address, Arc::clone(identity), LinkMtu::default(), sink, Roster::default())?;
        let address = link.local_address().unwrap();
        Ok(Self { link, book, node: identity.node().number(), address })
    }

    fn want(&self, peers: &[(u64, SocketAddr)]) {
        self.link.set_peers(&peers.iter().map(|(node, address)| (NodeId::new(*node), *address)).collect());
    }

    fn is_up(&self, peer: u64) -> bool {
        self.link.stats().iter().any(|stats| stats.peer == NodeId::new(peer) && stats.up)
    }

    async fn up(&self, peer: u64) {
        eventually("link up", || self.is_up(peer)).await;
    }
}

async fn pair() -> (Cluster, End, End) {
    let cluster = Cluster::new();
    let (one, two) = (End::start(&cluster.node(1)), End::start(&cluster.node(2)));
    one.want(&[(2, two.address)]);
    one.up(2).await;
    two.up(1).await;
    (cluster, one, two)
}

#[tokio::test]
async fn datagrams_and_frames_cross_a_link_both_ways_and_are_counted() {
    let (_cluster, one, two) = pair().await;
    assert_eq!(one.link.send_datagram(NodeId::new(2), Bytes::from("ping")), Ok(()));
    assert_eq!(two.link.send_datagram(NodeId::new(1), Bytes::from("pong")), Ok(()));
    assert_eq!(one.link.send_reliable(NodeId::new(2), Bytes::from("pull")), Ok(()));
    assert_eq!(two.link.send_reliable(NodeId::new(1), Bytes::from("pulled")), Ok(()));
    eventually("all arrive", || one.book.seen().len() == 3 && two.book.seen().len() == 3).await;
    let seen = two.book.seen();
    assert!(seen.contains(&Seen::Datagram(1, Bytes::from("ping"))), "{seen:?}");
    assert!(seen.contains(&Seen::Reliable(1, Bytes::from("pull"))), "{seen:?}");
    let stats = &one.link.stats()[0];
    assert!(stats.up && stats.dialled_by_us && stats.rtt_micros.is_some());
    assert_eq!((stats.datagrams_sent, stats.datagram_bytes_sent, stats.datagrams_received), (1, 4, 1));
    assert_eq!((stats.reliable_sent, stats.reliable_bytes_received, stats.dropped), (1, 6, 0));
    assert_eq!(one.link.send_datagram(NodeId::new(9), Bytes::new()), Err(Dropped::NoLink));
    one.link.close().await;
    eventually("the other end goes down", || two.book.downs() == [DownReason::Closed]).await;
    assert_eq!(one.book.downs(), [DownReason::Closed]);
}

#[tokio::test]
async fn reliable_frames_keep_their_order_and_large_datagrams_take_a_stream() {
    let (_cluster, one, two) = pair().await;
    for number in 0..500_u32 {
        one.link.send_reliable(NodeId::new(2), Bytes::from(number.to_be_bytes().to_vec())).unwrap();
    }
    one.link.send_datagram(NodeId::new(2), Bytes::from(vec![3; 30_000])).unwrap();
    one.link.send_datagram(NodeId::new(2), Bytes::from(vec![4; 1250])).unwrap();
    eventually("all arrive", || two.book.seen().len() == 503).await;
    let frames: Vec<_> = two.book.seen().into_iter().filter(|seen| matches!(seen, Seen::Reliable(..))).collect();
    let sent = (0..500_u32).map(|number| Seen::Reliable(1, Bytes::from(number.to_be_bytes().to_vec())));
    assert!(frames.into_iter().eq(sent));
    assert!(two.book.seen().contains(&Seen::Datagram(1, Bytes::from(vec![3; 30_000]))));
    assert_eq!(one.link.stats()[0].datagrams_on_streams, 1);
    assert_eq!(one.link.send_reliable(NodeId::new(2), Bytes::from(vec![0; 70_000])), Err(Dropped::TooLarge));
    assert_eq!(one.link.send_datagram(NodeId::new(2), Bytes::from(vec![0; 70_000])), Err(Dropped::TooLarge));
}

#[tokio::test]
async fn two_who_dial_at_once_keep_one_connection_without_a_flap() {
    // The larger id dials ever earlier: its connection meets the smaller id's dial in every stage.
    for head_start in (0..60).step_by(3) {
        let cluster = Cluster::new();
        let (one, two) = (End::start(&cluster.node(1)), End::start(&cluster.node(2)));
        two.want(&[(1, one.address)]);
        for _ in 0..head_start {
            tokio::task::yield_now().await;
        }
        one.want(&[(2, two.address)]);
        one.up(2).await;
        two.up(1).await;
        one.link.send_reliable(NodeId::new(2), Bytes::from("a")).unwrap();
        two.link.send_reliable(NodeId::new(1), Bytes::from("b")).unwrap();
        eventually("one connection is left", || one.link.shared.dialler.endpoint.open_connections() == 1).await;
        eventually("both hear", || one.book.seen().len() >= 2 && two.book.seen().len() >= 2).await;
        let kept_by_smaller = one.link.stats()[0].dialled_by_us;
        assert_ne!(kept_by_smaller, two.link.stats()[0].dialled_by_us);
        assert!(kept_by_smaller || head_start > 0);
        assert_eq!((one.book.ups(), two.book.ups()), (1, 1), "head start {head_start}");
    }
}

#[tokio::test]
async fn three_nodes_link_as_wanted_and_a_link_ends_when_neither_wants_it() {
    let cluster = Cluster::new();
    let (one, two, three) = (End::start(&cluster.node(1)), End::start(&cluster.node(2)), End::start(&cluster.node(3)));
    one.want(&[(2, two.address), (3, three.address)]);
    three.want(&[(2, two.address), (1, one.address)]);
    for (end, peers) in [(&one, [2, 3]), (&two, [1, 3]), (&three, [1, 2])] {
        for peer in peers {
            end.up(peer).await;
        }
    }
    // Node 3 still wants it, so it stays up, whoever dialled it.
    one.want(&[]);
    eventually("nodes 1 and 2 part", || one.book.downs() == [DownReason::NotWanted]).await;
    one.link.send_reliable(NodeId::new(3), Bytes::from("still here")).unwrap();
    eventually("it arrives", || three.book.seen().contains(&Seen::Reliable(1, Bytes::from("still here")))).await;
    three.want(&[(2, two.address)]);
    eventually("nodes 1 and 3 part", || one.book.downs().len() == 2 && three.book.downs().len() == 1).await;
    assert!(three.is_up(2) && two.is_up(3) && !one.is_up(3));
    three.want(&[(2, two.address), (1, one.address)]);
    three.up(1).await;
}

#[tokio::test]
async fn a_link_comes_back_when_its_peer_restarts_on_the_same_and_on_another_port() {
    let (cluster, one, two) = pair().await;
    let (identity, address) = (cluster.node(2), two.address);
    drop(two);
    let mut again = None;
    eventually("the port is free", || {
        again = End::try_start(&identity, address).ok();
        again.is_some()
    })
    .await;
    let two = again.unwrap();
    eventually("the link is back", || one.book.ups() == 2 && two.is_up(one.node)).await;
    drop(two);
    let two = End::start(&identity);
    one.want(&[(2, two.address)]);
    eventually("the link is back elsewhere", || one.is_up(2) && two.is_up(one.node)).await;
}

#[tokio::test]
async fn a_peer_that_was_killed_and_restarted_is_recognised_before_any_timeout() {
    let cluster = Cluster::new();
    let (one, identity) = (End::start(&cluster.node(1)), cluster.node(2));
    let process = mortal();
    let guard = process.enter();
    let killed = End::start(&identity);
    drop(guard);
    one.want(&[(2, killed.address)]);
    one.up(2).await;
    kill(process).await;
    let address = killed.address;
    drop(killed);
    let mut again = None;
    eventually("the port is free", || {
        again = End::try_start(&identity, address).ok();
        again.is_some()
    })
    .await;
    eventually("the link is back", || one.book.ups() == 2).await;
    assert_eq!(one.book.downs(), [DownReason::Restarted]);
}

#[tokio::test]
async fn a_dead_peer_is_noticed_and_a_hung_one_delays_nobody() {
    let (_cluster, one, two) = pair().await;
    let hung = UdpSocket::bind(ANY_PORT).unwrap();
    one.want(&[(2, two.address), (3, hung.local_addr().unwrap())]);
    let begin = tokio::time::Instant::now();
    one.link.send_reliable(NodeId::new(2), Bytes::from("hi")).unwrap();
    eventually("it arrives", || two.book.seen().len() == 2).await;
    assert!(begin.elapsed() < Duration::from_millis(500));
    assert!(!one.is_up(3));
    // Its socket answers no more, as if the cable were cut: no close is sent.
    let deaf = UdpSocket::bind(ANY_PORT).unwrap();
    two.link.shared.dialler.endpoint.rebind(deaf).unwrap();
    let begin = tokio::time::Instant::now();
    eventually("the dead link is down", || !one.book.downs().is_empty()).await;
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_reader_that_stalls_loses_the_link_and_not_a_frame() {
    let (_cluster, one, two) = pair().await;
    // Nothing is sent between these calls: the queue's reader gets no turn.
    let full =
        (0..=outlet::RELIABLE_QUEUE).find_map(|_| one.link.send_reliable(NodeId::new(2), Bytes::from("x")).err());
    assert_eq!(full, Some(Dropped::Full));
    eventually("it comes up anew", || one.book.ups() == 2).await;
    assert_eq!(one.book.downs(), [DownReason::QueueFull]);
    eventually("the peer heard why", || two.book.downs() == [DownReason::QueueFull]).await;
}

#[tokio::test]
async fn strangers_and_wrong_nodes_are_refused_and_the_log_says_why() {
    let (log, _guard) = Log::capture();
    let (cluster, one, two) = pair().await;
    let three = End::start(&cluster.node(3));
    three.want(&[(4, two.address)]);
    eventually("the wrong node is refused", || three.link.refusals().of(Refusal::WrongNode) > 0).await;
    let stranger = End::start(&Cluster::new().node(5));
    stranger.want(&[(1, one.address)]);
    eventually("the stranger refuses", || stranger.link.refusals().of(Refusal::UnknownAuthority) > 0).await;
    for (client, refusal) in [
        (tls::client_with_parts(&cluster.node(6), &Cluster::new().node(6), Alpn::Media), Refusal::UnknownAuthority),
        (tls::client_without_certificate(&cluster.node(6), Alpn::Media), Refusal::NoCertificate),
        (tls::client(&cluster.node(6), Alpn::Control), Refusal::Protocol),
    ] {
        let transport = socket::media_transport(LinkMtu::default(), 0);
        let client = socket::client(client.unwrap(), &transport);
        let endpoint = Endpoint::client(ANY_PORT).unwrap();
        let name = cluster.node(1).server_name(NodeId::new(1));
        let connection = endpoint.connect_with(client, one.address, &name).unwrap().await;
        eventually("it is refused", || one.link.refusals().of(refusal) > 0).await;
        assert!(log.text().contains(&format!("reason=\"{}\"", refusal.label())), "{}", log.text());
        drop(connection);
    }
    assert!(one.is_up(2) && two.is_up(1), "the link between members saw nothing of it");
    assert_eq!(two.book.ups(), 1);
}
