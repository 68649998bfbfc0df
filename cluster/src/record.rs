//! One record as it stands on disk: a schema version, a checksum, and the encoded value.
//!
//! ```text
//! | version: u8 | crc32 of the rest: u32 LE | bincode (standard configuration) |
//! ```
//!
//! bincode is not self-describing, so a changed type needs a new version, and enum variants are only ever appended.

use bincode::config::{Configuration, standard};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version that is written. There is no older one yet.
const VERSION: u8 = 1;

/// Version byte and checksum.
const HEAD: usize = 5;

/// Bytes that most records fit into.
const ROOM: usize = 256;

/// Bytes of one stored value at most. From 128 KiB on sled would move a page to a file of its own, which it neither
/// syncs nor removes; this stays far below.
pub(crate) const VALUE_MAX: usize = 32 * 1024;

/// Why bytes are not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too short to hold anything.
    #[error("record is cut short at {0} bytes")]
    Short(usize),
    /// Written by another version of this program.
    #[error("record has schema version {0}, this program knows {VERSION}")]
    Version(u8),
    /// The checksum does not fit.
    #[error("record is damaged: its checksum does not fit")]
    Checksum,
    /// The checksum fits and the content does not: a bug, or another program's file.
    #[error("record can't be decoded: {0}")]
    Decode(String),
    /// The value can't be encoded, or is larger than what the store takes.
    #[error("record can't be encoded: {0}")]
    Encode(String),
}

const CONFIG: Configuration = standard();

/// The record of a value.
///
/// # Errors
/// [`RecordError::Encode`] when the value can't be encoded.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    let mut bytes = Vec::with_capacity(ROOM);
    bytes.resize(HEAD, 0);
    bincode::serde::encode_into_std_write(value, &mut bytes, CONFIG)
        .map_err(|error| RecordError::Encode(error.to_string()))?;
    let crc = crc32fast::hash(&bytes[HEAD..]);
    bytes[0] = VERSION;
    bytes[1..HEAD].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// The record of a value that is to be stored under one key: at most [`VALUE_MAX`] bytes.
///
/// # Errors
/// [`RecordError::Encode`] when the value can't be encoded or is too large.
pub(crate) fn encode_value<T: Serialize>(value: &T) -> Result<Vec<u8>, RecordError> {
    let bytes = encode(value)?;
    if bytes.len() > VALUE_MAX {
        return Err(RecordError::Encode(format!("{} bytes are more than the {VALUE_MAX} of one value", bytes.len())));
    }
    Ok(bytes)
}

/// Bytes that a value takes when it is encoded; more than any limit if it can't be.
pub(crate) fn encoded_size<T: Serialize>(value: &T) -> usize {
    let mut count = Count(0);
    match bincode::serde::encode_into_std_write(value, &mut count, CONFIG) {
        Ok(_) => count.0,
        Err(_) => usize::MAX,
    }
}

/// Counts what is written to it.
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The value of a record.
///
/// # Errors
/// [`RecordError`] when the bytes are not a record of this type.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    let (Some(&version), Some(crc), Some(body)) = (bytes.first(), bytes.get(1..HEAD), bytes.get(HEAD..)) else {
        return Err(RecordError::Short(bytes.len()));
    };
    if version != VERSION {
        return Err(RecordError::Version(version));
    }
    if crc32fast::hash(body).to_le_bytes() != crc {
        return Err(RecordError::Checksum);
    }
    let (value, used) =
        bincode::serde::decode_from_slice(body, CONFIG).map_err(|error| RecordError::Decode(error.to_string()))?;
    if used != body.len() {
        return Err(RecordError::Decode(format!("{} bytes are left over", body.len() - used)));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_these_bytes() {
        let bytes = encode(&(7_u64, "ada")).expect("encodes");
        assert_eq!(bytes, [1, 0x99, 0xda, 0x86, 0x14, 7, 3, b'a', b'd', b'a']);
        assert_eq!(decode::<(u64, String)>(&bytes), Ok((7, "ada".to_owned())));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = encode(&(7_u64, "ada")).expect("encodes");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode::<(u64, String)>(&bad).is_err(), "bit {bit}");
        }
        assert_eq!(decode::<u64>(&good[..3]), Err(RecordError::Short(3)));
    }

    #[test]
    fn a_value_that_is_too_large_is_refused() {
        assert!(encode_value(&vec![0_u8; VALUE_MAX]).is_err());
        assert!(encode_value(&vec![0_u8; VALUE_MAX - 16]).is_ok());
    }
}
