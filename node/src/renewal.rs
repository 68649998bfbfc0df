//! Keeps this node's certificate young: a new one long before the old one ends, and whenever an operator asks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::identity;
use crate::link::{ControlLink, Identity, LinkError, MediaLink};

/// How often the certificate's age is looked at: a sleeping machine's clock jumps.
const LOOK: Duration = Duration::from_secs(3600);

/// What renewing takes.
pub struct Renewal {
    /// Whose certificate.
    pub identity: Arc<Identity>,
    /// Where it is kept.
    pub folder: PathBuf,
    /// Shows it.
    pub control: Arc<ControlLink>,
    /// Shows it too.
    pub media: Arc<MediaLink>,
    /// Held while it is replaced.
    pub renewing: Mutex<()>,
}

impl Renewal {
    /// Looks after the certificate until cancelled.
    pub async fn run(&self, cancelled: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK);
        while cancelled.run_until_cancelled(looks.tick()).await.is_some() {
            if !self.identity.is_due(identity::now()) {
                continue;
            }
            if let Err(error) = self.renew() {
                // There are days left, and an hour from now another attempt.
                tracing::warn!(%error, "the node's certificate could not be renewed");
            }
        }
    }

    /// Replaces the certificate now. New handshakes show the new one; what is connected goes on.
    ///
    /// # Errors
    /// When it can't be made, kept or shown.
    pub fn renew(&self) -> Result<(), LinkError> {
        let _renewing = self.renewing.lock();
        self.identity.renew(&self.folder, identity::now())?;
        self.control.reload()?;
        self.media.reload()?;
        tracing::info!(node = %self.identity.node(), "the node's certificate was renewed");
        Ok(())
    }
}
