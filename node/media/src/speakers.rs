//! Who speaks: a ranking of tracks from RFC 6464 levels, loudest first, that does not flicker.
//!
//! A track's score is a slow average of how far it is above silence. A track passes another only when it is clearly
//! louder, so that two voices of like loudness don't change places all the time, and one that falls silent keeps its
//! rank until somebody else speaks. Tracks that have not spoken follow in the order of their ids. Shards that hear the
//! same levels come to the same ranking, up to the levels of one tick.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use plenary_cluster::model::TrackId;

/// How often scores are brought up to date. Five frames of Opus: short enough for a first syllable.
pub const TICK: Duration = Duration::from_millis(100);

/// A track without packets for this long does not speak any more. DTX sends one every 400 ms.
pub const AGES_OUT: Duration = Duration::from_secs(2);

/// RFC 6464 level from which on (towards 127) a track is silent: −60 dBov, a quiet room.
const SILENT_LEVEL: u8 = 60;

/// Points of score for each decibel, so that the average moves finely in integers.
const POINTS: u32 = 64;

/// How much louder a track must be to pass another: 4 dB.
const MARGIN: u32 = 4 * POINTS;

/// The score above which a track counts as speaking: 3 dB above silence, on average.
const SPEAKING: u32 = 3 * POINTS;

/// The share of a tick's level in the score rises to half in this many ticks: one in four each time.
const SMOOTHING: u32 = 4;

/// Ranks a room's audio tracks.
#[derive(Debug, Default)]
pub struct Speakers {
    voices: BTreeMap<TrackId, Voice>,
    /// Those that have spoken, best first.
    ranked: Vec<TrackId>,
    /// Those that have not.
    quiet: BTreeSet<TrackId>,
    speaking: Vec<TrackId>,
    last_tick: Option<Instant>,
    changed: bool,
}

#[derive(Debug, Default)]
struct Voice {
    /// Present although it may send nothing.
    published: bool,
    heard: Option<Instant>,
    sum: u32,
    levels: u32,
    score: u32,
}

impl Speakers {
    /// Knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A track is published: it is ranked, behind those who speak, even before it is heard and does not age out.
    pub fn insert(&mut self, track: TrackId) {
        self.voice(track).published = true;
    }

    /// A track is gone or muted.
    pub fn remove(&mut self, track: TrackId) {
        if self.voices.remove(&track).is_some() {
            self.ranked.retain(|ranked| *ranked != track);
            self.quiet.remove(&track);
            self.changed = true;
        }
    }

    /// Takes in a packet's level: 0 is the loudest, 127 silence; `voice` as the sender judges it, if it does.
    pub fn handle_level(&mut self, now: Instant, track: TrackId, level: u8, voice: Option<bool>) {
        let loudness = match voice {
            Some(false) => 0,
            Some(true) | None => u32::from(SILENT_LEVEL.saturating_sub(level)) * POINTS,
        };
        let entry = self.voice(track);
        entry.heard = Some(now);
        if entry.levels < u32::from(u16::MAX) {
            entry.sum += loudness;
            entry.levels += 1;
        }
    }

    /// Brings the ranking up to date. Returns it when it, or who is speaking, has changed since it was last returned.
    pub fn tick(&mut self, now: Instant) -> Option<Vec<TrackId>> {
        self.last_tick = Some(now);
        self.age(now);
        for voice in self.voices.values_mut() {
            voice.settle();
        }
        self.rank();
        let speaking: Vec<TrackId> = self.ranked.iter().filter(|track| self.score(track) > SPEAKING).copied().collect();
        if speaking != self.speaking {
            self.speaking = speaking;
            self.changed = true;
        }
        std::mem::take(&mut self.changed).then(|| self.ranking().collect())
    }

    /// When to tick next; at once at first.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.last_tick.map(|last| last + TICK)
    }

    /// The first `n` of the ranking: all tracks, where there are no more than `n`.
    #[must_use]
    pub fn loudest(&self, n: usize) -> Vec<TrackId> {
        self.ranking().take(n).collect()
    }

    /// Who is speaking as of the last tick, best first.
    #[must_use]
    pub fn speaking(&self) -> &[TrackId] {
        &self.speaking
    }

    fn ranking(&self) -> impl Iterator<Item = TrackId> {
        self.ranked.iter().chain(&self.quiet).copied()
    }

    fn score(&self, track: &TrackId) -> u32 {
        self.voices.get(track).map_or(0, |voice| voice.score)
    }

    fn voice(&mut self, track: TrackId) -> &mut Voice {
        self.voices.entry(track).or_insert_with(|| {
            self.quiet.insert(track);
            self.changed = true;
            Voice::default()
        })
    }

    /// Takes out tracks that stopped sending; published ones stay as quiet ones.
    fn age(&mut self, now: Instant) {
        let gone = |voice: &Voice| voice.heard.is_some_and(|heard| now.saturating_duration_since(heard) > AGES_OUT);
        let aged: Vec<TrackId> = self.voices.iter().filter(|(_, voice)| gone(voice)).map(|(track, _)| *track).collect();
        for track in aged {
            let published = self.voices.get(&track).is_some_and(|voice| voice.published);
            if published {
                if let Some(voice) = self.voices.get_mut(&track) {
                    *voice = Voice { published, ..Voice::default() };
                }
                if self.ranked.contains(&track) {
                    self.ranked.retain(|ranked| *ranked != track);
                    self.quiet.insert(track);
                    self.changed = true;
                }
            } else {
                self.remove(track);
            }
        }
    }

    /// Lets those who are clearly louder pass, the loudest first, the smaller id first among equals.
    fn rank(&mut self) {
        let mut loud: Vec<(u32, TrackId)> = self
            .voices
            .iter()
            .filter(|(_, voice)| voice.score > MARGIN)
            .map(|(track, voice)| (voice.score, *track))
            .collect();
        loud.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.cmp(y)));
        for (score, track) in loud {
            let passed = self.ranked.iter().position(|other| score > self.score(other) + MARGIN);
            let at = self.ranked.iter().position(|ranked| *ranked == track);
            match (passed, at) {
                (Some(to), Some(from)) if to < from => self.ranked[to..=from].rotate_right(1),
                (Some(to), None) => self.ranked.insert(to, track),
                (None, None) => self.ranked.push(track),
                (Some(_) | None, Some(_)) => continue,
            }
            self.quiet.remove(&track);
            self.changed = true;
        }
    }
}

impl Voice {
    /// Takes the levels since the last tick into the score. A tick without packets is silence.
    fn settle(&mut self) {
        let level = self.sum.checked_div(self.levels).unwrap_or(0);
        self.score = (self.score * (SMOOTHING - 1) + level) / SMOOTHING;
        self.sum = 0;
        self.levels = 0;
    }
}

#[cfg(test)]
mod tests {
    use plenary_cluster::model::Source;

    use super::*;
    use crate::testing::{start, track};

    fn microphone(session: u32) -> TrackId {
        track(session, Source::Microphone)
    }

    /// Runs ticks in which each session is heard at its level.
    fn hear(speakers: &mut Speakers, now: &mut Instant, ticks: u32, levels: &[(u32, u8)]) -> u32 {
        let mut changes = 0;
        for _ in 0..ticks {
            for (session, level) in levels {
                speakers.handle_level(*now, microphone(*session), *level, None);
            }
            *now += TICK;
            changes += u32::from(speakers.tick(*now).is_some());
        }
        changes
    }

    #[test]
    fn fewer_than_n_are_all_selected_and_nothing_changes_with_their_voices() {
        let (mut speakers, mut now) = (Speakers::new(), start());
        hear(&mut speakers, &mut now, 10, &[(3, 20), (1, 127), (2, 127)]);
        assert_eq!(speakers.loudest(3), [microphone(3), microphone(1), microphone(2)]);
        hear(&mut speakers, &mut now, 10, &[(3, 127), (1, 127), (2, 20)]);
        let mut selected = speakers.loudest(3);
        selected.sort();
        assert_eq!(selected, [microphone(1), microphone(2), microphone(3)]);
    }

    #[test]
    fn a_clearly_louder_voice_passes_a_like_one_does_not() {
        let (mut speakers, mut now) = (Speakers::new(), start());
        hear(&mut speakers, &mut now, 20, &[(1, 30)]);
        hear(&mut speakers, &mut now, 3, &[(1, 30), (2, 28)]);
        assert_eq!(speakers.speaking(), [microphone(1), microphone(2)]);
        assert_eq!(hear(&mut speakers, &mut now, 40, &[(1, 30), (2, 28)]), 0);
        assert_eq!(speakers.loudest(1), [microphone(1)]);
        hear(&mut speakers, &mut now, 20, &[(1, 30), (2, 20)]);
        assert_eq!(speakers.loudest(1), [microphone(2)]);
    }

    #[test]
    fn who_falls_silent_keeps_the_rank_until_another_speaks() {
        let (mut speakers, mut now) = (Speakers::new(), start());
        hear(&mut speakers, &mut now, 10, &[(1, 127), (5, 25)]);
        hear(&mut speakers, &mut now, 30, &[(1, 127), (5, 127)]);
        assert!(speakers.speaking().is_empty());
        assert_eq!(speakers.loudest(1), [microphone(5)]);
        hear(&mut speakers, &mut now, 5, &[(1, 25), (5, 127)]);
        assert_eq!(speakers.loudest(1), [microphone(1)]);
        assert_eq!(speakers.speaking(), [microphone(1)]);
    }

    #[test]
    fn a_first_syllable_is_ranked_within_two_ticks() {
        let (mut speakers, mut now) = (Speakers::new(), start());
        hear(&mut speakers, &mut now, 10, &[(1, 127), (2, 127), (3, 127), (4, 127)]);
        hear(&mut speakers, &mut now, 2, &[(1, 127), (2, 127), (3, 127), (4, 25)]);
        assert_eq!(speakers.loudest(1), [microphone(4)]);
    }

    #[test]
    fn voice_activity_counts_where_the_sender_tells() {
        let (mut speakers, mut now) = (Speakers::new(), start());
        for _ in 0..10 {
            speakers.handle_level(now, microphone(1), 10, Some(false));
            now += TICK;
            speakers.tick(now);
        }
        assert!(speakers.speaking().is_empty(), "noise is no voice");
    }

    #[test]
    fn who_stops_sending_ages_out_unless_published() {
        let (mut speakers, mut now) = (Speakers::new(), start());
        speakers.insert(microphone(9));
        hear(&mut speakers, &mut now, 5, &[(9, 20), (1, 30)]);
        hear(&mut speakers, &mut now, 25, &[(2, 40)]);
        assert_eq!(speakers.loudest(5), [microphone(2), microphone(9)]);
        speakers.remove(microphone(9));
        assert_eq!(speakers.loudest(5), [microphone(2)]);
    }

    #[test]
    fn shards_that_hear_the_same_agree_whatever_the_order() {
        let levels = [(4, 30), (2, 30), (7, 22), (1, 127), (3, 30)];
        let rankings: Vec<Vec<TrackId>> = [levels.to_vec(), levels.iter().rev().copied().collect()]
            .into_iter()
            .map(|levels| {
                let (mut speakers, mut now) = (Speakers::new(), start());
                hear(&mut speakers, &mut now, 20, &levels);
                speakers.loudest(5)
            })
            .collect();
        assert_eq!(rankings[0], rankings[1]);
        assert_eq!(rankings[0], [7, 2, 3, 4, 1].map(microphone));
    }
}
