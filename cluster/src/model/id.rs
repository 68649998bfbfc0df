//! Ids: opaque, prefixed and sortable by creation time (UUIDv7 inside).
//!
//! Text form is `<prefix>_<32 hex digits>`, for example `meeting_0193…`; in binary encodings an id is
//! its 16 bytes. The random and time parts are chosen by whoever proposes the record, never in `apply`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text lacks the prefix that this kind of id carries.
    #[error("expected an id that starts with `{0}_`")]
    Prefix(&'static str),
    /// What follows the prefix is not 32 hexadecimal digits.
    #[error("expected 32 hexadecimal digits after `{0}_`")]
    Digits(&'static str),
    /// A free-text id is empty, too long or holds control characters.
    #[error("expected 1 to 128 printable characters")]
    Text,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix of the text form.
            pub const PREFIX: &'static str = $prefix;

            /// Wraps a UUID that the caller drew.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside.
            #[must_use]
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, self.0.as_simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text
                    .strip_prefix(concat!($prefix, "_"))
                    .ok_or(IdError::Prefix($prefix))?;
                if digits.len() != 32 {
                    return Err(IdError::Digits($prefix));
                }
                Uuid::try_parse(digits).map(Self).map_err(|_| IdError::Digits($prefix))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.as_u128().serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    u128::deserialize(deserializer).map(|bits| Self(Uuid::from_u128(bits)))
                }
            }
        }
    };
}

uuid_id!(
    /// A meeting: the business record and the sitting.
    MeetingId, "meeting"
);
uuid_id!(
    /// A room: the routing scope that the directory places.
    RoomId, "room"
);
uuid_id!(
    /// A member of a meeting.
    ParticipantId, "participant"
);
uuid_id!(
    /// One participant's PeerConnection on one node. A new PeerConnection is a new session.
    SessionId, "session"
);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let printable = !text.chars().any(char::is_control);
                if text.is_empty() || text.chars().count() > 128 || !printable {
                    return Err(IdError::Text);
                }
                Ok(Self(text.to_owned()))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A user, as the token issuer names them.
    UserId
);
text_id!(
    /// The tenant (`campus_id`) that a token speaks for.
    TenantId
);

/// A member of the Raft group. Handed out by Raft from a log index and never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(u64);

impl NodeId {
    /// The node id with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number inside.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for NodeId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_binary() {
        let id = MeetingId::from_uuid(Uuid::from_u128(0x0193_0000_0000_7000_8000_0000_0000_0001));
        assert_eq!(id.to_string().parse::<MeetingId>(), Ok(id));
        let json = serde_json::to_string(&id).expect("ids serialise");
        assert_eq!(serde_json::from_str::<MeetingId>(&json).expect("ids parse"), id);
        let bytes = bincode::serde::encode_to_vec(id, bincode::config::standard()).expect("ids encode");
        let (back, _): (MeetingId, usize) =
            bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).expect("ids decode");
        assert_eq!(back, id);
    }

    #[test]
    fn a_wrong_prefix_or_length_is_named() {
        assert_eq!("room_1".parse::<MeetingId>(), Err(IdError::Prefix("meeting")));
        assert_eq!("meeting_1".parse::<MeetingId>(), Err(IdError::Digits("meeting")));
        assert_eq!("".parse::<UserId>(), Err(IdError::Text));
    }
}
