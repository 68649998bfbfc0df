//! The floor: what no forwarder can do with less. Packets of the sizes of a workload are encrypted for each subscriber and
//! given to the kernel, a frame in one call (UDP segmentation offload), 30 times a second; nothing is received, looked up or
//! kept.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use clap::Args;
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::workload::{AUDIO_BYTES, FRAMES_EACH_SECOND, Traffic, sounds_with};
use crate::clock::now;
use crate::report::say;

/// RTP header with the extensions that we send.
const HEADER: usize = 12 + 4 + 8;
/// AES-GCM's tag (RFC 7714 §12).
const TAG: usize = 16;

/// Encrypts and sends, and says what that took.
#[derive(Debug, Args)]
pub(crate) struct Floor {
    /// Where to.
    #[arg(long)]
    to: SocketAddr,
    /// Subscribers, each with keys of its own.
    #[arg(long)]
    subscribers: usize,
    /// Seconds of media.
    #[arg(long)]
    seconds: u32,
    /// Pictures that each gets.
    #[arg(long)]
    pictures: u16,
    /// Kilobits a second of each picture.
    #[arg(long)]
    kbps: u32,
    /// Voices that each gets.
    #[arg(long)]
    voices: u16,
}

/// What it took.
#[derive(Debug, Serialize, serde::Deserialize)]
pub(crate) struct Taken {
    pub(crate) packets: u64,
    pub(crate) cpu_ns: u64,
}

/// One subscriber's keys and counter.
struct Subscriber {
    key: LessSafeKey,
    packets: u32,
}

impl Floor {
    pub(crate) fn run(&self) -> Result<()> {
        plenary::prepare_process();
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // It made the socket one that does not wait.
        socket.set_nonblocking(false)?;
        let mut subscribers = Vec::new();
        for number in 0..self.subscribers {
            let secret = [u8::try_from(number % 251)?; 32];
            let key = UnboundKey::new(&AES_256_GCM, &secret).map_err(|_| anyhow::anyhow!("a key of 32 bytes"))?;
            subscribers.push(Subscriber { key: LessSafeKey::new(key), packets: 0 });
        }
        let Self { pictures, kbps, voices, .. } = *self;
        let (count, size) = Traffic { pictures, kbps, voices }.frame();
        let mut train = Vec::new();
        let began = used();
        let mut packets = 0;
        let mut send = |subscriber: &mut Subscriber, count: usize, size: usize| -> Result<()> {
            train.clear();
            for _ in 0..count {
                subscriber.seal(size, &mut train)?;
            }
            let segment_size = (count > 1).then_some(HEADER + size + TAG);
            let transmit = Transmit { destination: self.to, ecn: None, contents: &train, segment_size, src_ip: None };
            // A full socket of the other end loses packets: those are sent all the same.
            state.try_send(UdpSockRef::from(&socket), &transmit)?;
            packets += count as u64;
            Ok(())
        };
        let start = now();
        for frame in 0..u64::from(self.seconds) * FRAMES_EACH_SECOND {
            let sounds = sounds_with(frame);
            for subscriber in &mut subscribers {
                for _ in 0..if count > 0 { pictures } else { 0 } {
                    send(subscriber, count, size)?;
                }
                for _ in 0..sounds * u64::from(voices) {
                    send(subscriber, 1, AUDIO_BYTES)?;
                }
            }
            wait_until(start + Duration::from_secs(1) * u32::try_from(frame + 1)? / u32::try_from(FRAMES_EACH_SECOND)?);
        }
        ensure!(packets > 0, "nothing to send");
        let taken = Taken { packets, cpu_ns: u64::try_from((used() - began).as_nanos())? };
        say(serde_json::to_string(&taken)?);
        Ok(())
    }
}

impl Subscriber {
    /// Appends one SRTP packet with `size` bytes of payload.
    fn seal(&mut self, size: usize, out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.resize(start + HEADER, 0x80);
        out[start + 2..start + 4].copy_from_slice(&self.packets.to_be_bytes()[2..]);
        out.resize(start + HEADER + size, 0x5A);
        let mut nonce = [7; 12];
        nonce[8..].copy_from_slice(&self.packets.to_be_bytes());
        self.packets += 1;
        let (head, payload) = out[start..].split_at_mut(HEADER);
        let sealed =
            self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&head[..]), payload);
        let tag = sealed.map_err(|_| anyhow::anyhow!("a packet could not be encrypted"))?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

/// As servers get time to rest between frames, and caches to go cold.
#[expect(clippy::disallowed_methods, reason = "frames are sent at their times")]
fn wait_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(now()));
}

/// Processor time of this process.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
