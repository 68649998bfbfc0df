//! `plenary load`: puts participants on a cluster and says whether it keeps them well.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use plenary_participant::Video;
use plenary_participant::load::{Limit, Limits, Person, Plan, Spread, Summary};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::say;

/// Files a person holds open: sockets for signalling and for media, with some to spare.
const FILES_EACH: u64 = 4;
/// Voices that a person hears at once: what the web client takes.
const VOICES: u16 = 3;

/// Puts participants with synthetic sound and pictures on a cluster and says whether it keeps them well: prints PASS, or
/// FAIL with every limit that was exceeded. It makes meetings of its own and removes them.
///
/// Exit status: 0 for PASS, 1 for FAIL and when it is stopped before its time, 2 when it could not be run.
#[derive(Debug, Args)]
pub(super) struct Load {
    /// Where nodes serve HTTP, for example http://127.0.0.1:4500; people go to them in turn.
    #[arg(long, required = true, value_delimiter = ',')]
    url: Vec<String>,
    /// The user who makes the meetings (`plenary token user`); not needed where guest users are allowed.
    #[arg(long, env = "PLENARY_USER_TOKEN", hide_env_values = true)]
    user_token: Option<String>,
    /// Meetings.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rooms: u16,
    /// People with microphone and camera in each.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=1000))]
    publishers: u16,
    /// People who only watch in each.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1000))]
    subscribers: u16,
    /// People who begin to join each second.
    #[arg(long, default_value_t = 10.0)]
    joins_per_second: f64,
    /// Seconds that all stay once everyone is there.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Kilobits a second of each picture.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(50..=20_000))]
    kbps: u32,
    /// Pictures that each person sees at most.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=16))]
    pictures: u16,
    /// Seconds that a join, and then the first media, may take.
    #[arg(long, default_value_t = 10)]
    patience: u64,
    #[command(flatten)]
    limits: Most,
    /// Writes all figures, person by person, to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Prints a line for each person, not only for the worst few.
    #[arg(long)]
    each: bool,
}

/// What must not be exceeded.
#[derive(Debug, Args)]
struct Most {
    /// FAIL when more people did not get in, or did not stay.
    #[arg(long, default_value_t = 0)]
    max_failed: usize,
    /// FAIL when the 95th percentile of the times from the first request to the answered offer is above this.
    #[arg(long)]
    max_join_ms: Option<u64>,
    /// FAIL when the 95th percentile of the times from the first request to the first whole picture is above this.
    #[arg(long)]
    max_first_picture_ms: Option<u64>,
    /// FAIL when more packets were changed on the way, or came under a time that went back.
    #[arg(long, default_value_t = 0)]
    max_faulty: u64,
    /// FAIL when someone lost more of their packets.
    #[arg(long, default_value_t = 1.0)]
    max_loss_percent: f64,
    /// FAIL when the 95th percentile of someone's delays, from capture to arrival, is above this.
    #[arg(long)]
    max_delay_ms: Option<u64>,
    /// FAIL when someone's pictures stood still for more of the time.
    #[arg(long, default_value_t = 1.0)]
    max_frozen_percent: f64,
}

/// What goes to the JSON file.
#[derive(Serialize)]
struct Document<'d> {
    passed: bool,
    exceeded: &'d [Limit],
    #[serde(flatten)]
    summary: &'d Summary,
}

impl Most {
    /// A load in which nothing was received has not passed.
    fn limits(&self, pictures: bool) -> Limits {
        let time = |millis: Option<u64>| millis.map(Duration::from_millis);
        Limits {
            failed: Some(self.max_failed),
            join_p95: time(self.max_join_ms),
            first_picture_p95: time(self.max_first_picture_ms),
            faults: Some(self.max_faulty),
            loss_percent: Some(self.max_loss_percent),
            delay_p95: time(self.max_delay_ms),
            frozen_percent: pictures.then_some(self.max_frozen_percent),
        }
    }
}

impl Load {
    /// Whether the cluster passed.
    pub(super) fn run(self) -> anyhow::Result<bool> {
        let plan = self.plan()?;
        let create = |path: &PathBuf| {
            std::fs::File::create(path).with_context(|| format!("--json: {} can't be written", path.display()))
        };
        let file = self.json.as_ref().map(create).transpose()?;
        crate::prepare_process();
        crate::allow_files(FILES_EACH * plan.people() as u64);
        let tell = |line: String| {
            // Progress is for people; what is read by programs comes on standard output.
            let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("plenary load: {line}\n"));
        };
        let summary = super::runtime()?.block_on(async {
            // Before anything is made that would have to be removed.
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            let stop = async move {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            };
            anyhow::Ok(plan.run(stop, tell).await?)
        })?;
        let exceeded = self.limits.limits(plan.pictures > 0).exceeded(&summary);
        say(&self.text(&summary, &exceeded)?)?;
        let passed = exceeded.is_empty() && !summary.stopped;
        if let Some(file) = file {
            let document = Document { passed, exceeded: &exceeded, summary: &summary };
            serde_json::to_writer_pretty(file, &document).context("--json")?;
        }
        Ok(passed)
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        ensure!(self.publishers + self.subscribers > 0, "--publishers, --subscribers: nobody is to join");
        ensure!(
            self.joins_per_second.is_finite() && (0.01..=10_000.0).contains(&self.joins_per_second),
            "--joins-per-second: {} is not from 0.01 to 10000",
            self.joins_per_second
        );
        let parts = [
            ("max-loss-percent", self.limits.max_loss_percent),
            ("max-frozen-percent", self.limits.max_frozen_percent),
        ];
        for (name, part) in parts {
            ensure!((0.0..=100.0).contains(&part), "--{name}: {part} is not from 0 to 100");
        }
        for url in &self.url {
            let whole = reqwest::Url::parse(url).ok().filter(|whole| whole.scheme() == "http" && whole.path() == "/");
            ensure!(
                whole.is_some(),
                "--url: \"{url}\" has to be http://HOST:PORT, without a path; HTTPS is not spoken here"
            );
        }
        Ok(Plan {
            nodes: self.url.clone(),
            user_token: self.user_token.clone(),
            rooms: self.rooms.into(),
            publishers: self.publishers.into(),
            subscribers: self.subscribers.into(),
            spare: 0,
            joins_per_second: self.joins_per_second,
            hold: Duration::from_secs(self.seconds),
            video: Some(Video { bitrate: self.kbps * 1000, ..Video::default() }),
            pictures: self.pictures,
            voices: VOICES,
            apart: false,
            silent: false,
            deadline: Duration::from_secs(self.patience),
        })
    }

    /// The figures as tables, and the verdict.
    fn text(&self, summary: &Summary, exceeded: &[Limit]) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        let Summary { people, failed, packets, lost, faults, held_s, .. } = summary;
        writeln!(
            out,
            "{people} people, {failed} failed; {held_s:.1} s, {packets} packets, {lost} lost, {faults} faulty\n"
        )?;
        writeln!(out, "| | p50 | p95 | p99 | max |\n|---|---:|---:|---:|---:|")?;
        for (name, spread) in [
            ("join, ms", summary.join_ms),
            ("first picture, ms", summary.first_picture_ms),
            ("delay of packets, ms", summary.delay_ms),
            ("each one's delay p95, ms", summary.delay_p95_ms),
            ("each one's loss, %", summary.loss_percent),
            ("each one's time frozen, %", summary.frozen_percent),
        ] {
            let Spread { p50, p95, p99, max } = spread;
            let [p50, p95, p99, max] = [p50, p95, p99, max].map(figure);
            writeln!(out, "| {name} | {p50} | {p95} | {p99} | {max} |")?;
        }
        let shown = if self.each { summary.each.iter().collect() } else { worst(&summary.each) };
        if !shown.is_empty() {
            writeln!(out, "\n{}\n", if self.each { "everyone" } else { "the worst" })?;
            writeln!(
                out,
                "| who | node | join ms | first picture ms | loss % | delay p50 / p95 / p99 ms | frozen ms | |"
            )?;
            writeln!(out, "|---|---|---:|---:|---:|---:|---:|---|")?;
            shown.into_iter().try_for_each(|person| line(&mut out, person))?;
        }
        writeln!(out)?;
        for Limit { name, words } in exceeded.iter().filter(|_| !summary.stopped) {
            writeln!(out, "FAIL --{name}: {words}")?;
        }
        match (summary.stopped, exceeded.is_empty()) {
            (true, _) => write!(out, "STOPPED after {held_s:.1} s of {}: no verdict", self.seconds)?,
            (false, true) => write!(out, "PASS")?,
            (false, false) => write!(out, "FAIL")?,
        }
        Ok(out)
    }
}

fn line(out: &mut String, person: &Person) -> std::fmt::Result {
    let millis = |time: Option<Duration>| figure(time.map(|time| time.as_secs_f64() * 1000.0));
    let [p50, p95, p99] = [500, 950, 990].map(|part| figure(person.delay_ms(part)));
    let (join, first) = (millis(person.join), millis(person.first_picture));
    let (loss, frozen) = (figure(person.loss_percent), millis(Some(person.frozen)));
    let failure = person.failure.as_deref().unwrap_or_default();
    let Person { name, node, .. } = person;
    writeln!(out, "| {name} | {node} | {join} | {first} | {loss} | {p50} / {p95} / {p99} | {frozen} | {failure} |")
}

/// The few who had the worst of it, those who failed first.
fn worst(each: &[Person]) -> Vec<&Person> {
    const SHOWN: usize = 5;
    let mut people: Vec<&Person> = each.iter().collect();
    people.sort_by_key(|person| std::cmp::Reverse((person.failure.is_some(), person.frozen, person.lost)));
    people.retain(|person| person.failure.is_some() || !person.frozen.is_zero() || person.lost > 0);
    people.truncate(SHOWN);
    people
}

fn figure(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.2}"))
}
