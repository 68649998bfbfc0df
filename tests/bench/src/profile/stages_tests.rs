use std::collections::BTreeMap;
use std::time::Duration;

use super::super::Profile;
use super::super::stacks::{Frame, parse};
use super::*;

/// Samples of a real run: one publisher, fifty subscribers.
const SAMPLES: &str = include_str!("../../data/perf-script.txt");

/// What each of them does.
const DOES: [Stage; 28] = [
    Stage::Receive,
    Stage::Receive,
    Stage::Demux,
    Stage::Decrypt,
    Stage::Ingress,
    Stage::Forward,
    Stage::Forward,
    Stage::Rewrite,
    Stage::Queue,
    Stage::Queue,
    Stage::Encrypt,
    Stage::Send,
    Stage::KernelSend,
    Stage::KernelSend,
    Stage::Loopback,
    Stage::Timers,
    Stage::Timers,
    // Asked for its deadline, str0m asks SCTP for it.
    Stage::Ice,
    Stage::Feedback,
    Stage::Ice,
    Stage::Ice,
    Stage::Poll,
    Stage::Drive,
    Stage::Drive,
    Stage::Wait,
    Stage::Memory,
    Stage::Memory,
    Stage::Control,
];

fn samples() -> Vec<Stack> {
    SAMPLES.split("\n\n").flat_map(|sample| parse(sample).into_keys()).collect()
}

fn stack(thread: &str, symbols: &[&str]) -> Stack {
    let frame = |symbol: &&str| Frame { symbol: (*symbol).to_owned(), kernel: false };
    Stack { thread: thread.to_owned(), frames: symbols.iter().map(frame).collect() }
}

#[test]
fn samples_of_a_real_run_are_recognised() {
    let samples = samples();
    assert_eq!(samples.len(), DOES.len());
    for (sample, does) in samples.iter().zip(DOES) {
        assert_eq!(stage(sample), does, "{sample:?}");
    }
}

#[test]
fn every_stage_is_among_them() {
    for stage in Stage::ALL {
        assert!(DOES.contains(&stage) || stage == Stage::Unattributed, "{stage:?}");
    }
}

#[test]
fn what_no_rule_knows_is_unattributed() {
    assert_eq!(stage(&stack("media-0", &["clone3", "start_thread", "[unknown]"])), Stage::Unattributed);
    assert_eq!(stage(&stack("media-0", &[])), Stage::Unattributed);
}

#[test]
fn the_innermost_frame_that_is_known_decides() {
    let outer = ["plenary::driver::worker::Worker::run", "str0m::Rtc::poll_output"];
    assert_eq!(stage(&stack("media-0", &outer)), Stage::Poll);
    let inner = [&outer[..], &["str0m::rtp_::srtp::SrtpContext::protect_rtp", "aes_gcm_encrypt", "memcpy"]].concat();
    assert_eq!(stage(&stack("media-0", &inner)), Stage::Encrypt);
    assert_eq!(stage(&stack("tokio-rt-worker", &inner)), Stage::Control);
}

#[test]
fn rtcp_is_no_decryption_of_media() {
    let way = ["str0m::session::Session::handle_rtcp_receive", "str0m::rtp_::srtp::SrtpContext::unprotect_rtcp"];
    assert_eq!(stage(&stack("media-0", &way)), Stage::Feedback);
}

#[test]
fn a_stack_is_inside_str0m_by_any_of_its_frames() {
    assert_eq!(str0m(&stack("media-0", &["plenary_media::session::Session::drain", "mi_free"])), Str0m::Outside);
    assert_eq!(str0m(&stack("media-0", &["str0m::Rtc::poll_output", "mi_free"])), Str0m::Inside);
    assert_eq!(str0m(&stack("media-0", &["<str0m::pacer::PacerImpl as str0m::pacer::Pacer>::poll"])), Str0m::Inside);
    let crypto = ["str0m::Rtc::poll_output", "aws_lc_0_47_0_EVP_AEAD_CTX_seal_scatter"];
    assert_eq!(str0m(&stack("media-0", &crypto)), Str0m::Crypto);
    // TLS of the control plane is not str0m's.
    assert_eq!(str0m(&stack("media-0", &["rustls::conn::write", crypto[1]])), Str0m::Outside);
}

#[test]
fn a_star_stands_for_anything() {
    assert!(matches("a*", "abc") && matches("*c", "abc") && matches("a*c", "abc") && matches("*b*", "abc"));
    assert!(matches("abc", "abc") && matches("a*b*c", "a1b2c") && matches("a*", "a"));
    assert!(!matches("abc", "abcd") && !matches("a*", "ba") && !matches("*c", "cb") && !matches("a*b*c", "a1c"));
    assert!(!matches("ab*bc", "abc"), "no letter counts twice");
}

#[test]
fn each_rule_says_why() {
    assert!(RULES.iter().all(|rule| !rule.why.is_empty() && !rule.pattern.is_empty()));
}

#[test]
fn a_table_shares_the_cost_out() {
    let inside =
        ["str0m::Rtc::poll_output", "str0m::rtp_::srtp::SrtpContext::protect_rtp", "aead_aes_gcm_seal_scatter"];
    let stacks = BTreeMap::from([
        (stack("media-0", &inside), 3),
        (stack("media-0", &["__x64_sys_sendmsg"]), 6),
        (stack("media-0", &["nobody"]), 1),
    ]);
    let profile = Profile { stacks, time: Duration::from_secs(1) };
    let table = profile.table(1000, 8_000_000);
    assert!(table.contains("| encrypt | 30.0 | 2400 | 30.0 |"), "{table}");
    assert!(table.contains("| send: kernel UDP | 60.0 | 4800 | 0.0 |"), "{table}");
    assert!(table.contains("| unattributed | 10.0 | 800 | 0.0 |"), "{table}");
    assert!(table.contains("| all | 100.0 | 8000 | 30.0 |"), "{table}");
    assert!(
        table.contains("inside str0m: 30.0 %, 2400 ns/packet; of that cryptography: 30.0 %, 2400 ns/packet"),
        "{table}"
    );
    assert!(!table.contains("demux"), "stages that were not seen have no row: {table}");
    assert!((profile.unattributed() - 0.1).abs() < 1e-9);
}
