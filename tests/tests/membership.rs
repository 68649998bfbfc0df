//! Nodes come and go while clients write: nothing that was acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use plenary_tests::{Cluster, DEADLINE, Rest, now, say, setting, until, until_within};
use serde_json::json;
use tokio::task::JoinHandle;

/// A removed node's connections end within this, and so does its process.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// What a busy machine may add to it: the harness starts a process to look.
const SLACK: Duration = Duration::from_secs(1);
/// A writer rests so long after a refusal, as clients do.
const AFTER_REFUSAL: Duration = Duration::from_millis(50);

/// What a writer did.
#[derive(Debug, Default)]
struct Written {
    ids: Vec<String>,
    refused: usize,
    longest_gap: Duration,
}

/// A client that creates one meeting after the other on one node until told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Written>,
}

impl Writer {
    #[expect(clippy::disallowed_methods, reason = "the test that starts it waits for it in `stop`")]
    fn start(rest: Rest) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut written = Written::default();
            let mut last = now();
            while !stopped.load(Ordering::Relaxed) {
                let id = create(&rest).await;
                match id {
                    Ok(id) => {
                        written.ids.push(id);
                        written.longest_gap = written.longest_gap.max(last.elapsed());
                        last = now();
                    }
                    Err(_) => {
                        written.refused += 1;
                        tokio::time::sleep(AFTER_REFUSAL).await;
                    }
                }
            }
            written
        });
        Self { stop, task }
    }

    async fn stop(self) -> Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await?)
    }
}

async fn create(rest: &Rest) -> Result<String> {
    let body = json!({ "meeting_name": "Written", "meeting_type": "scheduled" });
    let created = rest.post("/api/meeting", body).await?.success()?;
    Ok(created["data"]["id"].as_str().context("data.id")?.to_owned())
}

/// Waits until node `asked` knows just these voters and no learners, all numbers of nodes here.
async fn until_voters(cluster: &Cluster, asked: usize, voters: &[usize]) -> Result<()> {
    let mut wanted: Vec<u64> = voters.iter().map(|number| cluster.node(*number).ports().node).collect();
    wanted.sort_unstable();
    until(&format!("node {asked} knows the voters {voters:?}"), async || {
        let raft = cluster.node(asked).status().await?["raft"].clone();
        let none = raft["learners"].as_array().is_some_and(Vec::is_empty);
        if raft["voters"] == json!(wanted) && none { Ok(Some(())) } else { anyhow::bail!("{raft}") }
    })
    .await
}

/// Every one of `ids` is known to node `number`.
async fn all_there(cluster: &Cluster, number: usize, ids: &[String]) -> Result<()> {
    let host = cluster.host(number)?;
    for id in ids {
        until_within(DEADLINE, &format!("node {number} has {id}"), async || {
            let answer = host.get(&format!("/api/meeting/{id}")).await?;
            Ok(answer.status.is_success().then_some(()))
        })
        .await?;
    }
    Ok(())
}

async fn remove(cluster: &mut Cluster, via: usize, number: usize) -> Result<Duration> {
    let id = cluster.node(number).ports().node.to_string();
    let refused = cluster.node(via).command(&["cluster", "remove", &id]).await;
    let words = format!("{:#}", refused.err().context("a node that is up was removed without --force")?);
    ensure!(words.contains("is up") && words.contains("--force"), "{words}");
    cluster.node(via).command(&["cluster", "remove", &id, "--force"]).await?;
    let begin = now();
    cluster.until_ended(number).await?;
    let ended = begin.elapsed();
    ensure!(cluster.node(number).log().contains("is no longer of the cluster and stops"), "it says why it stops");
    ensure!(ended < GONE_WITHIN + SLACK, "the removed node ended after {ended:?}");
    Ok(ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_become_five_and_three_again_under_load() -> Result<()> {
    let each = setting("WRITERS", 2);
    let mut cluster = Cluster::start(3).await?;
    until_voters(&cluster, 1, &[1, 2, 3]).await?;
    let mut writers = Vec::new();
    for number in 1..=5 {
        if number > 3 {
            cluster.add(number - 2).await?;
        }
        for _ in 0..each {
            writers.push((number, Writer::start(cluster.host(number)?)));
        }
    }
    until_voters(&cluster, 1, &[1, 2, 3, 4, 5]).await?;

    // The leader goes first, so that leadership has to move as well.
    let leader = cluster.leader_seen_by(1).await?;
    let second = if leader == 5 { 4 } else { 5 };
    let remaining: Vec<usize> = (1..=5).filter(|number| *number != leader && *number != second).collect();
    for number in [leader, second] {
        let ended = remove(&mut cluster, remaining[0], number).await?;
        say(format!("membership: removed node {number}, its process ended after {} ms", ended.as_millis()));
    }
    for asked in &remaining {
        until_voters(&cluster, *asked, &remaining).await?;
    }

    let mut ids = Vec::new();
    for (number, writer) in writers {
        let written = writer.stop().await?;
        if remaining.contains(&number) {
            say(format!(
                "membership: a writer on node {number}: {} written, {} refused, longest gap {} ms",
                written.ids.len(),
                written.refused,
                written.longest_gap.as_millis()
            ));
        }
        ids.extend(written.ids);
    }
    ensure!(ids.len() >= 50, "only {} meetings were written: no load", ids.len());
    for number in &remaining {
        all_there(&cluster, *number, &ids).await?;
    }
    say(format!("membership: 3 -> 5 -> 3 nodes, {} acknowledged writes, 0 lost on {remaining:?}", ids.len()));

    let refused = cluster.restart(leader).await.err().context("a removed node was let in again")?;
    ensure!(format!("{refused:#}").contains("was removed from its cluster"), "{refused:#}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_moves_where_the_operator_wants_it() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    until_voters(&cluster, 1, &[1, 2, 3]).await?;
    let leader = cluster.leader_seen_by(1).await?;
    let next = leader % 3 + 1;
    let id = cluster.node(next).ports().node.to_string();
    // Through a node that neither leads nor will.
    let other = (1..=3).find(|number| *number != leader && *number != next).context("a third node")?;
    let said = cluster.node(other).command(&["cluster", "transfer-leader", "--to", &id, "--json"]).await?;
    ensure!(said.contains(&format!("\"leader\": {id}")), "{said}");
    ensure!(cluster.leader_seen_by(next).await? == next, "it leads");
    let refused = cluster.node(other).command(&["cluster", "transfer-leader", "--to", "99"]).await;
    let words = format!("{:#}", refused.err().context("leadership went to nobody")?);
    ensure!(words.contains("node 99 does not vote"), "{words}");
    let refused = cluster.node(other).command(&["cluster", "remove", "99"]).await;
    let words = format!("{:#}", refused.err().context("nobody was removed")?);
    ensure!(words.contains("no node 99"), "{words}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_replaced_under_load_without_a_failed_write() -> Result<()> {
    let rotations = setting("ROTATIONS", 20);
    let cluster = Cluster::start(3).await?;
    until_voters(&cluster, 1, &[1, 2, 3]).await?;
    let mut writers = Vec::new();
    for number in 1..=3 {
        writers.push(Writer::start(cluster.host(number)?));
    }
    let shown = |number: usize| std::fs::read(cluster.node(number).data_dir().join("identity/node.pem"));
    for rotation in 0..rotations {
        let number = 1 + (rotation % 3) as usize;
        let before = shown(number)?;
        cluster.node(number).command(&["cluster", "rotate"]).await?;
        ensure!(shown(number)? != before, "node {number} has another certificate");
    }
    let mut ids = Vec::new();
    for writer in writers {
        let written = writer.stop().await?;
        ensure!(written.refused == 0, "{} writes were refused", written.refused);
        ids.extend(written.ids);
    }
    for number in 1..=3 {
        all_there(&cluster, number, &ids).await?;
    }
    say(format!("rotation: {rotations} certificates replaced, {} writes meanwhile, 0 failed", ids.len()));
    Ok(())
}
