//! A vote that was given is never taken back: not by a lower one, and not by a restart.

use std::collections::BTreeMap;

use plenary_cluster::model::NodeId;
use plenary_cluster::simulation::{Ballot, Seen};

use super::{Scene, Sight};
use crate::check::Invariant;

#[derive(Debug, Default)]
pub(crate) struct Votes(BTreeMap<NodeId, Ballot>);

impl Votes {
    fn not_below(&self, node: NodeId, ballot: Option<Ballot>) -> Result<(), String> {
        match self.0.get(&node).copied() {
            Some(given) if ballot < Some(given) => {
                let text = ballot.map_or_else(|| "nothing".to_owned(), |ballot| ballot.to_string());
                Err(format!("{node} votes {text} and has voted {given}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Invariant for Votes {
    fn name(&self) -> &'static str {
        "votes"
    }

    fn source(&self) -> &'static str {
        "Raft §3.8, currentTerm and votedFor are persistent; §3.3, terms only grow"
    }

    fn see(&mut self, sight: &Sight<'_>, _: &Scene<'_>) -> Result<(), String> {
        match sight {
            Sight::Disk(Seen::Voted { node, ballot }) => {
                self.not_below(*node, Some(*ballot))?;
                self.0.insert(*node, *ballot);
                Ok(())
            }
            Sight::Disk(Seen::Opened { node, ballot, .. }) => self.not_below(*node, *ballot),
            Sight::Disk(_)
            | Sight::Committed { .. }
            | Sight::Leads { .. }
            | Sight::Asked { .. }
            | Sight::Answered { .. }
            | Sight::Followed { .. }
            | Sight::Stopped { .. }
            | Sight::Healed { .. } => Ok(()),
        }
    }
}
