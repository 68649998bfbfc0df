//! One node of Plenary: workers, links, control and the command line, around the pure cores.

pub mod admin;
mod belonging;
pub mod cli;
pub mod config;
pub mod control;
pub mod driver;
pub mod identity;
pub mod link;
pub mod port;
pub mod relay_port;
pub mod renewal;
pub mod runtime;
pub mod telemetry;

/// Prepares the process for a node: must come before threads and before anything that encrypts.
pub fn prepare_process() {
    without_huge_pages();
    install_crypto();
}

/// Has memory come in pages of the usual size. In huge ones a node took twice as much at rest, and waited at times for the
/// kernel to clear them (`BENCHMARKS.md`).
fn without_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay on");
    }
}

/// Chooses the one implementation of cryptography for TLS and DTLS. Must come before anything that encrypts.
pub fn install_crypto() {
    // An error means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    str0m::crypto::from_feature_flags().install_process_default();
}

/// Raises the limit of open files by so many, as far as the process may.
pub fn allow_files(more: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let (Some(current), maximum) = (limit.current, limit.maximum) else { return };
    let wanted = current + more;
    let raised = maximum.map_or(wanted, |maximum| wanted.min(maximum));
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }) {
        tracing::debug!(%error, "the limit of open files stays");
    }
}
