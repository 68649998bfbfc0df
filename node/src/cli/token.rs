//! `plenary token`: join tokens and user tokens, made from the secrets in a node's data folder.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use plenary_api::auth::{Tokens, User};
use plenary_cluster::model::Timestamp;

use super::say;
use crate::identity;
use crate::link::{Identity, JoinToken};

/// Makes a token: for a node to join with, or for a user.
#[derive(Debug, Args)]
pub(super) struct Token {
    #[command(subcommand)]
    kind: Option<Kind>,
    /// The node's data folder.
    #[arg(long, global = true, default_value = "plenary-data")]
    data_dir: PathBuf,
    /// Minutes that the token is good for.
    #[arg(long, global = true, default_value_t = 60)]
    minutes: u64,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// A token with which one new node can join (the default).
    Join,
    /// A user token, for the `Authorization: Bearer` header.
    User {
        /// The user's id.
        #[arg(long)]
        user: String,
        /// The tenant.
        #[arg(long, default_value = "default")]
        tenant: String,
        /// The name shown to others.
        #[arg(long)]
        name: Option<String>,
    },
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<()> {
        crate::install_crypto();
        let identity = Identity::load(&identity::folder(&self.data_dir))?.ok_or_else(|| {
            anyhow::anyhow!(
                "--data-dir: {} holds no node; name the folder of a node that was started once",
                self.data_dir.display()
            )
        })?;
        let lifetime = Duration::from_secs(self.minutes.saturating_mul(60));
        match self.kind.unwrap_or(Kind::Join) {
            Kind::Join => {
                let expires = Timestamp::from_millis(identity::now().millis().saturating_add(millis(lifetime)));
                say(&JoinToken::mint(&identity, rand::random(), expires).to_string())
            }
            Kind::User { user, tenant, name } => {
                let user = User {
                    id: user.parse().map_err(|error| anyhow::anyhow!("--user: {error}"))?,
                    tenant: tenant.parse().map_err(|error| anyhow::anyhow!("--tenant: {error}"))?,
                    name,
                    email: None,
                    user_type: None,
                };
                say(&Tokens::new(identity.secret().as_bytes()).issue_user(&user, identity::now(), lifetime)?)
            }
        }
    }
}

fn millis(lifetime: Duration) -> i64 {
    i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX)
}
