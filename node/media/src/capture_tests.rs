use super::*;
use crate::testing::start;

const MS: Duration = Duration::from_millis(1);

/// A publisher whose NTP clock and RTP clocks have nothing to do with ours.
struct Publisher {
    begin: Instant,
    ntp: SystemTime,
}

impl Publisher {
    fn new() -> Self {
        let ntp = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        Self { begin: start(), ntp }
    }

    fn at(&self, millis: u32) -> Instant {
        self.begin + MS * millis
    }

    fn rtp(millis: u32, rate: u32) -> u64 {
        5_000_000_000 + u64::from(rate) * u64::from(millis) / 1_000
    }

    fn report(&self, clock: &mut CaptureClock, millis: u32, source: Source, rate: u32) {
        let rtp = low(Self::rtp(millis, rate));
        clock.handle_sender_report(self.at(millis + 5), source, self.ntp + MS * millis, rtp);
    }
}

fn low(rtp_time: u64) -> u32 {
    u32::try_from(rtp_time & 0xffff_ffff).unwrap()
}

fn millis_apart(a: Instant, b: Instant) -> i128 {
    nanos_between(a, b).abs() / MILLISECOND
}

#[test]
fn before_reports_the_quickest_packet_sets_the_line() {
    let publisher = Publisher::new();
    let mut clock = CaptureClock::new(publisher.begin);
    let mut last = publisher.begin;
    for (frame, delay) in [30, 60, 12, 45, 80].into_iter().enumerate() {
        let sent = u32::try_from(frame).unwrap() * 20;
        let rtp = Publisher::rtp(sent, 48_000);
        last = clock.handle_packet(publisher.at(sent + delay), Source::Microphone, rtp, 48_000);
        assert!(last <= publisher.at(sent + delay));
    }
    assert_eq!(millis_apart(last, publisher.at(80 + 12)), 0);
    assert!(!clock.is_synchronized(Source::Microphone));
}

#[test]
fn audio_and_video_agree_once_both_have_reports() {
    let publisher = Publisher::new();
    let mut clock = CaptureClock::new(publisher.begin);
    let (mut audio, mut video) = (publisher.begin, publisher.begin);
    for step in 0..200 {
        let sent = step * 20;
        // The encoder and the pacer hold video for 70 ms or more, audio for 10.
        let late = 70 + step % 7;
        audio = clock.handle_packet(publisher.at(sent + 10), Source::Microphone, Publisher::rtp(sent, 48_000), 48_000);
        video = clock.handle_packet(publisher.at(sent + late), Source::Camera, Publisher::rtp(sent, 90_000), 90_000);
        if step == 30 {
            publisher.report(&mut clock, sent, Source::Microphone, 48_000);
        }
        if step == 35 {
            assert!(millis_apart(audio, video) > 50, "not yet tied together");
            publisher.report(&mut clock, sent, Source::Camera, 90_000);
        }
    }
    assert_eq!(millis_apart(audio, video), 0);
    assert!(millis_apart(audio, publisher.at(199 * 20)) <= 10, "close to the true capture");
}

#[test]
fn jitter_does_not_move_a_settled_clock() {
    let publisher = Publisher::new();
    let mut clock = CaptureClock::new(publisher.begin);
    for step in 0..3_000_u32 {
        let sent = step * 20;
        let delay = 15 + step * 7_919 % 40;
        let capture =
            clock.handle_packet(publisher.at(sent + delay), Source::Microphone, Publisher::rtp(sent, 48_000), 48_000);
        if step % 50 == 10 {
            publisher.report(&mut clock, sent, Source::Microphone, 48_000);
        }
        if step > 600 {
            assert!(millis_apart(capture, publisher.at(sent + 5)) <= 10, "step {step}");
        }
    }
}

#[test]
fn skew_is_followed_slowly() {
    let publisher = Publisher::new();
    let mut clock = CaptureClock::new(publisher.begin);
    let mut last: Option<(Instant, u32)> = None;
    // The publisher's crystal is 100 ppm slow: after ten minutes it is 60 ms behind.
    for step in 0..30_000_u32 {
        let (ours, theirs) = (step * 20_002, step * 20_000);
        let micros = |value: u32| Duration::from_micros(u64::from(value));
        let rtp = 48_000 * u64::from(theirs) / 1_000_000;
        let now = publisher.begin + micros(ours) + 10 * MS;
        let capture = clock.handle_packet(now, Source::Microphone, rtp, 48_000);
        if step % 50 == 0 {
            clock.handle_sender_report(now, Source::Microphone, publisher.ntp + micros(theirs), low(rtp));
        }
        if let Some((before, at)) = last.replace((capture, ours)) {
            let step = nanos_between(before, capture) - i128::from(ours - at) * 1_000;
            assert!(step.abs() < MILLISECOND, "a step of {step} ns");
        }
        assert!(millis_apart(capture, now) <= 3, "at {ours} us");
    }
}

#[test]
fn rtp_time_that_stood_still_in_a_pause_is_noticed() {
    let publisher = Publisher::new();
    let mut clock = CaptureClock::new(publisher.begin);
    for step in 0..50 {
        clock.handle_packet(publisher.at(step * 20), Source::Microphone, Publisher::rtp(step * 20, 48_000), 48_000);
    }
    publisher.report(&mut clock, 980, Source::Microphone, 48_000);
    // Ten seconds of silence without packets; the RTP time goes on as if there had been none.
    let now = publisher.at(11_000);
    let capture = clock.handle_packet(now, Source::Microphone, Publisher::rtp(1_000, 48_000), 48_000);
    assert_eq!(millis_apart(capture, now), 0);
}

#[test]
fn hostile_reports_stay_within_bounds() {
    let publisher = Publisher::new();
    let mut clock = CaptureClock::new(publisher.begin);
    let times = [SystemTime::UNIX_EPOCH, publisher.ntp, publisher.ntp + Duration::from_secs(1 << 31)];
    for (step, ntp) in (0..).zip(times.into_iter().cycle().take(60)) {
        let now = publisher.at(step * 20);
        clock.handle_sender_report(now, Source::Camera, ntp, step.wrapping_mul(1_000_000_007));
        for rtp in [0, u64::MAX, u64::from(step) << 40] {
            let capture = clock.handle_packet(now, Source::Camera, rtp, 90_000);
            assert!(capture <= now && capture >= now - OLDEST);
        }
    }
}

#[test]
fn a_repeated_report_counts_once() {
    let publisher = Publisher::new();
    let mut clock = CaptureClock::new(publisher.begin);
    clock.handle_packet(publisher.at(0), Source::Camera, Publisher::rtp(0, 90_000), 90_000);
    publisher.report(&mut clock, 0, Source::Camera, 90_000);
    let zero = clock.sources[index(Source::Camera)].zero;
    clock.handle_sender_report(publisher.at(900), Source::Camera, publisher.ntp, 77);
    assert_eq!(clock.sources[index(Source::Camera)].zero, zero);
}

#[test]
fn tracks_of_one_remote_node_agree_and_jitter_is_filtered() {
    let begin = start();
    let mut clock = RemoteClock::new(begin);
    let epoch = 123_456_789_000_u64;
    for step in 0..2_000_u32 {
        let now = begin + MS * (step * 20 + 30 + step * 7_919 % 25);
        let capture = clock.handle_packet(now, epoch + u64::from(step) * 20_000);
        assert!(capture <= now);
        if step > 100 {
            assert!(millis_apart(capture, begin + MS * (step * 20 + 30)) <= 1, "step {step}");
        }
    }
}

#[test]
fn a_remote_node_with_a_new_epoch_is_followed() {
    let begin = start();
    let mut clock = RemoteClock::new(begin);
    clock.handle_packet(begin, 9_000_000_000);
    let now = begin + 20_000 * MS;
    assert_eq!(clock.handle_packet(now, 1_000), now);
}
