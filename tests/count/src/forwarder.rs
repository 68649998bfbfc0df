//! The scenario `forwarder`: a video and an audio slot's forwarder and nothing around them.

use std::time::Instant;

use anyhow::{Context, ensure};
use plenary_cluster::model::{SessionId, Source, TrackId};
use plenary_media::forwarder::{Forwarded, Forwarder};
use plenary_media::packet::{Codec, Packet};
use plenary_media::timeline::{SlotKind, SlotTimeline};
use uuid::Uuid;

use crate::clock::start;
use crate::counted;
use crate::feed::{Feed, Piece};

/// Packets that are forwarded before any is counted.
const WARM_UP: u64 = 500;

/// Forwards at least so many packets after the warm-up and returns how many were counted.
pub(crate) fn play(packets: u64) -> anyhow::Result<u64> {
    let now = start();
    let mut slots = [slot(now, SlotKind::Video, Source::Camera), slot(now, SlotKind::Audio, Source::Microphone)];
    let mut feed = Feed::new(now, true);
    let mut forwarded = 0;
    while forwarded < WARM_UP + packets {
        let at = feed.next_at();
        for piece in feed.take_due(at) {
            let (forwarder, track) = &mut slots[usize::from(!piece.picture)];
            let packet = packet(at, piece);
            let outcome = counted::when(forwarded >= WARM_UP, || forwarder.forward(at, *track, &packet));
            ensure!(matches!(outcome, Forwarded::Send(_)), "packet {forwarded} was not forwarded: {outcome:?}");
            forwarded += 1;
        }
    }
    forwarded.checked_sub(WARM_UP).context("the warm-up comes first")
}

fn slot(now: Instant, kind: SlotKind, source: Source) -> (Forwarder, TrackId) {
    let mut forwarder = Forwarder::new(SlotTimeline::new(kind, now, 7), 7);
    let track = TrackId { session: SessionId::from_uuid(Uuid::from_u128(1)), source };
    forwarder.prime(now);
    forwarder.switch(now, Some(track));
    (forwarder, track)
}

fn packet(capture: Instant, piece: Piece) -> Packet {
    Packet {
        sequence: piece.sequence,
        rtp_time: piece.timestamp,
        capture,
        origin_capture: 0,
        marker: piece.marker,
        codec: if piece.picture { Codec::Vp8 } else { Codec::Opus },
        keyframe: piece.keyframe,
        audio_level: (!piece.picture).then_some(40),
        voice: (!piece.picture).then_some(true),
        payload: piece.payload.into(),
    }
}
