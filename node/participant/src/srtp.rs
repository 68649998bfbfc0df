//! Which SRTP protection profiles (RFC 5764 §4.1.2) were agreed on, counted over all participants of the process: what is
//! negotiated decides what a packet costs, and nothing else tells it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use str0m::crypto::{
    AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80Cipher, CryptoProvider, SrtpProvider,
    SupportedAeadAes128Gcm, SupportedAeadAes256Gcm, SupportedAes128CmSha1_80, from_feature_flags,
};

static CM: KeyCount = KeyCount::new();
static GCM_128: KeyCount = KeyCount::new();
static GCM_256: KeyCount = KeyCount::new();

/// Keys made for each profile since the process began; a connection makes several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Profiles {
    cm: u64,
    gcm_128: u64,
    gcm_256: u64,
}

impl Profiles {
    /// Up to now.
    #[must_use]
    pub fn so_far() -> Self {
        let count = |counted: &KeyCount| counted.0.load(Ordering::Relaxed);
        Self { cm: count(&CM), gcm_128: count(&GCM_128), gcm_256: count(&GCM_256) }
    }

    /// The profiles that were agreed on since `before`, by their names in RFC 5764 §4.1.2 and RFC 7714 §14.2 behind `SRTP_`.
    #[must_use]
    pub fn names_since(&self, before: &Self) -> Vec<&'static str> {
        let of = |name, now: u64, then: u64| (now > then).then_some(name);
        let names = [
            of("AES128_CM_HMAC_SHA1_80", self.cm, before.cm),
            of("AEAD_AES_128_GCM", self.gcm_128, before.gcm_128),
            of("AEAD_AES_256_GCM", self.gcm_256, before.gcm_256),
        ];
        names.into_iter().flatten().collect()
    }
}

/// The usual cryptography, with its SRTP keys counted.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { srtp_provider: &CountingProvider, ..from_feature_flags() })
}

#[derive(Debug)]
struct KeyCount(AtomicU64);

impl KeyCount {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct CountingProvider;

fn usual() -> &'static dyn SrtpProvider {
    from_feature_flags().srtp_provider
}

impl SrtpProvider for CountingProvider {
    fn aes_128_cm_sha1_80(&self) -> &'static dyn SupportedAes128CmSha1_80 {
        &CM
    }

    fn aead_aes_128_gcm(&self) -> &'static dyn SupportedAeadAes128Gcm {
        &GCM_128
    }

    fn aead_aes_256_gcm(&self) -> &'static dyn SupportedAeadAes256Gcm {
        &GCM_256
    }

    fn srtp_aes_128_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        usual().srtp_aes_128_ecb_round(key, input, output);
    }

    fn srtp_aes_256_ecb_round(&self, key: &[u8], input: &[u8], output: &mut [u8]) {
        usual().srtp_aes_256_ecb_round(key, input, output);
    }
}

impl SupportedAes128CmSha1_80 for KeyCount {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn Aes128CmSha1_80Cipher> {
        self.count();
        usual().aes_128_cm_sha1_80().create_cipher(key, encrypt)
    }
}

impl SupportedAeadAes128Gcm for KeyCount {
    fn create_cipher(&self, key: [u8; 16], encrypt: bool) -> Box<dyn AeadAes128GcmCipher> {
        self.count();
        usual().aead_aes_128_gcm().create_cipher(key, encrypt)
    }
}

impl SupportedAeadAes256Gcm for KeyCount {
    fn create_cipher(&self, key: [u8; 32], encrypt: bool) -> Box<dyn AeadAes256GcmCipher> {
        self.count();
        usual().aead_aes_256_gcm().create_cipher(key, encrypt)
    }
}
