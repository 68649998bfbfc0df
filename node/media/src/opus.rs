//! What forwarding needs of an Opus packet.

/// How many samples at 48 kHz the packet lasts, from its first bytes (RFC 6716 §3.1, §3.2); one 20 ms frame where they
/// don't say.
#[must_use]
pub fn duration(payload: &[u8]) -> u64 {
    const LONGEST: u64 = 5_760;
    const USUAL: u64 = 960;
    let Some(toc) = payload.first() else { return USUAL };
    let configuration = toc >> 3;
    let frame = match configuration {
        0..=11 => [480, 960, 1_920, 2_880][usize::from(configuration & 3)],
        12..=15 => [480, 960][usize::from(configuration & 1)],
        16.. => [120, 240, 480, 960][usize::from(configuration & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        3.. => payload.get(1).map_or(1, |count| u64::from(count & 0x3f)),
    };
    (frame * frames).clamp(frame, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_configuration_and_the_frame_count() {
        assert_eq!(duration(&[0xf8]), 960, "CELT, 20 ms");
        assert_eq!(duration(&[0x78]), 960, "hybrid, 20 ms");
        assert_eq!(duration(&[0x18]), 2_880, "SILK, 60 ms");
        assert_eq!(duration(&[0xf1]), 960, "two frames of 10 ms");
        assert_eq!(duration(&[0xfb, 0x03]), 2_880, "three frames of 20 ms");
        assert_eq!(duration(&[0xfb, 0x3f]), 5_760, "never over 120 ms");
        assert_eq!(duration(&[]), 960);
        assert_eq!(duration(&[0xfb]), 960);
    }
}
