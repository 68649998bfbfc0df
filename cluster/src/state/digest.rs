//! A fingerprint of the whole state, by which nodes find out that one of them went another way.
//!
//! It is the sum, modulo 2^128, of a hash of every row (SHA-256 over key and value, cut to 128 bits). A sum does not
//! depend on the order of the rows, so it can be carried from one state to a later one by what differs between them.
//! It finds mistakes, not forgers.

use sha2::{Digest as _, Sha256};

use super::State;
use super::rows::{Change, RowError};

/// A fingerprint of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Digest(u128);

impl Digest {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(hash(key, value));
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_sub(hash(key, value));
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

fn hash(key: &[u8], value: &[u8]) -> u128 {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let full = Sha256::new().chain_update(length.to_be_bytes()).chain_update(key).chain_update(value).finalize();
    full.iter().take(16).fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}

impl State {
    /// The fingerprint of this state. Walks all of it.
    ///
    /// # Errors
    /// When a record can't be encoded.
    pub(crate) fn digest(&self) -> Result<Digest, RowError> {
        self.digest_after(&Self::default(), Digest::default())
    }

    /// The fingerprint of this state, from that of an earlier one. Walks what differs.
    ///
    /// # Errors
    /// When a record can't be encoded.
    pub(crate) fn digest_after(&self, earlier: &Self, mut digest: Digest) -> Result<Digest, RowError> {
        for change in self.changes_since(earlier) {
            let Change { key, before, after } = change?;
            before.iter().for_each(|value| digest.remove(&key, value));
            after.iter().for_each(|value| digest.add(&key, value));
        }
        Ok(digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    impl State {
        /// Adds something that no command brought.
        pub(crate) fn smuggle(&mut self, token: u128) {
            self.spent.insert(token, Timestamp::from_millis(i64::MAX));
        }
    }

    #[test]
    fn equal_states_have_equal_fingerprints_by_whatever_way() {
        let empty = State::default();
        let mut one = State::default();
        one.smuggle(7);
        let direct = one.digest().expect("encodes");
        assert_ne!(direct, empty.digest().expect("encodes"));
        assert_eq!(one.digest_after(&empty, empty.digest().expect("encodes")), Ok(direct));
        assert_eq!(empty.digest_after(&one, direct), empty.digest());
    }
}
