//! The one history that every node has to agree with: the committed entries in order, applied to a replica of ours.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use plenary_cluster::simulation::{Config, Entry, LogId, Payload, Replica};

use crate::history::Moment;

/// Committed entries, and every entry that was ever appended anywhere.
#[derive(Debug, Default)]
pub struct Chronicle {
    moments: Vec<Moment>,
    appended: BTreeMap<LogId, (Arc<Entry>, Option<LogId>)>,
    replica: Replica,
    config: Arc<Config>,
}

impl Chronicle {
    /// An entry that was committed.
    #[must_use]
    pub fn at(&self, index: u64) -> Option<&Moment> {
        self.moments.get(usize::try_from(index).ok()?)
    }

    /// All committed entries, by index.
    #[must_use]
    pub fn moments(&self) -> &[Moment] {
        &self.moments
    }

    /// An entry that was appended somewhere.
    #[must_use]
    pub fn appended(&self, id: LogId) -> Option<&(Arc<Entry>, Option<LogId>)> {
        self.appended.get(&id)
    }

    /// Memberships that were appended and not committed, as far as is known.
    pub fn pending(&self) -> impl Iterator<Item = &Config> {
        let tip = self.moments.len() as u64;
        self.appended.values().filter(move |(entry, _)| entry.id.index >= tip).filter_map(|(entry, _)| {
            match &entry.payload {
                Payload::Members(config) => Some(config),
                Payload::Blank | Payload::Proposal(_) => None,
            }
        })
    }

    /// Notes an entry that was appended.
    pub(crate) fn append(&mut self, entry: &Arc<Entry>, previous: Option<LogId>) {
        let known = self.appended.entry(entry.id).or_insert_with(|| (Arc::clone(entry), previous));
        known.1 = known.1.or(previous);
    }

    /// Follows the committed entries up to `id`; returns the index of the first new one.
    ///
    /// # Errors
    /// When `id` does not continue what was committed before.
    pub(crate) fn extend(&mut self, id: LogId) -> Result<usize, String> {
        let first = self.moments.len();
        let mut chain = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next.filter(|id| id.index >= first as u64) {
            let Some((entry, previous)) = self.appended.get(&id) else {
                return Err(format!("{id} was applied and never appended"));
            };
            chain.push(Arc::clone(entry));
            next = *previous;
        }
        let tip = self.moments.last().map(Moment::id);
        if chain.is_empty() {
            return Ok(first);
        }
        if next != tip {
            let text = |id: Option<LogId>| id.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
            return Err(format!("{id} was applied; its log has {} where {} was committed", text(next), text(tip)));
        }
        for entry in chain.into_iter().rev() {
            self.apply(entry)?;
        }
        Ok(first)
    }

    fn apply(&mut self, entry: Arc<Entry>) -> Result<(), String> {
        if let Payload::Members(config) = &entry.payload {
            self.config = Arc::new(config.clone());
        }
        let replica = &mut self.replica;
        let applied = catch_unwind(AssertUnwindSafe(|| replica.apply(&entry)));
        let (applied, decided) =
            applied.map_err(|_| format!("applying {} breaks an invariant of the state", entry.id))?;
        let state = self.replica.state().clone();
        let events = match entry.id.index.checked_sub(1).map(|before| state.events_since(before)) {
            Some(Ok(events)) => events.filter(|event| event.revision == entry.id.index).cloned().collect(),
            Some(Err(_)) | None => Vec::new(),
        };
        let (digest, config) = (self.replica.digest(), Arc::clone(&self.config));
        self.moments.push(Moment { entry, applied, decided, digest, config, events, state });
        Ok(())
    }
}
