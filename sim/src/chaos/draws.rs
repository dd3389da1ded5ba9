//! Draws with names: a stream of one seed and the few ways in which the generator asks it. Never shares a stream.

use rand_chacha::ChaCha8Rng;

use crate::plan::values::below;
use crate::plan::{Between, Delay, Dur, Ratio};
use crate::rand::Streams;

/// One stream.
#[derive(Clone, Debug)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream of a label.
    pub fn of(streams: &Streams, label: &str) -> Draws {
        Draws(streams.stream(label))
    }
    /// A number below `n`; 0 for 0.
    pub fn below(&mut self, n: u64) -> u64 {
        below(&mut self.0, n)
    }
    /// A number of a range, both ends included.
    pub fn between(&mut self, least: u32, most: u32) -> u32 {
        least + self.below(u64::from(most.saturating_sub(least)) + 1) as u32
    }
    /// Whether it happens.
    pub fn hits(&mut self, share: Ratio) -> bool {
        share.hits(&mut self.0)
    }
    /// True in one of `n` cases.
    pub fn one_in(&mut self, n: u32) -> bool {
        self.below(u64::from(n.max(1))) == 0
    }
    /// One of several, each as likely.
    ///
    /// # Panics
    /// If there is none to choose from: the caller's mistake.
    pub fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
    /// One of several by weight; `None` if all weigh nothing.
    pub fn weighted<T: Clone>(&mut self, of: &[(u32, T)]) -> Option<T> {
        let all: u64 = of.iter().map(|(w, _)| u64::from(*w)).sum();
        let mut at = self.below(all.max(1));
        of.iter().find_map(|(w, what)| match at.checked_sub(u64::from(*w)) {
            Some(rest) => {
                at = rest;
                None
            }
            None => Some(what.clone()),
        })
    }
    /// Seconds of a range.
    pub fn secs(&mut self, least: u32, most: u32) -> Dur {
        Dur::secs(u64::from(self.between(least, most)))
    }
    /// Milliseconds of a range.
    pub fn millis(&mut self, least: u32, most: u32) -> Dur {
        Dur::millis(u64::from(self.between(least, most)))
    }
    /// A fixed delay of some seconds.
    pub fn delay(&mut self, least: u32, most: u32) -> Delay {
        Delay::fixed(self.secs(least, most))
    }
    /// A delay that varies: from a drawn time to twice as much.
    pub fn varying(&mut self, least: u32, most: u32) -> Delay {
        let from = self.millis(least, most);
        Delay { body: Between { from, to: Dur(from.0 * 2) }, tail: None }
    }
    /// A share of the requests, objects or events: mostly all of them.
    pub fn share(&mut self) -> Ratio {
        let of = |num, den| Ratio { num, den };
        self.one(&[of(1, 1), of(1, 1), of(1, 2), of(1, 5), of(1, 20)])
    }
    /// A limit on how often: mostly one, or a few.
    pub fn count(&mut self, most: u32) -> u32 {
        if self.one_in(3) { 1 } else { self.between(1, most) }
    }
    /// A shuffled order of `n` places.
    pub fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for at in (1..n).rev() {
            order.swap(at, self.below(at as u64 + 1) as usize);
        }
        order
    }
    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.below(u64::MAX)
    }
}
