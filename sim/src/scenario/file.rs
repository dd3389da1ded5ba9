//! The scenario file as typed values. Never checks meaning: that is [`super::check`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use arc_api::Str;
use arc_api::service::JobResult;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Say};
use super::recorded::Recorded;
use crate::plan::world::{ClusterSpec, ExistingSpec, GithubSpec, NetworkSpec};
use crate::plan::{Delay, Dur, Fault, Limits, Operator, ReleaseRef, SetRef, Trigger};

/// A scenario: a world, what happens to it, and what must come of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name, unique: the file's stem.
    pub name: Str,
    /// One sentence: what goes wrong in the world, or what goes right.
    pub why: Str,
    /// Where it was seen: `owner/repo#number`, or a link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<Str>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Str>,
    /// The release that shows it best; runs without other instructions, and all variants, are for it.
    pub release: ReleaseRef,
    /// Seed of runs that do not state one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// GitHub and its Actions service.
    #[serde(default)]
    pub github: GithubSpec,
    /// Kubernetes clusters.
    #[schemars(length(min = 1))]
    pub clusters: Vec<ClusterSpec>,
    /// Links between components.
    #[serde(default)]
    pub network: NetworkSpec,
    /// What exists at time zero besides what helm installs.
    #[serde(default)]
    pub existing: ExistingSpec,
    /// Jobs.
    #[serde(default)]
    pub workload: Vec<Workload>,
    /// What fails.
    #[serde(default)]
    pub faults: Vec<Entry<Fault>>,
    /// What operators do.
    #[serde(default)]
    pub operators: Vec<Entry<Operator>>,
    /// Lines in the trace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Entry<Say>>,
    /// How long jobs arrive and faults happen.
    pub run_for: Dur,
    /// How long the world then has, without faults, to converge.
    #[serde(default = "ten_minutes")]
    pub settle: Dur,
    /// When a run is given up.
    #[serde(default)]
    pub limits: Limits,
    /// What must come of it, by release: `0.9.1`, `0.9.0..=0.11.0`, `0.12.0..`, `next`, `tagged`, `all`, `others`.
    #[schemars(extend("minProperties" = 1))]
    pub expect: BTreeMap<Str, Expect>,
    /// Mitigations: the same with something changed, run for comparison.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// Recordings of this scenario: schedules that explain them, differences that are accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
}

fn ten_minutes() -> Dur {
    Dur::secs(600)
}

/// What must come of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// These invariants are violated, and no others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub violates: Vec<Str>,
    /// These may be violated or not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub may_violate: Vec<Str>,
    /// `all`: every invariant holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<Holds>,
    /// These states are reached (`sometimes` marks of the engine, or marks of this file).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reaches: Vec<Str>,
    /// These metrics lie in these bounds: `0`, `3..8`, `1..`, `..5`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<Str, Bound>,
    /// Entries that need not happen on these releases (a trigger that only others reach).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub may_not_fire: Vec<Str>,
}

/// The invariants that hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Holds {
    /// Every one.
    #[serde(rename = "all")]
    All,
}

/// A mitigation, or another shape of the same failure.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Name, unique in the scenario.
    pub name: Str,
    /// One sentence: what is changed and who recommends it.
    #[serde(default, skip_serializing_if = "Str::is_empty")]
    pub why: Str,
    /// Releases that it runs for; default: that of the scenario, or those of its own `expect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseRef>,
    /// Changes of `github`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<GithubSpec>,
    /// Changes of clusters, controllers and scale sets, found by name; a new name is a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Vec<ClusterSpec>>,
    /// Changes of `network`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSpec>,
    /// Replaces `existing`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingSpec>,
    /// Ids of entries (workload, faults, operators, marks) that are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Str>,
    /// More jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workload: Vec<Workload>,
    /// More faults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Entry<Fault>>,
    /// More operator actions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operators: Vec<Entry<Operator>>,
    /// Another duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_for: Option<Dur>,
    /// Another time to converge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Dur>,
    /// What must come of it; absent: it is measured only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<BTreeMap<Str, Expect>>,
    /// Metrics that show its effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<Str>,
}

crate::plan::fault::words! {
    /// How jobs arrive and what they are.
    Pattern {
        /// One job, then quiet.
        Single = "single",
        /// `count` jobs at one instant, repeated with `every`.
        Burst = "burst",
        /// One job after another, `every` so long, steady or Poisson.
        Trickle = "trickle",
        /// A job of minutes to hours: `duration` is stated.
        Long = "long",
        /// No jobs for the scale set in `[at, at + duration]`, whatever other entries say.
        IdleGap = "idle_gap",
        /// Jobs cancelled before a runner takes them, `cancel_after` so long after they were queued.
        CancelQueued = "cancel_queued",
        /// Jobs cancelled while they run, `cancel_after` so long after their start.
        CancelRunning = "cancel_running",
        /// Jobs that touch the docker daemon `docker_after` so long after their start.
        DockerFirstStep = "docker_first_step",
        /// Jobs that need a workflow pod.
        ContainerJob = "container_job",
        /// Jobs with a step that prints nothing for `silent_for` and then ends with `exit_code`.
        SilentStep = "silent_step",
    }
}
crate::plan::fault::words! {
    /// How arrivals are spaced.
    Arrivals {
        /// Exactly `every`.
        Steady = "steady",
        /// At random, `every` on average.
        Poisson = "poisson",
    }
}

/// Jobs for one scale set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Name of the entry, unique in the scenario; default: `w1`, … by position. Jobs are `ID.1`, `ID.2`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Str>,
    /// The pattern.
    pub pattern: Pattern,
    /// Whose label the jobs ask for.
    pub scale_set: SetRef,
    /// Another label than the scale set's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Str>,
    /// First arrival; default: at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Dur>,
    /// When something happens, instead of `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Trigger>,
    /// Jobs per arrival; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub count: Option<u32>,
    /// Time between arrivals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Dur>,
    /// Spacing of arrivals.
    #[serde(default = "steady")]
    pub arrivals: Arrivals,
    /// Number of arrivals; default: as many as fit, or one without `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// No arrival after this time; default: `run_for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Dur>,
    /// How long each job's work takes; default 1m. For `idle_gap`: its length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Delay>,
    /// How the jobs end if nothing goes wrong.
    #[serde(default = "succeeded")]
    #[schemars(with = "crate::plan::Outcome")]
    pub result: JobResult,
    /// Start of a job to its first docker command; `docker_first_step` has 1s by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_after: Option<Delay>,
    /// Start or queueing of a job to its cancellation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_after: Option<Delay>,
    /// Length of the silent step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_for: Option<Dur>,
    /// Exit code of the silent step.
    #[serde(default)]
    pub exit_code: i32,
}

fn steady() -> Arrivals {
    Arrivals::Steady
}
fn succeeded() -> JobResult {
    JobResult::Succeeded
}

/// Bounds of a metric.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// Least.
    pub least: Option<i64>,
    /// Most.
    pub most: Option<i64>,
}

impl Bound {
    /// Whether a value lies in it.
    pub fn contains(&self, value: f64) -> bool {
        self.least.is_none_or(|least| value >= least as f64) && self.most.is_none_or(|most| value <= most as f64)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.most) {
            (Some(a), Some(b)) if a == b => write!(f, "{a}"),
            (Some(a), Some(b)) => write!(f, "{a}..{b}"),
            (Some(a), None) => write!(f, "{a}.."),
            (None, Some(b)) => write!(f, "..{b}"),
            (None, None) => f.write_str("0.."),
        }
    }
}

impl FromStr for Bound {
    type Err = ();
    fn from_str(text: &str) -> Result<Bound, ()> {
        let number = |t: &str| t.trim().parse::<i64>().map_err(|_| ());
        let text = text.trim();
        let (least, most) = if let Some(least) = text.strip_prefix(">=") {
            (Some(number(least)?), None)
        } else if let Some(most) = text.strip_prefix("<=") {
            (None, Some(number(most)?))
        } else if let Some((least, most)) = text.split_once("..") {
            let side = |t: &str| if t.trim().is_empty() { Ok(None) } else { number(t).map(Some) };
            match (side(least)?, side(most)?) {
                (None, None) => return Err(()),
                sides => sides,
            }
        } else {
            (Some(number(text)?), Some(number(text)?))
        };
        if matches!((least, most), (Some(a), Some(b)) if a > b) { Err(()) } else { Ok(Bound { least, most }) }
    }
}

impl Serialize for Bound {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Bound, D::Error> {
        let text = String::deserialize(d)?;
        text.parse()
            .map_err(|()| serde::de::Error::custom(format!("`{text}` is not a bound such as 0, 3..8, 1.. or ..5")))
    }
}
impl JsonSchema for Bound {
    fn schema_name() -> Cow<'static, str> {
        "Bound".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"], "format": "bound",
            "description": "Bounds of a number: `0`, `3..8`, `1..`, `..5`.",
        })
    }
}
