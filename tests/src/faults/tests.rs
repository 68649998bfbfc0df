//! Plans are drawn as they should be, and cuts are what their names say.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Cut, Kind, Plan, cuts, overlapping};

#[test]
fn a_seed_is_a_plan() {
    let rounds = |seed| {
        let mut plan = Plan::new(seed, &Kind::ALL);
        (0..20).map(|_| plan.round(100)).collect::<Vec<_>>()
    };
    assert_eq!(rounds(7), rounds(7));
    assert_ne!(rounds(7), rounds(8));
}

#[test]
fn most_faults_overlap_and_every_kind_comes() {
    let mut plan = Plan::new(1, &Kind::ALL);
    let (mut all, mut shared, mut kinds) = (0, 0, BTreeSet::new());
    for _ in 0..40 {
        let round = plan.round(100);
        let times: Vec<_> = round.iter().map(|fault| (fault.begin, fault.begin + fault.lasts)).collect();
        all += round.len();
        shared += overlapping(&times);
        kinds.extend(round.iter().map(|fault| fault.kind));
    }
    assert!(shared * 10 >= all * 4, "{shared} of {all}");
    assert_eq!(kinds.len(), Kind::ALL.len());
    assert_eq!(plan.round(2).len(), 2);
}

#[test]
fn times_that_touch_do_not_overlap() {
    let at = |begin, end| (Duration::from_secs(begin), Duration::from_secs(end));
    assert_eq!(overlapping(&[at(0, 2), at(2, 3)]), 0);
    assert_eq!(overlapping(&[at(0, 3), at(2, 4), at(9, 10)]), 2);
    assert_eq!(overlapping(&[at(0, 9), at(2, 4), at(5, 6)]), 3);
}

#[test]
fn a_kind_is_known_by_its_name() {
    for kind in Kind::ALL {
        assert_eq!(kind.to_string().parse::<Kind>().expect("known"), kind);
    }
    assert!("earthquake".parse::<Kind>().is_err());
}

/// The largest group that hears each other both ways, with this node in it.
fn hears(cuts: &[Cut], count: usize, node: usize) -> usize {
    let cut = |from, to| cuts.iter().any(|cut| (cut.from, cut.to) == (from, to));
    (1..=count).filter(|other| !cut(node, *other) && !cut(*other, node)).count()
}

#[test]
fn partitions_leave_the_leader_on_the_side_they_name() {
    for count in [3, 5] {
        for draw in 0..20 {
            let minority = cuts(Kind::MinorityLeader, draw, count, 2);
            assert!(hears(&minority, count, 2) <= count / 2, "{minority:?}");
            let majority = cuts(Kind::MajorityLeader, draw, count, 2);
            assert!(hears(&majority, count, 2) > count / 2, "{majority:?}");
            assert!(!majority.is_empty());
            let bridge = cuts(Kind::Bridge, draw, count, 2);
            let whole = (1..=count).filter(|node| hears(&bridge, count, *node) == count).count();
            assert_eq!(whole, 1, "{bridge:?}");
        }
    }
}

#[test]
fn one_way_is_one_way_and_loss_is_a_share() {
    for draw in 0..20 {
        let one_way = cuts(Kind::OneWay, draw, 3, 2);
        let back = |cut: &Cut| one_way.iter().any(|other| (other.from, other.to) == (cut.to, cut.from));
        assert!(!one_way.is_empty() && !one_way.iter().any(back), "{one_way:?}");
        let loss = cuts(Kind::Loss, draw, 3, 2);
        assert!(loss.len() == 6 && loss.iter().all(|cut| (0.01..=0.3).contains(&cut.share)), "{loss:?}");
    }
}
