//! How wild the worlds of a campaign are: a data file that says how many, how large, and how often each fault.
//!
//! Three are built in (`pr`, `nightly`, `release`); a path names one of the user's own. Never decides what a fault is.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arc_api::Str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::{Dur, Fault, Operator, Ratio};
use crate::scenario::diagnostic::{Problem, Rejected, suggestion};
use crate::scenario::{shape, source, typed};

/// The built-in profiles.
pub const BUILT_IN: [(&str, &str); 3] = [
    ("pr", include_str!("../../profiles/pr.yaml")),
    ("nightly", include_str!("../../profiles/nightly.yaml")),
    ("release", include_str!("../../profiles/release.yaml")),
];

static SCHEMA: LazyLock<Value> = LazyLock::new(shape::schema_of::<Profile>);

/// A profile.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Name.
    pub name: Str,
    /// What it is for, in one sentence.
    pub why: Str,
    /// Seeds of a campaign that states neither number nor time.
    pub seeds: u64,
    /// How long jobs arrive and faults happen.
    pub run_for: Dur,
    /// Most of each.
    pub most: Most,
    /// How often a whole family of faults or actions is switched off for a seed.
    pub family_off: Ratio,
    /// How often a fault waits for a call in place of a time.
    pub triggered: Ratio,
    /// How often a setting of the world is drawn anew.
    pub knobs: Ratio,
    /// How often runners, jobs and sessions are there when a world begins.
    #[serde(default = "Ratio::never")]
    pub existing: Ratio,
    /// How often a world refuses its runners' pods for a while, besides the faults that it draws.
    #[serde(default = "Ratio::never")]
    pub refusals: Ratio,
    /// How often a time lies exactly at, just before or just after a deadline of the world.
    pub boundary: Ratio,
    /// How likely each fault is, against the others; what is not named is not drawn.
    pub faults: BTreeMap<Str, u32>,
    /// How likely each operator action is, against the others.
    pub operators: BTreeMap<Str, u32>,
    /// Executions that shrinking one finding may take.
    pub shrink: u32,
    /// Whether a campaign fails that never reached a mark, never fired a family of faults or never looked at an invariant.
    #[serde(default)]
    pub demands_coverage: bool,
}

/// The largest world.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Most {
    /// Scale sets.
    pub scale_sets: u32,
    /// Groups of jobs.
    pub workloads: u32,
    /// Faults.
    pub faults: u32,
    /// Operator actions.
    pub operators: u32,
    /// Events of one world: a world that needs more goes round and round, which is a finding.
    pub events: u64,
}

impl Profile {
    /// A built-in profile.
    pub fn named(name: &str) -> Option<Profile> {
        let (name, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Profile::read(name, text).ok()
    }
    /// Reads a profile.
    ///
    /// # Errors
    /// Everything that is wrong with it, in file order.
    pub fn read(file: &str, text: &str) -> Result<Profile, Rejected> {
        let (root, _, profile) = typed::<Profile>(file, text, &SCHEMA)?;
        let mut problems = Vec::new();
        for (list, named, known) in
            [("faults", &profile.faults, Fault::IDS), ("operators", &profile.operators, Operator::IDS)]
        {
            for id in named.keys().filter(|id| !known.contains(&id.as_str())) {
                let place = root.key_place(&[source::Seg::from(list), source::Seg::from(id.as_str())]);
                let hint = suggestion(id, list, known.iter().copied());
                problems.push(Problem::new(place, format!("`{id}` is none of the {list}")).hint(hint));
            }
        }
        if problems.is_empty() { Ok(profile) } else { Err(Rejected::new(file, text, problems)) }
    }
    /// What distinguishes campaigns: results of different profiles are never merged.
    pub fn digest(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{:016x}", crate::rand::Streams::new(0).family(&text).root())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profiles_are_sound() {
        for (name, text) in BUILT_IN {
            let profile = Profile::read(name, text).unwrap_or_else(|e| panic!("{}", e.render(false)));
            assert_eq!(profile.name, name);
            assert_eq!(Profile::named(name).map(|p| p.digest()), Some(profile.digest()));
        }
    }

    #[test]
    fn an_unknown_fault_is_refused_where_it_stands() {
        let text = BUILT_IN[0].1.replace("gh_error:", "gh_eror:");
        let said = Profile::read("mine.yaml", &text).expect_err("no such fault").render(false);
        assert!(said.contains("`gh_eror` is none of the faults") && said.contains("gh_error"), "{said}");
    }
}
