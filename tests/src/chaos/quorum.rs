//! A call while the cluster has lost its quorum: two people on one node and a third on another, of five nodes of which
//! three are gone.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use plenary_participant::{Participant, Report, SlotKind};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout_at};

use super::site::Site;
use crate::{DEADLINE, Lan, Meeting, Rest, now, say, until_within};

/// What a gap may be above the undisturbed one.
const ABOVE_BASELINE: Duration = Duration::from_millis(200);

/// How soon after mending everything has to agree.
const AGREE_WITHIN: Duration = Duration::from_secs(5);

/// Between two writes through each node that is left.
const BETWEEN: Duration = Duration::from_millis(500);

/// Longer than a node itself tries.
const PATIENCE: Duration = Duration::from_secs(5);

/// Frames that show that a call goes on.
const FRAMES: u64 = 20;

/// The nodes that stay; the call is on them.
const LEFT: [usize; 2] = [1, 2];
const GONE: [usize; 3] = [3, 4, 5];

/// What was seen.
#[derive(Debug, Clone)]
pub struct Quorum {
    losses: Vec<Loss>,
}

/// One loss of the quorum.
#[derive(Debug, Clone)]
struct Loss {
    how: &'static str,
    lasted: Duration,
    /// The longest gaps of pictures and of sound, undisturbed and without quorum.
    undisturbed: [Duration; 2],
    without: [Duration; 2],
    refused: usize,
    /// Answers that were neither a refusal for want of a quorum nor anything else that is right.
    wrong: Vec<String>,
    agreed: Duration,
}

impl Loss {
    fn is_good(&self) -> bool {
        let gaps = self.undisturbed.iter().zip(&self.without).all(|(calm, without)| *without <= *calm + ABOVE_BASELINE);
        gaps && self.refused > 0 && self.wrong.is_empty() && self.agreed <= AGREE_WITHIN
    }
}

impl Quorum {
    /// Takes three of five nodes away for `time`, once standing still and once killed.
    ///
    /// # Errors
    /// When there is no call to begin with, or the cluster does not come back.
    pub async fn lose(lan: &Lan, time: Duration) -> Result<Self> {
        let mut site = Site::found(lan, 5).await?;
        let meeting = site.cluster.create_live_meeting().await?;
        let mut people = Vec::new();
        for (node, name) in [(LEFT[0], "Ada"), (LEFT[0], "Bob"), (LEFT[1], "Cem")] {
            people.push(Participant::join(site.cluster.person(node, &meeting, name)).await?);
        }
        let mut losses = Vec::new();
        for how in ["stop", "kill"] {
            let flows = flows(&people).await;
            if flows.is_err() {
                site.keep_logs()?;
            }
            flows.with_context(|| format!("before they {how}, with {losses:?} behind"))?;
            let undisturbed = gaps(&people, sleep(time)).await.0;
            say(format!("quorum: undisturbed for {time:.0?}: longest gaps {undisturbed:.0?} (pictures, sound)"));
            for node in GONE {
                if how == "stop" { site.pause(node)? } else { site.kill(node) }
            }
            let doors: Vec<Rest> = LEFT.map(|node| site.cluster.host(node)).into_iter().collect::<Result<_>>()?;
            let (without, (refused, wrong)) = gaps(&people, refusals(&doors, time)).await;
            let mended = now();
            for node in GONE {
                site.resume(node)?;
                site.launch(node)?;
            }
            agree(&site, &meeting, how).await?;
            let agreed = mended.elapsed();
            let loss = Loss { how, lasted: time, undisturbed, without, refused, wrong, agreed };
            say(format!("quorum: {loss}"));
            losses.push(loss);
            site.until_whole().await?;
        }
        let flows = flows(&people).await;
        site.keep_logs()?;
        flows.context("after all")?;
        for person in people {
            let report = person.leave().await;
            ensure!(report.errors.is_empty(), "{:?}", report.errors);
        }
        ensure!(site.deaths.is_empty(), "{}", site.deaths.join("\n"));
        Ok(Self { losses })
    }

    /// Whether all went as it has to.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.losses.iter().all(Loss::is_good)
    }

    /// One line for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        let losses = self.losses.iter().map(|loss| {
            let ms = |gaps: [Duration; 2]| gaps.map(|gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX));
            json!({
                "how": loss.how,
                "seconds": loss.lasted.as_secs(),
                "gap_ms_undisturbed": ms(loss.undisturbed),
                "gap_ms": ms(loss.without),
                "writes_refused": loss.refused,
                "wrong_answers": loss.wrong.len(),
                "agreed_after_ms": u64::try_from(loss.agreed.as_millis()).unwrap_or(u64::MAX),
            })
        });
        json!({ "run": "quorum", "losses": losses.collect::<Vec<_>>() })
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { how, lasted, undisturbed, without, refused, wrong, agreed } = self;
        write!(
            f,
            "three of five ({how}) for {lasted:.0?}: longest gaps {without:.0?}, undisturbed {undisturbed:.0?} (pictures, sound); "
        )?;
        write!(f, "{refused} writes refused, {} wrong answers {wrong:?}; all agreed after {agreed:.1?}", wrong.len())
    }
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.losses.iter().try_for_each(|loss| writeln!(f, "{loss}"))
    }
}

/// Everyone sees and hears more of everyone else.
async fn flows(people: &[Participant]) -> Result<()> {
    for person in people {
        let before = person.report().await;
        let more = |report: &Report, other: &Participant| {
            [SlotKind::Video, SlotKind::Audio].into_iter().all(|kind| {
                report.frames_from(other.publisher(), kind) >= before.frames_from(other.publisher(), kind) + FRAMES
            })
        };
        let all = |report: &Report| {
            people.iter().filter(|other| other.publisher() != person.publisher()).all(|other| more(report, other))
        };
        if let Err(error) = person.wait_for(all, DEADLINE).await {
            let frames = people.iter().map(|other| error.report.frames_from(other.publisher(), SlotKind::Video));
            let (frames, ended, errors) = (frames.collect::<Vec<_>>(), &error.report.ended, &error.report.errors);
            bail!("someone no longer sees and hears everyone: pictures {frames:?}, ended {ended:?}, errors {errors:?}");
        }
    }
    Ok(())
}

/// The longest gaps of pictures and of sound that anyone has while something is done.
async fn gaps<T>(people: &[Participant], meanwhile: impl Future<Output = T>) -> ([Duration; 2], T) {
    for person in people {
        person.measure().await;
    }
    let done = meanwhile.await;
    let mut longest = [Duration::ZERO; 2];
    for person in people {
        let report = person.report().await;
        longest[0] = longest[0].max(report.longest_gap(SlotKind::Video));
        longest[1] = longest[1].max(report.longest_gap(SlotKind::Audio));
    }
    (longest, done)
}

/// Writes through the nodes that are left, again and again; counts the refusals, and gives what else was answered.
async fn refusals(doors: &[Rest], time: Duration) -> (usize, Vec<String>) {
    let until = tokio::time::Instant::now() + time;
    let mut turns = interval(BETWEEN);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut refused, mut wrong) = (0, Vec::new());
    let write = async |door: &Rest| {
        let body = json!({ "meeting_name": "without a quorum" }).to_string();
        door.with_patience(PATIENCE).write(Method::POST, "/api/meeting", Some(body)).await
    };
    let mut work = async || loop {
        turns.tick().await;
        for answer in join_all(doors.iter().map(write)).await {
            match answer {
                Ok(answer) if answer.status == 503 && answer.code() == "NO_QUORUM" => refused += 1,
                Ok(answer) => wrong.push(format!("{} {}", answer.status, answer.body)),
                Err(error) => wrong.push(error.to_string()),
            }
        }
    };
    // The end of the time ends it, in the middle of a write if need be.
    let _: Result<(), _> = timeout_at(until, work()).await;
    (refused, wrong)
}

/// A write through the first node, and every node has it.
async fn agree(site: &Site<'_>, meeting: &Meeting, how: &str) -> Result<()> {
    let (doors, path) = (site.doors()?, format!("/api/meeting/{}", meeting.id));
    let name = format!("after {how}");
    for (index, door) in doors.iter().enumerate() {
        let name = format!("{name} {index}");
        let body = json!({ "meeting_name": name }).to_string();
        let door = door.with_patience(Duration::from_secs(2));
        let written = until_within(DEADLINE, "a node takes a write", async || {
            let answer = door.write(Method::PATCH, &path, Some(body.clone())).await?;
            Ok(answer.status.is_success().then_some(()))
        });
        written.await.with_context(|| format!("node {}", index + 1))?;
    }
    let last = format!("{name} {}", doors.len() - 1);
    let same = until_within(DEADLINE, "all nodes have the last name", async || {
        let mut names = Vec::new();
        for door in &doors {
            names.push(door.get(&path).await?.body["data"]["meeting_name"].as_str().map(ToOwned::to_owned));
        }
        Ok(names.iter().all(|name| name.as_ref() == Some(&last)).then_some(()))
    });
    same.await
}
