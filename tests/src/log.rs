//! What a node's log must not hold.

/// The lines at ERROR of a log in text format.
#[must_use]
pub fn error_lines(log: &str) -> Vec<&str> {
    log.lines().filter(|line| is_error(line)).collect()
}

/// The level stands before the first thing that isn't a time: `2026-01-01T00:00:00Z ERROR link: …`.
fn is_error(line: &str) -> bool {
    line.split_whitespace().take(2).any(|word| word == "ERROR") || line.starts_with("thread '")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_and_a_panic_are_found_and_a_mention_is_not() {
        let log = "2026-01-01T00:00:00Z  INFO link: closed code=\"ERROR\"\n\
                   2026-01-01T00:00:00Z ERROR store: sync failed\n\
                   thread 'worker-0' panicked at node/src/driver.rs:1:1:\n\
                   2026-01-01T00:00:00Z  WARN link: peer said ERROR\n";
        assert_eq!(error_lines(log).len(), 2);
    }
}
