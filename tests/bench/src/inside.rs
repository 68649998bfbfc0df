//! Clients without a door: they call the directory of the node they live in.

use std::sync::Arc;

use anyhow::Result;
use plenary_cluster::directory::{Directory, ProposeError};
use plenary_cluster::model::MeetingId;

use crate::load::{Answer, Client};
use crate::sample;
use crate::work::Work;

/// How many of the meetings that are there are read.
const READ: usize = 1000;

/// One client in the node's own process.
pub(crate) struct Inside {
    directory: Arc<dyn Directory>,
    work: Work,
    meetings: Arc<[MeetingId]>,
    next: usize,
}

impl Inside {
    /// `count` of them.
    pub(crate) fn clients(directory: &Arc<dyn Directory>, work: Work, count: usize) -> Vec<Self> {
        let meetings: Arc<[MeetingId]> = directory.read_local().meetings().take(READ).map(|one| one.id).collect();
        let one = |next| Self { directory: Arc::clone(directory), work, meetings: Arc::clone(&meetings), next };
        (0..count).map(one).collect()
    }

    async fn write(&self) -> Result<Answer> {
        let (id, command) = sample::command();
        match self.directory.propose(Some(id), command).await {
            Ok(_) => Ok(Answer::Done),
            Err(ProposeError::Unavailable { .. } | ProposeError::StorageFull { .. }) => Ok(Answer::Refused),
            Err(error @ ProposeError::Rejected(_)) => Err(error.into()),
        }
    }

    async fn read(&mut self, linearizable: bool) -> Result<Answer> {
        self.next += 1;
        let id = self.meetings[self.next % self.meetings.len()];
        let state = if linearizable {
            let Ok(state) = self.directory.read_linearizable().await else { return Ok(Answer::Refused) };
            state
        } else {
            // A client that never waits would keep the others of its thread from their turn.
            tokio::task::yield_now().await;
            self.directory.read_local()
        };
        anyhow::ensure!(state.meeting(id).is_some(), "meeting {id} is gone");
        Ok(Answer::Done)
    }
}

impl Client for Inside {
    async fn call(&mut self) -> Result<Answer> {
        match self.work {
            Work::Write => self.write().await,
            Work::ReadLocal => self.read(false).await,
            Work::ReadLinearizable => self.read(true).await,
        }
    }
}
