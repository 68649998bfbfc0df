//! Seeded numbers for what has to be arbitrary but not secret: first sequence numbers and timestamps.

/// A `SplitMix64` generator (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are as random as the others")]
    pub(crate) const fn next_u32(&mut self) -> u32 {
        self.next() as u32
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low bits are as random as the others")]
    pub(crate) const fn next_u16(&mut self) -> u16 {
        self.next() as u16
    }
}
