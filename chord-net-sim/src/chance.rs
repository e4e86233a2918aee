//! Chance that can be taken apart.
//!
//! Every draw is a function of the run's seed, who draws, what for, and the how-manyeth
//! time. Removing one fault, or one node, therefore leaves all other draws as they were,
//! which keeps a shrunk scenario close to the one it came from.
//!
//! Delays need logarithms, and the ones of the platform differ in their last bits from one
//! C library to the next. [`ln`] and [`exp`] here use IEEE addition, multiplication and
//! division only, which are the same everywhere.

use chord_core::draw::{below, draw};

/// What a draw is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Purpose {
    /// The one-way delay of a message.
    Delay,
    /// Whether a message is lost.
    Drop,
    /// Whether a message arrives twice.
    Duplicate,
    /// The delay of the second copy.
    DuplicateDelay,
    /// Whether a message is held back.
    Reorder,
    /// For how long.
    ReorderDelay,
    /// The seed of a node's own draws.
    NodeSeed,
    /// Delays of the disk.
    Disk,
    /// When somebody joins next, and through whom.
    Join,
    /// When somebody crashes next, and who.
    Crash,
    /// When somebody leaves next, and who.
    Leave,
    /// How long a crashed node stays down, and whether it comes back.
    Down,
    /// When the next lookup starts, where, and for what.
    Lookup,
    /// When the next record operation starts, where, and which.
    Record,
    /// Whom a scheduled fault hits.
    Fault,
    /// What the final checks ask, and whom.
    Check,
    /// Whether a host that is down refuses a message instead of staying silent.
    Refuse,
    /// Whether a read of the disk sees the state when it was asked for, or when it is answered.
    DiskSight,
    /// Which unsynced writes survive a power cut.
    Torn,
    /// How far a host's wall clock is off.
    Clock,
}

impl Purpose {
    const COUNT: usize = Self::Clock as usize + 1;
}

/// The draw number `n` of `node` for `purpose`.
#[must_use]
pub fn nth(seed: u64, node: u32, purpose: Purpose, n: u64) -> u64 {
    draw(seed, (u64::from(node) << 8) | purpose as u64, n)
}

/// Streams of draws of one drawer: one counter for each purpose.
#[derive(Clone, Debug)]
pub struct Stream {
    seed: u64,
    node: u32,
    drawn: [u64; Purpose::COUNT],
}

impl Stream {
    /// The streams of `node`, all at their beginning.
    #[must_use]
    pub fn new(seed: u64, node: u32) -> Self {
        Self {
            seed,
            node,
            drawn: [0; Purpose::COUNT],
        }
    }

    /// The next draw.
    pub fn next(&mut self, purpose: Purpose) -> u64 {
        let counter = &mut self.drawn[purpose as usize];
        let n = *counter;
        *counter += 1;
        nth(self.seed, self.node, purpose, n)
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&mut self, purpose: Purpose, bound: u64) -> u64 {
        below(self.next(purpose), bound)
    }

    /// An index into something of `len` entries; `None` if there are none.
    pub fn index(&mut self, purpose: Purpose, len: usize) -> Option<usize> {
        if len == 0 {
            return None;
        }
        usize::try_from(self.below(purpose, len as u64)).ok()
    }

    /// True with probability `p`.
    pub fn hit(&mut self, purpose: Purpose, p: Probability) -> bool {
        p.hit(self.next(purpose))
    }

    /// A waiting time of a Poisson process, in microseconds, at least 1.
    pub fn exponential(&mut self, purpose: Purpose, mean: f64) -> u64 {
        exponential(self.next(purpose), mean).max(1)
    }
}

/// A probability as a threshold for a 64-bit draw, so that a decision is one comparison.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Probability(u64);

impl Probability {
    /// `p` in 0 … 1; `None` outside.
    #[must_use]
    pub fn new(p: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&p) {
            return None;
        }
        // 2⁶⁴ as a float; the cast saturates at p = 1.
        Some(Self((p * 18_446_744_073_709_551_616.0) as u64))
    }

    /// Whether it can ever be true.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The probability of one of two things that exclude each other; `None` above 1.
    #[must_use]
    pub fn or(self, other: Self) -> Option<Self> {
        // Two halves may add up to 2⁶⁴, which is 1 and saturates like it.
        let sum = u128::from(self.0) + u128::from(other.0);
        (sum <= 1 << 64).then(|| Self(u64::try_from(sum).unwrap_or(u64::MAX)))
    }

    /// The decision that belongs to a draw.
    #[must_use]
    pub fn hit(self, drawn: u64) -> bool {
        drawn < self.0 || self.0 == u64::MAX
    }
}

/// A draw as a number in (0, 1].
#[must_use]
pub fn unit(drawn: u64) -> f64 {
    // 53 bits: every result is exact.
    ((drawn >> 11) + 1) as f64 / 9_007_199_254_740_992.0
}

/// An exponentially distributed length of `mean`, rounded to whole units.
#[must_use]
pub fn exponential(drawn: u64, mean: f64) -> u64 {
    (-ln(unit(drawn)) * mean) as u64
}

/// A number that is nearly normal, mean 0 and deviation 1: the sum of twelve uniform ones
/// (Irwin–Hall). It stays within ±6, which is what a latency should do anyway.
#[must_use]
pub fn normal(drawn: u64) -> f64 {
    let mut sum = 0.0;
    for n in 0..3 {
        let mut bits = draw(drawn, n, 0);
        for _ in 0..4 {
            sum += (bits & 0xffff) as f64 / 65_536.0;
            bits >>= 16;
        }
    }
    sum - 6.0
}

/// The natural logarithm of a positive number, the same bits on every platform.
#[must_use]
pub fn ln(x: f64) -> f64 {
    const LN_2: f64 = std::f64::consts::LN_2;
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as f64 - 1_023.0;
    // The mantissa in [1, 2), moved to about [0.7, 1.4] where the series is short.
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa /= 2.0;
        exponent += 1.0;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut sum = 0.0;
    for n in (0..11).rev() {
        sum = sum * square + 1.0 / f64::from(2 * n + 1);
    }
    2.0 * s * sum + exponent * LN_2
}

/// e to the power of `x` for |x| up to 700, the same bits on every platform.
#[must_use]
pub fn exp(x: f64) -> f64 {
    const LN_2: f64 = std::f64::consts::LN_2;
    let x = x.clamp(-700.0, 700.0);
    let halves = x / LN_2 + if x < 0.0 { -0.5 } else { 0.5 };
    let power = halves as i64;
    let rest = x - power as f64 * LN_2;
    let mut sum = 1.0;
    for n in (1..=18).rev() {
        sum = 1.0 + sum * rest / f64::from(n);
    }
    let scale = u64::try_from(power + 1_023).expect("the exponent is bounded by the clamp");
    sum * f64::from_bits(scale << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_exponential_agree_with_the_platform() {
        for n in 1..2_000_u32 {
            let x = f64::from(n) * 0.00731;
            assert!(
                (ln(x) - x.ln()).abs() < 1e-13 * (1.0 + x.ln().abs()),
                "ln {x}"
            );
            let y = f64::from(n) * 0.01 - 10.0;
            assert!((exp(y) / y.exp() - 1.0).abs() < 1e-13, "exp {y}");
        }
        assert!((ln(unit(0)) - (2f64).powi(-53).ln()).abs() < 1e-12);
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn waiting_times_have_the_mean_and_the_tail_of_an_exponential() {
        let mut stream = Stream::new(3, 4);
        let draws: Vec<u64> = (0..40_000)
            .map(|_| stream.exponential(Purpose::Join, 50_000.0))
            .collect();
        let mean = draws.iter().sum::<u64>() / draws.len() as u64;
        assert!((49_000..51_000).contains(&mean), "{mean}");
        let beyond = draws.iter().filter(|&&length| length > 150_000).count();
        // e⁻³ of 40,000 is 1,991.
        assert!((1_850..2_130).contains(&beyond), "{beyond}");
    }

    #[test]
    fn a_normal_draw_has_mean_zero_and_deviation_one() {
        let draws: Vec<f64> = (0..20_000)
            .map(|n| normal(nth(1, 2, Purpose::Delay, n)))
            .collect();
        let count = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / count;
        let variance = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
    }

    #[test]
    fn a_probability_is_met_and_its_ends_are_certain() {
        let mut stream = Stream::new(9, 1);
        let p = Probability::new(0.02).expect("in range");
        let hits = (0..50_000).filter(|_| stream.hit(Purpose::Drop, p)).count();
        assert!((900..1_100).contains(&hits), "{hits}");
        let (never, always) = (Probability::new(0.0), Probability::new(1.0));
        assert!(!never.expect("in range").hit(0) && always.expect("in range").hit(u64::MAX));
        assert_eq!(Probability::new(1.01), None);
        assert_eq!(Probability::new(f64::NAN), None);
    }

    #[test]
    fn purposes_and_nodes_have_streams_of_their_own() {
        let mut one = Stream::new(7, 1);
        let mut other = Stream::new(7, 1);
        other.next(Purpose::Drop);
        assert_eq!(one.next(Purpose::Delay), other.next(Purpose::Delay));
        assert_ne!(
            Stream::new(7, 2).next(Purpose::Drop),
            Stream::new(7, 1).next(Purpose::Drop)
        );
    }
}
