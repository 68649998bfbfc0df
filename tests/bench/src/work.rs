//! What is asked for, and through which door.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    /// A new meeting, or a new key with a value of the same size.
    Write,
    /// One meeting or key as the asked node has it.
    ReadLocal,
    /// One meeting or key as of everything acknowledged before.
    ReadLinearizable,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Write => "write",
            Self::ReadLocal => "read, local",
            Self::ReadLinearizable => "read, linearizable",
        })
    }
}

/// The way to the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Door {
    /// Plenary's REST interface: HTTP/1.1, JSON.
    Rest,
    /// Plenary's directory, called in the node's own process.
    Inside,
    /// etcd's JSON gateway: HTTP/1.1, JSON.
    Gateway,
    /// etcd's own interface: gRPC over HTTP/2.
    Grpc,
}

impl Door {
    /// What can be asked for through it.
    pub(crate) const fn works(self) -> &'static [Work] {
        match self {
            // A local read inside is a look into memory, not a call.
            Self::Inside => &[Work::Write, Work::ReadLinearizable],
            Self::Rest | Self::Gateway | Self::Grpc => &[Work::Write, Work::ReadLocal, Work::ReadLinearizable],
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rest => "plenary REST",
            Self::Inside => "plenary inside",
            Self::Gateway => "etcd JSON",
            Self::Grpc => "etcd gRPC",
        })
    }
}
