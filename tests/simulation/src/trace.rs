//! The trace: one line for everything that happens. Two runs of a seed are the same run if their traces are.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Lines, hashed as they come; kept as text only when asked for.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Sha256,
    line: String,
    kept: Option<Vec<String>>,
    pub(crate) count: u64,
}

impl Trace {
    pub(crate) fn new(keep: bool) -> Self {
        Self { hash: Sha256::new(), line: String::new(), kept: keep.then(Vec::new), count: 0 }
    }

    pub(crate) fn add(&mut self, at: Duration, what: impl Display) {
        self.line.clear();
        writeln!(self.line, "{:>12.6} {what}", at.as_secs_f64()).expect("a string takes what is written to it");
        self.hash.update(self.line.as_bytes());
        self.count += 1;
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.trim_end().to_owned());
        }
    }

    pub(crate) fn finish(self) -> (String, Vec<String>) {
        let hash = self.hash.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        (hash, self.kept.unwrap_or_default())
    }
}
