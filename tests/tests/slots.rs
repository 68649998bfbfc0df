//! Slots whose sources switch every second, across nodes: announced right, on one timeline, whole.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use plenary_participant::{Participant, Report, SlotKind, Speech};
use plenary_protocol::{Interest, SourceName, VideoInterest, WantedTrack};
use plenary_tests::{Cluster, DEADLINE, say, setting};

/// How far a sender report may be from a straight line: less than a frame of either kind.
const DRIFT: Duration = Duration::from_millis(15);

fn wish(people: &[Participant]) -> Interest {
    let of = |person: &Participant| WantedTrack {
        participant: person.id().to_owned(),
        source: SourceName::Camera,
        width: 640,
        height: 360,
    };
    Interest { video: VideoInterest::Tracks { tracks: people.iter().map(of).collect() }, audio: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_switch_every_second_stay_right_and_linear() -> Result<()> {
    let seconds = setting("SWITCHING_SECONDS", 20);
    let cluster = Cluster::start(3).await?;
    let meeting = cluster.create_live_meeting().await?;
    let mut people = Vec::new();
    for index in 0..8_u32 {
        let number = if index % 2 == 0 { 1 } else { 3 };
        let mut person = cluster.person(number, &meeting, &format!("Person {index}"));
        // The halves talk by turns of a second, so that sound switches as well.
        let turn = Duration::from_secs(1);
        person.speech = Speech::Turns { first: turn * (index / 4), talk: turn, pause: turn };
        people.push(Participant::join(person).await?);
    }
    let mut viewer = cluster.person(2, &meeting, "Viewer").watching();
    viewer.interest = Some(wish(&people[..4]));
    let viewer = Participant::join(viewer).await?;
    let publishers: BTreeMap<String, u64> =
        people.iter().map(|person| (person.id().to_owned(), person.publisher())).collect();

    let mut beat = tokio::time::interval(Duration::from_secs(1));
    for second in 0..seconds {
        let half = if second % 2 == 0 { &people[..4] } else { &people[4..] };
        viewer.set_interest(wish(half)).await;
        beat.tick().await;
    }
    let all_shown = |report: &Report| people.iter().all(|one| report.frames_from(one.publisher(), SlotKind::Video) > 0);
    let report = viewer.wait_for(all_shown, DEADLINE).await.context("everybody was shown")?;

    let offers = report.offers;
    for slot in report.slots.iter().filter(|slot| !slot.segments.is_empty()) {
        let wrong = slot.mislabelled(|id| publishers.get(id).copied());
        let drift = slot.sender_report_drift();
        say(format!(
            "slot {} {:?}: {} switches, {} frames, longest gap {:.0?}, reports {} within {:.1?}",
            slot.mid,
            slot.kind,
            slot.stats.switches,
            slot.stats.frames,
            slot.stats.longest_gap,
            slot.sender_reports.len(),
            drift.unwrap_or_default(),
        ));
        assert!(wrong.is_empty(), "slot {}: {wrong:?}", slot.mid);
        assert_eq!(slot.stats.timestamp_faults, 0, "slot {}: RTP time goes on", slot.mid);
        assert_eq!(slot.stats.switches_without_keyframe, 0, "slot {}", slot.mid);
        assert!(drift.is_none_or(|drift| drift <= DRIFT), "slot {}: reports are {drift:?} off", slot.mid);
        assert!(
            slot.sender_reports.iter().all(|report| report.rtp != 0),
            "slot {}: a report with RTP time 0",
            slot.mid
        );
    }
    let switches: u64 = report.slots_of(SlotKind::Video).map(|slot| slot.stats.switches).sum();
    assert!(switches >= u64::from(seconds) * 2, "{switches} switches in {seconds} s");
    assert_eq!(offers, 1, "switching costs no offer");
    Ok(())
}
