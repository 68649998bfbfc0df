use std::time::Duration;

use plenary_cluster::model::Source;

use super::*;
use crate::testing::{audio, start, track, video};
use crate::timeline::{AUDIO_GRID, WALLCLOCK_LAG, nanos_between};

const MS: Duration = Duration::from_millis(1);

fn slot(kind: SlotKind, now: Instant) -> Forwarder {
    Forwarder::new(SlotTimeline::new(kind, now, u32::MAX - 1_000), 65_000)
}

fn sent(forwarded: Forwarded) -> Rewritten {
    match forwarded {
        Forwarded::Send(rewritten) => rewritten,
        Forwarded::Drop(reason) => panic!("dropped: {reason:?}"),
    }
}

fn camera(session: u32) -> TrackId {
    track(session, Source::Camera)
}

fn microphone(session: u32) -> TrackId {
    track(session, Source::Microphone)
}

/// A source's 25 pictures a second, the first at `at`.
fn picture(at: Instant, frame: u16, keyframe: bool) -> Packet {
    let capture = at + 40 * MS * u32::from(frame);
    video(500 + u64::from(frame), 90_000 + 3_600 * u64::from(frame), capture, keyframe, frame, frame.to_be_bytes()[1])
}

/// A source's 20 ms frames, the first at `at`.
fn sound(at: Instant, frame: u32) -> Packet {
    audio(9_000 + u64::from(frame), 7 + AUDIO_GRID * u64::from(frame), at + 20 * MS * frame)
}

#[test]
fn priming_comes_first_and_before_any_media_on_the_line() {
    let now = start();
    let mut forwarder = slot(SlotKind::Video, now);
    let primed = forwarder.prime(now);
    assert_eq!((primed.sequence, primed.vp8), (65_000, None));
    assert!(primed.wallclock < now);
    assert!(forwarder.idle());
    forwarder.switch(now, Some(camera(1)));
    let first = sent(forwarder.forward(now, camera(1), &picture(now - 500 * MS, 0, true)));
    assert_eq!(first.sequence, 65_001);
    assert!(first.timestamp.wrapping_sub(primed.timestamp) < 1 << 31);
    assert_eq!(first.wallclock - primed.wallclock, 500 * MS, "the same line, the same lag");
}

#[test]
fn the_old_source_flows_until_the_new_one_has_a_keyframe() {
    let now = start();
    let mut forwarder = slot(SlotKind::Video, now);
    forwarder.switch(now, Some(camera(1)));
    assert_eq!(
        forwarder.forward(now, camera(1), &picture(now, 0, false)),
        Forwarded::Drop(DropReason::AwaitingKeyframe)
    );
    assert!(sent(forwarder.forward(now, camera(1), &picture(now, 1, true))).first_of_source);
    forwarder.switch(now + 50 * MS, Some(camera(2)));
    assert_eq!((forwarder.current(), forwarder.pending()), (Some(camera(1)), Some(camera(2))));
    assert_eq!(forwarder.pending_since(), Some(now + 50 * MS));
    let later = now + 100 * MS;
    let waiting = forwarder.forward(later, camera(2), &picture(now, 2, false));
    assert_eq!(waiting, Forwarded::Drop(DropReason::AwaitingKeyframe));
    let old = sent(forwarder.forward(later, camera(1), &picture(now, 2, false)));
    let new = sent(forwarder.forward(later + 40 * MS, camera(2), &picture(now, 3, true)));
    assert!(new.first_of_source && !old.first_of_source);
    assert_eq!(new.sequence, old.sequence + 1);
    assert_eq!((forwarder.current(), forwarder.pending()), (Some(camera(2)), None));
    let stale = forwarder.forward(later + 40 * MS, camera(1), &picture(now, 3, false));
    assert_eq!(stale, Forwarded::Drop(DropReason::NotShown));
}

#[test]
fn nothing_is_shown_at_once_and_time_goes_on_through_silence() {
    let now = start();
    let mut forwarder = slot(SlotKind::Audio, now);
    forwarder.switch(now, Some(microphone(1)));
    let last = sent(forwarder.forward(now, microphone(1), &sound(now, 0)));
    forwarder.switch(now, None);
    assert!(forwarder.idle());
    let later = now + 10_000 * MS;
    forwarder.switch(later, Some(microphone(2)));
    let next = sent(forwarder.forward(later, microphone(2), &sound(later, 0)));
    assert_eq!(next.timestamp.wrapping_sub(last.timestamp), 480_000);
    assert_eq!(next.sequence, last.sequence + 1);
}

#[test]
fn a_late_keyframe_goes_to_last_plus_one_and_the_next_return_to_the_line() {
    let now = start();
    let mut forwarder = slot(SlotKind::Video, now);
    let line = SlotTimeline::new(SlotKind::Video, now, u32::MAX - 1_000);
    forwarder.switch(now, Some(camera(1)));
    sent(forwarder.forward(now, camera(1), &picture(now, 0, true)));
    let last = sent(forwarder.forward(now + 45 * MS, camera(1), &picture(now, 1, false)));
    forwarder.switch(now, Some(camera(2)));
    // Captured 15 ms before the last old picture.
    let begin = now + 25 * MS;
    let key = sent(forwarder.forward(now + 50 * MS, camera(2), &picture(begin, 0, true)));
    assert_eq!(key.timestamp.wrapping_sub(last.timestamp), 1);
    let next = sent(forwarder.forward(now + 90 * MS, camera(2), &picture(begin, 1, false)));
    assert_eq!(next.timestamp, SlotTimeline::wire(line.timestamp_at(begin + 40 * MS)));
}

#[test]
fn all_packets_of_a_late_keyframe_share_its_timestamp() {
    let now = start();
    let mut forwarder = slot(SlotKind::Video, now);
    forwarder.switch(now, Some(camera(1)));
    sent(forwarder.forward(now, camera(1), &picture(now, 0, true)));
    forwarder.switch(now, Some(camera(2)));
    let key = picture(now - 30 * MS, 0, true);
    let first = sent(forwarder.forward(now, camera(2), &key));
    let rest = Packet { sequence: key.sequence + 1, keyframe: false, ..key };
    assert_eq!(sent(forwarder.forward(now, camera(2), &rest)).timestamp, first.timestamp);
}

#[test]
fn audio_that_rounds_to_the_last_frame_waits_one_and_stops_the_old() {
    let now = start();
    let mut forwarder = slot(SlotKind::Audio, now);
    forwarder.switch(now, Some(microphone(1)));
    let last = sent(forwarder.forward(now, microphone(1), &sound(now, 0)));
    forwarder.switch(now, Some(microphone(2)));
    let begin = now + 5 * MS;
    let first = forwarder.forward(begin, microphone(2), &sound(begin, 0));
    assert_eq!(first, Forwarded::Drop(DropReason::BehindTimeline));
    let old = forwarder.forward(now + 20 * MS, microphone(1), &sound(now, 1));
    assert_eq!(old, Forwarded::Drop(DropReason::NotShown));
    let next = sent(forwarder.forward(begin + 20 * MS, microphone(2), &sound(begin, 1)));
    assert_eq!(next.timestamp.wrapping_sub(last.timestamp), 960);
    assert!(next.first_of_source && next.marker);
}

#[test]
fn a_long_frame_is_not_overlapped_by_the_next_source() {
    let now = start();
    let mut forwarder = slot(SlotKind::Audio, now);
    forwarder.switch(now, Some(microphone(1)));
    // RFC 6716 §3.1: configuration 3, one frame of 60 ms.
    let long = Packet { payload: std::sync::Arc::from([0x18, 0, 0]), ..sound(now, 0) };
    let last = sent(forwarder.forward(now, microphone(1), &long));
    forwarder.switch(now, Some(microphone(2)));
    let steps = (0..4).map(|frame| forwarder.forward(now + 20 * MS * frame, microphone(2), &sound(now, frame)));
    let first = steps.filter_map(|step| if let Forwarded::Send(sent) = step { Some(sent) } else { None }).next();
    assert_eq!(first.unwrap().timestamp.wrapping_sub(last.timestamp), 2_880);
}

#[test]
fn inside_a_source_the_exact_differences_are_kept() {
    let now = start();
    let mut forwarder = slot(SlotKind::Audio, now);
    forwarder.switch(now, Some(microphone(1)));
    let first = sent(forwarder.forward(now, microphone(1), &sound(now, 0)));
    for frame in 1..200 {
        // The capture clock wanders by milliseconds; the timestamps don't.
        let wander = MS * (frame * 7 % 5);
        let packet = Packet { capture: now + 20 * MS * frame + wander, ..sound(now, frame) };
        let rewritten = sent(forwarder.forward(packet.capture, microphone(1), &packet));
        assert_eq!(rewritten.timestamp.wrapping_sub(first.timestamp), 960 * frame);
    }
}

#[test]
fn lost_packets_keep_their_numbers_and_empty_ones_do_not() {
    let now = start();
    let mut forwarder = slot(SlotKind::Video, now);
    forwarder.switch(now, Some(camera(1)));
    let first = sent(forwarder.forward(now, camera(1), &picture(now, 0, true)));
    let third = sent(forwarder.forward(now + 80 * MS, camera(1), &picture(now, 2, false)));
    assert_eq!(third.sequence, first.sequence + 2);
    let empty = Packet { payload: std::sync::Arc::from([]), ..picture(now, 3, false) };
    assert_eq!(forwarder.forward(now + 80 * MS, camera(1), &empty), Forwarded::Drop(DropReason::Empty));
    let second = sent(forwarder.forward(now + 90 * MS, camera(1), &picture(now, 1, false)));
    assert_eq!(second.sequence, first.sequence + 1);
    assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 3_600);
    let fifth = sent(forwarder.forward(now + 160 * MS, camera(1), &picture(now, 4, false)));
    assert_eq!(fifth.sequence, first.sequence + 3);
    let again = forwarder.forward(now + 160 * MS, camera(1), &picture(now, 1, false));
    assert_eq!(again, Forwarded::Drop(DropReason::Duplicate));
}

#[test]
fn vp8_counters_go_on_over_switches() {
    let now = start();
    let mut forwarder = slot(SlotKind::Video, now);
    forwarder.switch(now, Some(camera(1)));
    let counters = |rewritten: Rewritten| {
        let counters = rewritten.vp8.unwrap();
        (counters.picture_id.unwrap(), counters.tl0_pic_idx.unwrap())
    };
    let key = video(1, 0, now, true, 0x7fff, 255);
    assert_eq!(counters(sent(forwarder.forward(now, camera(1), &key))), (0x7fff, 255));
    let next = video(2, 3_600, now + 40 * MS, false, 0, 0);
    assert_eq!(counters(sent(forwarder.forward(now + 40 * MS, camera(1), &next))), (0, 0));
    forwarder.switch(now, Some(camera(2)));
    let later = now + 80 * MS;
    let other = video(900, 77, later, true, 0x1234, 9);
    let switched = sent(forwarder.forward(later, camera(2), &other));
    assert_eq!(counters(switched), (1, 1));
    assert!(switched.vp8.unwrap().patch(&other.payload).is_some());
}

#[test]
fn a_picture_source_that_skips_far_waits_for_a_keyframe_and_leaves_no_hole() {
    let now = start();
    let mut forwarder = slot(SlotKind::Video, now);
    forwarder.switch(now, Some(camera(1)));
    let first = sent(forwarder.forward(now, camera(1), &picture(now, 0, true)));
    let later = now + 40_000 * MS;
    let skipped = forwarder.forward(later, camera(1), &picture(now, 1_000, false));
    assert_eq!(skipped, Forwarded::Drop(DropReason::AwaitingKeyframe));
    assert_eq!((forwarder.pending(), forwarder.pending_since()), (Some(camera(1)), Some(later)));
    let key = sent(forwarder.forward(later + 40 * MS, camera(1), &picture(now, 1_001, true)));
    assert_eq!(key.sequence, first.sequence + 1);
    assert!(!key.first_of_source);
    assert_eq!(forwarder.pending(), None);
}

#[test]
fn rtp_time_that_stood_still_is_hung_on_the_line_again() {
    let now = start();
    let mut forwarder = slot(SlotKind::Audio, now);
    forwarder.switch(now, Some(microphone(1)));
    let first = sent(forwarder.forward(now, microphone(1), &sound(now, 0)));
    let later = now + 5_000 * MS;
    let packet = Packet { capture: later, ..sound(now, 1) };
    let resumed = sent(forwarder.forward(later, microphone(1), &packet));
    assert_eq!(resumed.timestamp.wrapping_sub(first.timestamp), 240_000);
    assert_eq!(resumed.sequence, first.sequence + 1);
}

#[test]
fn what_was_lost_before_a_new_place_on_the_line_stays_lost() {
    let now = start();
    let mut forwarder = slot(SlotKind::Audio, now);
    forwarder.switch(now, Some(microphone(1)));
    sent(forwarder.forward(now, microphone(1), &sound(now, 0)));
    let later = now + 5_000 * MS;
    sent(forwarder.forward(later, microphone(1), &Packet { capture: later, ..sound(now, 2) }));
    let late = forwarder.forward(later + MS, microphone(1), &sound(now, 1));
    assert_eq!(late, Forwarded::Drop(DropReason::TooLate));
    let ahead = Packet { sequence: sound(now, 1).sequence, ..sound(now, 50) };
    assert_eq!(forwarder.forward(later + MS, microphone(1), &ahead), Forwarded::Drop(DropReason::TooLate));
}

#[test]
fn the_wrong_codec_is_refused() {
    let now = start();
    let mut forwarder = slot(SlotKind::Audio, now);
    forwarder.switch(now, Some(camera(1)));
    let refused = forwarder.forward(now, camera(1), &picture(now, 0, true));
    assert_eq!(refused, Forwarded::Drop(DropReason::WrongCodec));
}

/// The largest departure of (wallclock, timestamp) pairs from one line over 100 switches, in nanoseconds.
fn departure(kind: SlotKind) -> i128 {
    let begin = start();
    let mut forwarder = slot(kind, begin);
    let primed = forwarder.prime(begin);
    let rate = i128::from(kind.clock_rate());
    let (mut last, mut extended) = (primed.timestamp, 0_i128);
    let mut most = 0_i128;
    for switch in 0..100_u32 {
        let shown = track(switch % 3, if kind == SlotKind::Audio { Source::Microphone } else { Source::Camera });
        // Each source has a phase and a delay of its own, so keyframes are late and audio is off the grid.
        let source = begin + 1_013 * MS * switch + MS * (switch * 37 % 29);
        let delay = 10 + switch * 53 % 60;
        forwarder.switch(source, Some(shown));
        for frame in 0..24_u16 {
            let packet = match kind {
                SlotKind::Audio => sound(source, u32::from(frame)),
                SlotKind::Video => picture(source, frame, frame == 0),
            };
            let now = packet.capture + MS * delay;
            if let Forwarded::Send(rewritten) = forwarder.forward(now, shown, &packet) {
                extended += i128::from(rewritten.timestamp.wrapping_sub(last));
                last = rewritten.timestamp;
                let line = extended * 1_000_000_000 / rate;
                most = most.max((nanos_between(primed.wallclock, rewritten.wallclock) - line).abs());
            }
        }
    }
    most
}

#[test]
fn sender_reports_stay_on_one_line_over_a_hundred_switches() {
    for kind in [SlotKind::Audio, SlotKind::Video] {
        let most = departure(kind);
        assert!(most <= 1_000_000, "{kind:?}: {most} ns off the line");
    }
}

#[test]
fn a_drifting_source_pulls_the_wallclock_and_not_the_timestamps() {
    let begin = start();
    let mut forwarder = slot(SlotKind::Audio, begin);
    forwarder.switch(begin, Some(microphone(1)));
    let mut last = begin;
    for frame in 0..90_000_u32 {
        // 100 ppm slow: half an hour of it is 180 ms.
        let capture = begin + Duration::from_micros(u64::from(frame) * 20_002);
        let packet = Packet { capture, ..sound(begin, frame) };
        let rewritten = sent(forwarder.forward(capture + 10 * MS, microphone(1), &packet));
        let error = nanos_between(capture - WALLCLOCK_LAG, rewritten.wallclock).abs();
        assert!(error < 2_000_000, "frame {frame}: {error} ns");
        assert!(rewritten.wallclock >= last - WALLCLOCK_LAG);
        last = rewritten.wallclock;
    }
}
