//! The open sessions of a worker.

use std::collections::BTreeMap;

use plenary_cluster::model::SessionId;

use super::Session;

/// Where a session is kept on its worker. Used again after the session has closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionKey(usize);

impl SessionKey {
    #[cfg(test)]
    pub(crate) const fn new(index: usize) -> Self {
        Self(index)
    }
}

/// All sessions, by key and by id.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    entries: Vec<Option<Session>>,
    free: Vec<SessionKey>,
    keys: BTreeMap<SessionId, SessionKey>,
}

impl Sessions {
    pub(crate) fn insert(&mut self, session: Session) -> SessionKey {
        let key = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            SessionKey(self.entries.len() - 1)
        });
        self.keys.insert(session.id, key);
        self.entries[key.0] = Some(session);
        key
    }

    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let session = self.entries.get_mut(key.0)?.take()?;
        self.keys.remove(&session.id);
        self.free.push(key);
        Some(session)
    }

    pub(crate) fn key(&self, id: SessionId) -> Option<SessionKey> {
        self.keys.get(&id).copied()
    }

    pub(crate) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.entries.get(key.0)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.entries.get_mut(key.0)?.as_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}
