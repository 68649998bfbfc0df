//! A network between real processes, driven by `tests/tun_switch.py`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a direction does to its packets. Fields left out stay as they are.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Conditions {
    /// One-way delay in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<f64>,
    /// Delay varies by so much either way; the order stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter_ms: Option<f64>,
    /// Share of packets lost, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Share of packets held back while later ones pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder: Option<f64>,
    /// Share of packets that arrive twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<f64>,
}

/// A host of the network.
#[derive(Debug, Clone, Deserialize)]
pub struct Host {
    /// Its network namespace, for `ip netns exec`.
    pub namespace: String,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

/// What one direction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Counts {
    /// Packets handed on.
    pub forwarded: u64,
    /// Packets lost on purpose.
    pub lost: u64,
    /// Packets held back.
    pub reordered: u64,
    /// Packets doubled.
    pub duplicated: u64,
    /// Packets lost because a queue was full.
    pub overflowed: u64,
    /// Bytes handed on.
    pub octets: u64,
}

/// The switch and its hosts; both go when this is dropped.
#[derive(Debug)]
pub struct Network {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    hosts: BTreeMap<String, Host>,
}

impl Network {
    /// Makes a namespace for each of `hosts`. Needs root.
    ///
    /// # Errors
    /// When the switch can't be started.
    pub fn new(label: &str, hosts: &[&str], seed: u64) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tun_switch.py");
        let mut command = Command::new("python3");
        command.arg(script).arg("--name").arg(format!("plenary-{}-{label}", std::process::id()));
        command.arg("--hosts").arg(hosts.join(",")).arg("--seed").arg(seed.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("python3")?;
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut network = Self { child, commands, answers, hosts: BTreeMap::new() };
        let ready = network.answer().context("the switch did not start (does this user have root's rights?)")?;
        network.hosts = serde_json::from_value(ready["hosts"].clone())?;
        Ok(network)
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("the switch said {line:?}"))?;
        match answer["error"].as_str() {
            Some(error) => bail!("the switch: {error}"),
            None => Ok(answer),
        }
    }

    fn ask(&mut self, request: &Value) -> Result<Value> {
        let commands = self.commands.as_mut().context("the switch runs")?;
        writeln!(commands, "{request}")?;
        self.answer()
    }

    /// A host by name.
    ///
    /// # Panics
    /// When there is no such host.
    #[must_use]
    pub fn host(&self, name: &str) -> &Host {
        &self.hosts[name]
    }

    /// Changes one direction.
    ///
    /// # Errors
    /// When a host or a value is not known.
    pub fn set(&mut self, from: &str, to: &str, conditions: Conditions) -> Result<()> {
        self.ask(&json!({ "links": [[from, to]], "set": conditions })).map(drop)
    }

    /// Changes every direction.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn set_all(&mut self, conditions: Conditions) -> Result<()> {
        self.ask(&json!({ "links": "all", "set": conditions })).map(drop)
    }

    /// What one direction did so far.
    ///
    /// # Errors
    /// When there is no such direction.
    pub fn counts(&mut self, from: &str, to: &str) -> Result<Counts> {
        let answer = self.ask(&json!({ "stats": true }))?;
        let counts = &answer["links"][format!("{from}>{to}")];
        ensure!(counts.is_object(), "no link {from}>{to}");
        Ok(serde_json::from_value(counts.clone())?)
    }

    /// Runs `work` on a thread of its own inside a host, for sockets that live there.
    ///
    /// # Errors
    /// When the namespace can't be entered.
    ///
    /// # Panics
    /// As `work` does.
    pub fn inside<T: Send>(&self, host: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = Path::new("/run/netns").join(&self.host(host).namespace);
        let namespace = File::open(&path).with_context(|| path.display().to_string())?;
        let thread = || -> Result<T> {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        };
        std::thread::scope(|scope| match scope.spawn(thread).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The end of its stdin ends the switch, which then removes its namespaces.
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}
