//! What a node says unasked.

use serde::{Deserialize, Serialize};

use crate::{Member, PoolSize, SourceName};

/// A numbered push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PushFrame {
    /// Protocol version.
    pub v: u16,
    /// 1, 2, 3 … on each connection.
    pub seq: u64,
    /// What is said.
    #[serde(flatten)]
    pub push: Push,
}

/// What a node says unasked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Push {
    /// People came, changed or left.
    Roster {
        /// Directory revision after the changes.
        revision: u64,
        /// True when `changes` is the whole roster anew: forget the old one.
        #[serde(default)]
        reset: bool,
        /// In order.
        changes: Vec<RosterChange>,
    },
    /// Slots show something else from now on; slots not named are as before.
    Slots {
        /// The changed ones.
        slots: Vec<SlotAnnouncement>,
    },
    /// The pictures of just these slots are about to become someone else's: the new source is waited for, and its
    /// announcement follows, unless a later message takes the slot back. Whoever must never see a picture under the wrong
    /// name shows only frames that are certainly the old ones until then.
    Switching {
        /// The m-lines of these slots.
        mids: Vec<String>,
    },
    /// More slots are wanted: re-offer with a pool of this size.
    Pool(Pool),
    /// Who is speaking, loudest first.
    Speakers {
        /// Participant ids.
        speakers: Vec<String>,
    },
    /// The PeerConnection is up (ICE and DTLS done), as the node sees it.
    MediaConnected,
    /// The meeting changed its state.
    Meeting {
        /// The state.
        state: MeetingState,
    },
    /// The node closes the connection after this.
    Closed(Close),
}

/// One change to the roster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum RosterChange {
    /// Someone is new or has changed.
    Set {
        /// As they are now.
        member: Member,
    },
    /// Someone left.
    Left {
        /// Who.
        id: String,
    },
}

/// What a slot shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotAnnouncement {
    /// The slot's m-line.
    pub mid: String,
    /// Grows with every announcement for this slot.
    pub generation: u32,
    /// Whose source; absent when the slot falls idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub participant: Option<String>,
    /// Which source; absent when the slot falls idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceName>,
    /// RTP timestamp of the first packet of this source in this slot: relabel when a frame with this timestamp or a
    /// later one (modulo 2^32) is shown. Absent when idle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtp_timestamp: Option<u32>,
}

/// The pool of slots that the node would like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// Wanted sizes, never smaller than what was offered.
    pub size: PoolSize,
}

/// A meeting's state, on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeetingState {
    /// Not started.
    Scheduled,
    /// Running.
    Live,
    /// Over.
    Ended,
}

/// Why a connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// `left`, `meeting_ended`, `session_replaced`, `removed`, `media_failed`, `too_slow`, `shutting_down` or an error code.
    pub code: String,
    /// For people.
    pub message: String,
    /// Whether joining again may help.
    pub rejoin: bool,
}
