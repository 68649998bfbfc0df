//! What servers are given to do, the same for all of them: workloads W1 to W3, as far as Plenary can do them. It forwards one
//! layer of a picture, and three voices to each.

use std::fmt;
use std::time::Duration;

use plenary_participant::load::Plan;
use plenary_participant::{Trace, Video};
use serde::{Deserialize, Serialize};

use super::network::Path;
use super::server::Kind;

/// Opus frames a second, of 20 ms each.
pub(super) const AUDIO_EACH_SECOND: u64 = 50;
/// Bytes of an Opus frame, about.
pub(super) const AUDIO_BYTES: usize = 70;
/// Pictures a second.
pub(super) const FRAMES_EACH_SECOND: u64 = 30;
/// Sizes of pictures: lognormal, a keyframe of eight times the mean every three seconds, the same in every run.
pub(super) const TRACE: Trace = Trace::LogNormal { seed: 7 };
/// Joins a second.
pub(super) const JOINS: f64 = 50.0;
/// How long a join, and then first media, may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How long people and server may take to settle before something is measured.
pub(super) const SETTLE: Duration = Duration::from_secs(2);
/// People in a room of W2.
const ROOM: u16 = 4;
/// Who speaks in W3.
const SPEAKERS: u16 = 10;
/// Voices that each hears at once: what Plenary forwards, and so what everyone is asked for.
const VOICES: u16 = 3;

/// What is sent to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Workload {
    /// One publisher with a picture of 1.5 Mbit/s and sound; so many subscribers.
    W1,
    /// So many rooms of four; each sends a picture of 500 kbit/s and sound, and takes those of the other three.
    W2,
    /// Ten speak, without pictures; so many subscribers hear three of them each.
    W3,
}

/// What one subscriber is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Pictures.
    pub(super) pictures: u16,
    /// Kilobits a second of each.
    pub(super) kbps: u32,
    /// Voices.
    pub(super) voices: u16,
}

impl Traffic {
    /// Packets of a frame, and the bytes of each.
    pub(super) fn frame(self) -> (usize, usize) {
        let bytes = usize::try_from(u64::from(self.kbps) * 125 / FRAMES_EACH_SECOND).unwrap_or(usize::MAX);
        let count = bytes.div_ceil(TRACE.max_payload());
        (count, bytes.checked_div(count).unwrap_or(0))
    }
}

/// Opus frames of one voice that come with a frame of a picture.
pub(super) const fn sounds_with(frame: u64) -> u64 {
    (frame + 1) * AUDIO_EACH_SECOND / FRAMES_EACH_SECOND - frame * AUDIO_EACH_SECOND / FRAMES_EACH_SECOND
}

impl Workload {
    pub(super) const ALL: [Self; 3] = [Self::W1, Self::W2, Self::W3];

    /// The sizes that are measured: subscribers, or rooms. The last is the one that is measured most often; in a short run
    /// it is the only one on loopback.
    pub(super) fn sizes(self, path: Path, full: bool) -> &'static [u16] {
        let all: &[u16] = match (self, full) {
            (Self::W1, false) => &[25, 100, 200],
            (Self::W1, true) => &[25, 50, 100, 200, 300],
            (Self::W2, false) => &[1, 10],
            (Self::W2, true) => &[1, 5, 10, 20],
            (Self::W3, false) => &[100],
            (Self::W3, true) => &[20, 50, 100, 200],
        };
        if path == Path::Lo && !full { &all[all.len() - 1..] } else { all }
    }

    /// A size that leaves every server time to spare.
    pub(super) const fn middle_size(self) -> u16 {
        match self {
            Self::W1 | Self::W3 => 100,
            Self::W2 => 10,
        }
    }

    /// What its sizes count.
    pub(super) const fn unit(self) -> &'static str {
        match self {
            Self::W1 | Self::W3 => "subscribers",
            Self::W2 => "rooms of 4",
        }
    }

    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::W1 => "one publisher of 1500 kbit/s and sound",
            Self::W2 => "rooms of four, 500 kbit/s and sound each",
            Self::W3 => "sound alone: ten speak, each subscriber hears three",
        }
    }

    pub(super) const fn traffic(self) -> Traffic {
        match self {
            Self::W1 => Traffic { pictures: 1, kbps: 1500, voices: 1 },
            Self::W2 => Traffic { pictures: ROOM - 1, kbps: 500, voices: ROOM - 1 },
            Self::W3 => Traffic { pictures: 0, kbps: 0, voices: VOICES },
        }
    }

    /// Those who are sent something.
    pub(super) const fn receivers(self, size: u16) -> u16 {
        match self {
            Self::W1 | Self::W3 => size,
            Self::W2 => size * ROOM,
        }
    }

    /// The people for a server.
    pub(super) fn plan(self, size: u16, kind: Kind, url: &str) -> Plan {
        let Traffic { pictures, kbps, voices } = self.traffic();
        let apart = self != Self::W2 || kind.comes_twice();
        let (rooms, publishers, subscribers) = match self {
            Self::W1 => (1, 1, size),
            Self::W2 => (size, ROOM, if kind.comes_twice() { ROOM } else { 0 }),
            Self::W3 => (1, SPEAKERS, size),
        };
        Plan {
            nodes: vec![url.to_owned()],
            user_token: None,
            rooms: rooms.into(),
            publishers: publishers.into(),
            subscribers: subscribers.into(),
            spare: 0,
            joins_per_second: JOINS,
            hold: Duration::ZERO,
            video: (pictures > 0).then(|| Video { bitrate: kbps * 1000, trace: TRACE, ..Video::default() }),
            pictures,
            voices,
            apart,
            silent: false,
            deadline: PATIENCE,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::W1 => "W1",
            Self::W2 => "W2",
            Self::W3 => "W3",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_frame_is_cut_into_equal_packets() {
        let of = |kbps| Traffic { pictures: 1, kbps, voices: 0 }.frame();
        // 6,250 and 2,083 bytes.
        assert_eq!([1500, 500, 0].map(of), [(6, 1041), (2, 1041), (0, 0)]);
    }

    #[test]
    fn in_rooms_of_four_janus_gets_each_person_twice() {
        let people = |kind| Workload::W2.plan(5, kind, "http://a").people();
        assert_eq!((people(Kind::Plenary), people(Kind::Janus)), (20, 40));
        assert!(Workload::W1.plan(5, Kind::Plenary, "http://a").apart);
    }
}
