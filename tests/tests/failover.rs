//! A node dies: a call between the other two does not notice, the cluster goes on, and the node finds all when it is back.

use std::time::Duration;

use anyhow::{Context, Result};
use plenary_participant::{Participant, SlotKind};
use plenary_tests::{Cluster, DEADLINE, Meeting, now, say, setting, until_within};

/// What the gap may be above the undisturbed one.
const ABOVE_BASELINE: Duration = Duration::from_millis(200);
/// How soon a meeting can be created again.
const NEW_MEETING_WITHIN: Duration = Duration::from_secs(2);
/// Frames over which a gap is measured: five seconds and more.
const FRAMES: u64 = 150;

/// The longest time that either of two people saw no new frame of the other, over [`FRAMES`] frames from now.
async fn longest_gap(pair: &[Participant; 2]) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for person in pair {
        person.measure().await;
    }
    let (_, one) = tokio::try_join!(frames(&pair[0], &pair[1]), frames(&pair[1], &pair[0]))?;
    longest = longest.max(one);
    let other = pair[0].report().await.longest_gap(SlotKind::Video);
    Ok(longest.max(other))
}

async fn frames(of: &Participant, from: &Participant) -> Result<Duration> {
    let seen = of.report().await.frames_from(from.publisher(), SlotKind::Video);
    let more =
        |report: &plenary_participant::Report| report.frames_from(from.publisher(), SlotKind::Video) >= seen + FRAMES;
    Ok(of.wait_for(more, DEADLINE).await.context("frames flow")?.longest_gap(SlotKind::Video))
}

/// How long after now a meeting can be created through node `number`.
async fn meeting_again(cluster: &Cluster, number: usize) -> Result<(Duration, Meeting)> {
    let from = now();
    let create = async || Ok(cluster.live_meeting_on(number).await.ok());
    let meeting = until_within(DEADLINE, "a meeting can be created", create).await?;
    Ok((from.elapsed(), meeting))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_between_two_nodes_survives_the_death_of_the_third() -> Result<()> {
    let rounds = setting("FAILOVER_ROUNDS", 2);
    let mut cluster = Cluster::start(3).await?;
    let mut meetings = Vec::new();
    for round in 0..rounds {
        let leader = cluster.leader_seen_by(1).await?;
        let leads = round % 2 == 0;
        let victim = if leads { leader } else { leader % 3 + 1 };
        let alive: Vec<usize> = (1..=3).filter(|number| *number != victim).collect();
        let meeting = cluster.create_live_meeting().await?;
        let pair = [
            Participant::join(cluster.person(alive[0], &meeting, "Ada")).await?,
            Participant::join(cluster.person(alive[1], &meeting, "Bob")).await?,
        ];
        longest_gap(&pair).await.context("the call begins")?;
        let baseline = longest_gap(&pair).await.context("the call, undisturbed")?;
        cluster.kill(victim);
        let (gap, again) = tokio::try_join!(longest_gap(&pair), meeting_again(&cluster, alive[0]))?;
        let role = if leads { "the leader" } else { "a follower" };
        say(format!(
            "failover {round}: node {victim}, {role}, killed: longest gap {gap:.0?}, undisturbed {baseline:.0?}; new meeting after {} ms",
            again.0.as_millis()
        ));
        assert!(gap <= baseline + ABOVE_BASELINE, "gap {gap:?}, undisturbed {baseline:?}");
        assert!(again.0 <= NEW_MEETING_WITHIN, "a new meeting took {:?}", again.0);
        meetings.extend([meeting, again.1]);
        for person in pair {
            person.leave().await;
        }
        cluster.restart(victim).await?;
        for meeting in &meetings {
            cluster.until_known(victim, meeting).await?;
        }
    }
    say(format!("failover: each restarted node had all {} meetings", meetings.len()));
    Ok(())
}
