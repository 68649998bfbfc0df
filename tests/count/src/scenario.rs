//! The scenarios with whole `Sfu`s: who is where, and how they are played.

use std::time::Duration;

use anyhow::ensure;

use crate::client::Publishes;
use crate::world::World;

/// All names, for whoever mistypes one.
pub(crate) const NAMES: &str = "forwarder, fanout-1, fanout-25, audio-3x10, relay";

/// From the offers to all connections; a second of the scenario is enough, a lost flight may be repeated.
const CONNECT: Duration = Duration::from_secs(5);
/// Played before anything is counted: keyframes, first reports, full retransmission caches, speakers in their order.
const WARM_UP: Duration = Duration::from_secs(2);
/// No scenario is as long.
const DEADLINE: Duration = Duration::from_secs(600);

/// Who takes part.
#[derive(Debug)]
pub(crate) struct Cast {
    publishers: usize,
    publishes: Publishes,
    subscribers: usize,
    /// Two nodes: publishers are on the first, subscribers on the second.
    apart: bool,
    /// How often it is played anew. str0m keeps its streams in hash maps whose order differs from session to session,
    /// and what a packet costs depends on it: the fewer sessions, the more rounds make the figure steady.
    rounds: u64,
}

impl Cast {
    /// The cast of a scenario.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let both = Publishes::SoundAndPicture;
        let (publishers, publishes, subscribers, apart, rounds) = match name {
            "fanout-1" => (1, both, 1, false, 6),
            "fanout-25" => (1, both, 25, false, 1),
            "audio-3x10" => (3, Publishes::Sound, 10, false, 3),
            "relay" => (1, both, 1, true, 6),
            _ => return None,
        };
        Some(Self { publishers, publishes, subscribers, apart, rounds })
    }
}

/// Plays all rounds until subscribers received so many packets after the warm-ups; returns how many they were.
pub(crate) fn play(cast: &Cast, packets: u64) -> anyhow::Result<u64> {
    (0..cast.rounds).map(|_| round(cast, packets.div_ceil(cast.rounds))).sum()
}

fn round(cast: &Cast, packets: u64) -> anyhow::Result<u64> {
    let mut world = World::new(if cast.apart { 2 } else { 1 });
    for _ in 0..cast.publishers {
        world.enter(0, cast.publishes)?;
    }
    for _ in 0..cast.subscribers {
        world.enter(usize::from(cast.apart), Publishes::Nothing)?;
    }
    world.run_until(CONNECT, |world| world.clients.iter().all(|client| client.connected))?;
    world.announce()?;
    let now = world.now;
    world.clients.iter_mut().filter(|client| client.publishes == cast.publishes).for_each(|client| client.publish(now));
    world.run_until(DEADLINE, |world| world.now >= now + WARM_UP)?;
    for client in world.clients.iter().filter(|client| client.publishes == Publishes::Nothing) {
        ensure!(client.received > 0, "{} received nothing in {WARM_UP:?}", client.address);
    }
    let before = received(&world);
    world.measured = true;
    world.run_until(DEADLINE, |world| received(world) >= before + packets)?;
    Ok(received(&world) - before)
}

fn received(world: &World) -> u64 {
    world.clients.iter().map(|client| client.received).sum()
}
