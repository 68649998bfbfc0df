//! Whoever follows the events gets all of them, in order, or is told to read anew.

use super::{Scene, Sight};
use crate::check::Invariant;

#[derive(Debug)]
pub(crate) struct Events;

impl Invariant for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn source(&self) -> &'static str {
        "ARCHITECTURE.md: events are the log, seen; etcd's watch guarantees: ordered, reliable, atomic"
    }

    fn see(&mut self, sight: &Sight<'_>, scene: &Scene<'_>) -> Result<(), String> {
        let Sight::Followed { node, after, upto, events: Some(events) } = sight else { return Ok(()) };
        let happened =
            (after + 1..=*upto).filter_map(|index| scene.chronicle.at(index)).flat_map(|moment| &moment.events);
        let mut told = events.iter();
        for event in happened {
            match told.next() {
                Some(one) if one == event => {}
                Some(one) => return Err(format!("{node} was told {one:?} instead of {event:?}")),
                None => return Err(format!("{node} was not told {event:?} when it followed {after} to {upto}")),
            }
        }
        told.next().map_or(Ok(()), |extra| Err(format!("{node} was told {extra:?}, which did not happen")))
    }
}
