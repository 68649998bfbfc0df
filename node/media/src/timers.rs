//! Who wants to be woken when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use plenary_cluster::model::RoomId;

use crate::session::SessionKey;

/// Who wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Sleeper {
    /// A session: str0m's timers, connection deadlines.
    Session(SessionKey),
    /// A shard: NACKs, keyframe retries, lingering relays, speakers.
    Shard(RoomId),
}

/// One alarm per sleeper.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    alarms: BTreeSet<(Instant, Sleeper)>,
    set: BTreeMap<Sleeper, Instant>,
}

impl Timers {
    /// Sets or clears a sleeper's alarm.
    pub(crate) fn set(&mut self, sleeper: Sleeper, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.set.insert(sleeper, at),
            None => self.set.remove(&sleeper),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.alarms.remove(&(before, sleeper));
        }
        if let Some(at) = at {
            self.alarms.insert((at, sleeper));
        }
    }

    /// The earliest alarm.
    pub(crate) fn next(&self) -> Option<(Instant, Sleeper)> {
        self.alarms.first().copied()
    }

    /// Takes the earliest alarm that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Sleeper> {
        let (at, sleeper) = self.next()?;
        if at > now {
            return None;
        }
        self.set(sleeper, None);
        Some(sleeper)
    }
}
