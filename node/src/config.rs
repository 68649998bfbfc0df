//! The configuration of a node: one type, parsed and checked once, handed down by part.
//!
//! Sources, later ones win: built-in defaults, the TOML file, environment variables (`PLENARY__HTTP__LISTEN`),
//! command-line flags. A key that is not known is an error that names it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Everything a node can be told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the node keeps its identity and the replicated state.
    pub data_dir: PathBuf,
    /// Free label for spreading voters and relay trees.
    pub zone: String,
    /// REST, signalling, web client.
    pub http: Http,
    /// Raft, forwarded proposals, enrolment.
    pub control: Link,
    /// Relayed media.
    pub media_link: Link,
    /// WebRTC.
    pub media: Media,
    /// Who may come in.
    pub auth: Auth,
    /// What is written about it all.
    pub log: Log,
}

/// The HTTP listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address to bind; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Address that others are told, when it differs from the bound one.
    pub advertise: Option<SocketAddr>,
}

/// A QUIC endpoint between nodes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// Address to bind; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Address that others dial, when it differs from the bound one.
    pub advertise: Option<SocketAddr>,
}

/// The media workers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// Addresses to bind, each by every worker: worker `n` takes port + n, or a free port when 0.
    #[serde(deserialize_with = "one_or_many")]
    pub listen: Vec<SocketAddr>,
    /// IP addresses offered to clients in place of the bound ones, one for each of `listen`.
    #[serde(deserialize_with = "one_or_many")]
    pub advertise: Vec<IpAddr>,
    /// Threads, each with sockets of its own. 0 means one for each core.
    pub workers: u16,
    /// Sessions of one room on one worker before the next worker takes more of that room.
    pub sessions_per_shard: u32,
    /// Sessions that one worker takes at most.
    pub sessions_per_worker: u32,
    /// How many of the loudest are heard.
    pub loudest: u16,
    /// Milliseconds that a relayed track is kept when nobody watches it any more.
    pub linger_ms: u64,
}

/// Tokens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Serve `POST /api/auth/guest`, which gives anyone a user token.
    pub guest_users: bool,
}

/// Logging.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// A filter such as `info,plenary=debug`.
    pub filter: String,
    /// Shape of a line.
    pub format: LogFormat,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The HTTP port when none is given.
pub const DEFAULT_HTTP_PORT: u16 = 4500;

const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("plenary-data"),
            zone: String::new(),
            http: Http::default(),
            control: Link::on_port(4510),
            media_link: Link::on_port(4511),
            media: Media::default(),
            auth: Auth::default(),
            log: Log::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::new(ANY, DEFAULT_HTTP_PORT), advertise: None }
    }
}

impl Link {
    const fn on_port(port: u16) -> Self {
        Self { listen: SocketAddr::new(ANY, port), advertise: None }
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::on_port(0)
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::new(ANY, 4520)],
            advertise: Vec::new(),
            workers: 0,
            sessions_per_shard: 200,
            sessions_per_worker: 500,
            loudest: 3,
            linger_ms: 500,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,openraft=error".to_owned(), format: LogFormat::Text }
    }
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file or the environment can't be read as a configuration.
    #[error("configuration ({sources}): {reason}")]
    Parse {
        /// Where it comes from.
        sources: String,
        /// The key and what is wrong with it.
        reason: config::ConfigError,
    },
    /// A value makes no sense.
    #[error("configuration: `{key}`: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong and how to mend it.
        problem: String,
    },
}

impl Config {
    /// Reads the file, if one is named, and the environment over the defaults.
    ///
    /// # Errors
    /// When the file is missing, a key is unknown or a value makes no sense.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let (mut builder, mut sources) = (config::Config::builder(), "PLENARY__*".to_owned());
        if let Some(path) = file {
            sources = format!("{} and {sources}", path.display());
            builder = builder.add_source(config::File::from(path).format(config::FileFormat::Toml));
        }
        let environment = config::Environment::with_prefix("PLENARY").prefix_separator("__").separator("__");
        let built = builder.add_source(environment.try_parsing(true)).build();
        let loaded: Self =
            built.and_then(config::Config::try_deserialize).map_err(|reason| ConfigError::Parse { sources, reason })?;
        loaded.check()?;
        Ok(loaded)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.media.listen.is_empty() {
            return Err(value("media.listen", "name at least one address, such as \"0.0.0.0:4520\""));
        }
        let advertised = self.media.advertise.len();
        if advertised != 0 && advertised != self.media.listen.len() {
            return Err(value("media.advertise", "name as many addresses as `media.listen`, or none"));
        }
        for (key, number) in [
            ("media.sessions_per_shard", self.media.sessions_per_shard),
            ("media.sessions_per_worker", self.media.sessions_per_worker),
            ("media.loudest", u32::from(self.media.loudest)),
        ] {
            if number == 0 {
                return Err(value(key, "must be at least 1"));
            }
        }
        if self.media.workers > 128 {
            return Err(value("media.workers", "must be at most 128; 0 means one for each core"));
        }
        Ok(())
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

fn value(key: &'static str, problem: &str) -> ConfigError {
    ConfigError::Value { key, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("plenary.toml");
        std::fs::write(&path, text).expect("the file is written");
        Config::load(Some(&path)).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
    }

    #[test]
    fn a_file_overrides_the_defaults() {
        let config = load("[media]\nworkers = 2\nlisten = [\"127.0.0.1:0\"]\n").expect("a good file");
        assert_eq!(config.media.workers, 2);
        assert_eq!(config.http.listen.port(), DEFAULT_HTTP_PORT);
    }

    #[test]
    fn the_sample_in_deploy_names_the_defaults() {
        let mut sample = load(include_str!("../../deploy/plenary.toml")).expect("the sample is valid");
        sample.data_dir = Config::default().data_dir;
        assert_eq!(format!("{sample:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = load("[http]\nlisten_on = \"127.0.0.1:1\"\n").expect_err("an unknown key");
        assert!(error.contains("listen_on") && error.contains("plenary.toml"), "{error}");
    }

    #[test]
    fn a_senseless_value_is_named_with_its_fix() {
        let error = load("[media]\nlisten = []\n").expect_err("no address");
        assert!(error.contains("media.listen") && error.contains("at least one"), "{error}");
        let error = load("[http]\nlisten = \"nowhere\"\n").expect_err("no address");
        assert_eq!(error.matches("http.listen").count(), 1, "said once: {error}");
    }
}
