//! Numbers that follow from a seed.

/// The generator SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
/// 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Makes one; the same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x5851_f42d_4c95_7f2d))
    }

    /// Returns 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`, 0 if there is none.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// Returns an index below `len`, which is not 0.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("below a usize")
    }

    /// Returns a number from the first to the last of a range, short ones being likelier than
    /// long ones: half of them are in the lowest eighth.
    pub fn mostly_short(&mut self, (least, most): (u64, u64)) -> u64 {
        let span = most.saturating_sub(least) + 1;
        let part = if self.below(2) == 0 { span.div_ceil(8) } else { span };
        least + self.below(part)
    }

    /// Answers yes in this many of a thousand cases.
    pub fn permille(&mut self, chance: u16) -> bool {
        self.below(1000) < u64::from(chance)
    }
}
