//! `plenary dev`: one node without configuration, and a meeting to try.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::{runtime, say};
use crate::config::{Auth, Config, DEFAULT_HTTP_PORT, Http, Link, Log, Media};
use crate::driver::primary_address;
use crate::runtime::{Node, Origin};
use crate::telemetry;

/// Starts one node with built-in settings and prints the URL of a ready meeting.
#[derive(Debug, Args)]
pub(super) struct Dev {
    /// HTTP port; 0 picks a free one.
    #[arg(long, default_value_t = DEFAULT_HTTP_PORT)]
    port: u16,
    /// Address to serve HTTP on. Browsers give cameras only to pages from this machine or over HTTPS.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// Keep the state in this folder. Without it, it is gone when the node ends.
    #[arg(long)]
    data: Option<PathBuf>,
    /// What to log, such as `info` or `warn,plenary=debug`.
    #[arg(long, default_value = "warn,openraft=error")]
    log: String,
}

impl Dev {
    pub(super) fn run(self) -> anyhow::Result<()> {
        crate::prepare_process();
        let scratch = Scratch::new(self.data.is_none())?;
        let data_dir = self.data.clone().unwrap_or_else(|| scratch.folder.clone());
        let config = self.config(data_dir);
        telemetry::start_logging(&config.log)?;
        runtime()?.block_on(async {
            let node = Node::start(config, Origin::InitOrResume).await?;
            let meeting = node.create_live_meeting("Development meeting").await?;
            say(&node.ready_line())?;
            say("guests may join; press Ctrl-C to stop")?;
            say(&node.meeting_url(meeting))?;
            node.run_until_signalled().await
        })
    }

    fn config(&self, data_dir: PathBuf) -> Config {
        let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let mut media = vec![loopback];
        // Browsers on this machine may send from the address of a network card rather than from loopback.
        media.extend(primary_address().map(|address| SocketAddr::new(address, 0)));
        Config {
            data_dir,
            http: Http { listen: SocketAddr::new(self.bind, self.port), advertise: None },
            control: Link { listen: loopback, advertise: None },
            media_link: Link { listen: loopback, advertise: None },
            media: Media { listen: media, ..Media::default() },
            auth: Auth { guest_users: true },
            log: Log { filter: self.log.clone(), ..Log::default() },
            ..Config::default()
        }
    }
}

/// A data folder that goes with the process.
struct Scratch {
    folder: PathBuf,
    used: bool,
}

impl Scratch {
    fn new(used: bool) -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("plenary-dev-{}", std::process::id()));
        if used {
            // What a process with the same number left behind is of no use to anyone.
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder)?;
        }
        Ok(Self { folder, used })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.used {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
