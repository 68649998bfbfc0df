//! Fingerprints of the applied state, one every so many entries, for nodes to compare.
//!
//! The first one walks the whole state, beside the applying if there is much of it; each later one walks what has changed
//! since.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::state::{Digest, RowError, State};

/// Entries between two fingerprints: every node takes them at the same log indices.
const EVERY: u64 = 1000;

/// Fingerprints kept, so that a node that lags a little finds its own among them.
const KEPT: usize = 16;

/// Records up to which a first fingerprint is taken at once: about a tenth of a second's work.
const AT_ONCE: usize = 20_000;

/// The latest fingerprints with their log indices, oldest first.
pub(crate) type Fingerprints = VecDeque<(u64, Digest)>;

/// Takes them.
#[derive(Debug, Clone)]
pub(super) struct Taker {
    taken: Arc<watch::Sender<Fingerprints>>,
    base: Arc<Mutex<Base>>,
}

/// What the next fingerprint is worked out from.
#[derive(Debug, Default)]
enum Base {
    #[default]
    None,
    /// The first one is being taken.
    Awaited,
    Ready(Box<(State, Digest)>),
}

impl Taker {
    pub(super) fn new() -> Self {
        Self { taken: Arc::new(watch::Sender::default()), base: Arc::default() }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Fingerprints> {
        self.taken.subscribe()
    }

    /// The state was replaced: the next fingerprint is a first one again.
    pub(super) fn forget(&mut self) {
        // One that is still being taken belongs to the state before.
        *self = Self { taken: Arc::clone(&self.taken), base: Arc::default() };
    }

    /// Takes a fingerprint, if `state` is at one of the indices.
    pub(super) fn look(&self, state: &State) -> Result<(), RowError> {
        if !state.revision().is_multiple_of(EVERY) || state.revision() == 0 {
            return Ok(());
        }
        let mut base = self.base.lock();
        match std::mem::take(&mut *base) {
            Base::Ready(earlier) => {
                let digest = state.digest_after(&earlier.0, earlier.1)?;
                *base = self.note(state.clone(), digest);
            }
            Base::None if state.records() <= AT_ONCE => *base = self.note(state.clone(), state.digest()?),
            Base::None => {
                *base = Base::Awaited;
                self.take_beside(state.clone());
            }
            Base::Awaited => *base = Base::Awaited,
        }
        Ok(())
    }

    fn note(&self, state: State, digest: Digest) -> Base {
        self.taken.send_modify(|taken| {
            taken.push_back((state.revision(), digest));
            if taken.len() > KEPT {
                taken.pop_front();
            }
        });
        Base::Ready(Box::new((state, digest)))
    }

    fn take_beside(&self, state: State) {
        let taker = self.clone();
        tokio::task::spawn_blocking(move || {
            let base = match state.digest() {
                Ok(digest) => taker.note(state, digest),
                Err(error) => {
                    tracing::warn!(%error, "the state's fingerprint can't be taken; the next index is another try");
                    Base::None
                }
            };
            *taker.base.lock() = base;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NodeId, Timestamp};
    use crate::state::{Command, Proposal, ProposalId};

    #[test]
    fn fingerprints_are_taken_at_the_same_indices_whatever_came_before() {
        let (taker, late) = (Taker::new(), Taker::new());
        let mut state = State::default();
        for index in 1..=3500 {
            let id = ProposalId { proposer: NodeId::new(1), epoch: 0, sequence: index };
            let command = Command::AdmitNode {
                token: u128::from(index),
                expires: Timestamp::from_millis(i64::MAX),
                control: ([127, 0, 0, 1], 1).into(),
            };
            state.apply(index, &Proposal { id, time: Timestamp::from_millis(0), command });
            taker.look(&state).expect("taken");
            // One that starts late walks everything once.
            if index > 1500 {
                late.look(&state).expect("taken");
            }
        }
        let (all, some) = (taker.subscribe().borrow().clone(), late.subscribe().borrow().clone());
        assert_eq!(all.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1000, 2000, 3000]);
        assert_eq!(all.range(1..).collect::<Vec<_>>(), some.iter().collect::<Vec<_>>());
        assert_ne!(all[0].1, all[1].1);
    }
}
