//! Time in the state does not run backwards, whatever clocks do.

use plenary_cluster::model::Timestamp;

use super::{Scene, Sight};
use crate::check::Invariant;

#[derive(Debug, Default)]
pub(crate) struct Time(Timestamp);

impl Invariant for Time {
    fn name(&self) -> &'static str {
        "time"
    }

    fn source(&self) -> &'static str {
        "cluster/src/state.rs: the latest time any command carried"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        let Sight::Committed { moment, .. } = sight else { return Ok(()) };
        let before = std::mem::replace(&mut self.0, moment.state.now());
        if moment.state.now() >= before {
            return Ok(());
        }
        Err(format!("time goes back from {before} to {} at {}", moment.state.now(), moment.id()))
    }
}
