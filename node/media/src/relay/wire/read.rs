//! A cursor over a frame's bytes.

use uuid::Uuid;

use super::{FrameError, VERSION};

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The first byte, whose upper half is the version.
    pub(super) fn kind(&mut self) -> Result<u8, FrameError> {
        let byte = self.u8()?;
        if byte >> 4 != VERSION {
            return Err(FrameError::Version(byte >> 4));
        }
        Ok(byte & 0x0f)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(FrameError::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, FrameError> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FrameError> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u48(&mut self) -> Result<u64, FrameError> {
        let [a, b, c, d, e, f] = self.take()?;
        Ok(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    pub(super) fn uuid(&mut self) -> Result<Uuid, FrameError> {
        self.take().map(Uuid::from_bytes)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) const fn end(&self) -> Result<(), FrameError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FrameError::Long(self.rest.len())) }
    }
}
