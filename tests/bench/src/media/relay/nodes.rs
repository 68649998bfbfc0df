//! Rooms on two nodes of Plenary.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use plenary_participant::Video;
use plenary_participant::load::{Plan, Summary};

use super::super::stage::on_processor_of_servers;
use super::super::window::{Served, Sitting, Window};
use super::super::workload::{JOINS, PATIENCE, SETTLE};
use super::{Carrier, Cell, Place, ROOM};
use crate::host::cpu_nanos;
use crate::plenary::Plenary;
use crate::system::System;

/// Nodes: of two, only one would vote, and nobody waits for the other.
const NODES: usize = 3;

/// The nodes and the folder that they keep their state in, which goes with this.
struct Nodes {
    nodes: Plenary,
    _folder: tempfile::TempDir,
}

impl Served for Nodes {
    fn pids(&self) -> Vec<u32> {
        self.nodes.pids()
    }

    fn cpu_nanos(&self) -> Result<u64> {
        self.pids().into_iter().map(cpu_nanos).sum()
    }

    async fn stop(self) -> Result<()> {
        Ok(())
    }
}

/// Measures rooms with their subscribers at this place.
pub(super) async fn measure(place: Place, rooms: u16, seconds: u32, folder: &Path) -> Result<Cell> {
    std::fs::create_dir_all(folder)?;
    let folder = tempfile::tempdir_in(folder)?;
    let nodes = on_processor_of_servers(Plenary::start(folder.path(), NODES)).await?;
    let (mut urls, token) = (nodes.urls(), nodes.token().to_owned());
    // Rooms begin on the nodes in turn; who comes second in one is on the next.
    urls.truncate(if place == Place::Together { 1 } else { 2 });
    let plan = Plan {
        nodes: urls,
        user_token: Some(token),
        rooms: rooms.into(),
        publishers: 1,
        subscribers: 1,
        spare: 0,
        joins_per_second: JOINS,
        hold: Duration::ZERO,
        video: Some(Video { bitrate: ROOM.kbps * 1000, ..Video::default() }),
        pictures: ROOM.pictures,
        voices: ROOM.voices,
        apart: true,
        silent: false,
        deadline: PATIENCE,
    };
    let mut sitting = Sitting::begin(Nodes { nodes, _folder: folder }, &plan, SETTLE).await?;
    let ((), window) = sitting.watch(tokio::time::sleep(Duration::from_secs(seconds.into()))).await?;
    let Summary { delay_ms, .. } = sitting.end().await?;
    let Window { packets, bytes, lost, cpu_ns, .. } = window;
    let (delay_p50_ms, delay_p99_ms) = (delay_ms.p50, delay_ms.p99);
    Ok(Cell { carrier: Carrier::Plenary, place, packets, bytes, lost, cpu_ns, delay_p50_ms, delay_p99_ms })
}
