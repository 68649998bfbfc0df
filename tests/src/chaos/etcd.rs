//! Members of etcd with its defaults, on hosts beside those of Plenary's nodes.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::Lan;

/// A key and a value, as etcd's JSON wants them (base64).
const KEY: &str = "cGxlbmFyeQ==";
const VALUE: &str = "dGhlIHNhbWUgYXMgZXZlcg==";

/// The cluster. Its processes end when this is dropped.
#[derive(Debug)]
pub(super) struct Etcd<'l> {
    lan: &'l Lan,
    /// How many hosts come before those of its members.
    behind: usize,
    folder: tempfile::TempDir,
    members: Vec<Option<Child>>,
    client: Client,
}

impl<'l> Etcd<'l> {
    /// Starts `count` members, each on a host of its own behind the first `behind`.
    pub(super) fn found(lan: &'l Lan, behind: usize, count: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix(&format!("plenary-{}-etcd-", std::process::id())).tempdir()?;
        let client = Client::builder().no_proxy().build()?;
        let mut etcd = Self { lan, behind, folder, members: (0..count).map(|_| None).collect(), client };
        (1..=count).try_for_each(|member| etcd.launch(member))?;
        Ok(etcd)
    }

    const fn host(&self, member: usize) -> usize {
        self.behind + member
    }

    /// Pulls a member's cable.
    pub(super) fn unplug(&self, member: usize) -> Result<()> {
        self.lan.unplug(self.host(member))
    }

    pub(super) fn replug(&self, member: usize) -> Result<()> {
        self.lan.replug(self.host(member))
    }

    pub(super) fn count(&self) -> usize {
        self.members.len()
    }

    fn url(&self, member: usize, port: u16) -> String {
        format!("http://{}:{port}", self.lan.address(self.host(member)))
    }

    /// Starts a member, on its data if it has some.
    pub(super) fn launch(&mut self, member: usize) -> Result<()> {
        let (name, folder) = (format!("member-{member}"), self.folder.path());
        let peers: Vec<String> =
            (1..=self.count()).map(|other| format!("member-{other}={}", self.url(other, 2380))).collect();
        let (clients, peer) = (self.url(member, 2379), self.url(member, 2380));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.lan.namespace(self.host(member)), "etcd", "--name", &name, "--data-dir"]);
        command.arg(folder.join(&name));
        command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &peers.join(","), "--initial-cluster-state", "new"]);
        let log = log(folder, &name)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        self.members[member - 1] = Some(child.context("etcd (package etcd-server)")?);
        Ok(())
    }

    pub(super) fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member - 1].take() {
            // Both fail only when it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(super) fn signal(&self, member: usize, signal: Signal) -> Result<()> {
        let child = self.members[member - 1].as_ref().context("the member does not run")?;
        kill_process(Pid::from_child(child), signal).context("kill")
    }

    /// Who leads, if a member that answers knows.
    pub(super) async fn leader(&self) -> Option<usize> {
        let mut members = Vec::new();
        let mut leader = None;
        for member in 1..=self.count() {
            let status = self.status(member).await.ok()?;
            members.push(status["header"]["member_id"].as_str()?.to_owned());
            leader = status["leader"].as_str().map(ToOwned::to_owned);
        }
        members.iter().position(|id| Some(id) == leader.as_ref()).map(|index| index + 1)
    }

    async fn status(&self, member: usize) -> Result<Value> {
        let url = format!("{}/v3/maintenance/status", self.url(member, 2379));
        let answer = self.client.post(url).timeout(Duration::from_secs(1)).body("{}").send().await?;
        Ok(serde_json::from_str(&answer.error_for_status()?.text().await?)?)
    }

    /// A write through a member, to be awaited anywhere.
    pub(super) fn write(&self, member: usize, patience: Duration) -> impl Future<Output = bool> + Send + use<> {
        let url = format!("{}/v3/kv/put", self.url(member, 2379));
        let request = self.client.post(url).timeout(patience).body(json!({ "key": KEY, "value": VALUE }).to_string());
        async move { request.send().await.is_ok_and(|answer| answer.status().is_success()) }
    }
}

fn log(folder: &Path, name: &str) -> Result<File> {
    Ok(File::options().create(true).append(true).open(folder.join(format!("{name}.log")))?)
}

impl Drop for Etcd<'_> {
    fn drop(&mut self) {
        (1..=self.count()).for_each(|member| self.kill(member));
    }
}
