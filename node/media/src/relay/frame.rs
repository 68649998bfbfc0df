//! What neighbours say to each other.

use plenary_cluster::model::{RoomId, TrackId};

use crate::packet::Packet;

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
}
