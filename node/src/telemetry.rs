//! Logs and metrics of the process.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// What openraft calls an error and is none: a change of the membership that another leader has to make by now, and calls
/// that come while it stops. Our own code says what matters of both.
const NO_ERRORS: [&str; 2] = ["openraft::raft::api::management=off", "openraft::raft::raft_inner=off"];

/// Starts logging to standard error.
///
/// # Errors
/// When `log.filter` is not a filter.
pub fn start_logging(config: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| anyhow::anyhow!("configuration: `log.filter`: {error}; try \"info,plenary=debug\""))?;
    let filter = NO_ERRORS
        .into_iter()
        .fold(filter, |filter, directive| filter.add_directive(directive.parse().expect("a directive")));
    // Colours are for eyes; in a file they would hide the level from whoever searches for it.
    let colours = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}

/// Installs the recorder behind the `metrics` macros.
///
/// # Errors
/// When one is installed already.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    Ok(PrometheusBuilder::new().install_recorder()?)
}
