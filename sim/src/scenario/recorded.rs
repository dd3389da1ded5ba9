//! What a scenario says about recordings of itself: which schedule explained one, and which differences are accepted.
//!
//! Never used by a run; `arc-sim conform` and `arc-sim fidelity` read it.

use std::collections::BTreeMap;

use arc_api::Str;
use controller_core::Release;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ranges;
use crate::plan::{Fork, Glob};

/// A scenario's recordings.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Recorded {
    /// The schedule that explained a recording best, by release: it is tried first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub schedules: BTreeMap<Str, Schedule>,
    /// Differences that stay, each with its reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<Accepted>,
    /// Differences that should not be there, each with what is known of it: they count as unequal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Accepted>,
}

/// One outcome of the races of a scenario.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Seed of the run.
    pub seed: u64,
    /// Links and API server as fast as the scenario says, in percent of its latencies.
    #[serde(default = "usual")]
    #[schemars(range(min = 1, max = 10_000))]
    pub tempo: u32,
    /// People act when they acted in the recording, not when the scenario says.
    #[serde(default = "yes")]
    pub follow: bool,
    /// Where the search forked the world and took another branch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<Fork>,
}

fn yes() -> bool {
    true
}

fn usual() -> u32 {
    100
}

/// Histories that may differ.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Releases, as in `expect`.
    pub releases: Str,
    /// Objects by what reports call them, generated parts as `*`: `Pod demo-*-runner-*`.
    pub object: Glob,
    /// How many of them at most.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub at_most: u32,
    /// Why nobody has to correct it, or what is known of it.
    pub reason: Str,
}

fn one() -> u32 {
    1
}

impl Accepted {
    fn is_of(&self, release: Release) -> bool {
        ranges::lookup([(self.releases.as_str(), ())], release).is_some()
    }
}

impl Recorded {
    /// The schedule that is tried first for a release.
    pub fn schedule(&self, release: Release) -> Option<Schedule> {
        self.schedules.iter().find(|(r, _)| r.parse() == Ok(release)).map(|(_, s)| s.clone())
    }
    /// The accepted differences of a release.
    pub fn accepted(&self, release: Release) -> impl Iterator<Item = &Accepted> {
        self.accepted.iter().filter(move |a| a.is_of(release))
    }
    /// The open differences of a release.
    pub fn open(&self, release: Release) -> impl Iterator<Item = &Accepted> {
        self.open.iter().filter(move |a| a.is_of(release))
    }
}
