//! Many participants at once, and how well the cluster keeps them: the engine of `plenary load`.
//!
//! ```text
//! owner: makes a meeting for each room ─► people join, so many a second, on the nodes in turn ─► everyone has media ►
//! measure anew ► hold ► a report of each ─► leave ─► owner: ends and removes the meetings
//! ```
//!
//! The meetings are removed whatever happened in between.

mod figures;
mod limits;
mod owner;

use std::time::{Duration, Instant};

use plenary_protocol::PoolSize;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

pub use figures::{Person, Spread, Summary};
pub use limits::{Limit, Limits};

use self::owner::Owner;
use crate::clock;
use crate::options::Options;
use crate::participant::Participant;
use crate::report::{Report, SlotKind};
use crate::rest::RestError;
use crate::source::Video;

/// What load to put on a cluster.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where nodes' HTTP is, at least one; people go to them in turn.
    pub nodes: Vec<String>,
    /// The user who makes the meetings; without one, a guest user is asked for.
    pub user_token: Option<String>,
    /// Meetings.
    pub rooms: usize,
    /// People with microphone and camera in each.
    pub publishers: usize,
    /// People who only watch in each.
    pub subscribers: usize,
    /// People who begin to join each second.
    pub joins_per_second: f64,
    /// For how long they stay once all are there.
    pub hold: Duration,
    /// What cameras make.
    pub video: Video,
    /// Pictures that each person sees at most.
    pub pictures: u16,
    /// How long a join, and then the first media, may take.
    pub deadline: Duration,
}

/// Why no load could be put on the cluster.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not signed in.
    #[error("no user token: give one, or allow guest users on {node}")]
    SignIn {
        /// The node that was asked.
        node: String,
        /// Its answer.
        #[source]
        cause: RestError,
    },
    /// No meeting.
    #[error("a meeting could not be made on {node}")]
    Meeting {
        /// The node that was asked.
        node: String,
        /// Its answer.
        #[source]
        cause: RestError,
    },
}

/// Someone who is to join.
#[derive(Debug, Clone)]
struct Place {
    room: usize,
    node: String,
    name: String,
    publishes: bool,
}

/// Someone who has joined.
struct Present {
    participant: Participant,
    /// From the first request of the join to the first one of signalling.
    before: Duration,
}

impl Plan {
    /// People altogether.
    #[must_use]
    pub const fn people(&self) -> usize {
        self.rooms * (self.publishers + self.subscribers)
    }

    /// Puts the load on and says how it went. It ends early when `stop` does. `tell` is called with a line now and then.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when there is nothing to join. Joins that fail are in the summary.
    pub async fn run(&self, stop: impl Future<Output = ()>, tell: impl Fn(String)) -> Result<Summary, LoadError> {
        let owner = Owner::sign_in(&self.nodes[0], self.user_token.as_deref(), self.deadline).await?;
        let outcome = self.run_as(&owner, stop, &tell).await;
        let left = owner.remove_all().await;
        if left > 0 {
            tell(format!("{left} meetings could not be ended and removed"));
        }
        outcome
    }

    async fn run_as(
        &self,
        owner: &Owner,
        stop: impl Future<Output = ()>,
        tell: &impl Fn(String),
    ) -> Result<Summary, LoadError> {
        let capacity = self.publishers + self.subscribers;
        let mut meetings = Vec::new();
        for room in 0..self.rooms {
            meetings.push(owner.make(&format!("load {}", room + 1), capacity).await?);
        }
        tell(format!("{} people join {} meetings", self.people(), self.rooms));
        tokio::pin!(stop);
        let (places, everyone) = self.join_all(&meetings, &mut stop).await;
        tell(format!(
            "{} have joined; they stay for {:?}",
            everyone.iter().filter(|one| one.is_ok()).count(),
            self.hold
        ));
        let began = clock::now();
        for present in everyone.iter().flatten() {
            present.participant.measure().await;
        }
        tokio::select! {
            () = sleep_until((began + self.hold).into()) => {}
            () = &mut stop => {}
        }
        let mut leaving = JoinSet::new();
        for (number, (place, one)) in places.into_iter().zip(everyone).enumerate() {
            leaving.spawn(async move { (number, leave(place, one).await) });
        }
        let mut people = leaving.join_all().await;
        people.sort_by_key(|(number, _)| *number);
        let held = clock::now().saturating_duration_since(began);
        Ok(Summary::of(people.into_iter().map(|(_, person)| person).collect(), held))
    }

    /// Has everyone join, and waits until those who did see and hear what is to be seen and heard.
    async fn join_all(
        &self,
        meetings: &[String],
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> (Vec<Place>, Vec<Result<Present, String>>) {
        let places: Vec<Place> = self.places().collect();
        let mut joining = JoinSet::new();
        let began = clock::now();
        for (number, place) in places.iter().enumerate() {
            tokio::select! {
                () = sleep_until((began + self.turn(number)).into()) => {}
                () = &mut *stop => break,
            }
            let options = self.options(place, &meetings[place.room]);
            let others = self.publishers - usize::from(place.publishes);
            let deadline = self.deadline;
            joining.spawn(async move { (number, join(options, others > 0, deadline).await) });
        }
        let mut everyone: Vec<Result<Present, String>> =
            places.iter().map(|_| Err("stopped before it began to join".to_owned())).collect();
        for (number, one) in joining.join_all().await {
            everyone[number] = one;
        }
        (places, everyone)
    }

    /// Who is to join, in this order: the publishers of all rooms first, so that there is something to see.
    fn places(&self) -> impl Iterator<Item = Place> {
        let of = |count: usize, publishes: bool| {
            (0..count).flat_map(move |seat| (0..self.rooms).map(move |room| (room, seat, publishes)))
        };
        of(self.publishers, true).chain(of(self.subscribers, false)).map(|(room, seat, publishes)| {
            let kind = if publishes { "publisher" } else { "subscriber" };
            let node = self.nodes[(room + seat) % self.nodes.len()].clone();
            Place { room, node, name: format!("{kind} {} of room {}", seat + 1, room + 1), publishes }
        })
    }

    /// When the join of this number begins.
    fn turn(&self, number: usize) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "52 bits of people are more than there are")]
        Duration::from_secs_f64(number as f64 / self.joins_per_second)
    }

    fn options(&self, place: &Place, meeting: &str) -> Options {
        let options = Options {
            video: self.video,
            pool: PoolSize { audio: 3, video: self.pictures },
            deadline: self.deadline,
            ..Options::new(place.node.clone(), meeting, place.name.clone())
        };
        if place.publishes { options } else { options.watching() }
    }
}

async fn join(options: Options, sees_someone: bool, deadline: Duration) -> Result<Present, String> {
    let began = clock::now();
    let participant = Participant::join(options).await.map_err(|error| words(&error))?;
    let report = participant.report().await;
    let before = signalling_began(&report, clock::now()).saturating_duration_since(began);
    let sees = |report: &Report| {
        let shown = report.times.first_video.is_some() && report.times.first_audio.is_some();
        report.times.connected.is_some() && (shown || !sees_someone)
    };
    match participant.wait_for(sees, deadline).await {
        Ok(_) => Ok(Present { participant, before }),
        Err(late) => {
            let times = late.report.times;
            participant.leave().await;
            Err(match (times.connected, times.first_video, times.first_audio) {
                (None, _, _) => format!("no media connection within {deadline:?}"),
                (_, None, _) => format!("no picture within {deadline:?}"),
                (_, _, None) => format!("no sound within {deadline:?}"),
                (Some(_), Some(_), Some(_)) => words(&late),
            })
        }
    }
}

/// When the first signalling request was sent; times of a report count from there.
fn signalling_began(report: &Report, now: Instant) -> Instant {
    now.checked_sub(report.times.reported).unwrap_or(now)
}

async fn leave(place: Place, one: Result<Present, String>) -> Person {
    let Place { room, node, name, publishes } = place;
    match one {
        Err(failure) => Person { room, node, name, publishes, failure: Some(failure), ..Person::default() },
        Ok(Present { participant, before }) => {
            // Before it leaves: afterwards everything stands still.
            let report = participant.report().await;
            participant.leave().await;
            let since = |time: Option<Duration>| time.map(|time| before + time);
            let mut person = Person {
                room,
                node,
                name,
                publishes,
                join: since(report.times.answered),
                first_picture: since(report.times.first_video),
                failure: report.ended.as_ref().map(|why| format!("ended before its time: {why:?}")),
                ..Person::default()
            };
            report.slots_of(SlotKind::Audio).chain(report.slots_of(SlotKind::Video)).for_each(|slot| person.add(slot));
            person
        }
    }
}

/// An error with its causes, in one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            nodes: vec!["http://a".to_owned(), "http://b".to_owned()],
            user_token: None,
            rooms: 2,
            publishers: 2,
            subscribers: 1,
            joins_per_second: 4.0,
            hold: Duration::from_secs(1),
            video: Video::default(),
            pictures: 4,
            deadline: Duration::from_secs(1),
        }
    }

    #[test]
    fn publishers_of_all_rooms_come_first_and_a_room_is_spread_over_the_nodes() {
        let places: Vec<_> = plan().places().map(|place| (place.room, place.node, place.publishes)).collect();
        let place = |room: usize, node: &str, publishes: bool| (room, format!("http://{node}"), publishes);
        assert_eq!(places[..4], [place(0, "a", true), place(1, "b", true), place(0, "b", true), place(1, "a", true)]);
        assert_eq!(places[4..], [place(0, "a", false), place(1, "b", false)]);
        assert_eq!(plan().people(), places.len());
    }

    #[test]
    fn joins_begin_at_their_rate() {
        assert_eq!([0, 1, 4].map(|number| plan().turn(number).as_millis()), [0, 250, 1000]);
    }
}
