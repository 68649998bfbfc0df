//! A node starts anew on what its folder holds: a founder that was cut off early founds, a member without its store does not
//! come back as if it had promised nothing.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use plenary_tests::{Cluster, DEADLINE, plenary, say};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::timeout;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_several_addresses_answers_from_the_one_that_was_asked() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("node.toml");
    // From the first address, nothing can be sent to people who come by IPv4.
    fs::write(
        &config,
        format!(
            "data_dir = {:?}\n[http]\nlisten = \"127.0.0.1:0\"\n[control]\nlisten = \"127.0.0.1:0\"\n\
             [media_link]\nlisten = \"127.0.0.1:0\"\n[media]\nlisten = [\"[::1]:0\", \"127.0.0.1:0\"]\n\
             workers = 1\n[auth]\nguest_users = true\n",
            folder.path().join("data")
        ),
    )?;
    let mut node = tokio::process::Command::new(plenary()?);
    node.args(["node", "--init", "--config"]).arg(&config).stdout(Stdio::piped()).kill_on_drop(true);
    let mut node = node.spawn()?;
    let mut lines = BufReader::new(node.stdout.take().context("stdout")?).lines();
    let ready = timeout(DEADLINE, lines.next_line()).await??.context("it ended before it was ready")?;
    let http = ready.split(' ').find_map(|word| word.strip_prefix("http=")).with_context(|| ready.clone())?;

    let mut load = tokio::process::Command::new(plenary()?);
    load.args(["load", "--url", &format!("http://{http}"), "--publishers", "2", "--kbps", "100", "--seconds", "1"]);
    let output = load.args(["--max-frozen-percent", "100"]).stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    node.kill().await?;
    Ok(())
}
