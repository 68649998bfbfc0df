//! Plays one scenario of the media core on a virtual clock, so that valgrind can count what a packet costs:
//! `plenary-count SCENARIO PACKETS`. `scripts/count` runs all of them and compares with `counts.json`.
//!
//! There is no socket, thread or sleep here. callgrind collects in [`counted`] alone, which only the server's calls go
//! through, and only after the warm-up: handshakes and clients are played, but not counted.

mod client;
mod clock;
mod counted;
mod feed;
mod forwarder;
mod scenario;
mod server;
mod world;

use std::io::Write;

use anyhow::{Context, bail};
use scenario::Cast;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, packets] = arguments.as_slice() else { bail!("usage: plenary-count SCENARIO PACKETS") };
    let packets: u64 = packets.parse().with_context(|| format!("PACKETS is a number, not '{packets}'"))?;
    let measured = if name == "forwarder" {
        forwarder::play(packets)?
    } else {
        let cast = Cast::named(name).with_context(|| format!("'{name}' is not a scenario: {}", scenario::NAMES))?;
        scenario::play(&cast, packets)?
    };
    writeln!(std::io::stdout(), "packets {measured}").context("the number of packets can't be written")
}
