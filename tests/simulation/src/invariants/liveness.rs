//! A cluster that nothing disturbs any more agrees, and takes writes at every node.

use super::{Scene, Sight};
use crate::check::Invariant;

#[derive(Debug)]
pub(crate) struct Liveness;

impl Invariant for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn source(&self) -> &'static str {
        "Raft §9.2, a leader is elected while a majority can talk; §3.5, followers converge"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        let Sight::Healed { wrong } = sight else { return Ok(()) };
        if wrong.is_empty() { Ok(()) } else { Err(format!("healed, and still: {}", wrong.join("; "))) }
    }
}
