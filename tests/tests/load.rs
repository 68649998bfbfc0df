//! `plenary load` against three nodes: its figures, its limits, and nothing left behind.

use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use plenary_tests::history::Promise;
use plenary_tests::{Cluster, plenary, say, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Runs it on all nodes of a cluster as the user of `token`.
async fn load(cluster: &Cluster, token: &str, arguments: &[&str]) -> Result<Output> {
    let urls: Vec<String> = (1..=cluster.nodes().len()).map(|number| cluster.base_url(number)).collect();
    let mut command = Command::new(plenary()?);
    command.args(["load", "--url", &urls.join(","), "--patience", "20"]).args(arguments);
    command.env("PLENARY_USER_TOKEN", token).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.context("plenary load runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn it_passes_what_is_kept_well_and_fails_what_exceeds_a_limit() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let token = cluster.user_token("operator").await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("figures.json");
    let json = file.to_str().context("a path")?;

    let people = ["--rooms", "2", "--publishers", "3", "--subscribers", "1", "--kbps", "100"];
    let generous = ["--seconds", "4", "--joins-per-second", "5", "--max-frozen-percent", "20", "--json", json];
    let output = load(&cluster, &token, &[&people[..], &generous[..]].concat()).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    say(&text);
    ensure!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().last(), Some("PASS"));

    let figures: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    let each = figures["each"].as_array().context("each")?;
    assert_eq!((&figures["people"], &figures["failed"], each.len()), (&8.into(), &0.into(), 8));
    for spread in ["join_ms", "first_picture_ms", "delay_ms"] {
        for percentile in ["p50", "p95", "p99"] {
            assert!(figures[spread][percentile].as_f64().context("a figure")? > 0.0, "{spread} {percentile}");
        }
    }
    for person in each {
        // Three seconds of two or three pictures and as many voices are some hundreds of packets.
        assert!(person["packets"].as_u64() > Some(300), "{person}");
        assert!(person["loss_percent"].is_number() && person["delay_ms"]["p95"].is_number(), "{person}");
        let (join, picture) = (person["join_ms"].as_f64(), person["first_picture_ms"].as_f64());
        // Whoever comes first has nobody to see yet.
        let first = person["name"].as_str().is_some_and(|name| name.starts_with("publisher 1 "));
        assert!(join.is_some() && picture.is_none() == first && (first || join < picture), "{person}");
        assert_eq!((&person["faults"], &person["failure"]), (&0.into(), &Value::Null), "{person}");
    }
    let nodes: std::collections::BTreeSet<_> = each.iter().map(|person| person["node"].to_string()).collect();
    assert_eq!(nodes.len(), 3, "people are on every node");

    // Nobody joins within a millisecond, and a room has room for its own people only.
    let output = load(&cluster, &token, &["--publishers", "2", "--seconds", "1", "--max-join-ms", "1"]).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL --max-join-ms: ") && text.ends_with("FAIL\n"), "{text}");
    say(text.lines().find(|line| line.starts_with("FAIL --")).unwrap_or_default());

    assert_eq!(meetings(&cluster, &token).await?, 0, "its meetings are gone");
    Ok(())
}

/// How many meetings the user of `token` has.
async fn meetings(cluster: &Cluster, token: &str) -> Result<usize> {
    let user = cluster.host(1)?.with_token(token);
    let answer = user.read("/api/meeting", Promise::Linearizable).await?.success()?;
    Ok(answer["data"].as_array().context("data")?.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_interrupted_removes_its_meetings() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let token = cluster.user_token("operator").await?;
    // While people join, and while they stay.
    for (rate, moment) in [("0.1", "people join"), ("20", "have joined")] {
        let mut command = Command::new(plenary()?);
        command.args(["load", "--url", &cluster.base_url(1), "--seconds", "600", "--joins-per-second", rate]);
        command.env("PLENARY_USER_TOKEN", &token).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("standard error")?).lines();
        while let Some(line) = lines.next_line().await? {
            if line.contains(moment) {
                break;
            }
        }
        until("its meeting is there", async || Ok((meetings(&cluster, &token).await? == 1).then_some(()))).await?;
        let pid = Pid::from_raw(child.id().context("it runs")?.cast_signed()).context("a pid")?;
        kill_process(pid, Signal::INT)?;
        let output = child.wait_with_output().await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.lines().last().is_some_and(|line| line.starts_with("STOPPED after ")), "{text}");
        assert_eq!(meetings(&cluster, &token).await?, 0, "its meeting is gone");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_it_lacks() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    for (token, arguments, words) in [
        ("", &["--user-token", "wrong"][..], "INVALID_TOKEN"),
        ("", &["--publishers", "0"][..], "--publishers, --subscribers: nobody is to join"),
        ("", &["--joins-per-second", "0"][..], "--joins-per-second: 0 is not from"),
    ] {
        let output = load(&cluster, token, arguments).await?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && errors.contains(words), "{errors}");
        assert!(output.stdout.is_empty(), "no verdict");
    }
    Ok(())
}
