//! Many seeds, several at a time. Worlds share nothing; what comes of a campaign is the same for any number of jobs.

use std::collections::BTreeSet;

use controller_core::Release;

use super::profile::Profile;
use super::results::Shard;
use super::seed::{Seen, examine};
use crate::parallel::each;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Campaign<'c> {
    /// Which ARC.
    pub release: Release,
    /// How wild.
    pub profile: &'c Profile,
    /// Which seeds.
    pub shard: Shard,
    /// Seeds below this; absent: until told to stop.
    pub seeds: Option<u64>,
    /// Worlds at a time.
    pub jobs: usize,
}

impl Campaign<'_> {
    /// How many seeds it has.
    pub fn len(&self) -> Option<u64> {
        self.seeds.map(|n| n.saturating_sub(self.shard.index).div_ceil(self.shard.of))
    }
    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
    /// Runs every seed that is not `done` yet. Each result is given to `sink` when it is there, in no order; if that says false,
    /// no further seed begins.
    pub fn run(&self, done: &BTreeSet<u64>, sink: &mut dyn FnMut(u64, Seen) -> bool) {
        let seeds = self.shard.seeds().take_while(|s| self.seeds.is_none_or(|n| *s < n)).filter(|s| !done.contains(s));
        let run = |seed| (seed, examine(&super::draw(seed, self.profile, self.release), None));
        each(self.jobs, seeds, run, |(seed, seen)| sink(seed, seen));
    }
}
