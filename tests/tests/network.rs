//! The network between processes does what it is told.

use std::net::UdpSocket;
use std::time::Duration;

use plenary_tests::{Conditions, Network, now};

/// Sends `count` numbered packets from ada to bob, one each 2 ms at most, and says which arrived and when.
fn send(network: &Network, count: u16) -> Vec<(u16, Duration)> {
    let bob = (network.host("bob").v4, 5000);
    let receiver = network.inside("bob", || UdpSocket::bind(bob).expect("bob listens")).expect("bob is there");
    let sender = network.inside("ada", || UdpSocket::bind("0.0.0.0:0").expect("ada sends")).expect("ada is there");
    receiver.set_read_timeout(Some(Duration::from_millis(400))).expect("timeout");
    let started = now();
    let sent = std::thread::spawn(move || {
        (0..count)
            .map(|number| {
                std::thread::park_timeout(Duration::from_millis(2));
                let at = started.elapsed();
                sender.send_to(&number.to_be_bytes(), bob).expect("sent");
                at
            })
            .collect::<Vec<_>>()
    });
    let mut arrived = Vec::new();
    let mut buffer = [0; 2];
    while receiver.recv(&mut buffer).is_ok() {
        arrived.push((u16::from_be_bytes(buffer), started.elapsed()));
    }
    let sent = sent.join().expect("all sent");
    arrived.into_iter().map(|(number, at)| (number, at - sent[usize::from(number)])).collect()
}

#[test]
fn a_clean_network_loses_and_reorders_nothing() {
    let network = Network::new("clean", &["ada", "bob"], 7).expect("network");
    let arrived = send(&network, 200);
    assert!(arrived.iter().map(|(number, _)| *number).eq(0..200), "{arrived:?}");
}

#[test]
fn delay_loss_duplication_and_reordering_are_as_asked() {
    let mut network = Network::new("rough", &["ada", "bob"], 7).expect("network");
    let rough = Conditions {
        delay_ms: Some(40.0),
        jitter_ms: Some(3.0),
        loss: Some(0.2),
        reorder: Some(0.1),
        duplicate: Some(0.1),
    };
    network.set("ada", "bob", rough).expect("set");
    let arrived = send(&network, 500);
    let counts = network.counts("ada", "bob").expect("counts");

    assert_eq!(arrived.len() as u64, 500 - counts.lost + counts.duplicated, "{counts:?}");
    assert!((60..140).contains(&counts.lost), "{counts:?}");
    assert!((15..70).contains(&counts.duplicated) && (15..70).contains(&counts.reordered), "{counts:?}");
    assert!(arrived.iter().all(|(_, delay)| *delay >= Duration::from_millis(37)), "{arrived:?}");
    let late = arrived.windows(2).filter(|pair| pair[1].0 < pair[0].0).count() as u64;
    assert!(late >= counts.reordered / 2, "{late} late, {counts:?}");
}

#[test]
fn a_cut_is_total_and_heals() {
    let mut network = Network::new("cut", &["ada", "bob"], 7).expect("network");
    network.set_all(Conditions { loss: Some(1.0), ..Conditions::default() }).expect("cut");
    assert_eq!(send(&network, 20), []);
    network.set_all(Conditions { loss: Some(0.0), ..Conditions::default() }).expect("heal");
    assert_eq!(send(&network, 20).len(), 20);
    assert!(network.set("ada", "eve", Conditions::default()).is_err());
}
