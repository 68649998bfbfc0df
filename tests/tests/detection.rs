//! A node that dies or hangs is found and replaced: how long until it is declared down, and, if it led, until the next
//! write is acknowledged.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plenary_tests::{Cluster, DEADLINE, now, say, setting, until, until_within};
use serde_json::{Value, json};

/// A dead node is declared down within this. The detector needs 0.7 to 0.9 s; the rest is for busy machines.
const DOWN_WITHIN: Duration = Duration::from_secs(2);
/// A write is acknowledged again within this: the goal.
const WRITE_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// `kill -9`.
    Kill,
    /// SIGSTOP: the process is there and does nothing.
    Hang,
}

/// How node `number` stands, as node `asked` knows.
async fn status_of(cluster: &Cluster, asked: usize, number: usize) -> Result<Option<String>> {
    let id = cluster.node(number).ports().node;
    let status = cluster.node(asked).ask(&json!("status")).await?;
    let of = |node: &&Value| node["id"].as_u64() == Some(id);
    Ok(status["nodes"]
        .as_array()
        .context("nodes")?
        .iter()
        .find(of)
        .and_then(|node| Some(node["status"].as_str()?.to_owned())))
}

async fn until_status(cluster: &Cluster, asked: usize, number: usize, wanted: &str, limit: Duration) -> Result<()> {
    until_within(limit, &format!("node {asked} takes node {number} to be {wanted}"), async || {
        Ok((status_of(cluster, asked, number).await?.as_deref() == Some(wanted)).then_some(()))
    })
    .await
}

/// Waits until a write is acknowledged by node `number`.
async fn write_again(cluster: &Cluster, number: usize) -> Result<()> {
    let host = cluster.host(number)?;
    until_within(WRITE_WITHIN, "a write is acknowledged", async || {
        let body = json!({ "meeting_name": "Again", "meeting_type": "scheduled" });
        Ok(host.post("/api/meeting", body).await?.status.is_success().then_some(()))
    })
    .await
}

/// Breaks node `victim`; how long until it is declared down, and until node `asked` acknowledges a write.
async fn broken(cluster: &mut Cluster, fault: Fault, victim: usize, asked: usize) -> Result<(Duration, Duration)> {
    let begin = now();
    match fault {
        Fault::Kill => cluster.kill(victim),
        Fault::Hang => cluster.pause(victim)?,
    }
    let shared = &*cluster;
    let (down, write) = tokio::try_join!(
        async {
            until_status(shared, asked, victim, "down", DOWN_WITHIN).await?;
            anyhow::Ok(begin.elapsed())
        },
        async {
            write_again(shared, asked).await?;
            anyhow::Ok(begin.elapsed())
        },
    )?;
    match fault {
        Fault::Kill => cluster.restart(victim).await?,
        Fault::Hang => cluster.resume(victim)?,
    }
    until_status(cluster, asked, victim, "up", DEADLINE).await?;
    Ok((down, write))
}

/// All three vote and are up, and the victim, back again, follows.
async fn until_whole(cluster: &Cluster) -> Result<usize> {
    for number in 1..=3 {
        until(&format!("node {number} knows three voters, all up"), async || {
            let status = cluster.node(number).ask(&json!("status")).await?;
            let voters = status["raft"]["voters"].as_array().is_some_and(|voters| voters.len() == 3);
            let up = status["nodes"].as_array().is_some_and(|nodes| nodes.iter().all(|node| node["status"] == "up"));
            Ok((voters && up && status["raft"]["quorum"] == true).then_some(()))
        })
        .await?;
    }
    cluster.leader_seen_by(1).await
}

fn figures(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let last = times.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a small index"
        )]
        let index = (share * last as f64).ceil() as usize;
        times.get(index).map_or(0, Duration::as_millis)
    };
    format!("n {}  min {}  p50 {}  p95 {}  max {} ms", times.len(), at(0.0), at(0.5), at(0.95), at(1.0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_or_hangs_is_declared_down_and_a_leader_is_replaced() -> Result<()> {
    let rounds = setting("DETECTION_ROUNDS", 2);
    let mut cluster = Cluster::start(3).await?;
    for fault in [Fault::Kill, Fault::Hang] {
        for leads in [false, true] {
            let (mut downs, mut writes) = (Vec::new(), Vec::new());
            for round in 0..rounds {
                let leader = until_whole(&cluster).await?;
                let follower = leader % 3 + 1;
                let victim = if leads { leader } else { follower };
                let asked = (1..=3).find(|number| *number != leader && *number != victim).context("a witness")?;
                let (down, write) = broken(&mut cluster, fault, victim, asked)
                    .await
                    .with_context(|| format!("{fault:?} of node {victim}, round {round}"))?;
                downs.push(down);
                writes.push(write);
            }
            let role = if leads { "leader" } else { "follower" };
            say(format!("detection: {fault:?} of a {role}: declared down after {}", figures(downs)));
            say(format!("detection: {fault:?} of a {role}: next write after    {}", figures(writes)));
        }
    }
    let log: String = (1..=3).map(|number| cluster.node(number).log()).collect();
    ensure!(log.contains("observers agree that it is gone"), "the observers found them");
    ensure!(!log.contains("no longer answers and is declared down"), "the leader's own silence was not needed");
    Ok(())
}
