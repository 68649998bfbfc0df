//! Bits of codec headers, most significant first, with the Exp-Golomb codes of H.264 (ITU-T H.264 §9.1).

/// Writes bits into bytes.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    /// Appends the low `count` bits of `value`.
    pub(super) fn bits(&mut self, count: u32, value: u32) -> &mut Self {
        for at in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if value >> at & 1 == 1
                && let Some(last) = self.bytes.last_mut()
            {
                *last |= 0x80 >> (self.used % 8);
            }
            self.used += 1;
        }
        self
    }

    /// Appends ue(v): as many zeros as `value + 1` has bits after its first, then those bits.
    pub(super) fn exp_golomb(&mut self, value: u32) -> &mut Self {
        let code = value + 1;
        let length = u32::BITS - code.leading_zeros();
        self.bits(length - 1, 0).bits(length, code)
    }

    /// Closes with a one and zeros up to a whole byte, as both H.264 (§7.3.2.11) and AV1 (§5.3.4) do.
    pub(super) fn trailing(&mut self) -> &[u8] {
        self.bits(1, 1);
        &self.bytes
    }

    /// What was written, zeros up to a whole byte.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads bits; `None` beyond the end.
#[derive(Debug)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next `count` bits, at most 32.
    pub(super) fn bits(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// ue(v), up to 16 bits; longer ones are no dimensions.
    pub(super) fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bits(1)? == 0 {
            zeros += 1;
        }
        if zeros > 16 {
            return None;
        }
        Some((1 << zeros) - 1 + self.bits(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = BitWriter::default();
        writer.bits(3, 0b101).exp_golomb(0).exp_golomb(1).exp_golomb(79).bits(16, 0xBEEF).exp_golomb(1023);
        let bytes = writer.trailing().to_vec();
        let mut reader = BitReader::new(&bytes);
        assert_eq!(reader.bits(3), Some(0b101));
        assert_eq!([reader.exp_golomb(), reader.exp_golomb(), reader.exp_golomb()], [Some(0), Some(1), Some(79)]);
        assert_eq!((reader.bits(16), reader.exp_golomb(), reader.bits(1)), (Some(0xBEEF), Some(1023), Some(1)));
        assert_eq!(reader.bits(8), None, "there is less than a byte left");
        assert_eq!(BitReader::new(&[0; 8]).exp_golomb(), None);
    }
}
