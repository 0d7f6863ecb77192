//! Choices that come out the same every time: a number drawn from a seed and what it is about. A recipient keeps
//! their fate over every retry because nothing else goes into the draw.

/// A 64-bit number that depends on every byte of `about` (ASCII case ignored) and on `seed`. Not for adversaries.
pub fn hash(seed: u64, about: &[u8]) -> u64 {
    // FNV-1a for the bytes, then a strong finish: FNV alone leaves the high bits of short strings poor.
    let mut h = 0xcbf2_9ce4_8422_2325 ^ mix(seed);
    for b in about {
        h = (h ^ u64::from(b.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3);
    }
    mix(h)
}

/// The finishing step of SplitMix64.
pub fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A drawn number as a fraction in `0.0..1.0`.
pub fn unit(h: u64) -> f64 {
    (h >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_repeatable_and_ignores_case() {
        assert_eq!(hash(7, b"Ann@Example.com"), hash(7, b"ann@example.com"));
        assert_ne!(hash(7, b"ann@example.com"), hash(8, b"ann@example.com"));
    }

    #[test]
    fn shares_come_out_as_asked() {
        let below =
            (0..100_000).filter(|i| unit(hash(1, format!("user{i}@example.com").as_bytes())) < 0.02).count();
        assert!((1_800..2_200).contains(&below), "{below} of 100,000 drew below 0.02");
    }
}
