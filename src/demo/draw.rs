//! Reproducible draws: the same seed gives the same bank on every machine and with every release of
//! every dependency.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014).
/// Good enough to draw names; never for keys.
pub struct Draw(u64);

impl Draw {
    /// An independent sequence for each (seed, number).
    pub fn new(seed: u64, number: u64) -> Self {
        let mut first =
            Self(seed.wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ number.wrapping_mul(0xA076_1D64_78BD_642F));
        Self(first.word())
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.word().checked_rem(bound).unwrap_or(0)
    }

    /// True once in `n` draws.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of the list, each equally likely.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let at = self.below(list.len() as u64);
        list.get(usize::try_from(at).ok()?)
    }

    /// One of the list, the earlier ones more often: the smaller of two draws.
    pub fn pick_early<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let len = list.len() as u64;
        let at = self.below(len).min(self.below(len));
        list.get(usize::try_from(at).ok()?)
    }

    /// Uniform in 0..1, 53 bits.
    pub fn share(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_sequence_of_splitmix64() {
        let mut draw = Draw(1_234_567);
        assert_eq!(draw.word(), 6_457_827_717_110_365_317);
        assert_eq!(draw.word(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn sequences_of_different_numbers_differ() {
        assert_ne!(Draw::new(7, 1).word(), Draw::new(7, 2).word());
        assert_eq!(Draw::new(7, 1).word(), Draw::new(7, 1).word());
    }
}
