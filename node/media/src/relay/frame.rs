//! What neighbours say to each other.

use plenary_cluster::model::{RoomId, TrackId};

use crate::packet::Packet;

/// How a frame has to travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// In order and never lost while the peer is up.
    Reliable,
    /// Late is worse than lost: an unreliable datagram.
    Datagram,
}

/// One relay frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Send me this track from now on.
    Pull {
        /// The room it is in; names the ingress worker at the receiver.
        room: RoomId,
        /// Which track.
        track: TrackId,
        /// Chosen by the puller, named in every [`Frame::Media`]: its top byte is the puller's worker.
        handle: u32,
    },
    /// Send me this track no more.
    Release {
        /// The room it is in.
        room: RoomId,
        /// Which track.
        track: TrackId,
        /// As in the pull.
        handle: u32,
    },
    /// A keyframe of this track is wanted.
    Keyframe {
        /// The room it is in.
        room: RoomId,
        /// Which track.
        track: TrackId,
    },
    /// A packet of a pulled track.
    Media {
        /// The puller's handle.
        handle: u32,
        /// The packet.
        packet: Packet,
    },
    /// Packets of a pulled track did not arrive; sent to the peer that serves the pull.
    Nack {
        /// The room it is in.
        room: RoomId,
        /// Which track.
        track: TrackId,
        /// As in the pull.
        handle: u32,
        /// Which packets, at most [`Frame::MAX_NACKED`].
        sequences: Vec<u64>,
    },
}

impl Frame {
    /// The most packets that one [`Frame::Nack`] names; it stays well below a datagram.
    pub const MAX_NACKED: usize = 64;

    /// How this frame has to travel.
    #[must_use]
    pub const fn carriage(&self) -> Carriage {
        match self {
            Self::Pull { .. } | Self::Release { .. } | Self::Keyframe { .. } => Carriage::Reliable,
            Self::Media { .. } | Self::Nack { .. } => Carriage::Datagram,
        }
    }
}
