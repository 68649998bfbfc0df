//! A wired network between real processes: a bridge, and a cable to each host.
//!
//! ```text
//!  host 1 ── veth ──┐
//!  host 2 ── veth ──┤ bridge (a namespace of its own)
//!  clients ─ veth ──┘
//! ```
//!
//! Every host is a network namespace whose name carries this process's id. What [`crate::Network`] does with delay and
//! order costs a process in the middle; here the kernel carries the packets, and drops those that a [`Cut`] names.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::disturb::run;
use crate::faults::Cut;

/// The hosts 1 to n, the clients' host, and the bridge. All go when this is dropped.
#[derive(Debug)]
pub struct Lan {
    label: String,
    hosts: usize,
}

/// The host of the clients.
const CLIENTS: usize = 0;

impl Lan {
    /// Makes the namespaces of hosts 1 to `hosts`. Needs root.
    ///
    /// # Errors
    /// When a namespace or a cable can't be made.
    pub fn new(label: &str, hosts: usize) -> Result<Self> {
        let lan = Self { label: format!("plenary-{}-{label}", std::process::id()), hosts };
        let bridge = lan.bridge();
        ip(&["netns", "add", &bridge]).context("a network namespace (does this user have root's rights?)")?;
        ip(&["-n", &bridge, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &bridge, "link", "set", "br0", "up"])?;
        for host in CLIENTS..=hosts {
            lan.plug(host).with_context(|| format!("host {host}"))?;
        }
        Ok(lan)
    }

    fn plug(&self, host: usize) -> Result<()> {
        let (bridge, namespace, port) = (self.bridge(), self.namespace(host), port(host));
        ip(&["netns", "add", &namespace])?;
        ip(&["link", "add", "lan0", "netns", &namespace, "type", "veth", "peer", "name", &port, "netns", &bridge])?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        ip(&["-n", &namespace, "addr", "add", &format!("{}/24", address(host)), "dev", "lan0"])?;
        ip(&["-n", &namespace, "link", "set", "lan0", "up"])?;
        ip(&["-n", &bridge, "link", "set", &port, "master", "br0"])?;
        ip(&["-n", &bridge, "link", "set", &port, "up"])
    }

    fn bridge(&self) -> String {
        format!("{}-bridge", self.label)
    }

    /// The namespace of a host, for `ip netns exec`.
    #[must_use]
    pub fn namespace(&self, host: usize) -> String {
        format!("{}-{host}", self.label)
    }

    /// The address of a host.
    #[must_use]
    pub fn address(&self, host: usize) -> Ipv4Addr {
        address(host)
    }

    /// Lets packets between hosts get lost as these cuts say, and all others pass.
    ///
    /// # Errors
    /// When the packet filter refuses.
    pub fn cut(&self, cuts: &[Cut]) -> Result<()> {
        (1..=self.hosts).try_for_each(|host| self.filter(host, cuts))
    }

    /// Sets what a host does not hear, all of it at once.
    fn filter(&self, host: usize, cuts: &[Cut]) -> Result<()> {
        let mut rules = "*filter\n:INPUT ACCEPT [0:0]\n".to_owned();
        for cut in cuts.iter().filter(|cut| cut.to == host) {
            let share = cut.share;
            let some =
                if share < 1.0 { format!("-m statistic --mode random --probability {share} ") } else { String::new() };
            rules += &format!("-A INPUT -s {} {some}-j DROP\n", address(cut.from));
        }
        rules += "COMMIT\n";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host), "iptables-restore", "-w"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().context("iptables-restore")?;
        child.stdin.take().context("stdin is piped")?.write_all(rules.as_bytes())?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "iptables-restore: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Pulls a host's cable.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn unplug(&self, host: usize) -> Result<()> {
        ip(&["-n", &self.bridge(), "link", "set", &port(host), "down"])
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// When there is no such host.
    pub fn replug(&self, host: usize) -> Result<()> {
        ip(&["-n", &self.bridge(), "link", "set", &port(host), "up"])
    }

    /// Runs `work` on a thread of its own at the clients' host; threads that it starts are there too.
    ///
    /// # Errors
    /// As `work`, and when the host can't be entered.
    ///
    /// # Panics
    /// As `work` does.
    pub fn as_client<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = Path::new("/run/netns").join(self.namespace(CLIENTS));
        let namespace = File::open(&path).with_context(|| path.display().to_string())?;
        let thread = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        };
        std::thread::scope(|scope| match scope.spawn(thread).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for host in CLIENTS..=self.hosts {
            let _ = ip(&["netns", "del", &self.namespace(host)]);
        }
        let _ = ip(&["netns", "del", &self.bridge()]);
    }
}

/// A network of its own in every bridge: the same addresses don't meet.
fn address(host: usize) -> Ipv4Addr {
    let last = if host == CLIENTS { 100 } else { u8::try_from(host).expect("few hosts") };
    Ipv4Addr::new(10, 77, 0, last)
}

fn port(host: usize) -> String {
    format!("port{host}")
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(Command::new("ip").args(arguments)).map(drop)
}
