//! Who votes: a pure function of what the leader knows of the members.
//!
//! Enough voters to lose some, spread over zones; a voter that died makes way for a learner that is ready. Without a
//! learner to take its place a dead voter stays one: a smaller group would bear no more losses.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::NodeId;

/// How a member stands with the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Up, answers, and near the end of the log.
    Ready,
    /// Not ready now; a voter in this state stays one.
    Waiting,
    /// Down for so long that nobody counts on it any more.
    Dead,
    /// Removed from the cluster.
    Removed,
}

/// A member as the choice sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate<'a> {
    pub(super) id: NodeId,
    pub(super) zone: &'a str,
    pub(super) votes: bool,
    pub(super) standing: Standing,
}

/// Who is to vote. The leader stays a voter unless it was removed. `None` when no choice would have a majority of
/// voters that are ready: then all stays as it is.
pub(super) fn choose(members: &[Candidate<'_>], leader: NodeId) -> Option<BTreeSet<NodeId>> {
    let staying = members.iter().filter(|member| member.standing != Standing::Removed).count();
    let mut pool: Vec<&Candidate<'_>> = members.iter().filter(|member| may_vote(member)).collect();
    let wanted = target(staying, pool.len());
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    let mut chosen = Vec::new();
    while chosen.len() < wanted {
        let rank = |member: &&Candidate<'_>| {
            let dead = member.standing == Standing::Dead;
            let crowd = zones.get(member.zone).copied().unwrap_or(0);
            (member.id != leader, dead, crowd, !member.votes, member.id)
        };
        let best = pool.iter().enumerate().min_by_key(|(_, member)| rank(member))?.0;
        let member = pool.swap_remove(best);
        *zones.entry(member.zone).or_default() += 1;
        chosen.push(member);
    }
    let ready = chosen.iter().filter(|member| member.id == leader || member.standing == Standing::Ready).count();
    (ready * 2 > chosen.len()).then(|| chosen.iter().map(|member| member.id).collect())
}

/// Whether the others can take `going` out of the membership once it takes no part any more: that needs a majority of
/// those who vote now.
pub(super) fn can_spare(members: &[Candidate<'_>], leader: NodeId, going: NodeId) -> bool {
    let voters: Vec<&Candidate<'_>> = members.iter().filter(|member| member.votes).collect();
    let stays = |member: &Candidate<'_>| match member.standing {
        Standing::Ready => true,
        Standing::Waiting | Standing::Dead => member.id == leader,
        Standing::Removed => false,
    };
    let staying = voters.iter().filter(|member| member.id != going && stays(member)).count();
    staying * 2 > voters.len() || voters.iter().all(|member| member.id != going)
}

fn may_vote(member: &Candidate<'_>) -> bool {
    match member.standing {
        Standing::Ready => true,
        Standing::Waiting | Standing::Dead => member.votes,
        Standing::Removed => false,
    }
}

/// How many voters there should be: odd, 3, or 5 when there are as many members; never more than are able.
fn target(members: usize, able: usize) -> usize {
    let target = if members >= 5 { 5 } else { 3 };
    let most = able.min(target);
    if most % 2 == 0 { most.saturating_sub(1) } else { most }
}

#[cfg(test)]
mod tests {
    use super::Standing::{Dead, Ready, Removed, Waiting};
    use super::*;

    /// Chooses among members 1, 2, …, each with its zone, whether it votes, and its standing. Node 1 leads.
    fn chosen<const N: usize>(members: [(&'static str, bool, Standing); N]) -> Option<Vec<u64>> {
        let numbered = (1..).zip(members);
        let members: Vec<Candidate<'_>> = numbered
            .map(|(id, (zone, votes, standing))| Candidate { id: NodeId::new(id), zone, votes, standing })
            .collect();
        choose(&members, NodeId::new(1)).map(|ids| ids.iter().map(|id| id.number()).collect())
    }

    const VOTER: (&str, bool, Standing) = ("", true, Ready);
    const LEARNER: (&str, bool, Standing) = ("", false, Ready);

    #[test]
    fn voters_are_odd_and_as_many_as_the_size_calls_for() {
        let of = |members| target(members, members);
        assert_eq!([1, 2, 3, 4, 5, 6, 9].map(of), [1, 1, 3, 3, 5, 5, 5]);
        assert_eq!(target(3, 2), 1, "two of three are able: an even number would be worse than one");
        assert_eq!(chosen([VOTER, VOTER, VOTER, LEARNER, LEARNER]), Some(vec![1, 2, 3, 4, 5]));
        assert_eq!(chosen([VOTER, VOTER, VOTER, LEARNER, ("", false, Waiting)]), Some(vec![1, 2, 3]));
    }

    #[test]
    fn a_dead_voter_makes_way_for_a_learner_that_is_ready_and_for_nobody_else() {
        assert_eq!(chosen([VOTER, VOTER, ("", true, Dead), LEARNER]), Some(vec![1, 2, 4]));
        assert_eq!(chosen([VOTER, VOTER, ("", true, Dead), ("", false, Waiting)]), Some(vec![1, 2, 3]));
        assert_eq!(chosen([VOTER, VOTER, ("", true, Dead)]), Some(vec![1, 2, 3]), "two would bear no loss either");
        assert_eq!(chosen([VOTER, VOTER, ("", true, Waiting), LEARNER]), Some(vec![1, 2, 3]), "it may be back soon");
    }

    #[test]
    fn removed_nodes_do_not_vote_and_five_become_three() {
        let removed = ("", true, Removed);
        assert_eq!(chosen([VOTER, VOTER, VOTER, VOTER, removed]), Some(vec![1, 2, 3]));
        assert_eq!(chosen([VOTER, VOTER, ("", true, Dead), VOTER, removed]), Some(vec![1, 2, 4]), "the dead one first");
        assert_eq!(chosen([removed, VOTER, VOTER, LEARNER]), Some(vec![2, 3, 4]), "the leader itself");
        assert_eq!(chosen([removed, LEARNER]), Some(vec![2]));
        assert_eq!(chosen([removed, ("", false, Waiting)]), None, "nobody could go on");
    }

    #[test]
    fn nothing_changes_without_a_majority_that_is_ready() {
        assert_eq!(chosen([VOTER, ("", true, Dead), ("", true, Waiting), ("", true, Removed)]), None);
    }

    #[test]
    fn voters_spread_over_zones_and_stay_where_they_are_when_that_is_as_good() {
        let at = |zone, votes| (zone, votes, Ready);
        assert_eq!(chosen([at("a", true), at("a", true), at("a", true), at("b", false)]), Some(vec![1, 2, 4]));
        assert_eq!(chosen([at("a", true), at("a", false), at("a", true), at("b", true)]), Some(vec![1, 3, 4]));
        let mut six = [at("a", true), at("a", true), at("a", true), at("b", true), at("b", false), at("c", true)];
        assert_eq!(chosen(six), Some(vec![1, 2, 4, 5, 6]));
        for (place, member) in six.iter_mut().enumerate() {
            member.1 = place != 2;
        }
        assert_eq!(chosen(six), Some(vec![1, 2, 4, 5, 6]), "what was chosen is chosen again");
    }
}
