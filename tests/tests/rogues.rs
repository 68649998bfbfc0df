//! Whoever is no member gets no further than the door, and the log says why.

use anyhow::{Context, Result, ensure};
use plenary_cluster::model::{NodeId, Timestamp};
use plenary_cluster::state::{Command, Proposal, ProposalId};
use plenary_tests::{Cluster, Forger, Holds, Papers, enter, knock_with, say, until};

const CONTROL: &str = "plenary-control/1";
const MEDIA: &str = "plenary-media/1";
const JOIN: &str = "plenary-join/1";

/// How forwarded proposals begin: schema and kind.
const PROPOSE: [u8; 2] = [2, 6];

/// Lines of node 1's log that hold all of `words`.
fn lines(cluster: &Cluster, words: &[&str]) -> usize {
    cluster.node(1).log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// Waits until node 1's log has one more such line than before.
async fn until_logged(cluster: &Cluster, case: &str, before: usize, words: &[&str]) -> Result<()> {
    until(&format!("{case}: the log says {words:?}"), async || Ok((lines(cluster, words) > before).then_some(()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rogue_peers_are_refused_and_the_log_says_why() -> Result<()> {
    let mut cluster = Cluster::start(2).await?;
    let used = cluster.node(1).command(&["cluster", "token"]).await?;
    cluster.add_with(1, &used).await?;
    let removed = cluster.node(3).ports().node;
    cluster.node(1).command(&["cluster", "remove", &removed.to_string(), "--force"]).await?;
    cluster.until_ended(3).await?;
    let data = cluster.node(1).data_dir();
    let ours = Forger::of_cluster(&data)?;
    let impostor = Forger::impostor_of(&data)?;
    let elsewhere = Forger::of_cluster(&data)?.for_cluster(&"7".repeat(32));
    let member = cluster.node(2).ports().node;
    let stranger = (2..).find(|id| *id != member && *id != removed).context("an id that nobody has")?;

    let of_removed = || Papers::of_node(&cluster.node(3).data_dir());
    let table = [
        ("no certificate", CONTROL, Papers::none(), "no_certificate", "must show"),
        ("no certificate, media", MEDIA, Papers::none(), "no_certificate", ""),
        ("self-made certificate", CONTROL, Papers::self_made()?, "unknown_authority", ""),
        ("other authority", CONTROL, impostor.papers("node", member, Holds::Now)?, "unknown_authority", ""),
        ("other authority, media", MEDIA, impostor.papers("node", member, Holds::Now)?, "unknown_authority", ""),
        ("expired", CONTROL, ours.papers("node", member, Holds::UntilYesterday)?, "bad_certificate", "expired"),
        (
            "not yet valid",
            CONTROL,
            ours.papers("node", member, Holds::FromTomorrow)?,
            "bad_certificate",
            "not valid yet",
        ),
        ("other cluster", CONTROL, elsewhere.papers("node", member, Holds::Now)?, "bad_certificate", "another cluster"),
        (
            "names no role we know",
            CONTROL,
            ours.papers("guest", member, Holds::Now)?,
            "bad_certificate",
            "names no node",
        ),
        ("joiner on a Raft request", CONTROL, ours.papers("joiner", member, Holds::Now)?, "role", "joiner"),
        ("admin on a Raft request", CONTROL, ours.papers("admin", member, Holds::Now)?, "role", "admin"),
        ("joiner on media", MEDIA, ours.papers("joiner", member, Holds::Now)?, "role", "joiner"),
        ("removed node", CONTROL, of_removed()?, "not_a_member", "was removed"),
        ("removed node, media", MEDIA, of_removed()?, "not_a_member", "was removed"),
        ("id of nobody", CONTROL, ours.papers("node", stranger, Holds::Now)?, "not_a_member", "never admitted"),
        ("unknown protocol", "plenary-control/0", ours.papers("node", member, Holds::Now)?, "protocol", ""),
        ("member that joins", JOIN, ours.papers("node", member, Holds::Now)?, "protocol", "no need to join"),
    ];
    let mut refused = 0;
    for (case, protocol, papers, reason, detail) in table {
        let door = if protocol == MEDIA { cluster.node(1).ports().media_link } else { cluster.node(1).ports().control };
        // Values stand in quotes; the names before them may be coloured.
        let reason = format!("\"{reason}\"");
        let words = ["node link refused", &reason, detail];
        let before = lines(&cluster, &words);
        let closed = knock_with(door, protocol, papers).await.with_context(|| case.to_owned())?;
        until_logged(&cluster, case, before, &words).await?;
        say(format!("rogue: {case}: {closed}"));
        refused += 1;
    }

    refused += bad_requests(&cluster, &ours).await?;
    refused += bad_tokens(&cluster, used).await?;
    say(format!("rogues: {refused} of {refused} refused with a reason in the log"));
    ensure!(cluster.is_running(1), "the node still runs");
    Ok(())
}

/// Genuine papers, and requests that no member makes.
async fn bad_requests(cluster: &Cluster, ours: &Forger) -> Result<usize> {
    let ports = cluster.node(1).ports();
    let member = cluster.node(2).ports().node;
    let guest = enter(ports.control, CONTROL, ours.papers("node", member, Holds::Now)?).await?;

    let words = ["request refused", "exceeds the limit"];
    let before = lines(cluster, &words);
    ensure!(guest.request(u32::MAX, &PROPOSE).await.is_err(), "an oversized frame was answered");
    until_logged(cluster, "oversized frame", before, &words).await?;

    let id = ProposalId { proposer: NodeId::new(1), epoch: 1, sequence: 1 };
    let command = Command::NodeDown { node: NodeId::new(1), epoch: 1 };
    let proposal = Proposal { id, time: Timestamp::from_millis(0), command };
    let mut body = PROPOSE.to_vec();
    body.extend(bincode::serde::encode_to_vec(vec![proposal], bincode::config::standard())?);
    let words = ["a member's request was refused", "in the name of node 1"];
    let before = lines(cluster, &words);
    let (status, answer) = guest.request(u32::try_from(body.len())?, &body).await?;
    ensure!(status == 1, "a proposal in another's name was answered: {answer:?}");
    until_logged(cluster, "another's name", before, &words).await?;

    let words = ["a member's request was refused", "unknown kind"];
    let before = lines(cluster, &words);
    let (status, _) = guest.request(2, &[2, 99]).await?;
    ensure!(status == 1, "a request of no kind was answered");
    until_logged(cluster, "no kind", before, &words).await?;
    Ok(3)
}

/// Tokens that must let nobody in.
async fn bad_tokens(cluster: &Cluster, used: String) -> Result<usize> {
    let token = || async { cluster.node(1).command(&["cluster", "token"]).await };
    let expired = cluster.node(1).command(&["cluster", "token", "--minutes", "0"]).await?;
    let mut changed = token().await?;
    changed.truncate(changed.len() - 2);
    changed.push_str("AA");
    let other = Cluster::start(1).await?;
    let foreign = other.node(1).command(&["cluster", "token"]).await?;
    // What a newcomer is told, and what the member's log says. A newcomer that was given another cluster's token turns
    // away itself, before it says anything.
    let table = [
        ("reused token", used, "already used", ["newcomer refused", "already used"]),
        ("expired token", expired, "expired at", ["newcomer refused", "expired"]),
        ("changed token", changed, "not made by this cluster", ["newcomer refused", "not made by this cluster"]),
        ("another cluster's token", foreign, "not of the token's cluster", ["node link refused", "\"by_peer\""]),
    ];
    let count = table.len();
    for (number, (case, token, told, words)) in table.into_iter().enumerate() {
        let before = lines(cluster, &words);
        let said = cluster.refused_newcomer(1, &format!("rogue-{number}"), &token).await?;
        ensure!(said.contains(told), "{case}: {said}");
        until_logged(cluster, case, before, &words).await?;
        say(format!("rogue: {case}: {told}"));
    }
    Ok(count)
}
