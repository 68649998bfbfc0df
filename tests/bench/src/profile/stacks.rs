//! Reads what `perf script -F comm,tid,time,event,ip,sym` prints: one stack for each sample, innermost frame first.
//!
//! ```text
//! media-0 10268 11750.197528: cpu-clock:
//!         ffffffff82044de6 udp_sendmsg
//!                  16cb782 quinn_udp::imp::send
//!                   (blank line)
//! ```
//!
//! Symbols become the same for every build: hashes and the compiler's suffixes are taken off. Two samples with the same
//! thread name and the same frames are one stack of weight 2.

use std::collections::BTreeMap;

/// Addresses from here on are the kernel's (x86-64 and arm64 alike).
const KERNEL: u64 = 1 << 63;
/// What perf prints for an address without a symbol.
const UNKNOWN: &str = "[unknown]";
/// Behind the symbol of a call that the compiler inlined.
const INLINED: &str = " (inlined)";
/// What compilers append to the symbol of a copy or a part of a function.
const SUFFIXES: [&str; 6] = [".llvm.", ".cold", ".part.", ".isra.", ".constprop.", ".lto_priv."];

/// Where samples were taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stack {
    /// The thread's name.
    pub(crate) thread: String,
    /// From root to leaf.
    pub(crate) frames: Vec<Frame>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Frame {
    /// The function, without hash; `[unknown]` when there is no symbol.
    pub(crate) symbol: String,
    /// Whether it is the kernel's.
    pub(crate) kernel: bool,
}

/// The stacks of a text, each with the number of its samples.
pub(crate) fn parse(text: &str) -> BTreeMap<Stack, u64> {
    let mut stacks = BTreeMap::new();
    // The head of a sample is what follows a blank line: names of threads may begin with spaces and hold some.
    for sample in text.split("\n\n") {
        let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
        let Some(thread) = lines.next().and_then(thread) else { continue };
        let mut frames: Vec<Frame> = lines.filter_map(frame).collect();
        frames.reverse();
        *stacks.entry(Stack { thread: thread.to_owned(), frames }).or_insert(0) += 1;
    }
    stacks
}

/// The thread's name out of `name tid time: event:`.
fn thread(head: &str) -> Option<&str> {
    let head = head.trim().strip_suffix(':')?;
    let (head, _event) = head.rsplit_once(char::is_whitespace)?;
    let (head, time) = head.trim_end().rsplit_once(char::is_whitespace)?;
    let (name, tid) = head.trim_end().rsplit_once(char::is_whitespace)?;
    let is_head = time.ends_with(':') && tid.parse::<u32>().is_ok();
    is_head.then(|| name.trim())
}

/// One call out of `address symbol`.
fn frame(line: &str) -> Option<Frame> {
    let (address, symbol) = line.trim().split_once(' ')?;
    let address = u64::from_str_radix(address, 16).ok()?;
    // An unwinder that lost its way leaves an address of ones.
    let kernel = address >= KERNEL && address != u64::MAX;
    Some(Frame { symbol: plain(symbol).to_owned(), kernel })
}

/// A symbol without what differs from build to build.
fn plain(symbol: &str) -> &str {
    let mut symbol = symbol.trim();
    symbol = symbol.strip_suffix(INLINED).unwrap_or(symbol);
    for suffix in SUFFIXES {
        // Only at the end: what follows is a number, a hash or nothing, and never a path.
        if let Some((before, after)) = symbol.rsplit_once(suffix)
            && after.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        {
            symbol = before;
        }
    }
    if let Some((before, hash)) = symbol.rsplit_once("::h")
        && hash.len() == 16
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        symbol = before;
    }
    if symbol.is_empty() { UNKNOWN } else { symbol }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(stack: &Stack) -> Vec<&str> {
        stack.frames.iter().map(|frame| frame.symbol.as_str()).collect()
    }

    #[test]
    fn a_sample_is_read_from_root_to_leaf() {
        let text = "media-0 7 1.25: cpu-clock: \n\tffffffff82044de6 udp_sendmsg\n\t 16cb782 quinn_udp::imp::send\n\n";
        let stacks = parse(text);
        let (stack, weight) = stacks.first_key_value().expect("there is one");
        assert_eq!((stack.thread.as_str(), *weight), ("media-0", 1));
        assert_eq!(symbols(stack), ["quinn_udp::imp::send", "udp_sendmsg"]);
        assert_eq!(stack.frames.iter().map(|frame| frame.kernel).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn equal_samples_are_counted_together() {
        let one = "a 7 1.25: cpu-clock:u: \n\t10 main\n\n";
        let other = "a 8 1.50: cpu-clock:u: \n\t14 main\n\n";
        let stacks = parse(&format!("{one}{other}{one}"));
        assert_eq!(stacks.into_values().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn names_of_threads_may_hold_spaces() {
        let stacks = parse("  a b 3 7 1.25: cpu-clock: \n\t10 main\n");
        assert_eq!(stacks.keys().map(|stack| stack.thread.as_str()).collect::<Vec<_>>(), ["a b 3"]);
    }

    #[test]
    fn a_sample_without_frames_counts() {
        let stacks = parse("a 7 1.25: cpu-clock: \n\nb 8 1.50: cpu-clock: \n\t10 main\n\n");
        assert_eq!(stacks.keys().map(|stack| stack.frames.len()).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn what_is_no_sample_is_passed_over() {
        assert!(parse("# captured on: never\n\nno head here\n\t10 main\n\n").is_empty());
        assert!(parse("").is_empty());
    }

    #[test]
    fn hashes_and_suffixes_are_taken_off() {
        assert_eq!(plain("core::fmt::write::h0123456789abcdef"), "core::fmt::write");
        assert_eq!(plain("a::b::h0123456789abcdef.llvm.1234567890"), "a::b");
        assert_eq!(plain("finish_task_switch.isra.0"), "finish_task_switch");
        assert_eq!(plain("do_softirq.part.0"), "do_softirq");
        assert_eq!(plain("mi_free.cold"), "mi_free");
        assert_eq!(plain("a::hello"), "a::hello");
        assert_eq!(plain("<V<T> as I<T>>::extend (inlined)"), "<V<T> as I<T>>::extend");
        assert_eq!(plain("call_once{{vtable.shim}}"), "call_once{{vtable.shim}}");
    }

    #[test]
    fn addresses_without_symbols_are_unknown_and_a_lost_unwinder_is_not_the_kernel() {
        let lost = frame("\tffffffffffffffff [unknown]").expect("it is a frame");
        assert_eq!(lost, Frame { symbol: UNKNOWN.to_owned(), kernel: false });
    }
}
