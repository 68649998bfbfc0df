//! Signs of life: a datagram with the time it was sent, which the peer sends back as it is.
//!
//! Datagrams go before streams and are not sent again when lost, so an answer says how the peer is now.

use std::time::Duration;

use bytes::Bytes;
use quinn::Connection;
use tokio::time::Instant;

/// Bytes of a probe: microseconds since the endpoint was opened.
const LENGTH: usize = 8;

/// The peer's side: answers a datagram if it is a probe.
pub(crate) fn answer(connection: &Connection, probe: Bytes) {
    if probe.len() == LENGTH {
        // The connection is over, or so many answers wait that one more tells nothing.
        let _ = connection.send_datagram(probe);
    }
}

/// Probes until `deadline`; whether an answer came to a probe that is no older than `age`.
pub(crate) async fn ask(connection: &Connection, begun: Instant, age: Duration) -> bool {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let probe = Bytes::copy_from_slice(&micros(begun.elapsed()).to_be_bytes());
    if connection.send_datagram(probe).is_err() {
        return false;
    }
    loop {
        // Several probes may be under way; whichever answer comes first is one.
        let Ok(answer) = connection.read_datagram().await else { return false };
        let Ok(sent) = <[u8; LENGTH]>::try_from(&answer[..]) else { continue };
        if micros(begun.elapsed()).saturating_sub(u64::from_be_bytes(sent)) <= micros(age) {
            return true;
        }
    }
}
