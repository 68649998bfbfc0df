//! A cluster of Plenary nodes: the bench's own binary as [`crate::member`].

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::clients::{Known, RestClient};
use crate::clock::now;
use crate::http::Http;
use crate::load::{self, Outcome};
use crate::member::{Order, Report};
use crate::sample::USER;
use crate::system::{Job, System, kill, spawn, spread, until_serving};
use crate::work::{Door, Work};

/// How long the nodes may take to agree that all of them vote.
const VOTERS_TIME: Duration = Duration::from_secs(60);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The cluster.
pub(crate) struct Plenary {
    members: Vec<Running>,
    token: String,
    known: Known,
}

impl Plenary {
    /// Where the nodes serve HTTP, in order.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("http://{}", member.http)).collect()
    }

    /// A user's token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

impl System for Plenary {
    const NAME: &'static str = "plenary";
    const DOORS: &'static [Door] = &[Door::Rest, Door::Inside];
    const FILL: Door = Door::Inside;

    async fn start(folder: &Path, count: usize) -> Result<Self> {
        let mut members = vec![Running::start(folder.join("node-1"), &["--init"]).await?];
        for number in 2..=count {
            let token = command(&["token"], &members[0].data()).await?;
            let control = members[0].control.to_string();
            let how = ["--join", &control, "--token", &token];
            members.push(Running::start(folder.join(format!("node-{number}")), &how).await?);
        }
        let token = command(&["token", "user", "--user", USER, "--minutes", "600"], &members[0].data()).await?;
        let mut cluster = Self { members, token, known: Known::default() };
        cluster.until_all_vote().await?;
        Ok(cluster)
    }

    async fn seed(&mut self, count: usize) -> Result<()> {
        let http = Http::connect(self.members[0].http, self.headers(Work::Write)?).await?;
        let mut client = RestClient::new(http, Work::Write, &self.known, 0);
        let mut known = Vec::with_capacity(count);
        for _ in 0..count {
            known.push(client.create_known().await?);
        }
        self.known = known.into();
        Ok(())
    }

    async fn load(&mut self, job: &Job) -> Result<Outcome> {
        let leader = self.leader().await?;
        match job.door {
            Door::Rest => self.load_rest(leader, job).await,
            Door::Inside => self.load_inside(leader, job).await,
            Door::Gateway | Door::Grpc => bail!("{} is not a door of Plenary", job.door),
        }
    }

    async fn cold_start(&mut self) -> Result<(usize, Duration)> {
        let leader = self.leader().await?;
        let index = (leader + 1) % self.members.len();
        let folder = self.members[index].folder.clone();
        kill(&mut self.members[index].child).await?;
        let from = now();
        let member = Running::start(folder, &[]).await?;
        until_serving(member.http, "/readyz", "ready").await?;
        let took = from.elapsed();
        self.members[index] = member;
        self.until_all_vote().await?;
        Ok((index, took))
    }

    fn pids(&self) -> Vec<u32> {
        self.members.iter().filter_map(|member| member.child.id()).collect()
    }

    fn folders(&self) -> Vec<PathBuf> {
        self.members.iter().map(Running::data).collect()
    }

    fn is_snapshot(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension == "snap")
    }
}

impl Plenary {
    /// Who asks, and what a read has to promise.
    fn headers(&self, work: Work) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {}", self.token).parse()?);
        if work == Work::ReadLinearizable {
            headers.insert("plenary-consistency", HeaderValue::from_static("linearizable"));
        }
        Ok(headers)
    }

    async fn load_rest(&self, leader: usize, job: &Job) -> Result<Outcome> {
        let headers = self.headers(job.work)?;
        let mut clients = Vec::with_capacity(job.clients);
        for (number, server) in spread(leader, self.members.len(), job.clients).enumerate() {
            let http = Http::connect(self.members[server].http, headers.clone()).await?;
            clients.push(RestClient::new(http, job.work, &self.known, number));
        }
        load::run(clients, &job.shape).await
    }

    /// Every member has its share of the clients, of the rate and of the limit.
    async fn load_inside(&mut self, leader: usize, job: &Job) -> Result<Outcome> {
        let servers = self.members.len();
        let mut shares = vec![0_u32; servers];
        spread(leader, servers, job.clients).for_each(|server| shares[server] += 1);
        let all = u32::try_from(job.clients)?;
        let mut before = 0;
        let mut busy = Vec::new();
        for (member, share) in self.members.iter_mut().zip(shares).filter(|(_, share)| *share > 0) {
            let mut shape = job.shape.clone();
            shape.rate = shape.rate.map(|rate| rate * f64::from(share) / f64::from(all));
            let upto = |clients: u32, limit: u64| limit * u64::from(clients) / u64::from(all);
            shape.limit = shape.limit.map(|limit| upto(before + share, limit) - upto(before, limit));
            before += share;
            let order = Order::Load { work: job.work, clients: usize::try_from(share)?, shape };
            member.send(&order).await?;
            busy.push(member);
        }
        let mut outcome = Outcome::default();
        for member in busy {
            match member.report().await? {
                Report::Load(part) => outcome.merge(part),
                Report::Failed(reason) => bail!("a member: {reason}"),
                report @ Report::Status { .. } => bail!("a load was answered by {report:?}"),
            }
        }
        Ok(outcome)
    }

    async fn leader(&mut self) -> Result<usize> {
        let ids: Vec<u64> = self.members.iter().map(|member| member.id).collect();
        let deadline = now() + VOTERS_TIME;
        while now() < deadline {
            let (leader, _) = self.members[0].status().await?;
            if let Some(index) = ids.iter().position(|id| Some(*id) == leader) {
                return Ok(index);
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("no node leads")
    }

    async fn until_all_vote(&mut self) -> Result<()> {
        let count = self.members.len();
        let deadline = now() + VOTERS_TIME;
        loop {
            let mut voters = Vec::new();
            for member in &mut self.members {
                voters.push(member.status().await?.1);
            }
            if voters.iter().all(|seen| *seen == count) {
                return Ok(());
            }
            ensure!(now() < deadline, "not all {count} nodes vote: {voters:?}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A member's process.
struct Running {
    folder: PathBuf,
    child: Child,
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
    http: SocketAddr,
    control: SocketAddr,
    id: u64,
}

impl Running {
    /// Starts a member in `folder`, new or as it was left, and waits for its `ready` line.
    async fn start(folder: PathBuf, how: &[&str]) -> Result<Self> {
        let config = folder.join("node.toml");
        if !config.exists() {
            std::fs::create_dir_all(&folder)?;
            let any = "listen = \"127.0.0.1:0\"\n";
            let text = format!(
                "data_dir = {:?}\n[http]\n{any}[control]\n{any}[media_link]\n{any}[media]\n{any}workers = 1\n\
                 [log]\nfilter = \"warn\"\nformat = \"text\"\n",
                folder.join("data")
            );
            std::fs::write(&config, text)?;
        }
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("member").arg("--config").arg(config).args(how).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(&mut command, &folder)?;
        let orders = child.stdin.take().context("stdin is piped")?;
        let mut reports = BufReader::new(child.stdout.take().context("stdout is piped")?).lines();
        let log = folder.join("log");
        let ready = reports.next_line().await?.with_context(|| format!("a member ended; see {}", log.display()))?;
        let field = |name: &str| {
            let mut words = ready.split_whitespace();
            words
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                .with_context(|| format!("no {name} in: {ready}"))
        };
        let (http, control, id) = (field("http")?.parse()?, field("control")?.parse()?, field("node")?.parse()?);
        Ok(Self { folder, child, orders, reports, http, control, id })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    async fn send(&mut self, order: &Order) -> Result<()> {
        let line = serde_json::to_string(order)? + "\n";
        self.orders.write_all(line.as_bytes()).await.context("a member has ended")
    }

    async fn report(&mut self) -> Result<Report> {
        let line = self.reports.next_line().await?.context("a member has ended")?;
        serde_json::from_str(&line).with_context(|| format!("not a report: {line}"))
    }

    /// The leader it knows, and how many voters.
    async fn status(&mut self) -> Result<(Option<u64>, usize)> {
        self.send(&Order::Status).await?;
        match self.report().await? {
            Report::Status { raft, .. } => Ok((raft.leader.map(|leader| leader.number()), raft.voters.len())),
            report @ (Report::Load(_) | Report::Failed(_)) => bail!("a question was answered by {report:?}"),
        }
    }
}

/// What the bench's binary, which is also `plenary`, prints with these arguments.
async fn command(arguments: &[&str], data: &Path) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("plenary").args(arguments).arg("--data-dir").arg(data).stdin(Stdio::null());
    let output = command.output().await?;
    ensure!(output.status.success(), "plenary {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
