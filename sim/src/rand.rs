//! Random streams by name: the only source of chance in a world. Never shared, never reseeded, never ambient.
//!
//! Every component draws from a stream of its own, whose key is a hash of the root seed and a label. Adding a stream, or a
//! draw in one stream, therefore shifts no other; only the label decides what a stream yields.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

pub use crate::plan::values::Ratio;

/// The family of streams of one seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streams {
    root: u64,
}

impl Streams {
    /// The streams of a seed.
    pub const fn new(root: u64) -> Streams {
        Streams { root }
    }
    /// The seed.
    pub const fn root(&self) -> u64 {
        self.root
    }
    /// The stream of a label, from its beginning.
    pub fn stream(&self, label: &str) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (lane, chunk) in key.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&mix(self.root, label, lane as u64).to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
    /// A family of streams for a part of the world, so that its labels need no prefix.
    pub fn family(&self, label: &str) -> Streams {
        Streams { root: mix(self.root, label, u64::MAX) }
    }
}

/// FNV-1a over the label, then the finalizer of SplitMix64: fixed for ever, since plans are durable.
fn mix(root: u64, label: &str, lane: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64 ^ root.rotate_left(32);
    for byte in label.bytes().chain(lane.to_le_bytes()).chain(root.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::Rng;

    use super::*;

    #[test]
    fn adding_a_stream_shifts_no_other() {
        let streams = Streams::new(7);
        let alone: Vec<u64> = {
            let mut s = streams.stream("jobs");
            (0..8).map(|_| s.next_u64()).collect()
        };
        let mut jobs = streams.stream("jobs");
        let mut other = streams.stream("faults");
        let beside: Vec<u64> = (0..8)
            .map(|_| {
                other.next_u64();
                jobs.next_u64()
            })
            .collect();
        assert_eq!(alone, beside);
    }

    #[test]
    fn labels_seeds_and_families_give_different_streams() {
        let mut seen = BTreeSet::new();
        for seed in 0..50 {
            for label in ["", "a", "b", "ab", "a.1", "a.2"] {
                assert!(seen.insert(Streams::new(seed).stream(label).next_u64()));
                assert!(seen.insert(Streams::new(seed).family("x").stream(label).next_u64()));
            }
        }
    }

    #[test]
    fn streams_are_the_same_for_ever() {
        assert_eq!(Streams::new(1).stream("workload.0").next_u64(), 1_551_469_680_630_288_586);
    }

    #[test]
    fn a_ratio_draws_once_whatever_it_is() {
        let mut a = Streams::new(3).stream("r");
        let mut b = a.clone();
        let _ = (Ratio { num: 0, den: 20 }.hits(&mut a), Ratio { num: 20, den: 20 }.hits(&mut b));
        assert_eq!(a.next_u64(), b.next_u64());
    }
}
