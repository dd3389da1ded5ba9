//! The roads between processes: how long a message takes on each kind of link. Draws from its own streams; loses nothing by
//! itself: cuts, resets and black holes are faults.

use crate::plan::{Delay, Ratio};
use crate::rand::Streams;
use arc_api::{Duration, Time};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// Latency of a link: `base`, plus up to `spread` more, small values being more likely.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latency {
    /// The least.
    pub base: Duration,
    /// The most above it.
    pub spread: Duration,
}

impl Latency {
    /// The usual part of a plan's delay, for roads that are travelled too often for a general draw.
    pub fn usual(delay: &Delay) -> Latency {
        let (from, to) = (delay.body.from.0, delay.body.to.0);
        // A road that is always equally long would hide every race: a fixed time means "about this".
        let spread = if from == to { from / 2 } else { to - from };
        Latency { base: from, spread }
    }
    /// From microseconds.
    pub const fn micros(base: u64, spread: u64) -> Latency {
        Latency { base: Duration::from_micros(base), spread: Duration::from_micros(spread) }
    }
}

/// A source of delays: one per concern, so that one concern's draws shift no other's.
#[derive(Clone, Debug)]
pub struct Dice {
    rng: ChaCha8Rng,
}

impl Dice {
    /// A stream derived from the run's seed and a label.
    pub fn new(seed: u64, label: &str) -> Dice {
        Dice { rng: Streams::new(seed).stream(label) }
    }
    /// A delay on a link. The square of a uniform draw: half of all delays are in the lowest quarter of the spread.
    pub fn delay(&mut self, latency: Latency) -> Duration {
        let spread = latency.spread.as_micros() as u64;
        if spread == 0 {
            return latency.base;
        }
        let u = u64::from(self.rng.next_u32());
        let squared = (u * u) >> 32;
        latency.base + Duration::from_micros((spread * squared) >> 32)
    }
    /// `now` plus a delay.
    pub fn arrival(&mut self, now: Time, latency: Latency) -> Time {
        now.after(self.delay(latency))
    }
    /// A number below `n`; 0 for `n` = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.rng.next_u64()) * u128::from(n)) >> 64) as u64
    }
    /// True in `num` of `den` cases.
    pub fn chance(&mut self, num: u32, den: u32) -> bool {
        self.below(u64::from(den.max(1))) < u64::from(num)
    }
    /// A draw from a plan's delay.
    pub fn sample(&mut self, delay: &Delay) -> Duration {
        delay.sample(&mut self.rng).0
    }
    /// Whether a share of cases includes this one.
    pub fn hits(&mut self, share: Ratio) -> bool {
        share.hits(&mut self.rng)
    }
    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.rng.next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_independent_and_reproducible() {
        let draw = |label| {
            let mut d = Dice::new(7, label);
            (0..4).map(|_| d.bits()).collect::<Vec<_>>()
        };
        assert_eq!(draw("net/kube"), draw("net/kube"));
        assert_ne!(draw("net/kube"), draw("net/github"));
    }

    #[test]
    fn delays_stay_within_base_and_spread() {
        let mut d = Dice::new(1, "x");
        let l = Latency::micros(100, 50);
        assert!((0..1000).map(|_| d.delay(l)).all(|x| (100..150).contains(&x.as_micros())));
    }
}
