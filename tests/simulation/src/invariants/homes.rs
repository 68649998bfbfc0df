//! A room has one home for each of its epochs, and epochs only grow.

use std::collections::BTreeMap;

use plenary_cluster::model::{NodeId, RoomId};

use super::{Scene, Sight};
use crate::check::Invariant;

/// Each room's latest epoch, its home then, and the epoch of that node.
#[derive(Debug, Default)]
pub(crate) struct Homes(BTreeMap<RoomId, (u64, Option<NodeId>, u64)>);

impl Invariant for Homes {
    fn name(&self) -> &'static str {
        "homes"
    }

    fn source(&self) -> &'static str {
        "Burrows 2006 (Chubby), sequencers; Kleppmann 2016, fencing tokens: one owner a token, tokens grow"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        let Sight::Committed { moment, .. } = sight else { return Ok(()) };
        if !moment.decided {
            return Ok(());
        }
        for meeting in moment.state.meetings() {
            let Some(room) = moment.state.room(meeting.room) else { continue };
            let life = room.home.and_then(|home| moment.state.node(home)).map_or(0, |node| node.epoch);
            let now = (room.home_epoch, room.home, life);
            let before = self.0.insert(room.id, now).unwrap_or(now);
            if now.0 < before.0 {
                return Err(format!("{} went back from epoch {} to {} at {}", room.id, before.0, now.0, moment.id()));
            }
            if now.0 == before.0 && now != before {
                return Err(format!("{} has two homes in epoch {} at {}", room.id, now.0, moment.id()));
            }
        }
        Ok(())
    }
}
