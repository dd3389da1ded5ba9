//! A plan: everything that will be done to one world, written out. Scenario and seed make it; engine, replay and shrinker use it.
//!
//! A plan draws nothing any more except what happens inside the world (delays, probabilities), for which it carries the
//! seed. It is the durable form of a finding: YAML, hand-editable, read back exactly as it was written.
//!
//! Reading order: [`values`], [`names`] (scalars) → [`world`] (time zero) → [`fault`], [`operator`] (what is done) → [`Plan`].

pub mod fault;
pub mod names;
pub mod operator;
pub mod quantity;
pub mod values;
pub mod world;

use arc_api::Str;
use arc_api::service::JobResult;
use controller_core::Release;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use fault::Fault;
pub use operator::Operator;
pub use values::*;
pub use world::WorldSpec;

use fault::words;

/// Version of the plan format that this program writes and reads.
pub const SCHEMA: u32 = 1;

/// One run, written out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the scenario it was made from.
    pub scenario: Str,
    /// Variant of the scenario; absent: the scenario itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<Str>,
    /// The release that the run is for.
    pub release: ReleaseRef,
    /// Root of all random streams.
    pub seed: u64,
    /// Time zero.
    pub world: WorldSpec,
    /// What is done, in the order of the scenario.
    pub actions: Vec<PlannedAction>,
    /// Where chance was given another turn, in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<Fork>,
    /// How long jobs arrive and faults happen.
    pub run_for: Dur,
    /// How long the world then has, without faults, to converge.
    pub settle: Dur,
    /// When a run is given up.
    #[serde(default)]
    pub limits: Limits,
}

impl Plan {
    /// The release that the run is for.
    ///
    /// # Panics
    /// If the plan does not state it (`run`, `previous`): such plans are refused when they are read.
    pub fn release(&self) -> Release {
        self.release.exact()
    }
    /// Virtual time at which the run ends.
    pub fn ends_at(&self) -> arc_api::Time {
        arc_api::Time::ZERO.after(self.run_for.0).after(self.settle.0)
    }
    /// The same plan for another release: whatever is of the plan's own release — definitions, controllers, charts, what is
    /// installed or upgraded to — is of the other one.
    #[must_use]
    pub fn for_release(&self, release: Release) -> Plan {
        let (own, other) = (self.release, ReleaseRef::Exact(release));
        let change = |r: &mut ReleaseRef| {
            if *r == own {
                *r = other;
            }
        };
        let mut plan = Plan { release: other, ..self.clone() };
        plan.world.releases_mut(change);
        for action in &mut plan.actions {
            if let Action::Operator(operator) = &mut action.what {
                operator.releases_mut(change);
            }
        }
        plan
    }
    /// Gives a switch of every controller another value than its release has.
    pub fn switch(&mut self, name: &str, value: &str) {
        for controller in self.world.clusters.iter_mut().flat_map(|c| &mut c.controllers) {
            controller.switches.insert(name.into(), value.into());
        }
    }
    /// As YAML.
    pub fn to_yaml(&self) -> String {
        // A plan holds nothing that YAML cannot say, so this does not fail; the text would show it at once if it did.
        serde_saphyr::to_string(self).unwrap_or_else(|error| format!("# not written: {error}\n"))
    }
}

/// From a time on draws come from another seed: which branch a search took that forked the world there. What has happened before
/// does not change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// When.
    pub at: Dur,
    /// The seed of all draws from then on.
    pub seed: u64,
    /// How slow links and API server are from then on, in percent of what the plan says.
    #[serde(default = "usual_tempo", skip_serializing_if = "is_usual")]
    #[schemars(range(min = 1, max = 10_000))]
    pub tempo: u32,
    /// How late watch events come from then on, in percent of what the plan says: caches have their own pace.
    #[serde(default = "usual_tempo", skip_serializing_if = "is_usual")]
    #[schemars(range(min = 1, max = 10_000))]
    pub watch: u32,
}

fn usual_tempo() -> u32 {
    100
}

fn is_usual(tempo: &u32) -> bool {
    *tempo == usual_tempo()
}

/// When a run is given up: the verdict is then inconclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most events.
    pub events: u64,
    /// Most events without progress of virtual time.
    pub events_at_one_instant: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { events: 50_000_000, events_at_one_instant: 100_000 }
    }
}

/// Something that will be done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedAction {
    /// Unique in the plan; names the action's own random stream.
    pub id: Str,
    /// When it begins.
    pub when: When,
    /// How long a fault lasts; absent: until faults end (`run_for`).
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Dur>,
    /// A fault ends when this planned action begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_with: Option<Str>,
    /// In which cluster; absent: in all that it fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Str>,
    /// What is done.
    #[serde(rename = "do")]
    pub what: Action,
}

/// When something begins.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum When {
    /// So long after the beginning.
    #[serde(rename = "at")]
    At(Dur),
    /// When something happens.
    #[serde(rename = "event")]
    Event(Box<Trigger>),
}

impl When {
    /// The time, if it is one.
    pub fn at(&self) -> Option<Dur> {
        match self {
            When::At(at) => Some(*at),
            When::Event(_) => None,
        }
    }
    /// What is waited for, if anything.
    pub fn event(&self) -> Option<&Trigger> {
        match self {
            When::At(_) => None,
            When::Event(trigger) => Some(trigger),
        }
    }
}

/// Something that happens: exactly one of `call`, `step`, `object`, `job`, `done`, `begun`, narrowed by the rest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trigger {
    /// A call: `github.delete_message`, `kube.create pods`, `kube.patch ephemeralrunners/status`, `kube.*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Glob>,
    /// A step of a reconcile pass, by its name (`AfterJit`), or of a listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Glob>,
    /// A state of Kubernetes objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectState>,
    /// A state of jobs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobTrigger>,
    /// The end of another planned action, by id (helm and kubectl commands end when they return).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<Str>,
    /// The beginning of another planned action, by id or pattern: a mark, a job, a fault, a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<Glob>,
    /// Only by this component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// Only about objects of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Glob>,
    /// The how-manieth time; `every` repeats it from then on.
    pub occurrence: u32,
    /// Whether every further occurrence counts as well.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub every: bool,
    /// Where in the call.
    pub point: Point,
    /// Not before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Dur>,
    /// Only from the beginning of this planned action on. A state (of objects, of jobs, an entry that
    /// has begun) that holds then counts at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Str>,
    /// As `at_latest`, counted from the beginning of `since`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Dur>,
    /// At this time it is waited for no longer: the action begins, whatever `after` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_latest: Option<Dur>,
    /// How long after it the action begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Dur>,
}

impl Default for Trigger {
    fn default() -> Trigger {
        Trigger {
            call: None,
            step: None,
            object: None,
            job: None,
            done: None,
            begun: None,
            actor: None,
            name: None,
            occurrence: 1,
            every: false,
            point: Point::AfterReply,
            not_before: None,
            since: None,
            within: None,
            at_latest: None,
            after: None,
        }
    }
}

fn one() -> u32 {
    1
}

/// A state of Kubernetes objects.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectState {
    /// Kind or resource.
    pub kind: Glob,
    /// Names.
    #[serde(default)]
    pub name: Glob,
    /// Objects of one scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<SetRef>,
    /// The state.
    pub is: ObjectIs,
    /// Value of `status.phase` (`phase`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Str>,
    /// How many such objects there must be (`added`, `phase`); default 1.
    #[serde(default = "one")]
    pub count: u32,
}

/// A state of jobs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobTrigger {
    /// Job by id.
    #[serde(default)]
    pub id: Glob,
    /// The state.
    pub is: JobIs,
    /// How many jobs must have reached it; 0: all that were queued.
    #[serde(default = "one")]
    pub count: u32,
}

words! {
    /// A state of an object.
    ObjectIs {
        /// It was created.
        Added = "added",
        /// It has a deletionTimestamp.
        Deleting = "deleting",
        /// No such object exists any more.
        Gone = "gone",
        /// Its `status.phase` is `phase`.
        Phase = "phase",
    }
}
words! {
    /// A state of a job.
    JobIs { Queued = "queued", Assigned = "assigned", Started = "started", Finished = "finished" }
}
words! {
    /// A point in the life of a call.
    Point {
        /// Before it leaves: nothing was done.
        BeforeSend = "before-send",
        /// It was carried out, the reply is on its way.
        AfterApply = "after-apply",
        /// The reply has arrived and nothing followed yet.
        AfterReply = "after-reply",
    }
}

#[expect(clippy::derivable_impls, reason = "the words macro has no place for a default")]
impl Default for Point {
    fn default() -> Point {
        Point::AfterReply
    }
}

/// What is done.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// A job is queued at GitHub.
    #[serde(rename = "job")]
    Job(QueueJob),
    /// A queued or running job is cancelled.
    #[serde(rename = "cancel")]
    Cancel(CancelJob),
    /// An operator does something.
    #[serde(rename = "operator")]
    Operator(Operator),
    /// A fault begins.
    #[serde(rename = "fault")]
    Fault(Fault),
    /// A mark in the trace.
    #[serde(rename = "mark")]
    Mark(Str),
}

/// A job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueJob {
    /// Scale set whose label the job asks for; any scale set with that label may serve it.
    pub scale_set: SetRef,
    /// Label, if it is another one than the scale set's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Str>,
    /// What the job is.
    #[serde(default)]
    pub job: JobSpec,
}

/// What a job is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobSpec {
    /// How long its work takes.
    pub duration: Dur,
    /// How it ends if nothing goes wrong.
    #[schemars(with = "Outcome")]
    pub result: JobResult,
    /// It talks to the docker daemon so long after it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_after: Option<Dur>,
    /// It runs in a workflow pod (`container:`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub container: bool,
    /// One step prints nothing for so long and then ends with `exit_code`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_for: Option<Dur>,
    /// Exit code of the silent step.
    pub exit_code: i32,
    /// It is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<JobCancel>,
}

impl Default for JobSpec {
    fn default() -> JobSpec {
        JobSpec {
            duration: Dur::secs(60),
            result: JobResult::Succeeded,
            docker_after: None,
            container: false,
            silent_for: None,
            exit_code: 0,
            cancel: None,
        }
    }
}

/// How a job ends (mirror of [`JobResult`] for the schema).
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[allow(dead_code, missing_docs)]
pub enum Outcome {
    Succeeded,
    Failed,
    Canceled,
}

/// When a job is cancelled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum JobCancel {
    /// So long after it was queued, if no runner took it by then.
    #[serde(rename = "after_queued")]
    AfterQueued(Dur),
    /// So long after it started.
    #[serde(rename = "after_started")]
    AfterStarted(Dur),
}

/// The cancellation of jobs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelJob {
    /// Jobs by the id of the action that queued them.
    pub job: Glob,
    /// Whether only jobs that no runner has taken are meant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub queued_only: bool,
}

#[cfg(test)]
mod tests;
