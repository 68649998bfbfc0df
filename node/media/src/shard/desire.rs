//! What a subscriber would see and hear, if there were slots enough: most wanted first.

use plenary_cluster::model::{MediaKind, ParticipantId, Source, TrackId};

use super::Shard;
use crate::io::{Interest, VideoInterest};
use crate::slots;

impl Shard {
    /// The audio tracks for a participant: the loudest of the others.
    pub(super) fn desired_audio(&self, own: ParticipantId, interest: &Interest, loudest: usize) -> Vec<TrackId> {
        if !interest.audio {
            return Vec::new();
        }
        let ranking = self.speakers.loudest(self.tracks.len());
        ranking.into_iter().filter(|track| self.is_shown_to(own, *track)).take(loudest).collect()
    }

    /// The video tracks for a participant.
    pub(super) fn desired_video(&self, own: ParticipantId, interest: &Interest) -> Vec<TrackId> {
        match &interest.video {
            VideoInterest::Speakers { max } => {
                let mut wanted = self.screens_then_speakers();
                wanted.retain(|track| self.is_shown_to(own, *track));
                wanted.truncate(usize::from(*max));
                wanted
            }
            VideoInterest::Tracks(tracks) => {
                let found = tracks.iter().filter_map(|wanted| self.find(wanted.participant, wanted.source));
                found.filter(|track| self.is_shown_to(own, *track)).collect()
            }
        }
    }

    fn screens_then_speakers(&self) -> Vec<TrackId> {
        let of_source = |source: Source| self.tracks.keys().filter(move |track| track.source == source).copied();
        let mut wanted: Vec<TrackId> = of_source(Source::Screen).collect();
        let voices = self.speakers.loudest(self.tracks.len()).into_iter();
        wanted.extend(voices.filter(|track| track.source == Source::Microphone).map(slots::partner));
        let ranked = wanted.len();
        for camera in of_source(Source::Camera) {
            if !wanted[..ranked].contains(&camera) {
                wanted.push(camera);
            }
        }
        wanted
    }

    fn find(&self, participant: ParticipantId, source: Source) -> Option<TrackId> {
        let ids = self.tracks.iter().filter(|(id, track)| id.source == source && track.participant == participant);
        // The newest session's, should an old one still be in the view.
        ids.filter(|(_, track)| track.live).map(|(id, _)| *id).next_back()
    }

    /// Live, and not their own.
    fn is_shown_to(&self, own: ParticipantId, id: TrackId) -> bool {
        self.tracks.get(&id).is_some_and(|track| track.live && track.participant != own)
    }

    /// Whether anybody here would hear this track.
    pub(super) fn is_audible(&self, id: TrackId, listeners: &[ParticipantId]) -> bool {
        id.source.kind() == MediaKind::Audio
            && self.tracks.get(&id).is_some_and(|track| listeners.iter().any(|own| *own != track.participant))
    }
}
