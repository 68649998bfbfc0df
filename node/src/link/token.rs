//! Join tokens: what lets a newcomer find the right cluster and lets the cluster let it in, once.
//!
//! Text form: `plenary-join_` and base64url (no padding) of
//! `version u8 · CA fingerprint 32 · token id u128 · expiry i64 (Unix ms) · HMAC-SHA-256 32`, integers big-endian. The
//! HMAC is over everything before it, keyed with the cluster secret. The newcomer uses the fingerprint; the member
//! checks the HMAC and the expiry; the replicated state remembers spent ids.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use plenary_cluster::model::Timestamp;

use super::identity::{ClusterSecret, Identity};
use super::pki::Fingerprint;

const PREFIX: &str = "plenary-join_";
const VERSION: u8 = 1;
const SIGNED: usize = 1 + 32 + 16 + 8;
const LENGTH: usize = SIGNED + 32;

/// Why a text is not a token that lets anyone in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a join token at all.
    #[error("token: not a join token (expected `plenary-join_…`); copy the whole line that `plenary token` printed")]
    Malformed,
    /// Made by a newer Plenary.
    #[error("token: unknown version; update this node to the version that made the token")]
    Version,
    /// The HMAC is wrong: changed on the way, or made by another cluster.
    #[error(
        "token: not made by this cluster, or changed since; make one with `plenary token` on a member of this cluster"
    )]
    Forged,
    /// Its time is over.
    #[error("token: expired at {at}; make a new one with `plenary token` on a member")]
    Expired {
        /// When it expired.
        at: Timestamp,
    },
}

/// A single-use, expiring permission to join.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    fingerprint: Fingerprint,
    id: u128,
    expires: Timestamp,
    mac: [u8; 32],
}

impl JoinToken {
    /// Makes a token that any member of `identity`'s cluster accepts until `expires`. `id` is random, drawn by the caller.
    #[must_use]
    pub fn mint(identity: &Identity, id: u128, expires: Timestamp) -> Self {
        let mut token = Self { fingerprint: identity.ca().fingerprint(), id, expires, mac: [0; 32] };
        let mac = hmac::sign(&identity.secret().hmac_key(), &token.signed());
        token.mac.copy_from_slice(mac.as_ref());
        token
    }

    /// Checks that this cluster made the token and that it has not expired. Whether it is spent, the state knows.
    ///
    /// # Errors
    /// [`TokenError::Forged`] or [`TokenError::Expired`].
    pub fn verify(&self, secret: &ClusterSecret, now: Timestamp) -> Result<(), TokenError> {
        hmac::verify(&secret.hmac_key(), &self.signed(), &self.mac).map_err(|_| TokenError::Forged)?;
        if now >= self.expires {
            return Err(TokenError::Expired { at: self.expires });
        }
        Ok(())
    }

    /// The authority whose cluster the token is for.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Its random id, spent at its first use.
    #[must_use]
    pub const fn id(&self) -> u128 {
        self.id
    }

    /// When it ceases to hold.
    #[must_use]
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    fn signed(&self) -> [u8; SIGNED] {
        let mut bytes = [0; SIGNED];
        bytes[0] = VERSION;
        bytes[1..33].copy_from_slice(self.fingerprint.as_bytes());
        bytes[33..49].copy_from_slice(&self.id.to_be_bytes());
        bytes[49..].copy_from_slice(&self.expires.millis().to_be_bytes());
        bytes
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.signed().to_vec();
        bytes.extend_from_slice(&self.mac);
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(TokenError::Malformed)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Malformed)?;
        match bytes.first() {
            None => return Err(TokenError::Malformed),
            Some(&VERSION) => {}
            Some(_) => return Err(TokenError::Version),
        }
        let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| TokenError::Malformed)?;
        Ok(Self {
            fingerprint: Fingerprint::from_bytes(part(&bytes, 1)),
            id: u128::from_be_bytes(part(&bytes, 33)),
            expires: Timestamp::from_millis(i64::from_be_bytes(part(&bytes, 49))),
            mac: part(&bytes, SIGNED),
        })
    }
}

fn part<const N: usize>(bytes: &[u8; LENGTH], from: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[from..from + N]);
    part
}

#[cfg(test)]
mod tests {
    use plenary_cluster::model::NodeId;
    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
    const LATER: Timestamp = Timestamp::from_millis(1_790_000_060_000);

    fn identity() -> Identity {
        Identity::found(Uuid::from_u128(9), NodeId::new(1), NOW).unwrap()
    }

    #[test]
    fn a_token_survives_its_text_and_holds_until_it_expires() {
        let identity = identity();
        let token = JoinToken::mint(&identity, 77, LATER);
        let back: JoinToken = token.to_string().parse().unwrap();
        assert_eq!(back, token);
        assert_eq!(back.verify(identity.secret(), NOW), Ok(()));
        assert_eq!(back.verify(identity.secret(), LATER), Err(TokenError::Expired { at: LATER }));
    }

    #[test]
    fn a_token_of_another_cluster_is_refused() {
        let token = JoinToken::mint(&identity(), 77, LATER);
        assert_eq!(token.verify(identity().secret(), NOW), Err(TokenError::Forged));
    }

    #[test]
    fn no_changed_byte_goes_unnoticed() {
        let identity = identity();
        let text = JoinToken::mint(&identity, 77, LATER).to_string();
        let bytes = URL_SAFE_NO_PAD.decode(&text[PREFIX.len()..]).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(changed));
            let outcome = text.parse::<JoinToken>().and_then(|token| token.verify(identity.secret(), NOW));
            assert!(matches!(outcome, Err(TokenError::Forged | TokenError::Version)), "byte {at}: {outcome:?}");
        }
    }

    #[test]
    fn texts_that_are_no_tokens_are_malformed() {
        for text in ["", "plenary-join_", "plenary-join_AQ", "plenary-join_***", "join_AAAA"] {
            assert_eq!(text.parse::<JoinToken>(), Err(TokenError::Malformed), "{text}");
        }
        assert_eq!("plenary-join_Ag".parse::<JoinToken>(), Err(TokenError::Version));
    }
}
