//! Which track is shown in which slot of a subscriber.
//!
//! Slots of one kind are interchangeable but for this: audio slot *i* and video slot *i* share a stream id, so a
//! browser keeps their lips in step. A participant who is both seen and heard gets such a pair where one is free.
//!
//! **Invariant:** a track that stays wanted never changes its slot.

use plenary_cluster::model::{MediaKind, Source, TrackId};

/// Audio slots of every pool.
pub const AUDIO_SLOTS: usize = 3;

/// The sizes that a pool of video slots can have.
pub const VIDEO_STEPS: [usize; 3] = [4, 9, 25];

/// The number of video slots to ask the client for, when `desired` pictures would be shown and `current` slots are
/// there; `None` when they suffice or nothing larger exists.
#[must_use]
pub fn wanted_pool(desired: usize, current: usize) -> Option<usize> {
    let largest = VIDEO_STEPS.last().copied().unwrap_or(0);
    let step = VIDEO_STEPS.into_iter().find(|step| *step >= desired).unwrap_or(largest);
    (desired > current && step > current).then_some(step)
}

/// A slot: its kind and its index among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotIndex {
    /// Audio or video.
    pub kind: MediaKind,
    /// From 0.
    pub index: usize,
}

/// A slot that is to show something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotMove {
    /// Which.
    pub slot: SlotIndex,
    /// What; `None` to show nothing.
    pub to: Option<TrackId>,
}

/// A subscriber's slots and what they show.
#[derive(Debug, Clone, Default)]
pub struct SlotTable {
    audio: Vec<Option<TrackId>>,
    video: Vec<Option<TrackId>>,
}

impl SlotTable {
    /// A table of empty slots.
    #[must_use]
    pub fn new(audio: usize, video: usize) -> Self {
        Self { audio: vec![None; audio], video: vec![None; video] }
    }

    /// Makes room for more slots. Slots are never removed.
    pub fn grow(&mut self, audio: usize, video: usize) {
        self.audio.resize(audio.max(self.audio.len()), None);
        self.video.resize(video.max(self.video.len()), None);
    }

    /// The number of slots of a kind.
    #[must_use]
    pub fn len(&self, kind: MediaKind) -> usize {
        self.slots(kind).len()
    }

    /// Whether there are no slots at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.audio.is_empty() && self.video.is_empty()
    }

    /// What a slot shows.
    #[must_use]
    pub fn shows(&self, slot: SlotIndex) -> Option<TrackId> {
        self.slots(slot.kind).get(slot.index).copied().flatten()
    }

    /// Where a track is shown.
    #[must_use]
    pub fn slot_of(&self, track: TrackId) -> Option<SlotIndex> {
        let kind = track.source.kind();
        let index = self.slots(kind).iter().position(|shown| *shown == Some(track))?;
        Some(SlotIndex { kind, index })
    }

    /// Shows the first tracks of each list, most wanted first, as far as there are slots, and returns what changes.
    /// Tracks of the other kind in a list are ignored.
    pub fn assign(&mut self, audio: &[TrackId], video: &[TrackId]) -> Vec<SlotMove> {
        let before = self.clone();
        let audio = first(audio, MediaKind::Audio, self.audio.len());
        let video = first(video, MediaKind::Video, self.video.len());
        let mut new_audio = keep(&mut self.audio, &audio);
        let mut new_video = keep(&mut self.video, &video);
        self.join_partners(&mut new_audio, &mut new_video);
        self.place_pairs(&mut new_audio, &mut new_video);
        self.place_singles(&new_audio, &new_video);
        self.moves_since(&before)
    }

    /// Puts new tracks beside partners that are shown already.
    fn join_partners(&mut self, new_audio: &mut Vec<TrackId>, new_video: &mut Vec<TrackId>) {
        new_audio.retain(|track| !join(*track, &self.video, &mut self.audio));
        new_video.retain(|track| !join(*track, &self.audio, &mut self.video));
    }

    /// Puts new tracks with new partners where both slots of a pair are free.
    fn place_pairs(&mut self, new_audio: &mut Vec<TrackId>, new_video: &mut Vec<TrackId>) {
        new_audio.retain(|audio| {
            let Some(at) = new_video.iter().position(|video| *video == partner(*audio)) else { return true };
            let free = |(_, pair): &(usize, (&Option<TrackId>, &Option<TrackId>))| pair.0.is_none() && pair.1.is_none();
            let Some((pair, _)) = self.audio.iter().zip(&self.video).enumerate().find(free) else { return true };
            self.audio[pair] = Some(*audio);
            self.video[pair] = Some(new_video.remove(at));
            false
        });
    }

    /// Puts the rest where they leave the most pairs free.
    fn place_singles(&mut self, new_audio: &[TrackId], new_video: &[TrackId]) {
        let pairs = self.audio.len().min(self.video.len());
        for track in new_audio {
            let taken = |index: &usize| self.video.get(*index).is_none_or(Option::is_some);
            place(&mut self.audio, *track, taken);
        }
        for track in new_video {
            let unpaired = |index: &usize| *index >= pairs || self.audio[*index].is_some();
            place(&mut self.video, *track, unpaired);
        }
    }

    fn moves_since(&self, before: &Self) -> Vec<SlotMove> {
        let of_kind = |kind: MediaKind| {
            let pairs = self.slots(kind).iter().zip(before.slots(kind)).enumerate();
            pairs
                .filter(|(_, (now, before))| now != before)
                .map(move |(index, (now, _))| SlotMove { slot: SlotIndex { kind, index }, to: *now })
        };
        of_kind(MediaKind::Audio).chain(of_kind(MediaKind::Video)).collect()
    }

    fn slots(&self, kind: MediaKind) -> &[Option<TrackId>] {
        match kind {
            MediaKind::Audio => &self.audio,
            MediaKind::Video => &self.video,
        }
    }
}

/// What is seen or heard together with a track.
#[must_use]
pub const fn partner(track: TrackId) -> TrackId {
    let source = match track.source {
        Source::Microphone => Source::Camera,
        Source::Camera => Source::Microphone,
        Source::Screen => Source::ScreenAudio,
        Source::ScreenAudio => Source::Screen,
    };
    TrackId { session: track.session, source }
}

/// The first `most` different tracks of a kind.
fn first(wanted: &[TrackId], kind: MediaKind, most: usize) -> Vec<TrackId> {
    let mut tracks: Vec<TrackId> = Vec::with_capacity(most.min(wanted.len()));
    for track in wanted.iter().filter(|track| track.source.kind() == kind) {
        if tracks.len() == most {
            break;
        }
        if !tracks.contains(track) {
            tracks.push(*track);
        }
    }
    tracks
}

/// Empties the slots of tracks that are not wanted and returns the wanted ones that have no slot.
fn keep(slots: &mut [Option<TrackId>], wanted: &[TrackId]) -> Vec<TrackId> {
    for slot in slots.iter_mut() {
        *slot = slot.filter(|track| wanted.contains(track));
    }
    wanted.iter().filter(|track| !slots.contains(&Some(**track))).copied().collect()
}

/// Puts a track beside its partner, if that is shown and the place is free.
fn join(track: TrackId, partners: &[Option<TrackId>], slots: &mut [Option<TrackId>]) -> bool {
    let Some(index) = partners.iter().position(|shown| *shown == Some(partner(track))) else { return false };
    match slots.get_mut(index) {
        Some(slot @ None) => {
            *slot = Some(track);
            true
        }
        Some(Some(_)) | None => false,
    }
}

/// Puts a track into a free slot, one that is preferred if there is any. The caller has left room.
fn place(slots: &mut [Option<TrackId>], track: TrackId, preferred: impl Fn(&usize) -> bool) {
    let free = |slots: &[Option<TrackId>], index: &usize| slots[*index].is_none();
    let best = (0..slots.len()).find(|index| free(slots, index) && preferred(index));
    if let Some(index) = best.or_else(|| (0..slots.len()).find(|index| free(slots, index))) {
        slots[index] = Some(track);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::track;

    fn microphone(session: u32) -> TrackId {
        track(session, Source::Microphone)
    }

    fn camera(session: u32) -> TrackId {
        track(session, Source::Camera)
    }

    fn index(table: &SlotTable, track: TrackId) -> usize {
        table.slot_of(track).unwrap().index
    }

    #[test]
    fn who_is_seen_and_heard_gets_a_pair() {
        let mut table = SlotTable::new(3, 4);
        table.assign(&[microphone(1), microphone(2), microphone(3)], &[camera(2), camera(3), camera(1)]);
        for session in 1..=3 {
            assert_eq!(index(&table, microphone(session)), index(&table, camera(session)));
        }
    }

    #[test]
    fn a_speaker_who_becomes_visible_joins_their_sound() {
        let mut table = SlotTable::new(3, 4);
        table.assign(&[microphone(1), microphone(2)], &[]);
        let moves = table.assign(&[microphone(2), microphone(1)], &[camera(2)]);
        let slot = SlotIndex { kind: MediaKind::Video, index: index(&table, microphone(2)) };
        assert_eq!(moves, [SlotMove { slot, to: Some(camera(2)) }]);
    }

    #[test]
    fn silent_pictures_leave_the_pairs_free() {
        let mut table = SlotTable::new(3, 4);
        table.assign(&[], &[camera(9)]);
        assert_eq!(index(&table, camera(9)), 3);
    }

    #[test]
    fn who_leaves_empties_one_slot_and_moves_nobody() {
        let mut table = SlotTable::new(3, 4);
        let all = [camera(1), camera(2), camera(3), camera(4)];
        table.assign(&[], &all);
        let slot = table.slot_of(camera(2)).unwrap();
        let moves = table.assign(&[], &[camera(4), camera(3), camera(1)]);
        assert_eq!(moves, [SlotMove { slot, to: None }]);
        let moves = table.assign(&[], &[camera(5), camera(4), camera(3), camera(1)]);
        assert_eq!(moves, [SlotMove { slot, to: Some(camera(5)) }]);
        assert!(table.assign(&[], &[camera(1), camera(3), camera(4), camera(5)]).is_empty());
    }

    #[test]
    fn more_slots_are_filled_without_moving_the_old() {
        let mut table = SlotTable::new(1, 1);
        let wanted = [camera(1), camera(2)];
        table.assign(&[], &wanted);
        assert_eq!(table.slot_of(camera(2)), None);
        table.grow(3, 4);
        assert_eq!(table.assign(&[], &wanted).len(), 1);
        assert_eq!(index(&table, camera(1)), 0);
    }

    #[test]
    fn pools_grow_in_steps() {
        assert_eq!(wanted_pool(0, 0), None);
        assert_eq!(wanted_pool(1, 0), Some(4));
        assert_eq!(wanted_pool(4, 4), None);
        assert_eq!(wanted_pool(5, 4), Some(9));
        assert_eq!(wanted_pool(30, 9), Some(25));
        assert_eq!(wanted_pool(30, 25), None);
        assert_eq!(wanted_pool(2, 9), None);
    }

    fn tracks(sources: [Source; 2]) -> impl Strategy<Value = Vec<TrackId>> {
        proptest::collection::vec((0..12_u32, 0..2_usize), 0..10)
            .prop_map(move |picks| picks.into_iter().map(|(session, which)| track(session, sources[which])).collect())
    }

    proptest! {
        #[test]
        fn the_first_wanted_are_shown_once_and_who_stays_stays(
            rounds in proptest::collection::vec((
                tracks([Source::Microphone, Source::ScreenAudio]),
                tracks([Source::Camera, Source::Screen]),
            ), 1..12)
        ) {
            let mut table = SlotTable::new(3, 4);
            for (audio, video) in rounds {
                let before = table.clone();
                let moves = table.assign(&audio, &video);
                for (kind, wanted) in [(MediaKind::Audio, &audio), (MediaKind::Video, &video)] {
                    let wanted = first(wanted, kind, table.len(kind));
                    let shown: Vec<TrackId> = table.slots(kind).iter().flatten().copied().collect();
                    prop_assert_eq!(shown.len(), wanted.len());
                    for track in wanted {
                        prop_assert!(shown.contains(&track));
                        if let Some(slot) = before.slot_of(track) {
                            prop_assert_eq!(table.slot_of(track), Some(slot));
                        }
                    }
                }
                for change in moves {
                    prop_assert!(before.shows(change.slot) != change.to);
                    prop_assert_eq!(table.shows(change.slot), change.to);
                }
            }
        }
    }
}
