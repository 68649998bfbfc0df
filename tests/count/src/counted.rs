//! The one function that callgrind collects in.

/// Runs a piece of the server's work. `scripts/count` passes this function's name to `--toggle-collect`, which turns
/// collection on where it is entered and off where it is left: calls of it must not nest.
#[inline(never)]
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> T {
    let done = work();
    // Keeps the call from becoming a jump, after which the profiler would not see this function end.
    std::hint::black_box(&done);
    done
}

/// The same, counted only when it is `measured`.
pub(crate) fn when<T>(measured: bool, work: impl FnOnce() -> T) -> T {
    if measured { counted(work) } else { work() }
}
