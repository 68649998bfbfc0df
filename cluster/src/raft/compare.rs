//! Comparing the state with the other members', every thousand entries.
//!
//! Members that apply the same log must come to the same state. Should one of them not (a bug, broken memory, a damaged
//! disk that nobody noticed), it must not go on as if it knew: a member whose fingerprint a majority of the voters
//! contradicts stops. Without a majority either way somebody has to look; that is said and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::watch;

use super::node::RaftNode;
use super::runtime::{now, sleep_until};
use super::wire::{Kind, decode_reply, encode_request};
use crate::model::NodeId;
use crate::state::Digest;
use crate::store::Fingerprints;

/// Between two questions to a member that has not come as far yet.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// For how long the others' fingerprints of one index are asked for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// For how long one member is asked.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);

pub(super) async fn run(node: Weak<RaftNode>, mut taken: watch::Receiver<Fingerprints>) {
    while taken.changed().await.is_ok() {
        let Some((index, digest)) = taken.borrow_and_update().back().copied() else { continue };
        let mut next = now();
        let deadline = next + GIVE_UP_AFTER;
        let mut said = BTreeMap::new();
        // A newer one replaces this question; the loop comes back for it.
        while !taken.has_changed().unwrap_or(true) && now() < deadline {
            sleep_until(next).await;
            next = now() + ASK_AGAIN;
            let Some(node) = node.upgrade() else { return };
            if node.ask_others(index, &mut said).await {
                break;
            }
        }
        let Some(node) = node.upgrade() else { return };
        node.judge(index, digest, &said);
    }
}

impl RaftNode {
    /// Asks every other voter that has not answered yet. True when all have.
    async fn ask_others(&self, index: u64, said: &mut BTreeMap<NodeId, Digest>) -> bool {
        let mut all = true;
        for voter in self.voters().into_iter().filter(|voter| *voter != self.id) {
            if said.contains_key(&voter) {
                continue;
            }
            let Ok(request) = encode_request(Kind::Fingerprint, &index) else { return true };
            let answer = self.call(voter, request, ANSWER_WITHIN).await;
            match answer.ok().and_then(|reply| decode_reply::<Option<Digest>>(&reply).ok()).flatten() {
                Some(digest) => drop(said.insert(voter, digest)),
                None => all = false,
            }
        }
        all
    }

    fn judge(&self, index: u64, own: Digest, said: &BTreeMap<NodeId, Digest>) {
        match verdict(self.id, own, &self.voters(), said) {
            Verdict::Agreed => {}
            Verdict::Unclear { differing } => {
                metrics::counter!("plenary_directory_fingerprint_conflicts_total").increment(1);
                tracing::warn!(
                    index,
                    ?differing,
                    "members have come to different states and no majority says which is right"
                );
            }
            Verdict::Wrong => {
                metrics::counter!("plenary_directory_fingerprint_conflicts_total").increment(1);
                self.stop_for(format!(
                    "its state at log index {index} is not the one that the majority came to: move the node's `data_dir` \
                     away and join the cluster anew"
                ));
            }
        }
    }

    /// This member's fingerprint at an index, if it is among the latest.
    pub(super) fn fingerprint(&self, index: u64) -> Option<Digest> {
        let taken = self.view.fingerprints();
        let taken = taken.borrow();
        taken.iter().find(|(at, _)| *at == index).map(|(_, digest)| *digest)
    }

    fn voters(&self) -> BTreeSet<NodeId> {
        self.with_metrics(|metrics| metrics.membership_config.voter_ids().collect())
    }
}

/// What the others' fingerprints say of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Nobody contradicts.
    Agreed,
    /// Some do, but no majority.
    Unclear {
        /// Who.
        differing: Vec<NodeId>,
    },
    /// A majority of the voters has another state.
    Wrong,
}

fn verdict(own_id: NodeId, own: Digest, voters: &BTreeSet<NodeId>, said: &BTreeMap<NodeId, Digest>) -> Verdict {
    let differing: Vec<NodeId> = said.iter().filter(|(_, digest)| **digest != own).map(|(id, _)| *id).collect();
    if differing.is_empty() {
        return Verdict::Agreed;
    }
    let most =
        differing.iter().map(|id| said.values().filter(|digest| **digest == said[id]).count()).max().unwrap_or(0);
    debug_assert!(!said.contains_key(&own_id), "nobody asks themselves");
    if most > voters.len() / 2 { Verdict::Wrong } else { Verdict::Unclear { differing } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    #[test]
    fn a_majority_is_right_and_anything_less_is_unclear() {
        let id = NodeId::new;
        let voters = BTreeSet::from([id(1), id(2), id(3)]);
        let own = State::default().digest().expect("encodes");
        let mut other = State::default();
        other.advance(7);
        let other = other.digest().expect("encodes");
        let judge = |said: &[(u64, Digest)]| {
            verdict(id(1), own, &voters, &said.iter().map(|(node, digest)| (id(*node), *digest)).collect())
        };
        assert_eq!(judge(&[]), Verdict::Agreed);
        assert_eq!(judge(&[(2, own), (3, own)]), Verdict::Agreed);
        assert_eq!(judge(&[(2, other), (3, own)]), Verdict::Unclear { differing: vec![id(2)] });
        assert_eq!(judge(&[(3, other)]), Verdict::Unclear { differing: vec![id(3)] });
        assert_eq!(judge(&[(2, other), (3, other)]), Verdict::Wrong);
    }
}
