//! Which function belongs to which stage. The order counts only where two patterns know the same symbol.
//!
//! Rules name the functions at which a stage is entered, so that few of them cover all that is called from there. They
//! hold for str0m 0.25, quinn-udp 0.6 and Linux 6; what is renamed there shows as `unattributed` here.

use super::stages::{Rule, Stage};

/// Threads whose work is no packet's, whatever they do: what they allocate, wait for and send is for the directory,
/// signalling and the disk.
pub(super) const CONTROL_THREADS: [&str; 7] =
    ["tokio-rt-worker", "sled-io-*", "raft-fsync", "log flusher", "log", "chunked_wal_*", "rows"];

/// Frames of str0m, and of the crates for ICE and DTLS that only str0m calls.
pub(super) const STR0M: [&str; 9] = [
    "str0m*",
    "<str0m*",
    "<* as str0m*",
    "is::*",
    "<is::*",
    "dimpl::*",
    "<dimpl::*",
    "*drop_in_place<str0m*",
    "<dyn str0m*",
];

/// Frames of cryptography: the cipher traits of str0m's provider and AWS-LC below.
pub(super) const CRYPTO: [&str; 5] =
    ["<str0m_aws_lc_rs::*", "str0m_aws_lc_rs::*", "aws_lc_*", "aead_aes_*", "*aesni_*"];

const fn rule(pattern: &'static str, stage: Stage, why: &'static str) -> Rule {
    Rule { pattern, stage, why }
}

/// The table.
pub(super) const RULES: &[Rule] = &[
    // Memory, wherever it is asked for.
    rule("mi_*", Stage::Memory, "mimalloc's interface"),
    rule("_mi_*", Stage::Memory, "mimalloc inside"),
    rule("asm_exc_page_fault", Stage::Memory, "memory touched for the first time"),
    // The kernel, and the few lines of libc before it.
    rule("__x64_sys_recvm*", Stage::Receive, "copies datagrams out of the socket"),
    rule("__recvmmsg", Stage::Receive, "libc's way into that call"),
    rule(
        "net_rx_action",
        Stage::Loopback,
        "a datagram's way up to the other socket, which on loopback the sender walks",
    ),
    rule("do_softirq", Stage::Loopback, "the kernel turns round at the loopback device"),
    rule("__local_bh_enable_ip", Stage::Loopback, "where it does so"),
    rule("__x64_sys_sendm*", Stage::KernelSend, "UDP, IP, route, buffer: all that comes before the device"),
    rule("__sys_sendmsg", Stage::KernelSend, "the same, when the entry is inlined"),
    rule("__libc_sendmsg", Stage::KernelSend, "libc's way into that call"),
    rule("__x64_sys_*poll*", Stage::Wait, "waiting, and what waking costs"),
    rule("ppoll", Stage::Wait, "libc's way into that call"),
    rule("asm_sysvec_*", Stage::Wait, "an interrupt that happened to come then"),
    rule("asm_common_interrupt", Stage::Wait, "an interrupt of a device"),
    rule("irqentry_exit*", Stage::Wait, "the way back from an interrupt"),
    rule("exit_to_user_mode_loop", Stage::Wait, "another thread gets the processor"),
    // Sockets in user mode.
    rule("*BoundSocket::receive", Stage::Receive, "cuts what GRO joined into datagrams"),
    rule("quinn_udp::*recv*", Stage::Receive, "prepares recvmmsg and reads its control messages"),
    rule("*BoundSocket::send", Stage::Send, "sorts datagrams by client and joins them to trains"),
    rule("quinn_udp::*", Stage::Send, "prepares sendmsg"),
    // In.
    rule("plenary_media::demux::*", Stage::Demux, "finds a session by address or ufrag"),
    rule("*Sfu>::target", Stage::Demux, "chooses a session for a datagram"),
    rule("*Sfu::target", Stage::Demux, "the same in a build that names it so"),
    rule("*Session::accepts", Stage::Demux, "asks an Rtc whether a STUN check is its own"),
    rule("str0m::Rtc::accepts", Stage::Demux, "answers it"),
    rule("*SrtpContext::unprotect_rtp", Stage::Decrypt, "RFC 7714 and RFC 3711, authentication included"),
    rule("*Session::handle_rtp*", Stage::Ingress, "header, extensions, stream and receive register"),
    rule("*StreamRx::handle_rtp*", Stage::Ingress, "the stream's part of it"),
    rule("plenary_media::session::ingress::*", Stage::Ingress, "makes our packet of str0m's"),
    rule("plenary_media::session::Session::handle_event", Stage::Ingress, "takes packets from str0m's events"),
    // RTCP, with its cryptography: `protect_rtcp` is further in than what calls it.
    rule("*SrtpContext::protect_rtcp", Stage::Feedback, "encrypts RTCP"),
    rule("*SrtpContext::unprotect_rtcp", Stage::Feedback, "decrypts RTCP"),
    rule("*Session::handle_rtcp*", Stage::Feedback, "reads reports, NACK, TWCC"),
    rule("*Session::poll_feedback", Stage::Feedback, "writes RTCP"),
    rule("*Session::create_twcc_feedback", Stage::Feedback, "writes TWCC reports"),
    rule("*TwccSendRegister::*", Stage::Feedback, "what was sent, for reports to come"),
    rule("*TwccRecvRegister::*", Stage::Feedback, "what was received, for reports to send"),
    rule("*::create_sr*", Stage::Feedback, "sender reports"),
    rule("*::create_rr*", Stage::Feedback, "receiver reports"),
    rule("*::rtcp::*", Stage::Feedback, "parsing and writing of RTCP"),
    // Through.
    rule("plenary_media::forwarder::*", Stage::Rewrite, "sequence number, timestamp, change of source"),
    rule("plenary_media::timeline::*", Stage::Rewrite, "one line of time for a slot"),
    rule("plenary_media::anchor::*", Stage::Rewrite, "the start of that line"),
    rule("plenary_media::session::slot::*", Stage::Rewrite, "the header that a slot's packet gets"),
    rule("plenary_media::shard::forward::*", Stage::Forward, "who watches a track, and each one of them in turn"),
    rule("plenary_media::session::Session::deliver", Stage::Forward, "finds the slot and its stream"),
    rule("plenary_media::speakers::*", Stage::Forward, "who speaks, from the audio levels"),
    rule("plenary_media::relay::*", Stage::Forward, "rings and frames for neighbours"),
    rule("plenary_media::shard::*", Stage::Forward, "the rest of a shard, which is asked for every packet"),
    // Out.
    rule("*SrtpContext::protect_rtp", Stage::Encrypt, "RFC 7714 and RFC 3711"),
    rule("*Pacer>::*", Stage::Timers, "paces, even where it is the one that does not"),
    rule("*StreamTx::queue_state", Stage::Timers, "asks each stream's queue for the pacer"),
    rule("*SendQueue::snapshot", Stage::Timers, "the same, further in"),
    rule("*Session::update_queue_state", Stage::Timers, "the same, for all streams"),
    rule("*StreamTx::write_rtp", Stage::Queue, "queues a packet"),
    rule("*StreamTx::poll_packet*", Stage::Queue, "takes it from the queue, keeps it for RTX, writes its header"),
    rule("*Session::poll_packet", Stage::Queue, "finds the stream to be polled"),
    rule("*RtxCache::*", Stage::Queue, "keeps packets for RTX (RFC 4588)"),
    // Time.
    rule("is::*", Stage::Ice, "the ICE agent"),
    rule("<is::*", Stage::Ice, "the ICE agent"),
    rule("dimpl::*", Stage::Ice, "DTLS"),
    rule("<dimpl::*", Stage::Ice, "DTLS"),
    rule("str0m::dtls::*", Stage::Ice, "the way to DTLS"),
    rule("str0m::ice*", Stage::Ice, "the way to ICE"),
    rule("str0m::sctp::*", Stage::Ice, "SCTP, which asks for time though nobody has a data channel"),
    rule("str0m::channel::*", Stage::Ice, "data channels, likewise"),
    rule("*::bwe::*", Stage::Timers, "bandwidth estimation"),
    rule("str0m::*handle_timeout*", Stage::Timers, "all that is done because time passed"),
    rule("str0m::*poll_*timeout", Stage::Timers, "all that is asked to know when it will have to be done"),
    rule("str0m::*do_payload", Stage::Timers, "looks for frames to packetise, of which RTP mode has none"),
    rule("plenary_media::timers::*", Stage::Timers, "our queue of deadlines"),
    // What is left of the three loops around a packet, from the inside out.
    rule("str0m::Rtc::*", Stage::Poll, "asks its parts in turn and moves what they give"),
    rule("str0m::*poll_event*", Stage::Poll, "asks every stream for events"),
    rule("str0m::session::*", Stage::Poll, "asks its parts in turn"),
    rule("plenary_media::session::Session::drain", Stage::Drive, "takes what an Rtc gives, until it gives a time"),
    rule("*plenary_media::*", Stage::Drive, "effects, happenings, outputs, statistics"),
    rule("*plenary::driver::*", Stage::Drive, "the worker's loop"),
    rule("*::media::plain::*", Stage::Drive, "the plain SFU's loop, which is demux and forwarding in one"),
    // The main thread, and the control plane where a worker meets it.
    rule("*tokio::*", Stage::Control, "the runtime"),
    rule("*plenary_api::*", Stage::Control, "signalling and REST"),
    rule("*plenary_cluster::*", Stage::Control, "the directory"),
    rule("*plenary::*", Stage::Control, "the node put together"),
];
