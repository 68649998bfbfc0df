//! What a test says besides passing: its figures.

/// Prints a line of figures; the runner shows it although the test passes.
#[expect(clippy::print_stdout, reason = "figures are a test's result")]
pub fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

/// A size that a longer run changes: `FAILOVER_ROUNDS=10 cargo nextest run …`.
///
/// # Panics
/// When the variable holds no number.
#[must_use]
pub fn setting(name: &str, fallback: u32) -> u32 {
    let value = std::env::var_os(name);
    value.map_or(fallback, |value| {
        let number = value.to_str().and_then(|text| text.parse().ok());
        number.unwrap_or_else(|| panic!("{name} = {value:?}: expected a whole number"))
    })
}
