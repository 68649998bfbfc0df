//! How each session's `Rtc` is set up.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::config::{CryptoProvider, DtlsCert};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, Rtc, RtcConfig};

/// A browser gives the first audio/video skew after it has seen reports of both.
const AUDIO_REPORTS: Duration = Duration::from_secs(1);

/// What all sessions of a worker have in common.
#[derive(Debug, Clone)]
pub(crate) struct RtcTemplate {
    config: RtcConfig,
    addresses: Vec<SocketAddr>,
}

impl RtcTemplate {
    /// One certificate for all: making a key costs more than the rest of a handshake.
    pub(crate) fn new(certificate: DtlsCert, addresses: Vec<SocketAddr>) -> Self {
        let mut extensions = ExtensionMap::empty();
        extensions.set(1, Extension::AudioLevel);
        extensions.set(3, Extension::TransportSequenceNumber);
        extensions.set(4, Extension::RtpMid);
        // No bandwidth estimation while a track has one layer: there is nothing to choose, and str0m's estimator asks
        // for a timeout per packet. Transport-wide feedback is negotiated all the same.
        let config = RtcConfig::new()
            .set_crypto_provider(Arc::new(provider()))
            .set_dtls_cert(certificate)
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .set_extension_map(extensions)
            .set_rtcp_report_interval_audio(AUDIO_REPORTS);
        Self { config, addresses }
    }

    /// A new `Rtc` with our host candidates.
    pub(crate) fn build(&self, now: Instant) -> Rtc {
        let mut rtc = self.config.clone().build(now);
        for address in &self.addresses {
            match Candidate::host(*address, "udp") {
                Ok(candidate) => {
                    rtc.add_local_candidate(candidate);
                }
                Err(error) => tracing::warn!(%error, "an address can't be an ICE candidate; bind another one"),
            }
        }
        rtc
    }
}

fn provider() -> CryptoProvider {
    str0m::crypto::from_feature_flags()
}

/// Makes the certificate that a process's sessions share.
///
/// # Panics
///
/// When the cryptographic library can't make a key, which it always can.
#[must_use]
pub fn generate_certificate() -> DtlsCert {
    provider().dtls_provider.generate_certificate().expect("aws-lc makes ECDSA certificates")
}
