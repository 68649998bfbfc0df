//! Many participants at once, and how well the cluster keeps them: the engine of `plenary load`.
//!
//! ```text
//! gather: a meeting for each room ─► people join, so many a second, on the nodes in turn ─► everyone has media
//! measure anew ─► hold ─► leave: a report of each ─► the meetings are ended and removed
//! ```

mod figures;
mod limits;
mod owner;

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use plenary_protocol::{Interest, PoolSize, SourceName, VideoInterest};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

pub use figures::{Person, Spread, Summary};
pub use limits::{Limit, Limits};

use self::owner::Owner;
use crate::clock;
use crate::options::Options;
use crate::participant::Participant;
use crate::report::{Report, SlotKind, SlotReport};
use crate::rest::RestError;
use crate::source::{Trace, Video};
use crate::words::words;

/// A picture that has been standing for so long is not seen.
const STANDS_STILL: Duration = Duration::from_secs(1);

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
    /// People more who find room in each.
    pub spare: usize,
    /// People who begin to join each second.
    pub joins_per_second: f64,
    /// For how long they stay once all are there.
    pub hold: Duration,
    /// What publishers' cameras make; without this they only speak.
    pub video: Option<Video>,
    /// Pictures that each person sees at most.
    pub pictures: u16,
    /// Voices that each person hears at once at most.
    pub voices: u16,
    /// Connections go one way, as some servers want it: publishers see and hear nobody, and subscribers have nothing to
    /// publish with.
    pub apart: bool,
    /// Publishers are there and send nothing.
    pub silent: bool,
    /// How long a join, and then the first media, may take.
    pub deadline: Duration,
}

/// Why no load could be put on the cluster.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not signed in.
    #[error("{node} gives no guest a user token: give a user token, or name a node that allows guest users")]
    SignIn {
        /// The node that was asked.
        node: String,
        /// Its answer.
        #[source]
        cause: RestError,
    },
    /// It was stopped before anybody could join.
    #[error("stopped before anybody could join")]
    Stopped,
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

/// What people have received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// RTP packets.
    pub packets: u64,
    /// Their payload, in bytes.
    pub bytes: u64,
    /// Packets that never came.
    pub missing: u64,
}

/// Someone who is to join.
#[derive(Debug, Clone)]
struct Place {
    room: usize,
    /// Among those of the room who publish, or who do not.
    seat: usize,
    node: String,
    name: String,
    publishes: bool,
    /// They come first: there is nobody to see yet, and so no time to a first picture.
    alone: bool,
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
        // It is looked at here and there, also when it has ended.
        let mut stop = pin!(stop.fuse());
        tell(format!("{} people join {} meetings", self.people(), self.rooms));
        let mut crowd = self.gather(&mut stop).await?;
        if !stop.is_terminated() {
            tell(format!("{} have joined; they stay for {:?}", crowd.present(), self.hold));
            crowd.measure().await;
            tokio::select! {
                () = tokio::time::sleep(self.hold) => {}
                () = &mut stop => {}
            }
        }
        let stopped = stop.is_terminated();
        let (summary, left) = crowd.leave().await;
        if left > 0 {
            tell(format!("{left} meetings could not be ended and removed"));
        }
        Ok(Summary { stopped, ..summary })
    }

    /// Makes the meetings, has everyone join, and waits until each of them sees and hears what there is. Once `stop` has
    /// ended nobody else begins to join.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when there is nothing to join.
    pub async fn gather(&self, stop: &mut (impl FusedFuture<Output = ()> + Unpin)) -> Result<Crowd, LoadError> {
        let owner = Owner::sign_in(&self.nodes, self.user_token.as_deref(), self.deadline).await?;
        let mut meetings = Vec::new();
        for room in 0..self.rooms {
            match owner.make(&format!("load {}", room + 1), self.publishers + self.subscribers + self.spare).await {
                Ok(_) if stop.is_terminated() || stop.now_or_never().is_some() => {
                    owner.remove_all().await;
                    return Err(LoadError::Stopped);
                }
                Ok(meeting) => meetings.push(meeting),
                Err(error) => {
                    owner.remove_all().await;
                    return Err(error);
                }
            }
        }
        let places: Vec<Place> = self.places().collect();
        let everyone = self.join_all(&places, &meetings, stop).await;
        let everyone = self.all_see(&places, everyone, stop).await;
        Ok(Crowd { plan: self.clone(), owner, meetings, places, everyone, began: clock::now() })
    }

    /// Has everyone join, until `stop` ends.
    async fn join_all(
        &self,
        places: &[Place],
        meetings: &[String],
        stop: &mut (impl FusedFuture<Output = ()> + Unpin),
    ) -> Vec<Result<Present, String>> {
        let mut joining = JoinSet::new();
        let began = clock::now();
        for (number, place) in places.iter().enumerate() {
            tokio::select! {
                biased;
                () = &mut *stop, if !stop.is_terminated() => break,
                () = sleep_until((began + self.turn(number)).into()) => {}
            }
            let options = self.options(place, &meetings[place.room]);
            joining.spawn(async move { (number, join(options).await) });
        }
        gather_in_order(places.len(), "stopped before it began to join", joining).await
    }

    /// Waits until everyone who has joined sees and hears what there is.
    async fn all_see(
        &self,
        places: &[Place],
        everyone: Vec<Result<Present, String>>,
        stop: &mut (impl FusedFuture<Output = ()> + Unpin),
    ) -> Vec<Result<Present, String>> {
        if stop.is_terminated() {
            return everyone;
        }
        let mut waiting = JoinSet::new();
        for (number, (place, one)) in places.iter().zip(everyone).enumerate() {
            let ((sound, pictures), deadline) = (self.waits_for(place), self.deadline);
            waiting.spawn(async move {
                let one = match one {
                    Ok(present) => sees(present, sound, pictures, deadline).await,
                    Err(failure) => Err(failure),
                };
                (number, one)
            });
        }
        gather_in_order(places.len(), "it did not come to that", waiting).await
    }

    /// Who is to join, in this order: the publishers of all rooms first, so that there is something to see.
    fn places(&self) -> impl Iterator<Item = Place> {
        let of = |count: usize, publishes: bool| {
            (0..count).flat_map(move |seat| (0..self.rooms).map(move |room| (room, seat, publishes)))
        };
        of(self.publishers, true).chain(of(self.subscribers, false)).map(|(room, seat, publishes)| {
            let (kind, before) = if publishes { ("publisher", 0) } else { ("subscriber", self.publishers) };
            let node = self.nodes[(room + before + seat) % self.nodes.len()].clone();
            let name = format!("{kind} {} of room {}", seat + 1, room + 1);
            Place { room, seat, node, name, publishes, alone: publishes && seat == 0 }
        })
    }

    /// Pictures that each person sees at most: none where there are no cameras.
    fn pictures_seen(&self) -> u16 {
        if self.video.is_some() { self.pictures } else { 0 }
    }

    /// How many of a room's publishers someone there sees and hears.
    fn others(&self, place: &Place, publishers: usize) -> usize {
        match (place.publishes, self.apart) {
            _ if self.silent => 0,
            (false, _) => publishers,
            (true, false) => publishers.saturating_sub(1),
            (true, true) => 0,
        }
    }

    /// Whether sound, and pictures, have to come to someone.
    fn waits_for(&self, place: &Place) -> (bool, bool) {
        let others = self.others(place, self.publishers) > 0;
        (others && self.voices > 0, others && self.pictures_seen() > 0)
    }

    /// When the join of this number begins.
    fn turn(&self, number: usize) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "52 bits of people are more than there are")]
        Duration::from_secs_f64(number as f64 / self.joins_per_second)
    }

    fn options(&self, place: &Place, meeting: &str) -> Options {
        let sees_nobody = self.apart && place.publishes;
        let (voices, pictures) = if sees_nobody { (0, 0) } else { (self.voices, self.pictures_seen()) };
        let mut video = self.video.unwrap_or_default();
        if let Trace::LogNormal { seed } = &mut video.trace {
            // Another one for each seat, and for each the same in every run.
            *seed = seed.wrapping_mul(1 << 32).wrapping_add((place.room << 16 | place.seat) as u64);
        }
        let mut options = Options {
            video,
            pool: PoolSize { audio: voices, video: pictures },
            interest: Some(Interest { video: VideoInterest::Speakers { max: pictures }, audio: voices > 0 }),
            deadline: self.deadline,
            ..Options::new(place.node.clone(), meeting, place.name.clone())
        };
        if self.video.is_none() {
            options.sources.retain(|source| *source != SourceName::Camera);
            options.publish.retain(|source| *source != SourceName::Camera);
        }
        if self.apart && !place.publishes {
            options.sources.clear();
        }
        if place.publishes && !self.silent { options } else { options.watching() }
    }
}

/// Everyone of a load, in their meetings.
pub struct Crowd {
    plan: Plan,
    owner: Owner,
    meetings: Vec<String>,
    places: Vec<Place>,
    everyone: Vec<Result<Present, String>>,
    /// When it was begun to measure.
    began: Instant,
}

impl Crowd {
    /// How many have joined.
    #[must_use]
    pub fn present(&self) -> usize {
        self.everyone.iter().flatten().count()
    }

    /// Measures gaps, freezes and delays anew from now on.
    pub async fn measure(&mut self) {
        for present in self.everyone.iter().flatten() {
            present.participant.measure().await;
        }
        self.began = clock::now();
    }

    /// What all have received so far.
    pub async fn received(&self) -> Received {
        let mut sum = Received::default();
        for present in self.everyone.iter().flatten() {
            for SlotReport { stats, .. } in present.participant.report().await.slots {
                sum.packets += stats.packets;
                sum.bytes += stats.payload_bytes;
                sum.missing += stats.missing_packets;
            }
        }
        sum
    }

    /// One more comes to watch in the first room, sees and hears what there is, and leaves.
    ///
    /// # Errors
    ///
    /// What did not come, in words.
    pub async fn newcomer(&self) -> Result<Person, String> {
        let (plan, node) = (&self.plan, self.plan.nodes[0].clone());
        let place = Place { room: 0, seat: 0, node, name: "newcomer".to_owned(), publishes: false, alone: false };
        let present = join(plan.options(&place, &self.meetings[0])).await?;
        let (sound, pictures) = plan.waits_for(&place);
        let Present { participant, before } = sees(present, sound, pictures, plan.deadline).await?;
        Ok(place.got(&participant.leave().await, before, 0))
    }

    /// Has everyone leave, ends and removes the meetings; how it went, and how many meetings are left.
    pub async fn leave(self) -> (Summary, usize) {
        let Self { plan, owner, meetings: _, places, everyone, began } = self;
        // Whoever did not get in is not missed a second time by those who did.
        let mut publishers: BTreeMap<usize, usize> = BTreeMap::new();
        for (place, _) in places.iter().zip(&everyone).filter(|(place, one)| place.publishes && one.is_ok()) {
            *publishers.entry(place.room).or_default() += 1;
        }
        let held = clock::now().saturating_duration_since(began);
        // All reports before anybody leaves: those who stay would miss them.
        let (mut people, mut there) = (Vec::new(), Vec::new());
        for (place, one) in places.into_iter().zip(everyone) {
            let there_publish = publishers.get(&place.room).copied().unwrap_or(0);
            let pictures = plan.others(&place, there_publish).min(plan.pictures_seen().into());
            match one {
                Err(failure) => people.push(Person { failure: Some(failure), ..place.person() }),
                Ok(Present { participant, before }) => {
                    let report = participant.report().await;
                    people.push(place.got(&report, before, pictures));
                    there.push(participant);
                }
            }
        }
        let mut leaving: JoinSet<_> = there.into_iter().map(Participant::leave).collect();
        while leaving.join_next().await.is_some() {}
        let left = owner.remove_all().await;
        (Summary::of(people, held), left)
    }
}

impl Place {
    fn person(self) -> Person {
        let Self { room, seat: _, node, name, publishes, alone: _ } = self;
        Person { room, node, name, publishes, ..Person::default() }
    }

    /// What someone got who was to see so many pictures at the end.
    fn got(self, report: &Report, before: Duration, pictures: usize) -> Person {
        let since = |time: Option<Duration>| time.map(|time| before + time);
        let first_picture = since(report.times.first_video).filter(|_| !self.alone);
        let mut person = Person { join: since(report.times.answered), first_picture, ..self.person() };
        report.slots.iter().for_each(|slot| person.add(slot));
        let moves = |slot: &&SlotReport| slot.stats.current_gap.is_some_and(|gap| gap < STANDS_STILL);
        // A server that announces nothing is taken by what comes.
        let named = |slot: &&SlotReport| slot.announcements.is_empty() || slot.shows().is_some();
        let seen = report.slots_of(SlotKind::Video).filter(named).filter(moves).count();
        person.failure = match (&report.ended, &report.media_lost) {
            (Some(why), _) => Some(format!("ended before its time: {why:?}")),
            (None, Some(why)) => Some(format!("lost its media: {why}")),
            (None, None) => (seen < pictures).then(|| format!("saw {seen} of {pictures} pictures at the end")),
        };
        person
    }
}

impl std::fmt::Debug for Crowd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crowd").field("places", &self.places).finish_non_exhaustive()
    }
}

async fn join(options: Options) -> Result<Present, String> {
    let began = clock::now();
    let participant = Participant::join(options).await.map_err(|error| words(&error))?;
    let report = participant.report().await;
    let before = signalling_began(&report, clock::now()).saturating_duration_since(began);
    Ok(Present { participant, before })
}

/// Waits until someone who has joined has a media connection, and what there is comes over it.
async fn sees(present: Present, sound: bool, pictures: bool, deadline: Duration) -> Result<Present, String> {
    let complete = |report: &Report| {
        let times = report.times;
        times.connected.is_some()
            && (times.first_audio.is_some() || !sound)
            && (times.first_video.is_some() || !pictures)
    };
    let Err(late) = present.participant.wait_for(complete, deadline).await else { return Ok(present) };
    let times = late.report.times;
    present.participant.leave().await;
    Err(match (times.connected, times.first_audio) {
        _ if late.report.ended.is_some() => words(&late),
        (None, _) => format!("no media connection within {deadline:?}"),
        (_, None) if sound => format!("no sound within {deadline:?}"),
        (Some(_), _) => format!("no picture within {deadline:?}"),
    })
}

/// What each came to, by its number; `none` of those who never began, or who broke off.
async fn gather_in_order<T: 'static>(
    count: usize,
    none: &str,
    mut tasks: JoinSet<(usize, Result<T, String>)>,
) -> Vec<Result<T, String>> {
    let mut all: Vec<Result<T, String>> = (0..count).map(|_| Err(none.to_owned())).collect();
    while let Some(done) = tasks.join_next().await {
        // A task that panicked has no number left.
        if let Ok((number, one)) = done {
            all[number] = one;
        }
    }
    all
}

/// When the first signalling request was sent; times of a report count from there.
fn signalling_began(report: &Report, now: Instant) -> Instant {
    now.checked_sub(report.times.reported).unwrap_or(now)
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
            spare: 0,
            joins_per_second: 4.0,
            hold: Duration::from_secs(1),
            video: Some(Video::default()),
            pictures: 4,
            voices: 3,
            apart: false,
            silent: false,
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
    fn connections_that_go_one_way_have_nothing_the_other_way() {
        let plan = Plan { apart: true, ..plan() };
        let places: Vec<Place> = plan.places().collect();
        let (first, last) = (plan.options(&places[0], "m"), plan.options(&places[5], "m"));
        assert_eq!((first.pool, first.sources.len()), (PoolSize { audio: 0, video: 0 }, 2));
        assert_eq!((last.pool, last.sources.len()), (PoolSize { audio: 3, video: 4 }, 0));
        assert_eq!([0, 5].map(|at| plan.others(&places[at], 2)), [0, 2]);
    }

    #[test]
    fn without_cameras_there_is_no_picture_to_wait_for() {
        let plan = Plan { video: None, ..plan() };
        let options = plan.options(&plan.places().next().expect("a place"), "m");
        assert_eq!((options.publish, options.pool.video), (vec![SourceName::Microphone], 0));
    }

    #[test]
    fn joins_begin_at_their_rate() {
        assert_eq!([0, 1, 4].map(|number| plan().turn(number).as_millis()), [0, 250, 1000]);
    }
}
