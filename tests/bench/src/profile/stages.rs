//! Which stage of a packet's way a stack belongs to: the innermost frame that a rule knows decides.
//!
//! What no rule knows (memcpy, a hash map, AES itself) therefore counts for whoever called it. Beside its stage, a stack
//! is inside str0m or not: whether a frame of it is str0m's, or of what only str0m uses.

use super::rules::{CONTROL_THREADS, CRYPTO, RULES, STR0M};
use super::stacks::Stack;

/// A stage, in the order of a packet's way; then what accompanies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Receive,
    Demux,
    Decrypt,
    Ingress,
    Forward,
    Rewrite,
    Queue,
    Encrypt,
    Send,
    KernelSend,
    Loopback,
    Timers,
    Feedback,
    Ice,
    Poll,
    Drive,
    Wait,
    Memory,
    Control,
    Unattributed,
}

impl Stage {
    pub(crate) const ALL: [Self; 20] = [
        Self::Receive,
        Self::Demux,
        Self::Decrypt,
        Self::Ingress,
        Self::Forward,
        Self::Rewrite,
        Self::Queue,
        Self::Encrypt,
        Self::Send,
        Self::KernelSend,
        Self::Loopback,
        Self::Timers,
        Self::Feedback,
        Self::Ice,
        Self::Poll,
        Self::Drive,
        Self::Wait,
        Self::Memory,
        Self::Control,
        Self::Unattributed,
    ];

    /// What the table calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive (recvmmsg)",
            Self::Demux => "demux",
            Self::Decrypt => "decrypt",
            Self::Ingress => "RTP in",
            Self::Forward => "forward",
            Self::Rewrite => "rewrite",
            Self::Queue => "RTP out: queue, header, RTX cache",
            Self::Encrypt => "encrypt",
            Self::Send => "send: trains",
            Self::KernelSend => "send: kernel UDP",
            Self::Loopback => "send: loopback delivery",
            Self::Timers => "timers, pacer, BWE",
            Self::Feedback => "RTCP in and out",
            Self::Ice => "ICE, DTLS, SCTP",
            Self::Poll => "polling str0m",
            Self::Drive => "worker's loop and Sfu",
            Self::Wait => "sleep, wake, interrupts",
            Self::Memory => "allocator, page faults",
            Self::Control => "signalling, directory, runtime",
            Self::Unattributed => "unattributed",
        }
    }

    /// What the flame graph paints it with: what str0m mostly does is blue and green, the kernel is red, ours is yellow.
    pub(crate) const fn colour(self) -> &'static str {
        match self {
            Self::Receive => "#e8997a",
            Self::Demux => "#f0d060",
            Self::Decrypt => "#6fa8dc",
            Self::Ingress => "#8ec7c2",
            Self::Forward => "#f5c242",
            Self::Rewrite => "#e9b44c",
            Self::Queue => "#7fb3a6",
            Self::Encrypt => "#5b8fd6",
            Self::Send => "#f2b091",
            Self::KernelSend => "#e07a5f",
            Self::Loopback => "#c96a6a",
            Self::Timers => "#8fc97a",
            Self::Feedback => "#a8d08d",
            Self::Ice => "#76c5a0",
            Self::Poll => "#9ccbe0",
            Self::Drive => "#f7e08a",
            Self::Wait => "#d9a5a5",
            Self::Memory => "#c3a6d8",
            Self::Control => "#c9c2b0",
            Self::Unattributed => "#b8b8b8",
        }
    }
}

/// A row of [`rules`](super::rules).
#[derive(Debug)]
pub(crate) struct Rule {
    /// A symbol, in which a `*` stands for anything.
    pub(crate) pattern: &'static str,
    pub(crate) stage: Stage,
    /// Why what is in such a frame belongs there.
    #[cfg_attr(not(test), expect(dead_code, reason = "for those who read the table"))]
    pub(crate) why: &'static str,
}

/// Whether a stack is inside str0m, and doing what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Str0m {
    Outside,
    /// Its own code, and what it calls that is not cryptography.
    Inside,
    /// Cryptography on its behalf.
    Crypto,
}

/// The stage of a stack.
pub(crate) fn stage(stack: &Stack) -> Stage {
    if CONTROL_THREADS.iter().any(|name| matches(name, &stack.thread)) {
        return Stage::Control;
    }
    stack.frames.iter().rev().find_map(|frame| stage_of(&frame.symbol)).unwrap_or(Stage::Unattributed)
}

/// The stage that a frame stands for, by the first rule that knows it.
pub(crate) fn stage_of(symbol: &str) -> Option<Stage> {
    RULES.iter().find(|rule| matches(rule.pattern, symbol)).map(|rule| rule.stage)
}

/// Whether a stack is inside str0m.
pub(crate) fn str0m(stack: &Stack) -> Str0m {
    let of = |patterns: &[&str]| stack.frames.iter().any(|frame| patterns.iter().any(|at| matches(at, &frame.symbol)));
    match (of(&STR0M), of(&CRYPTO)) {
        (false, _) => Str0m::Outside,
        (true, false) => Str0m::Inside,
        (true, true) => Str0m::Crypto,
    }
}

/// Whether a symbol is of a pattern: what is between stars comes in this order, the first at the beginning, the last at
/// the end.
fn matches(pattern: &str, symbol: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == symbol };
    let Some(mut symbol) = symbol.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some((_, after)) = symbol.split_once(part) else { return false };
        symbol = after;
    }
    symbol.ends_with(last)
}

#[cfg(test)]
#[path = "stages_tests.rs"]
mod tests;
