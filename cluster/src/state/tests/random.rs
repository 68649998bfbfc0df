//! Any sequence of commands keeps the invariants, two replicas that apply it are equal, and so is what its rows hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{PublishedTrack, Source};
use crate::state::{Change, MeetingPatch, RowError};

/// A command over few enough ids that they meet each other; epochs are filled in from the state, or not.
#[derive(Debug, Clone)]
struct Step {
    command: Command,
    epoch: u64,
    sequence: u64,
    time: i64,
    /// Replaces the epoch that the command names by the node's current one.
    current: bool,
}

fn source() -> impl Strategy<Value = Source> {
    prop::sample::select(Source::ALL.to_vec())
}

fn tracks() -> impl Strategy<Value = Vec<PublishedTrack>> {
    prop::collection::vec((source(), any::<bool>()).prop_map(|(source, muted)| PublishedTrack { source, muted }), 0..5)
}

fn role() -> impl Strategy<Value = Role> {
    prop::sample::select(vec![Role::Host, Role::CoHost, Role::Presenter, Role::Attendee])
}

fn node_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (0..4_u128, 0..100_000_i64).prop_map(|(token, expires)| Command::AdmitNode {
            token,
            expires: Timestamp::from_millis(expires),
            control: address(9),
        }),
        (1..6_u64).prop_map(register),
        (1..6_u64, 0..9_u64).prop_map(|(node, epoch)| Command::NodeDown { node: NodeId::new(node), epoch }),
        (1..6_u64, any::<bool>())
            .prop_map(|(node, while_up)| Command::RemoveNode { node: NodeId::new(node), while_up }),
    ]
}

fn meeting_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (0..3_u128, any::<bool>(), 0..4_u32).prop_map(|(n, instant, max)| {
            let mut new = new_meeting(n);
            new.max_participants = max;
            new.meeting_type = if instant { MeetingType::Instant } else { MeetingType::Scheduled };
            Command::CreateMeeting(Arc::new(new))
        }),
        (0..3_u128, any::<bool>(), any::<bool>(), prop::option::of(0..4_u32)).prop_map(|(n, video, audio, max)| {
            let features = Features { video_enabled: video, audio_enabled: audio, ..Features::default() };
            let patch = MeetingPatch { features: Some(features), max_participants: max, ..MeetingPatch::default() };
            Command::UpdateMeeting { meeting: meeting(n), patch: Arc::new(patch) }
        }),
        (0..3_u128).prop_map(|n| Command::DeleteMeeting { meeting: meeting(n) }),
        (0..3_u128).prop_map(|n| Command::StartMeeting { meeting: meeting(n) }),
        (0..3_u128).prop_map(|n| Command::EndMeeting { meeting: meeting(n) }),
    ]
}

fn participant_command() -> impl Strategy<Value = Command> {
    let who = (0..3_u128, 0..5_u128, 0..6_u128);
    prop_oneof![
        (0..3_u128, 0..5_u128, prop::option::of(prop::sample::select(vec!["ada", "bob", "cyd"])), role())
            .prop_map(|(m, p, user, role)| join(m, p, user, role)),
        (who.clone(), 1..6_u64, 0..9_u64).prop_map(|((m, p, s), node, node_epoch)| Command::OpenSession {
            meeting: meeting(m),
            participant: person(p),
            session: session(s),
            node: NodeId::new(node),
            node_epoch,
            worker: 0,
        }),
        (who.clone(), any::<bool>()).prop_map(|((m, p, s), left)| Command::CloseSession {
            meeting: meeting(m),
            participant: person(p),
            session: session(s),
            left,
        }),
        (who, tracks()).prop_map(|((m, p, s), tracks)| Command::PublishTracks {
            meeting: meeting(m),
            participant: person(p),
            session: session(s),
            tracks,
        }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let command = prop_oneof![1 => node_command(), 2 => meeting_command(), 5 => participant_command()];
    (command, 0..3_u64, 0..40_u64, -10..100_000_i64, prop::bool::weighted(0.9))
        .prop_map(|(command, epoch, sequence, time, current)| Step { command, epoch, sequence, time, current })
}

fn proposal(step: &Step, state: &State) -> Proposal {
    let epoch_of = |node: NodeId| state.node(node).map_or(0, |node| node.epoch);
    let mut command = step.command.clone();
    if step.current {
        if let Command::OpenSession { node, node_epoch, .. } = &mut command {
            *node_epoch = epoch_of(*node);
        }
        if let Command::NodeDown { node, epoch } = &mut command {
            *epoch = epoch_of(*node);
        }
    }
    let proposer = NodeId::new(1);
    let epoch = if step.epoch == 0 { 0 } else { epoch_of(proposer) };
    let id = ProposalId { proposer, epoch, sequence: step.sequence };
    Proposal { id, time: Timestamp::from_millis(step.time), command }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_replicas_agree_and_rows_hold_it_all(steps in prop::collection::vec(step(), 1..120)) {
        let (mut one, mut other) = (State::default(), State::default());
        let first = proposal(&Step { command: register(1), epoch: 0, sequence: 0, time: 0, current: true }, &one);
        one.apply(1, &first);
        other.apply(1, &first);
        let mut rows: BTreeMap<_, _> = one
            .changes_since(&State::default())
            .map(|change| change.expect("every row fits"))
            .filter_map(|Change { key, after, .. }| Some((key, after?)))
            .collect();
        for (index, step) in (2..).zip(&steps) {
            let proposal = proposal(step, &one);
            let (before, now) = (one.clone(), one.now());
            prop_assert_eq!(one.apply(index, &proposal), other.apply(index, &proposal));
            prop_assert_eq!(one.check(), Ok(()));
            prop_assert!(one.now() >= now);
            for change in one.changes_since(&before) {
                let Change { key, before, after } = change.expect("every row fits");
                let was = match after {
                    Some(value) => rows.insert(key, value),
                    None => rows.remove(&key),
                };
                prop_assert_eq!(was, before);
            }
        }
        prop_assert_eq!(&one, &other);
        let loaded = State::from_rows(rows.into_iter().map(Ok::<_, RowError>)).expect("rows decode");
        prop_assert_eq!(one, loaded);
    }
}
