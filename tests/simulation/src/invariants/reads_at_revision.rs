//! A read at a revision is not behind it; a write is applied where it was asked for when it is answered; and every
//! state that anybody reads is the one that the history has at its revision.

use super::{Scene, Sight};
use crate::check::Invariant;
use crate::history::{Ask, Outcome};

#[derive(Debug)]
pub(crate) struct ReadsAtRevision;

impl Invariant for ReadsAtRevision {
    fn name(&self) -> &'static str {
        "reads_at_revision"
    }

    fn source(&self) -> &'static str {
        "cluster/src/directory.rs, what each read promises; Terry et al. 1994, read your writes"
    }

    fn see(&mut self, sight: &Sight<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Sight::Answered { ask, outcome, .. } = sight else { return Ok(()) };
        match outcome {
            Outcome::Written { revision, local, .. } if local < revision => {
                Err(format!("a write at {revision} was answered by a node that had applied up to {local}"))
            }
            Outcome::State(state) => {
                let read = state.revision();
                if let Ask::ReadAtLeast(revision) = ask
                    && read < *revision
                {
                    return Err(format!("a read at {revision} saw {read}"));
                }
                match scene.chronicle.at(read) {
                    Some(moment) if moment.state != **state => Err(format!("a read at {read} saw another state")),
                    Some(_) => Ok(()),
                    None if read == 0 => Ok(()),
                    None => Err(format!("a read saw {read}, which nobody has applied")),
                }
            }
            Outcome::Written { .. } | Outcome::Rejected(_) | Outcome::Unknown => Ok(()),
        }
    }
}
