//! The outbox: what happened, in order, bounded.

use std::sync::Arc;

use super::{Event, EventKind, Resync, State};

/// Events kept. A node that falls further behind reads the whole state anew. At a few hundred bytes each this is
/// about a megabyte, and some seconds of a very busy cluster.
pub const OUTBOX_CAP: usize = 4096;

impl State {
    /// Events of entries after `revision`, oldest first.
    ///
    /// # Errors
    /// [`Resync`] when some of them are gone.
    pub fn events_since(&self, revision: u64) -> Result<impl Iterator<Item = &Event>, Resync> {
        if revision < self.trimmed {
            return Err(Resync { revision: self.revision });
        }
        let first = (revision.saturating_add(1), 0);
        Ok(self.outbox.range(first..).map(|(_, event)| &**event))
    }

    /// Adds an event of the entry that is being applied.
    pub(super) fn emit(&mut self, kind: EventKind) {
        let revision = self.revision;
        let ordinal = match self.outbox.get_max() {
            Some(((last, ordinal), _)) if *last == revision => ordinal.saturating_add(1),
            Some(_) | None => 0,
        };
        self.outbox.insert((revision, ordinal), Arc::new(Event { revision, ordinal, kind }));
    }

    /// Drops whole entries' events, oldest first, until the outbox is within its cap.
    pub(super) fn trim_outbox(&mut self) {
        let cap = if planted!(OutboxTrimmedInSilence) { 12 } else { OUTBOX_CAP };
        while self.outbox.len() > cap {
            let Some(((oldest, _), _)) = self.outbox.get_min() else { return };
            let oldest = *oldest;
            if !planted!(OutboxTrimmedInSilence) {
                self.trimmed = oldest;
            }
            let gone: Vec<_> = self.outbox.range((oldest, 0)..=(oldest, u32::MAX)).map(|(key, _)| *key).collect();
            for key in gone {
                self.outbox.remove(&key);
            }
        }
    }
}
