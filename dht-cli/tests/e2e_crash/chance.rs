//! Chance from a seed (SplitMix64: Steele, Lea, Flood, OOPSLA 2014).

use std::time::Duration;

/// A stream of numbers.
pub struct Chance(u64);

impl Chance {
    /// The stream of this name.
    pub fn new(seed: u64, name: u64) -> Self {
        let mut chance = Self(seed ^ name.wrapping_mul(0xA24B_AED4_963E_E407));
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// True so many times in 100.
    pub fn percent(&mut self, share: usize) -> bool {
        self.below(100) < share
    }

    /// Less than so many milliseconds.
    pub fn millis(&mut self, end: usize) -> Duration {
        Duration::from_micros(self.below(1_000 * end) as u64)
    }
}
