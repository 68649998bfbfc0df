//! People come and go; those who are there don't renegotiate.

use anyhow::{Context, Result};
use plenary_participant::{Participant, SlotKind};
use plenary_tests::{Cluster, DEADLINE, say, setting};

#[tokio::test(flavor = "multi_thread")]
async fn joins_and_leaves_cost_the_others_no_offer_until_the_pool_must_grow() -> Result<()> {
    let rounds = setting("JOINS", 30);
    let cluster = Cluster::start(2).await?;
    let meeting = cluster.create_live_meeting().await?;
    let ada = Participant::join(cluster.person(1, &meeting, "Ada")).await?;
    let bob = Participant::join(cluster.person(2, &meeting, "Bob")).await?;
    for round in 0..rounds {
        let number = 1 + (round % 2) as usize;
        let guest = Participant::join(cluster.person(number, &meeting, &format!("Guest {round}"))).await?;
        let seen = |publisher: u64| {
            move |report: &plenary_participant::Report| report.frames_from(publisher, SlotKind::Video) > 0
        };
        guest.wait_for(seen(ada.publisher()), DEADLINE).await.context("the guest sees Ada")?;
        bob.wait_for(seen(guest.publisher()), DEADLINE).await.context("Bob sees the guest")?;
        let id = guest.id().to_owned();
        guest.leave().await;
        ada.wait_for(|report| !report.roster.contains_key(&id), DEADLINE).await.context("the guest is gone")?;
    }
    let offers = [ada.report().await.offers, bob.report().await.offers];
    say(format!("offers: {offers:?} after {rounds} joins and leaves by others"));
    assert_eq!(offers, [1, 1]);

    let mut crowd = Vec::new();
    for number in 0..5 {
        crowd.push(Participant::join(cluster.person(1 + number % 2, &meeting, &format!("Crowd {number}"))).await?);
    }
    let grown = ada.wait_for(|report| report.offers == 2, DEADLINE).await.context("six pictures need a larger pool")?;
    assert!(grown.slots_of(SlotKind::Video).count() > 4, "the second offer has more video slots");
    let everybody = |report: &plenary_participant::Report| {
        crowd.iter().all(|person| report.frames_from(person.publisher(), SlotKind::Video) > 0)
    };
    ada.wait_for(everybody, DEADLINE).await.context("Ada sees all of the crowd")?;
    let old: Vec<&str> = grown.slots.iter().map(|slot| slot.mid.as_str()).take(7).collect();
    say(format!("pool: grew once, to {} slots; the first ones are still {old:?}", grown.slots.len()));
    assert_eq!(ada.report().await.offers, 2, "one step is enough");
    Ok(())
}
