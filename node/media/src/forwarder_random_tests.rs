//! Random packets, losses, delays, doubles, pauses and switches, and what must hold of the stream all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plenary_cluster::model::Source;
use proptest::prelude::*;

use super::*;
use crate::packet::Codec;
use crate::testing::{audio, start, track, video};
use crate::timeline::AUDIO_GRID;

const MS: Duration = Duration::from_millis(1);

/// What happens in a step of the random test.
#[derive(Debug, Clone)]
enum Step {
    /// Every source makes a packet; per source: its fate and whether it is a keyframe.
    Frame(Vec<(Fate, bool)>),
    Switch(Option<u32>),
    Pause(u16),
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    Lost,
    Delayed(u8),
    Doubled,
    Empty,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        12 => Just(Fate::Arrives),
        2 => Just(Fate::Lost),
        2 => (1..8_u8).prop_map(Fate::Delayed),
        1 => Just(Fate::Doubled),
        1 => Just(Fate::Empty),
    ];
    let frame = proptest::collection::vec((fate, proptest::bool::weighted(0.2)), 3).prop_map(Step::Frame);
    let switch = proptest::option::weighted(0.9, 0..3_u32).prop_map(Step::Switch);
    proptest::collection::vec(prop_oneof![20 => frame, 3 => switch, 1 => (1..2_000_u16).prop_map(Step::Pause)], 1..300)
}

/// Three sources with clocks and phases of their own, and a network that loses, delays and doubles.
struct World {
    kind: SlotKind,
    begin: Instant,
    elapsed: Duration,
    frames: [u64; 3],
    network: BTreeMap<(Duration, u64), (u32, Packet)>,
    sent: u64,
}

impl World {
    fn packet(&mut self, source: u32, keyframe: bool, empty: bool) -> Packet {
        let index = usize::try_from(source).unwrap();
        let frame = self.frames[index];
        self.frames[index] += 1;
        let phase = MS * (source * 7);
        let capture = self.begin + self.elapsed + phase - 25 * MS;
        let ticks = u64::try_from(self.elapsed.as_millis()).unwrap() * u64::from(self.kind.clock_rate()) / 1_000;
        let rtp = 1_000_003 * u64::from(source + 1) + ticks;
        let mut packet = match self.kind {
            SlotKind::Audio => audio(frame, rtp, capture),
            SlotKind::Video => video(frame, rtp, capture, keyframe, u16::try_from(frame & 0x7fff).unwrap(), 0),
        };
        if empty {
            packet.payload = std::sync::Arc::from([]);
        }
        packet
    }

    fn transmit(&mut self, source: u32, fate: Fate, keyframe: bool) {
        let packet = self.packet(source, keyframe, matches!(fate, Fate::Empty));
        let delays: &[u32] = match fate {
            Fate::Arrives | Fate::Empty => &[0],
            Fate::Lost => &[],
            Fate::Delayed(frames) => &[u32::from(frames) * 20],
            Fate::Doubled => &[0, 30],
        };
        for delay in delays {
            self.sent += 1;
            self.network.insert((self.elapsed + MS * *delay, self.sent), (source, packet.clone()));
        }
    }
}

/// Checks what must hold of everything a slot sends.
struct Judge {
    numbers: BTreeSet<u64>,
    /// The newest timestamp before the current source.
    before: Option<u32>,
    newest: Option<u32>,
    in_source: BTreeMap<u64, u32>,
    base: u32,
}

impl Judge {
    fn see(&mut self, kind: SlotKind, now: Instant, rewritten: Rewritten) {
        assert!(self.numbers.insert(rewritten.sequence), "{} sent twice", rewritten.sequence);
        assert!(rewritten.wallclock <= now);
        if rewritten.first_of_source {
            self.before = self.newest;
            self.in_source.clear();
        }
        let after = |a: u32, b: u32| a != b && a.wrapping_sub(b) < 1 << 31;
        if let Some(before) = self.before {
            assert!(after(rewritten.timestamp, before), "not after the source before");
        }
        if kind == SlotKind::Audio {
            let phase = rewritten.timestamp.wrapping_sub(self.base);
            assert_eq!(u64::from(phase) % AUDIO_GRID, 0, "off the grid");
        }
        if let Some((_, older)) = self.in_source.range(..rewritten.sequence).next_back() {
            assert!(after(rewritten.timestamp, *older), "not after an older packet");
        }
        if let Some((_, newer)) = self.in_source.range(rewritten.sequence + 1..).next() {
            assert!(after(*newer, rewritten.timestamp), "not before a newer packet");
        }
        self.in_source.insert(rewritten.sequence, rewritten.timestamp);
        if self.newest.is_none_or(|newest| after(rewritten.timestamp, newest)) {
            self.newest = Some(rewritten.timestamp);
        }
    }
}

fn run(kind: SlotKind, steps: Vec<Step>) {
    let begin = start();
    // Wraps at 32 bits soon.
    let base = u32::MAX - 100_003;
    let mut forwarder = Forwarder::new(SlotTimeline::new(kind, begin, base), 65_535);
    let primed = forwarder.prime(begin);
    // Distances on the grid are counted from the priming, which lies behind everything.
    let mut judge = Judge {
        numbers: BTreeSet::new(),
        before: None,
        newest: None,
        in_source: BTreeMap::new(),
        base: primed.timestamp,
    };
    judge.see(kind, begin, Rewritten { first_of_source: true, ..primed });
    let mut world = World { kind, begin, elapsed: Duration::ZERO, frames: [100; 3], network: BTreeMap::new(), sent: 0 };
    for step in steps {
        match step {
            Step::Frame(fates) => {
                for (source, (fate, keyframe)) in (0..).zip(fates) {
                    world.transmit(source, fate, keyframe);
                }
                world.elapsed += 20 * MS;
            }
            Step::Switch(to) => {
                let now = begin + world.elapsed;
                let source = if kind == SlotKind::Audio { Source::Microphone } else { Source::Camera };
                forwarder.switch(now, to.map(|session| track(session, source)));
            }
            Step::Pause(frames) => world.elapsed += 20 * MS * u32::from(frames),
        }
        while let Some(entry) = world.network.first_entry().filter(|entry| entry.key().0 <= world.elapsed) {
            let (session, packet) = entry.remove();
            let now = begin + world.elapsed;
            let source = if packet.codec == Codec::Opus { Source::Microphone } else { Source::Camera };
            if let Forwarded::Send(rewritten) = forwarder.forward(now, track(session, source), &packet) {
                judge.see(kind, now, rewritten);
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_to_audio_the_stream_is_sound(steps in steps()) {
        run(SlotKind::Audio, steps);
    }

    #[test]
    fn whatever_happens_to_video_the_stream_is_sound(steps in steps()) {
        run(SlotKind::Video, steps);
    }
}
