//! A track crosses a link once, however many watch it there, and not at all when nobody does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plenary_participant::{Participant, Report, SlotKind};
use plenary_protocol::{Interest, VideoInterest};
use plenary_tests::{Cluster, DEADLINE, now, say, until, until_within};

/// Frames that show that a picture flows.
const FLOWING: u64 = 30;
/// Enough for frames under way at both ends of the measurement to weigh less than half a percent.
const MEASURED_BYTES: u64 = 1_000_000;
/// How long a link must be silent to count as silent.
const SILENCE: Duration = Duration::from_secs(3);
/// A link that nobody needs is silent within this.
const SILENT_WITHIN: Duration = Duration::from_secs(2);
/// What of the linger (`media.linger_ms`, 500) must be seen: those who stay may look again at once.
const LINGERS: Duration = Duration::from_millis(300);

fn sees(publisher: u64) -> impl Fn(&Report) -> bool {
    move |report| {
        report.frames_from(publisher, SlotKind::Video) >= FLOWING
            && report.frames_from(publisher, SlotKind::Audio) >= FLOWING
    }
}

/// More of a publisher than was seen till now.
async fn sees_more(watcher: &Participant, publisher: u64) -> Result<Report> {
    let now = watcher.report().await;
    let seen = [SlotKind::Video, SlotKind::Audio].map(|kind| (kind, now.frames_from(publisher, kind)));
    let more = |report: &Report| seen.iter().all(|(kind, seen)| report.frames_from(publisher, *kind) >= seen + FLOWING);
    Ok(watcher.wait_for(more, DEADLINE).await?)
}

/// How long after `from` the link from node 1 to node 2 carried its last byte.
async fn silent_after(cluster: &Cluster, from: Instant) -> Result<Duration> {
    let mut last = (cluster.relayed_bytes(1, 2).await?, now());
    until("the link is silent", async || {
        let bytes = cluster.relayed_bytes(1, 2).await?;
        if bytes != last.0 {
            last = (bytes, now());
        }
        Ok((last.1.elapsed() >= SILENCE).then_some(()))
    })
    .await?;
    Ok(last.1.saturating_duration_since(from))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_watchers_cost_the_link_one_copy_and_none_costs_nothing() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let meeting = cluster.create_live_meeting().await?;
    let ada = Participant::join(cluster.person(1, &meeting, "Ada")).await?;
    ada.wait_for(|report| report.published_rtp_bytes() > 100_000, DEADLINE).await?;
    assert_eq!(cluster.relayed_bytes(1, 2).await?, 0, "nobody is on node 2");

    let bob = Participant::join(cluster.person(2, &meeting, "Bob").watching()).await?;
    let cleo = Participant::join(cluster.person(2, &meeting, "Cleo").watching()).await?;
    for watcher in [&bob, &cleo] {
        watcher.wait_for(sees(ada.publisher()), DEADLINE).await.context("a watcher on node 2 sees Ada")?;
    }

    let (relayed, published) = (cluster.relayed_bytes(1, 2).await?, ada.report().await.published_rtp_bytes());
    let enough = ada.wait_for(|report| report.published_rtp_bytes() > published + MEASURED_BYTES, DEADLINE).await?;
    let relayed = cluster.relayed_bytes(1, 2).await? - relayed;
    let published = enough.published_rtp_bytes() - published;
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let ratio = relayed as f64 / published as f64;
    say(format!("relay: 2 watchers, relayed {relayed} of published {published} bytes, ratio {ratio:.3} (limit 1.05)"));
    assert!((0.9..=1.05).contains(&ratio), "{ratio}");
    assert_eq!(cluster.relayed_bytes(1, 3).await?, 0, "nobody is on node 3");

    let nothing = Interest { video: VideoInterest::Tracks { tracks: Vec::new() }, audio: false };
    let turned_away = now();
    for watcher in [&bob, &cleo] {
        watcher.set_interest(nothing.clone()).await;
    }
    let lingered = silent_after(&cluster, turned_away).await?;
    for watcher in [&bob, &cleo] {
        watcher.set_interest(Interest::default()).await;
        sees_more(watcher, ada.publisher()).await.context("a watcher sees Ada again")?;
    }
    bob.leave().await;
    cleo.leave().await;
    let at_once = silent_after(&cluster, now()).await?;
    say(format!(
        "relay: silent {lingered:.1?} after both stayed and watched no more (linger 500 ms, limit 2 s), \
         {at_once:.1?} after both had left (limit 2 s)"
    ));
    assert!((LINGERS..=SILENT_WITHIN).contains(&lingered), "those who stay: {lingered:?}");
    assert!(at_once <= SILENT_WITHIN, "those who left: {at_once:?}");
    ada.leave().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_one_node_share_a_room_as_nodes_do() -> Result<()> {
    let cluster = Cluster::start_with(1, 2, "sessions_per_shard = 1\n").await?;
    let meeting = cluster.create_live_meeting().await?;
    let ada = Participant::join(cluster.person(1, &meeting, "Ada")).await?;
    let bob = Participant::join(cluster.person(1, &meeting, "Bob")).await?;
    ada.wait_for(sees(bob.publisher()), DEADLINE).await.context("Ada sees Bob")?;
    bob.wait_for(sees(ada.publisher()), DEADLINE).await.context("Bob sees Ada")?;
    let status = cluster.node(1).status().await?;
    let sessions: Vec<_> =
        status["workers"].as_array().context("workers")?.iter().map(|w| w["sessions"].as_u64()).collect();
    assert_eq!(sessions, [Some(1), Some(1)], "each worker has one of them");
    ada.leave().await;
    bob.leave().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_everybody_sees_everybody() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let meeting = cluster.create_live_meeting().await?;
    let mut people = Vec::new();
    for (number, name) in [(1, "Ada"), (2, "Bob"), (3, "Cleo")] {
        people.push(Participant::join(cluster.person(number, &meeting, name)).await?);
    }
    for person in &people {
        for other in people.iter().filter(|other| other.publisher() != person.publisher()) {
            person
                .wait_for(sees(other.publisher()), DEADLINE)
                .await
                .with_context(|| format!("{} sees {}", person.id(), other.id()))?;
        }
    }
    for person in people {
        let report = person.leave().await;
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        let faults: u64 = report.slots.iter().map(|slot| slot.stats.hash_mismatches + slot.stats.foreign_packets).sum();
        assert_eq!(faults, 0, "packets arrive as they were sent");
    }
    until_within(Duration::from_secs(5), "all sessions are gone", async || {
        let status = cluster.node(1).status().await?;
        let left: u64 =
            status["workers"].as_array().context("workers")?.iter().filter_map(|w| w["sessions"].as_u64()).sum();
        Ok((left == 0).then_some(()))
    })
    .await
}
