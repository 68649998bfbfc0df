//! The checker finds what is planted, and nothing in what is sound.

use std::time::Duration;

use super::{Call, Fault, History, Label, Listing, Operation, Outcome, Promise, Seen, Stage, Token};

const MEETING: Label = Label(1);
const CAP: u32 = 3;

/// A history told call by call: each begins when the one before has ended, unless said otherwise.
#[derive(Debug, Default)]
struct Story {
    history: History,
    clock: u64,
}

impl Story {
    fn call(mut self, call: Call, outcome: Outcome) -> Self {
        self.clock += 10;
        let (begin, end) = (Duration::from_millis(self.clock), Duration::from_millis(self.clock + 5));
        self.history.operations.push(Operation { client: 0, node: 1, begin, end, call, outcome });
        self
    }

    /// The last call began before everything else.
    fn slow(mut self) -> Self {
        if let Some(last) = self.history.operations.last_mut() {
            last.begin = Duration::ZERO;
        }
        self
    }

    fn create(self, token: u64, revision: u64) -> Self {
        self.call(Call::Create { meeting: MEETING, token: Token(token), cap: CAP }, Outcome::Written { revision })
    }

    fn created() -> Self {
        Self::default().create(1, 10)
    }

    fn update(self, token: u64, outcome: Outcome) -> Self {
        self.call(Call::Update { meeting: MEETING, token: Token(token) }, outcome)
    }

    fn written(self, token: u64, revision: u64) -> Self {
        self.update(token, Outcome::Written { revision })
    }

    fn look(self, promise: Promise, revision: u64, seen: Seen) -> Self {
        self.call(Call::Read { meeting: MEETING, promise }, Outcome::Value { revision, seen })
    }

    fn local(self, revision: u64, token: u64) -> Self {
        self.look(Promise::Local, revision, seen(token))
    }

    fn linearizable(self, revision: u64, token: u64) -> Self {
        self.look(Promise::Linearizable, revision, seen(token))
    }

    fn listed(mut self, revision: u64, meetings: &[(Label, Seen)]) -> Self {
        self.clock += 10;
        let (begin, end) = (Duration::from_millis(self.clock), Duration::from_millis(self.clock + 5));
        self.history.listings.push(Listing { revision, begin, end, meetings: meetings.to_vec() });
        self
    }

    #[track_caller]
    fn stands(self) {
        let verdict = self.history.check();
        assert_eq!(verdict.violations, []);
    }

    #[track_caller]
    fn shows(self, fault: Fault, words: &str) {
        let verdict = self.history.check();
        let found =
            verdict.violations.iter().any(|violation| violation.fault == fault && violation.what.contains(words));
        assert!(found, "{fault:?} {words:?} in {:#?}", verdict.violations);
    }
}

const fn seen(token: u64) -> Seen {
    Seen { token: Token(token), stage: Stage::Scheduled, people: None }
}

const fn at(stage: Stage) -> Seen {
    Seen { token: Token(1), stage, people: None }
}

const DONE: fn(u64) -> Outcome = |revision| Outcome::Written { revision };

#[test]
fn an_orderly_life_is_sound() {
    let all = Story::created().written(2, 12).local(11, 1).linearizable(12, 2).local(15, 2);
    all.call(Call::Start(MEETING), DONE(16))
        .look(Promise::AtLeast(16), 17, Seen { stage: Stage::Live, people: Some((2, 3)), ..seen(2) })
        .call(Call::Join(MEETING), DONE(18))
        .call(Call::End(MEETING), DONE(20))
        .listed(21, &[(MEETING, Seen { stage: Stage::Ended, ..seen(2) })])
        .call(Call::Delete(MEETING), DONE(22))
        .call(Call::Read { meeting: MEETING, promise: Promise::Linearizable }, Outcome::Absent)
        .listed(23, &[])
        .stands();
}

#[test]
fn a_local_read_may_lag_and_a_linearizable_one_may_not() {
    Story::created().written(2, 12).local(11, 1).stands();
    Story::created().written(2, 12).linearizable(11, 1).shows(Fault::Order, "linearizable read begun after 12");
    Story::created()
        .written(2, 12)
        .look(Promise::AtLeast(12), 11, seen(1))
        .shows(Fault::Order, "asked for at least 12");
    // What somebody else saw counts as well.
    Story::created().local(13, 1).linearizable(12, 1).shows(Fault::Order, "begun after 13");
    Story::created().written(2, 12).linearizable(11, 1).slow().stands();
}

#[test]
fn a_read_shows_what_stands_at_its_revision() {
    Story::created().local(12, 7).shows(Fault::Order, "nobody wrote");
    Story::created().written(2, 12).local(11, 2).shows(Fault::Order, "later revision");
    Story::created().written(2, 12).local(13, 1).shows(Fault::Lost, "not there");
    Story::created().update(2, Outcome::Refused).local(13, 2).shows(Fault::Order, "refused");
    Story::created()
        .local(12, 1)
        .update(2, Outcome::Unknown)
        .local(11, 2)
        .shows(Fault::Order, "before its write began");
    let fork = Story::created().update(2, Outcome::Unknown).local(12, 1).slow().local(12, 2);
    fork.shows(Fault::Order, "this very revision");
}

#[test]
fn a_lost_write_is_found() {
    Story::created().listed(12, &[]).shows(Fault::Lost, "creation was acknowledged");
    let read = Call::Read { meeting: MEETING, promise: Promise::Local };
    Story::created().call(read, Outcome::Absent).shows(Fault::Lost, "nobody deleted it");
    Story::created().written(2, 12).listed(13, &[(MEETING, seen(1))]).shows(Fault::Lost, "not there");
    Story::created().call(Call::Start(MEETING), DONE(11)).local(12, 1).shows(Fault::Lost, "start or end");
    let deleted = Story::created().call(Call::Delete(MEETING), DONE(11));
    deleted.listed(12, &[(MEETING, seen(1))]).shows(Fault::Lost, "after its acknowledged deletion");
}

#[test]
fn a_write_of_unknown_outcome_happens_once_or_not_at_all() {
    let unanswered = || Story::created().update(2, Outcome::Unknown);
    unanswered().linearizable(15, 1).stands();
    unanswered().linearizable(15, 2).stands();
    unanswered().local(12, 1).linearizable(15, 2).written(3, 16).linearizable(17, 3).stands();
    // It may also take effect late, after another write.
    unanswered().written(3, 13).local(14, 3).linearizable(16, 2).stands();
    unanswered().local(12, 2).written(3, 13).linearizable(14, 3).linearizable(16, 2).shows(Fault::Duplicate, "twice");
    unanswered().local(12, 2).local(14, 1).shows(Fault::Duplicate, "came back");
    unanswered().local(12, 2).local(11, 1).stands();
}

#[test]
fn an_acknowledged_write_that_happens_again_is_found() {
    let two = Story::created().written(2, 12).written(3, 14).local(14, 3);
    two.linearizable(16, 2).shows(Fault::Duplicate, "came back");
}

#[test]
fn a_meeting_made_twice_is_found() {
    let create = Call::Create { meeting: MEETING, token: Token(1), cap: CAP };
    Story::default().call(create, Outcome::Unknown).listed(12, &[(MEETING, seen(1))]).stands();
    Story::default().call(create, Outcome::Unknown).listed(12, &[]).stands();
    let twice = [(MEETING, seen(1)), (MEETING, seen(1))];
    Story::created().listed(12, &twice).shows(Fault::Duplicate, "made twice");
    Story::created().listed(12, &[(Label(9), seen(1)), (MEETING, seen(1))]).shows(Fault::Order, "nobody made");
}

#[test]
fn revisions_are_unique_and_keep_real_time() {
    Story::created().written(2, 12).call(Call::Start(MEETING), DONE(12)).shows(Fault::Order, "two writes");
    Story::created().written(2, 12).written(3, 11).shows(Fault::Order, "begun when the next was 13");
    Story::created().written(2, 12).written(3, 11).slow().stands();
    Story::created().local(15, 1).written(2, 14).shows(Fault::Order, "begun when the next was 16");
}

#[test]
fn stages_go_forward_and_only_when_told() {
    let live =
        || Story::created().call(Call::Start(MEETING), Outcome::Unknown).look(Promise::Local, 14, at(Stage::Live));
    live().stands();
    live().look(Promise::Local, 16, at(Stage::Scheduled)).shows(Fault::Order, "earlier stage");
    live().look(Promise::Local, 12, at(Stage::Scheduled)).stands();
    live().look(Promise::Local, 16, at(Stage::Ended)).shows(Fault::Order, "nobody asked");
    let early = Story::created().call(Call::Start(MEETING), DONE(14)).look(Promise::Local, 13, at(Stage::Live));
    early.shows(Fault::Order, "nobody asked");
}

#[test]
fn what_is_gone_stays_gone() {
    let read = |promise| Call::Read { meeting: MEETING, promise };
    let gone = || Story::created().local(11, 1).call(Call::Delete(MEETING), Outcome::Unknown);
    gone().listed(13, &[]).stands();
    gone().listed(13, &[(MEETING, seen(1))]).listed(15, &[]).stands();
    gone().listed(13, &[]).listed(15, &[(MEETING, seen(1))]).shows(Fault::Duplicate, "after it was gone");
    let told = || gone().call(read(Promise::Local), Outcome::Absent);
    told().local(12, 1).stands();
    told().linearizable(16, 1).shows(Fault::Order, "told before");
    told().written(2, 16).shows(Fault::Order, "wrote into it afterwards");
    let deleted = Story::created().call(Call::Delete(MEETING), DONE(11)).slow();
    deleted.written(2, 12).shows(Fault::Order, "was deleted at 11");
}

#[test]
fn a_cap_is_never_exceeded() {
    let with = |people| Story::created().look(Promise::Local, 12, Seen { people: Some(people), ..seen(1) });
    with((3, 3)).stands();
    with((4, 4)).shows(Fault::Cap, "cap 3");
    with((1, 4)).shows(Fault::Cap, "cap 3");
}

#[test]
fn what_was_looked_at_is_counted() {
    let read = Call::Read { meeting: MEETING, promise: Promise::Linearizable };
    let story =
        Story::created().local(11, 1).linearizable(12, 1).update(2, Outcome::Unknown).call(read, Outcome::Refused);
    let verdict = story.listed(13, &[(MEETING, seen(1))]).history.check();
    let counts = (verdict.operations, verdict.acknowledged, verdict.unknown, verdict.refused, verdict.listings);
    assert_eq!((counts, verdict.reads), ((5, 1, 1, 1, 1), [1, 0, 1]));
}
