//! Histories: for every object, conversation and container what happened to it, in order. Never compares two of them.

use std::collections::BTreeMap;

use arc_api::{Duration, Kind, Str, Time};

use super::event::{About, Event, KubeCall, What, Who};
use super::normal::{Fields, fields, role};

/// What a history is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Subject {
    /// An object of the API: the writes of manager and listener.
    Object(Kind),
    /// Calls of the service about one runner, one scale set, or (no name) one's credentials.
    Service(Who),
    /// The processes of a pod's containers.
    Process,
}

impl Subject {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Subject::Object(kind) => kind.as_str(),
            Subject::Service(Who::Listener) => "service calls of the listener",
            Subject::Service(_) => "service calls of the manager",
            Subject::Process => "processes",
        }
    }
}

/// Which history: several of one role are told apart by their full names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Id {
    /// Name with its generated parts, as its own side has it: what belongs to one runner has one name.
    pub name: Str,
    /// What it is about.
    pub subject: Subject,
    /// Namespace, of objects.
    pub namespace: Str,
}

/// One step of a history.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// When, from the beginning of its own side.
    pub at: Time,
    /// When the first step was that was folded into it.
    pub since: Time,
    /// Since the step before it, or since people last did something, whichever is shorter.
    pub waited: Duration,
    /// Since the step before it of the same writer.
    pub gap: Duration,
    /// Line of the recording, or ordinal of the trace.
    pub line: u32,
    /// Whose step: histories of one object are compared writer by writer.
    pub who: Who,
    /// Verb with subresource, operation of the service, start or exit.
    pub verb: Str,
    /// Status, or exit code.
    pub code: i64,
    /// Reason of a refusal.
    pub reason: Str,
    /// Whether the store changed.
    pub changed: bool,
    /// What it said.
    pub fields: Fields,
    /// Its caller was killed before the answer came: what a log shows of it is chance.
    pub unheard: bool,
    /// Whether that is known.
    pub told: bool,
    /// So near the end of the recording that the other side may be cut before it.
    pub last: bool,
    /// Turns of the loop that this step stands for; 1 for a step that stands for itself.
    pub turns: u32,
    /// How often it was refused in one go; 1 for once.
    pub times: u32,
}

impl Step {
    /// A step that says nothing yet but who did what, and when; it stands for itself.
    pub fn new(who: Who, verb: Str, at: Time) -> Step {
        Step {
            at,
            since: at,
            waited: Duration::ZERO,
            gap: Duration::ZERO,
            line: 0,
            who,
            verb,
            code: 0,
            reason: Str::default(),
            changed: true,
            fields: Fields::new(),
            told: true,
            last: false,
            unheard: false,
            turns: 1,
            times: 1,
        }
    }
    /// Whether two steps say the same. Times are looked at by themselves.
    pub fn same(&self, other: &Step) -> bool {
        self.verb == other.verb
            && self.code == other.code
            && self.reason == other.reason
            && self.changed == other.changed
            && (self.fields == other.fields || !self.told || !other.told)
    }
    /// Whether the call was carried out.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.code)
    }
    /// A field's value.
    pub fn field(&self, path: &str) -> Option<&str> {
        self.fields.iter().find(|(p, _)| p == path).map(|(_, v)| v.as_str())
    }
}

/// All histories of one side.
#[derive(Clone, Debug, Default)]
pub struct Histories {
    /// By what they are about.
    pub of: BTreeMap<Id, Vec<Step>>,
    /// When people did something: what follows waited for them, not for ARC.
    pub acted: Vec<Time>,
}

/// Sorts events into histories.
pub fn histories(events: &[Event]) -> Histories {
    let mut all = Histories::default();
    let mut runners: BTreeMap<i64, Str> = BTreeMap::new();
    let mut sets: BTreeMap<i64, Str> = BTreeMap::new();
    for event in events {
        let (id, verb, code, reason, changed, fields): (Id, Str, i64, Str, bool, Fields) = match &event.what {
            What::Phase(_) | What::Acted => {
                all.acted.push(event.at);
                continue;
            }
            What::Mark(_) => continue,
            What::Registered { id, name } => {
                runners.insert(*id, name.clone());
                continue;
            }
            What::ScaleSet { id, name } => {
                sets.insert(*id, name.clone());
                continue;
            }
            What::Kube(call) => {
                if event.who == Who::Other || !is_write(&call.verb) || !is_told(call.kind) {
                    continue;
                }
                let id = Id {
                    name: call.key.name.clone(),
                    subject: Subject::Object(call.kind),
                    namespace: call.key.namespace.clone(),
                };
                let verb = if call.sub.is_empty() {
                    call.verb.clone()
                } else {
                    arc_api::format_smolstr!("{} {}", call.verb, call.sub)
                };
                let fields = fields(call.kind, &call.verb, &call.body);
                (id, verb, i64::from(call.code), call.reason.clone(), call.changed, fields)
            }
            What::Service(call) => {
                if event.who == Who::Other || call.status == 0 {
                    continue;
                }
                let name = match &call.about {
                    About::Nothing => Str::default(),
                    About::Runner(name) | About::Set(name) => name.clone(),
                    About::RunnerId(id) => runners.get(id).cloned().unwrap_or_else(|| "an unknown runner".into()),
                    About::SetId(id) => sets.get(id).cloned().unwrap_or_else(|| "an unknown scale set".into()),
                };
                let id = Id { name, subject: Subject::Service(event.who), namespace: Str::default() };
                let detail =
                    if call.detail.is_empty() { Vec::new() } else { vec![(String::new(), call.detail.to_string())] };
                (id, call.op.clone(), i64::from(call.status), Str::default(), true, detail)
            }
            What::Start { container, .. } if !PROGRAMS.contains(&container.as_str()) => continue,
            What::Start { pod, container } => {
                let fields = vec![(String::new(), container.to_string())];
                (process(pod, container), "start".into(), 0, Str::default(), true, fields)
            }
            What::Exit { pod, container, code } => {
                let fields = vec![(String::new(), container.to_string())];
                (process(pod, container), "exit".into(), *code, Str::default(), true, fields)
            }
        };
        let told = !matches!(&event.what, What::Kube(KubeCall { told: false, .. }));
        let who = if matches!(id.subject, Subject::Process) { Who::Other } else { event.who };
        let steps = all.of.entry(id).or_default();
        steps.push(Step {
            line: event.line,
            code,
            reason,
            changed,
            fields,
            told,
            unheard: matches!(&event.what, What::Kube(call) if !call.heard),
            ..Step::new(who, verb, event.at)
        });
    }
    all
}

/// A pod's history. The manager's pod is made by a Deployment, whose names differ from release to release and from side to side.
fn process(pod: &Str, container: &str) -> Id {
    let name = if container == "manager" { "manager".into() } else { pod.clone() };
    Id { name, subject: Subject::Process, namespace: Str::default() }
}

fn is_write(verb: &str) -> bool {
    matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection")
}

/// Kinds whose histories are told: what ARC itself works on.
fn is_told(kind: Kind) -> bool {
    !matches!(kind, Kind::Lease | Kind::Event)
}

/// Containers whose starts recordings tell; of others they tell ends only.
const PROGRAMS: [&str; 4] = ["manager", "listener", "autoscaler", "runner"];

/// Fills in how long each step of a history waited, writer by writer.
pub fn waits(steps: &mut [Step], acted: &[Time]) {
    let mut last: BTreeMap<Who, Time> = BTreeMap::new();
    for step in steps {
        let since = acted.iter().rev().find(|at| **at <= step.at).copied().unwrap_or(Time::ZERO);
        let before = last.get(&step.who).copied().unwrap_or(Time::ZERO);
        if !step.unheard {
            last.insert(step.who, step.at);
        }
        step.waited = step.at.since(before.max(since));
        step.gap = step.at.since(before);
    }
}

impl Id {
    /// Its name without what differs between two runs.
    pub fn role(&self) -> Str {
        role(&self.name)
    }
}
