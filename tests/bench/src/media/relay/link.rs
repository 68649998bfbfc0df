//! The same packets through plain forwarders.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UdpSocket;
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::super::sink::Sink;
use super::super::workload::{AUDIO_BYTES, FRAMES_EACH_SECOND, PATIENCE, sounds_with};
use super::{Carrier, Cell, Place, ROOM};
use crate::host::cpu_nanos;

/// What Plenary's relay puts before a payload (`node/media/src/relay/wire.rs`).
const HEADER: usize = 25;
/// How long the last packets may be on their way.
const TAIL: Duration = Duration::from_millis(200);

/// A forwarder's process and the line that it printed.
struct Running {
    child: Child,
    said: String,
}

impl Running {
    async fn start(role: &str, to: SocketAddr, certificate: Option<&str>) -> Result<Self> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "taskset", "-c", "0"]).arg(std::env::current_exe()?);
        command.args(["forwarder", "--role", role, "--to", &to.to_string()]);
        if let Some(certificate) = certificate {
            command.args(["--certificate", certificate]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().context("its standard output")?;
        let line = timeout(PATIENCE, BufReader::new(stdout).lines().next_line()).await??;
        Ok(Self { child, said: line.with_context(|| format!("the forwarder that is to {role} ended"))? })
    }

    fn address(&self) -> Result<SocketAddr> {
        Ok(self.said.split(' ').next().unwrap_or_default().parse()?)
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("it has ended")
    }
}

/// Measures forwarders between the ends, or one that does without QUIC.
pub(super) async fn measure(place: Place, rooms: u16, seconds: u32) -> Result<Cell> {
    let sink = Sink::open()?;
    let out = SocketAddr::from((Ipv4Addr::LOCALHOST, sink.port));
    let running = match place {
        Place::Together => vec![Running::start("pass", out, None).await?],
        Place::Apart => {
            let leaves = Running::start("leave", out, None).await?;
            let certificate = leaves.said.split(' ').nth(1).context("no certificate")?;
            vec![Running::start("enter", leaves.address()?, Some(certificate)).await?, leaves]
        }
    };
    let pids = running.iter().map(Running::pid).collect::<Result<Vec<u32>>>()?;
    let used = || pids.iter().map(|pid| cpu_nanos(*pid)).sum::<Result<u64>>();
    let before = used()?;
    let (sent, bytes) = send(running[0].address()?, rooms, seconds).await?;
    tokio::time::sleep(TAIL).await;
    let cpu_ns = used()? - before;
    let packets = sink.close()?;
    let lost = sent.saturating_sub(packets);
    let (delay_p50_ms, delay_p99_ms) = (None, None);
    Ok(Cell { carrier: Carrier::Quinn, place, packets, bytes, lost, cpu_ns, delay_p50_ms, delay_p99_ms })
}

/// Sends what all rooms' publishers would, one room after the other; packets, and bytes without headers.
async fn send(to: SocketAddr, rooms: u16, seconds: u32) -> Result<(u64, u64)> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (count, size) = ROOM.frame();
    let (picture, voice) = (vec![0x5A; HEADER + size], vec![0x5A; HEADER + AUDIO_BYTES]);
    let each = Duration::from_secs(1) / u32::try_from(FRAMES_EACH_SECOND)? / u32::from(rooms);
    let mut ticks = interval(each);
    // Late rooms are sent at once: as many packets have to come as from publishers.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut packets, mut bytes) = (0, 0);
    for frame in 0..u64::from(seconds) * FRAMES_EACH_SECOND {
        let sounds = sounds_with(frame);
        for _ in 0..rooms {
            ticks.tick().await;
            for _ in 0..count {
                socket.send_to(&picture, to).await?;
            }
            for _ in 0..sounds {
                socket.send_to(&voice, to).await?;
            }
            packets += count as u64 + sounds;
            bytes += (count * size) as u64 + sounds * AUDIO_BYTES as u64;
        }
    }
    Ok((packets, bytes))
}
