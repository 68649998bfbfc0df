//! A node starts anew on what its folder holds: a founder that was cut off early founds, a member without its store does not
//! come back as if it had promised nothing.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use anyhow::{Context, Result};
use plenary_tests::{Cluster, plenary, say};

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_that_was_cut_off_before_it_had_founded_does_so_at_its_next_start() -> Result<()> {
    let mut cluster = Cluster::start(1).await?;
    cluster.kill(1);
    let data = cluster.node(1).data_dir();
    fs::remove_dir_all(data.join("raft")).context("the store")?;
    fs::remove_file(data.join("identity/store-made")).context("the note that there was one")?;
    cluster.restart(1).await?;
    cluster.create_live_meeting().await?;

    // From now on it is a founder like any other, and goes on with what it has.
    let founded = cluster.node(1).status().await?["raft"]["term"].as_u64().context("term")?;
    let meeting = cluster.create_live_meeting().await?;
    cluster.kill(1);
    cluster.restart(1).await?;
    cluster.until_known(1, &meeting).await?;
    let term = cluster.node(1).status().await?["raft"]["term"].as_u64().context("term")?;
    assert!(term > founded, "the log goes on: term {founded}, then {term}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_its_store_does_not_start_and_says_why() -> Result<()> {
    let mut cluster = Cluster::start(2).await?;
    cluster.kill(2);
    let data = cluster.node(2).data_dir();
    let (store, away) = (data.join("raft"), data.join("raft-away"));
    fs::rename(&store, &away)?;
    let refused = format!("{:#}", cluster.restart(2).await.expect_err("it may have promised something"));
    assert!(!cluster.is_running(2));
    let gone = format!("{} is gone", store.display());
    let line = refused.lines().find(|line| line.contains(&gone)).with_context(|| refused.clone())?;
    say(format!("start: {line}"));
    assert!(line.contains(&format!("move all of {} away", data.display())), "{line}");
    assert!(!store.exists(), "no new store was made");

    // The folder is brought back, as it was asked.
    cluster.kill(2);
    fs::rename(&away, &store)?;
    cluster.restart(2).await?;
    Ok(())
}

#[test]
fn a_node_that_finds_its_ports_taken_names_them_and_founds_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    for part in ["control", "media_link", "media"] {
        let data = folder.path().join(part);
        let listens = ["http", "control", "media_link", "media"].map(|one| {
            let port = if one == part { taken.local_addr().map_or(0, |address| address.port()) } else { 0 };
            (format!("PLENARY__{}__LISTEN", one.to_uppercase()), format!("127.0.0.1:{port}"))
        });
        let mut node = Command::new(plenary()?);
        let ran = node.args(["node", "--init", "--data-dir"]).arg(&data).envs(listens).output()?;
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && said.contains(&format!("`{part}.listen`: 127.0.0.1:")), "{said}");
        assert!(!data.join("identity").exists(), "{part}: nothing was founded");
    }
    Ok(())
}
