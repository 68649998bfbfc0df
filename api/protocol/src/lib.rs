//! The signalling protocol, version 1: what a client and a node say to each other over a WebSocket.
//!
//! JSON text frames. The client numbers its requests; every request is answered by exactly one reply that
//! carries the same number, `ok` or `error`, in the order of the requests. What the node says unasked is a
//! push, numbered by the node.
//!
//! ```text
//! → {"v":1,"id":1,"type":"join","meeting":"meeting_0193…","token":"eyJ…"}
//! ← {"v":1,"re":1,"type":"joined",…}
//! → {"v":1,"id":2,"type":"offer","sdp":"v=0…","tracks":[{"mid":"0","source":"microphone"}],"slots":["4","5"]}
//! ← {"v":1,"re":2,"type":"answer","sdp":"v=0…"}
//! ← {"v":1,"seq":1,"type":"slots","slots":[…]}
//! ```
//!
//! Unknown fields are ignored by both sides, unknown request types are answered `unknown_type`, unknown push
//! types are to be ignored: version 1 can grow without breaking anyone.
//!
//! **Offers** come always from the client. The first one declares its publish m-lines (`sendonly`; microphone,
//! camera, screen, screen audio, in any order, each named in `tracks`) and its receive slots (`recvonly`,
//! named by mid in `slots`, audio and video told apart by their m-line). A `pool` push asks for a re-offer with
//! more slots. An m-line is never removed or reused.
//!
//! Pure: no socket, no clock. The node, the headless participant and the tests share it.

mod error;
mod push;
mod reply;
mod request;

pub use error::{ErrorCode, FieldError, ProtocolError};
pub use push::{Close, MeetingState, Pool, Push, PushFrame, RosterChange, SlotAnnouncement};
pub use reply::{IceServer, Joined, MeetingInfo, Member, PoolSize, Reply, ReplyFrame, TrackInfo};
pub use request::{ClientInfo, Interest, OfferedTrack, Request, RequestFrame, SourceName, VideoInterest, WantedTrack};

/// The version spoken here.
pub const VERSION: u16 = 1;

/// The longest text frame either side may send, in bytes. An offer with 25 video slots is about 40 KiB.
pub const MAX_FRAME_BYTES: usize = 256 * 1024;

/// What a node sends: a reply to a request or a push.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum ServerFrame {
    /// The answer to a request.
    Reply(ReplyFrame),
    /// Said unasked.
    Push(PushFrame),
}
