//! Where a packet's cost goes: one workload under `perf`, as a table by stage and a flame graph.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use super::network::{Network, Path};
use super::server::{Kind, Server, Tuning};
use super::stage::Stage;
use super::window::{Sitting, Window};
use super::workload::{SETTLE, Workload};
use crate::clock::seconds;
use crate::profile::Recording;
use crate::report::{say, tell};

/// Part of samples that may belong to no stage: more, and the rules or the symbols are wrong.
const UNATTRIBUTED: f64 = 0.05;

/// Shows what a delivered packet costs by stage, and leaves a flame graph.
#[derive(Debug, Args)]
pub(crate) struct Profile {
    /// Workload.
    #[arg(value_enum, ignore_case = true)]
    workload: Workload,
    /// Where samples and the flame graph go, in a folder of their own.
    #[arg(long, default_value = ".run/bench")]
    folder: PathBuf,
    /// Subscribers, or rooms; a middle size of the workload when it is not given.
    #[arg(long)]
    size: Option<u16>,
    /// Server.
    #[arg(long, value_enum, default_value_t = Kind::Plenary)]
    server: Kind,
    /// Way between people and server.
    #[arg(long, value_enum, default_value_t = Path::Veth)]
    path: Path,
    /// Seconds that are looked at.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    #[command(flatten)]
    tuning: Tuning,
}

impl Profile {
    pub(crate) fn run(&self) -> Result<()> {
        let stage = Stage::set(Network::enter)?;
        let folder = self.folder.join(format!("profile-{}-{}", seconds(), std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let size = self.size.unwrap_or_else(|| self.workload.middle_size());
        tell(format!("{} {size} {}, {} s", self.workload, self.workload.unit(), self.seconds));
        let (recording, window) = stage.run(async {
            let server = Server::start(self.server, self.path, &stage.network, &self.tuning).await?;
            let plan = self.workload.plan(size, self.server, &server.url);
            let mut sitting = Sitting::begin(server, &plan, SETTLE).await?;
            let record = Recording::make(sitting.server.pid, Duration::from_secs(self.seconds), &folder);
            let (recording, window) = sitting.watch(record).await?;
            sitting.end().await?;
            anyhow::Ok((recording?, window))
        })??;
        let profile = stage.run(recording.read())??;
        let Window { packets, cpu_ns, .. } = window;
        say(profile.table(packets, cpu_ns));
        let svg = folder.join("flame.svg");
        let headline = format!("{}, {} {size} {}", self.server, self.workload, self.workload.unit());
        profile.write_svg(&svg, &headline)?;
        tell(format!("flame graph: {}", svg.display()));
        let unattributed = profile.unattributed();
        ensure!(
            unattributed <= UNATTRIBUTED,
            "{:.1} % of the samples belong to no stage: was the program built anew meanwhile?",
            unattributed * 100.0
        );
        Ok(())
    }
}
