//! A cluster of etcd as its makers ship it: all settings at their defaults, plain HTTP between its members.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hyper::HeaderMap;
use tokio::process::{Child, Command};

use crate::clients::{GatewayClient, GrpcClient, Known, ask_gateway};
use crate::clock::now;
use crate::grpc::Grpc;
use crate::http::Http;
use crate::load::{self, Answer, Outcome};
use crate::system::{Job, System, kill, spawn, spread, until_serving};
use crate::work::{Door, Work};

/// Clients that share one gRPC connection.
const SHARE: usize = 16;

/// The cluster.
pub(crate) struct Etcd {
    members: Vec<Running>,
    all: String,
    known: Known,
}

struct Running {
    folder: PathBuf,
    client: SocketAddr,
    peer: SocketAddr,
    child: Option<Child>,
}

impl System for Etcd {
    const NAME: &'static str = "etcd";
    const DOORS: &'static [Door] = &[Door::Gateway, Door::Grpc];
    const FILL: Door = Door::Grpc;

    async fn start(folder: &Path, count: usize) -> Result<Self> {
        let mut members = Vec::new();
        for number in 1..=count {
            let folder = folder.join(format!("etcd-{number}"));
            std::fs::create_dir_all(&folder)?;
            let (client, peer) = two_free_ports()?;
            members.push(Running { folder, client, peer, child: None });
        }
        let all: Vec<String> = members.iter().map(|one| format!("{}=http://{}", one.name(), one.peer)).collect();
        let all = all.join(",");
        for member in &mut members {
            member.start(&all)?;
        }
        for member in &members {
            member.until_serving().await?;
        }
        Ok(Self { members, all, known: Known::default() })
    }

    async fn seed(&mut self, count: usize) -> Result<()> {
        let known: Known = (0..count).map(|number| format!("known-{number:032}")).collect();
        let mut client = GrpcClient::new(Grpc::connect(self.members[0].client).await?, Work::Write, &known, 0);
        for key in &*known {
            ensure!(client.put(key).await? == Answer::Done, "a key was refused");
        }
        self.known = known;
        Ok(())
    }

    async fn load(&mut self, job: &Job) -> Result<Outcome> {
        let leader = self.leader().await?;
        let servers: Vec<usize> = spread(leader, self.members.len(), job.clients).collect();
        match job.door {
            Door::Gateway => {
                let mut clients = Vec::with_capacity(job.clients);
                for (number, server) in servers.into_iter().enumerate() {
                    let http = Http::connect(self.members[server].client, HeaderMap::new()).await?;
                    clients.push(GatewayClient::new(http, job.work, &self.known, number));
                }
                load::run(clients, &job.shape).await
            }
            Door::Grpc => load::run(self.grpc_clients(&servers, job.work).await?, &job.shape).await,
            Door::Rest | Door::Inside => bail!("{} is not a door of etcd", job.door),
        }
    }

    async fn cold_start(&mut self) -> Result<(usize, Duration)> {
        let index = (self.leader().await? + 1) % self.members.len();
        let member = &mut self.members[index];
        if let Some(child) = &mut member.child {
            kill(child).await?;
        }
        let from = now();
        member.start(&self.all)?;
        member.until_serving().await?;
        Ok((index, from.elapsed()))
    }

    fn pids(&self) -> Vec<u32> {
        self.members.iter().filter_map(|member| member.child.as_ref()?.id()).collect()
    }

    fn folders(&self) -> Vec<PathBuf> {
        self.members.iter().map(|member| member.folder.join("data")).collect()
    }

    fn is_snapshot(path: &Path) -> bool {
        path.ends_with("snap/db")
    }
}

impl Etcd {
    async fn grpc_clients(&self, servers: &[usize], work: Work) -> Result<Vec<GrpcClient>> {
        let mut shared: Vec<(Option<Grpc>, usize)> = vec![(None, 0); self.members.len()];
        let mut clients = Vec::with_capacity(servers.len());
        for (number, server) in servers.iter().enumerate() {
            let (connection, users) = &mut shared[*server];
            let grpc = match connection {
                Some(grpc) if *users % SHARE != 0 => grpc.clone(),
                Some(_) | None => Grpc::connect(self.members[*server].client).await?,
            };
            *connection = Some(grpc.clone());
            *users += 1;
            clients.push(GrpcClient::new(grpc, work, &self.known, number));
        }
        Ok(clients)
    }

    async fn leader(&self) -> Result<usize> {
        for (index, member) in self.members.iter().enumerate() {
            let mut http = Http::connect(member.client, HeaderMap::new()).await?;
            let status = ask_gateway(&mut http, "/v3/maintenance/status").await?;
            if status["leader"].is_string() && status["leader"] == status["header"]["member_id"] {
                return Ok(index);
            }
        }
        bail!("no etcd leads")
    }
}

impl Running {
    fn name(&self) -> String {
        self.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    fn start(&mut self, all: &str) -> Result<()> {
        let (client, peer) = (format!("http://{}", self.client), format!("http://{}", self.peer));
        let mut command = Command::new("etcd");
        command.arg("--name").arg(self.name()).arg("--data-dir").arg(self.folder.join("data"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", all, "--log-level", "warn", "--logger", "zap"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.child = Some(spawn(&mut command, &self.folder)?);
        Ok(())
    }

    /// etcd's health is a read that the quorum has to answer.
    async fn until_serving(&self) -> Result<()> {
        until_serving(self.client, "/health", "\"true\"").await.with_context(|| self.name())
    }
}

/// etcd has to be told its ports before it starts.
fn two_free_ports() -> Result<(SocketAddr, SocketAddr)> {
    let (one, two) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    Ok((one.local_addr()?, two.local_addr()?))
}
