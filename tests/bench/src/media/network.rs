//! The network of a run: namespaces of its own, so that nothing of the machine's is touched or in the way.
//!
//! ```text
//! ┌ people: this process ─────────┐    ┌ servers ──────────────┐
//! │ lo   ◄─ servers of path `lo`  │    │                       │
//! │ pbp 10.99.0.1 ════════════════╪════╪═ pbs 10.99.0.2        │   path `veth`
//! └───────────────────────────────┘    └───────────────────────┘
//! ```
//!
//! On the veth pair, trains of datagrams are cut in software before they leave (`tx-udp-segmentation off`), as they are for
//! a network card that cannot; loopback keeps them whole up to the receiver, which flatters whoever sends trains.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path as FilePath;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plenary_tests::Conditions;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use crate::clock::now;

/// How long the system may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says which process is in a namespace of its own.
const INSIDE: &str = "PLENARY_BENCH_NAMESPACE";
const PEOPLE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const SERVERS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);

/// The way between people and servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Path {
    /// The loopback interface.
    Lo,
    /// A pair of virtual Ethernet interfaces, which does not take trains.
    Veth,
}

impl Path {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Lo => "lo",
            Self::Veth => "veth",
        }
    }
}

/// Both ends; the servers' namespace goes with this.
pub(crate) struct Network {
    servers: Servers,
}

/// Where servers of path `veth` are.
enum Servers {
    /// At the other end of a veth pair. The process keeps their namespace: it waits for the end of its input, which comes with
    /// the end of this process at the latest.
    Pair(Child),
    /// Behind a switch that delays.
    Switch(Box<plenary_tests::Network>),
}

impl Network {
    /// Runs this process again in a namespace of its own, unless it is in one; then makes the servers' namespace and joins
    /// the two.
    pub(crate) fn enter() -> Result<Self> {
        // The program changes and the process stays: nobody else can have said this.
        let this = std::process::id().to_string();
        if std::env::var_os(INSIDE).is_none_or(|said| said != *this) {
            let mut again = Command::new("unshare");
            again.arg("--net").arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(INSIDE, this);
            let error = again.exec();
            return Err(error).context("unshare --net: people and servers need network namespaces");
        }
        let mut holder = Command::new("unshare");
        holder.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let holder = holder.spawn().context("unshare --net: run as root")?;
        let pid = holder.id().to_string();
        let network = Self { servers: Servers::Pair(holder) };
        network.wait_for_namespace()?;
        run("ip", &["link", "set", "lo", "up"]).context("run as root")?;
        run("ip", &["link", "add", "pbp", "type", "veth", "peer", "name", "pbs", "netns", &pid])?;
        run("ethtool", &["-K", "pbp", "tx-udp-segmentation", "off"])?;
        run("ip", &["address", "add", &format!("{PEOPLE}/24"), "dev", "pbp"])?;
        run("ip", &["link", "set", "pbp", "up"])?;
        network.run_inside(&["ip", "link", "set", "lo", "up"])?;
        network.run_inside(&["ethtool", "-K", "pbs", "tx-udp-segmentation", "off"])?;
        network.run_inside(&["ip", "address", "add", &format!("{SERVERS}/24"), "dev", "pbs"])?;
        network.run_inside(&["ip", "link", "set", "pbs", "up"])?;
        network.wait_for_carrier()?;
        // Plenary asks the routes for its own address.
        network.run_inside(&["ip", "route", "add", "default", "via", &PEOPLE.to_string()])?;
        Ok(network)
    }

    /// Puts a switch between people and servers on path `veth` (`tests/tun_switch.py`), and this thread on the people's side.
    pub(crate) fn enter_switched() -> Result<Self> {
        let switch = plenary_tests::Network::new("bench", &["people", "servers"], 1)?;
        let path = FilePath::new("/run/netns").join(&switch.host("people").namespace);
        let namespace = File::open(&path).with_context(|| path.display().to_string())?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        let network = Self { servers: Servers::Switch(Box::new(switch)) };
        let device = "ip route add default dev $(ip -oneline -4 address show scope global | cut -d' ' -f2)";
        network.run_inside(&["sh", "-c", device])?;
        Ok(network)
    }

    /// Delays each direction of the switch by half of this.
    pub(crate) fn set_round_trip(&mut self, time: Duration) -> Result<()> {
        let Servers::Switch(switch) = &mut self.servers else { bail!("a veth pair does not delay") };
        let delay_ms = Some(time.as_secs_f64() * 500.0);
        switch.set_all(Conditions { delay_ms, ..Conditions::default() })
    }

    /// Where a server on this path listens.
    pub(crate) fn address(&self, path: Path) -> IpAddr {
        match (path, &self.servers) {
            (Path::Lo, _) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            (Path::Veth, Servers::Pair(_)) => IpAddr::V4(SERVERS),
            (Path::Veth, Servers::Switch(switch)) => IpAddr::V4(switch.host("servers").v4),
        }
    }

    /// Where this process is seen from a server on this path.
    pub(crate) fn people(&self, path: Path) -> IpAddr {
        match (path, &self.servers) {
            (Path::Lo, _) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            (Path::Veth, Servers::Pair(_)) => IpAddr::V4(PEOPLE),
            (Path::Veth, Servers::Switch(switch)) => IpAddr::V4(switch.host("people").v4),
        }
    }

    /// What a server's command on this path begins with.
    pub(crate) fn prefix(&self, path: Path) -> Vec<String> {
        match path {
            Path::Lo => Vec::new(),
            Path::Veth => vec!["nsenter".to_owned(), format!("--net={}", self.namespace())],
        }
    }

    /// The servers' namespace, as a file.
    fn namespace(&self) -> String {
        match &self.servers {
            Servers::Pair(holder) => format!("/proc/{}/ns/net", holder.id()),
            Servers::Switch(switch) => format!("/run/netns/{}", switch.host("servers").namespace),
        }
    }

    fn run_inside(&self, command: &[&str]) -> Result<String> {
        run("nsenter", &[&[format!("--net={}", self.namespace()).as_str()], command].concat())
    }

    /// Until the holder has left this process's namespace.
    fn wait_for_namespace(&self) -> Result<()> {
        let ours = std::fs::read_link("/proc/self/ns/net")?;
        let theirs = || std::fs::read_link(self.namespace());
        until("unshare --net made no namespace: run as root", || Ok(theirs().is_ok_and(|theirs| theirs != ours)))
    }

    /// Until the pair carries: Janus does not take an address of an interface that is not up.
    fn wait_for_carrier(&self) -> Result<()> {
        let up = || Ok(self.run_inside(&["ip", "-oneline", "link", "show", "pbs"])?.contains("state UP"));
        until("the veth pair does not come up", up)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Self::Pair(holder) = self {
            drop(holder.stdin.take());
            // It ends with its input.
            let _ = holder.wait();
        }
    }
}

/// Looks until it is so.
fn until(else_fails: &'static str, is_so: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = now() + PATIENCE;
    while !is_so()? {
        ensure!(now() < deadline, else_fails);
        std::thread::yield_now();
    }
    Ok(())
}

/// What a program prints.
fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    let says = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), says.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
