//! From a plan back to a scenario file that people read: only what differs from the defaults, an entry a line.
//!
//! What is written compiles to the same world, jobs, operators and faults. Never judges; the caller says what is expected.

use std::collections::BTreeMap;

use arc_api::{Str, format_smolstr};
use serde_json::{Map, Value};

use super::compile;
use super::entry::{Entry, Head, Say};
use super::file::{Arrivals, Expect, Pattern, Scenario, Workload};
use crate::plan::world::{
    Backlog, ClusterSpec, ControllerSpec, CredentialSpec, ExistingRunners, OrgSpec, ScaleSetSpec,
};
use crate::plan::{Action, Delay, Dur, JobCancel, Operator, Plan, PlannedAction, QueueJob, ReleaseRef, SetRef};

/// What a plan does not know of the scenario that it becomes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Title {
    /// Name.
    pub name: Str,
    /// One sentence.
    pub why: Str,
    /// Words to find it by.
    pub tags: Vec<Str>,
    /// What must come of it, by release.
    pub expect: BTreeMap<Str, Expect>,
}

/// The scenario of a plan. Jobs get new ids; everything else keeps its own.
///
/// # Errors
/// What scenario files cannot say: forks, cancellations of jobs by the plan, container jobs that are cancelled.
pub fn scenario(plan: &Plan, title: &Title) -> Result<Scenario, &'static str> {
    if !plan.forks.is_empty() {
        return Err("a plan with forks is no scenario: scenario files have no word for them");
    }
    let (mut faults, mut operators, mut marks, mut jobs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for action in &plan.actions {
        match &action.what {
            Action::Job(job) if job.job.cancel.is_some() && (job.job.container || job.job.silent_for.is_some()) => {
                return Err("scenario files have no word for a container job that is cancelled");
            }
            Action::Job(job) => jobs.push((action, job)),
            Action::Cancel(_) => return Err("a plan that cancels jobs by itself is no scenario: use `cancel_jobs`"),
            Action::Operator(what) => operators.push(Entry { head: head(action), what: what.clone() }),
            Action::Fault(what) => faults.push(Entry { head: head(action), what: what.clone() }),
            Action::Mark(text) => marks.push(Entry { head: head(action), what: Say::Mark(text.clone()) }),
        }
    }
    let release = plan.release;
    let mut scenario = Scenario {
        name: title.name.clone(),
        why: title.why.clone(),
        upstream: Vec::new(),
        tags: title.tags.clone(),
        release,
        seed: Some(plan.seed),
        github: plan.world.github.clone(),
        clusters: plan.world.clusters.clone(),
        network: plan.world.network.clone(),
        existing: plan.world.existing.clone(),
        workload: workload(&jobs),
        faults,
        operators,
        marks,
        run_for: plan.run_for,
        settle: plan.settle,
        limits: plan.limits,
        expect: title.expect.clone(),
        variants: Vec::new(),
        recorded: None,
    };
    relative(&mut scenario);
    Ok(scenario)
}

fn head(action: &PlannedAction) -> Head {
    Head {
        id: Some(Str::from(action.id.replace('.', "-"))),
        at: action.when.at(),
        when: action.when.event().cloned(),
        lasts: action.lasts,
        ends_with: action.ends_with.clone(),
        cluster: action.cluster.clone(),
        ..Head::default()
    }
}

/// Jobs of one kind that arrive together or in steady steps are one entry.
fn workload(jobs: &[(&PlannedAction, &QueueJob)]) -> Vec<Workload> {
    let mut out: Vec<Workload> = Vec::new();
    let mut rest = jobs;
    while let Some(((first, job), _)) = rest.split_first() {
        let alike = rest.iter().take_while(|(_, other)| other == job).count();
        let times: Vec<Dur> = rest[..alike].iter().map_while(|(a, _)| a.when.at()).collect();
        let (taken, count, every, turns) = steps(&times);
        let when = first.when.event().cloned();
        out.push(Workload {
            id: Some(format_smolstr!("w{}", out.len() + 1)),
            at: times.first().copied().filter(|_| when.is_none()),
            when,
            count: (count > 1).then_some(count),
            every,
            times: every.map(|_| turns),
            ..entry(job, count, every)
        });
        rest = &rest[taken.max(1)..];
    }
    out
}

/// How many of these times are so many at once, every so often, so many times: taken, at once, interval, turns.
fn steps(times: &[Dur]) -> (usize, u32, Option<Dur>, u32) {
    let Some(first) = times.first() else { return (1, 1, None, 1) };
    let at_once = times.iter().take_while(|t| *t == first).count();
    let Some(next) = times.get(at_once).filter(|next| **next > *first) else {
        return (at_once, at_once as u32, None, 1);
    };
    let step = Dur(next.0 - first.0);
    let fits = |turn: &usize| {
        let at = Dur(first.0 + step.0 * *turn as u32);
        times.get(turn * at_once..(turn + 1) * at_once).is_some_and(|t| t.iter().all(|t| *t == at))
            && times.get((turn + 1) * at_once).is_none_or(|t| *t != at)
    };
    let turns = (0..).take_while(fits).count();
    if turns < 2 {
        (at_once, at_once as u32, None, 1)
    } else {
        (turns * at_once, at_once as u32, Some(step), turns as u32)
    }
}

fn entry(job: &QueueJob, count: u32, every: Option<Dur>) -> Workload {
    let spec = &job.job;
    let (pattern, cancel) = match (spec.cancel, spec.silent_for, spec.docker_after) {
        (Some(JobCancel::AfterQueued(after)), ..) => (Pattern::CancelQueued, Some(after)),
        (Some(JobCancel::AfterStarted(after)), ..) => (Pattern::CancelRunning, Some(after)),
        (None, Some(_), _) => (Pattern::SilentStep, None),
        (None, None, Some(_)) => (Pattern::DockerFirstStep, None),
        (None, None, None) if spec.container => (Pattern::ContainerJob, None),
        (None, None, None) if count > 1 => (Pattern::Burst, None),
        (None, None, None) if every.is_some() => (Pattern::Trickle, None),
        (None, None, None) => (Pattern::Single, None),
    };
    Workload {
        id: None,
        pattern,
        scale_set: job.scale_set.clone(),
        label: job.label.clone(),
        at: None,
        when: None,
        count: None,
        every: None,
        arrivals: Arrivals::Steady,
        times: None,
        until: None,
        duration: Some(Delay::fixed(spec.duration)),
        result: spec.result,
        docker_after: spec.docker_after.map(Delay::fixed),
        cancel_after: cancel.map(Delay::fixed),
        silent_for: spec.silent_for,
        exit_code: spec.exit_code,
    }
}

/// Releases relative to that of the run, scale sets without the only cluster's name.
fn relative(s: &mut Scenario) {
    let run = s.release;
    let before = ReleaseRef::Exact(ReleaseRef::Previous.resolve(run.exact()));
    let loosen = |r: &mut ReleaseRef| {
        *r = match *r {
            r if r == run => ReleaseRef::Run,
            r if r == before => ReleaseRef::Previous,
            r => r,
        }
    };
    s.clusters.iter_mut().for_each(|c| c.releases_mut(loosen));
    for entry in &mut s.operators {
        // A chart is upgraded to the run's release whatever stands before it, but never back.
        let upgrades = matches!(entry.what, Operator::Upgrade(_));
        entry.what.releases_mut(|r| {
            if !upgrades || *r == run {
                loosen(r)
            }
        });
    }
    if let [_] = s.clusters.as_slice() {
        let mut only = |set: &mut SetRef| set.cluster = None;
        s.workload.iter_mut().for_each(|w| only(&mut w.scale_set));
        s.faults.iter_mut().for_each(|e| e.what.scale_sets_mut(&mut only));
        s.operators.iter_mut().for_each(|e| e.what.scale_sets_mut(&mut only));
        s.existing.scale_sets_mut(&mut only);
    }
}

/// The file: the story as a comment, then what differs from the defaults.
pub fn text(scenario: &Scenario, story: &[String]) -> String {
    let mut value = serde_json::to_value(scenario).unwrap_or_default();
    prune(&mut value);
    let mut out = String::new();
    for line in story {
        out.push_str(if line.is_empty() { "#" } else { "# " });
        out.push_str(line);
        out.push('\n');
    }
    let Value::Object(map) = value else { return out };
    for (key, value) in ordered(&map) {
        match (key, value) {
            ("clusters", Value::Array(clusters)) => {
                out.push_str("clusters:\n");
                for cluster in clusters {
                    block_item(cluster, &mut out);
                }
            }
            ("workload" | "faults" | "operators" | "marks", Value::Array(entries)) => {
                out.push_str(&format!("{key}:\n"));
                for entry in entries {
                    out.push_str(&format!("  - {}\n", flow(entry)));
                }
            }
            ("expect", Value::Object(expect)) => {
                out.push_str("expect:\n");
                for (release, what) in expect {
                    out.push_str(&format!("  {}: {}\n", scalar(release), flow(what)));
                }
            }
            _ => out.push_str(&format!("{key}: {}\n", flow(value))),
        }
    }
    out
}

/// A cluster: its settings a line each, its lists an item a line.
fn block_item(value: &Value, out: &mut String) {
    let Value::Object(map) = value else { return };
    for (n, (key, value)) in ordered(map).into_iter().enumerate() {
        let indent = if n == 0 { "  - " } else { "    " };
        match value {
            Value::Array(items) if items.iter().all(Value::is_object) && !items.is_empty() => {
                out.push_str(&format!("{indent}{key}:\n"));
                for item in items {
                    out.push_str(&format!("      - {}\n", flow(item)));
                }
            }
            _ => out.push_str(&format!("{indent}{key}: {}\n", flow(value))),
        }
    }
}

/// Keys that come first, in this order; the others follow by the alphabet.
const FIRST: [&str; 32] = [
    "name",
    "why",
    "upstream",
    "tags",
    "release",
    "seed",
    "github",
    "clusters",
    "network",
    "existing",
    "workload",
    "faults",
    "operators",
    "marks",
    "run_for",
    "settle",
    "limits",
    "id",
    "pattern",
    "scale_set",
    "at",
    "when",
    "for",
    "until",
    "call",
    "op",
    "from",
    "to",
    "target",
    "actor",
    "verb",
    "kind",
];

fn ordered(map: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut all: Vec<(&str, &Value)> = map.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let last = |key: &str| u8::from(key == "expect");
    all.sort_by_key(|(key, _)| (last(key), FIRST.iter().position(|f| f == key).unwrap_or(FIRST.len()), *key));
    all
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) if map.is_empty() => "{}".into(),
        Value::Object(map) => {
            let members: Vec<String> =
                ordered(map).into_iter().map(|(k, v)| format!("{}: {}", scalar(k), flow(v))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A plain scalar where YAML reads it back as this text, else a quoted one.
fn scalar(text: &str) -> String {
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_');
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./ ()'".contains(c)) && !text.ends_with(' ');
    let other =
        matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "~") || text.parse::<f64>().is_ok();
    if starts && plain && !other { text.to_owned() } else { Value::from(text).to_string() }
}

/// Takes out what the reader would put in by itself.
fn prune(value: &mut Value) {
    let like = |v: serde_json::Result<Value>| v.unwrap_or_default();
    let cluster = ClusterSpec { name: Str::default(), ..ClusterSpec::default() };
    let controller = like(serde_json::to_value(ControllerSpec { name: Str::default(), ..ControllerSpec::default() }));
    let set = like(serde_json::to_value(ScaleSetSpec { name: Str::default(), ..ScaleSetSpec::default() }));
    let usual = like(serde_json::to_value(cluster));
    for (key, default) in [
        ("github", like(serde_json::to_value(crate::plan::world::GithubSpec::default()))),
        ("network", like(serde_json::to_value(crate::plan::world::NetworkSpec::default()))),
        ("existing", like(serde_json::to_value(crate::plan::world::ExistingSpec::default()))),
        ("limits", like(serde_json::to_value(crate::plan::Limits::default()))),
        ("workload", Value::Array(Vec::new())),
        ("faults", Value::Array(Vec::new())),
        ("operators", Value::Array(Vec::new())),
    ] {
        drop_default(value, key, &default);
    }
    let org = like(serde_json::to_value(OrgSpec { name: Str::default(), ..OrgSpec::default() }));
    let credential = like(serde_json::to_value(CredentialSpec { name: Str::default(), ..CredentialSpec::default() }));
    if let Some(github) = value.get_mut("github") {
        for organisation in items(github, "orgs") {
            items(organisation, "credentials").iter_mut().for_each(|c| subtract(c, &credential));
            subtract(organisation, &org);
        }
    }
    if let Some(existing) = value.get_mut("existing") {
        let mut runners = like(serde_json::to_value(ExistingRunners::default()));
        let mut backlog = like(serde_json::to_value(Backlog::default()));
        for entry in [&mut runners, &mut backlog] {
            // Who and how many are always said.
            entry["scale_set"] = Value::Null;
            entry["count"] = Value::Null;
        }
        items(existing, "runners").iter_mut().for_each(|r| subtract(r, &runners));
        items(existing, "backlog").iter_mut().for_each(|b| subtract(b, &backlog));
    }
    for cluster in items(value, "clusters") {
        let only = cluster["controllers"] == like(serde_json::to_value(ClusterSpec::default().controllers));
        items(cluster, "controllers").iter_mut().for_each(|c| subtract(c, &controller));
        items(cluster, "scale_sets").iter_mut().for_each(|s| subtract(s, &set));
        subtract(cluster, &usual);
        if only && let Value::Object(map) = cluster {
            map.remove("controllers");
        }
    }
    for (n, w) in items(value, "workload").iter_mut().enumerate() {
        let first = format!("w{}", n + 1);
        for (key, default) in [
            ("id", Value::from(first)),
            ("arrivals", "steady".into()),
            ("result", "succeeded".into()),
            ("exit_code", 0.into()),
            ("at", "0s".into()),
            ("duration", "1m".into()),
        ] {
            drop_default(w, key, &default);
        }
    }
    for (list, letter) in [("faults", 'f'), ("operators", 'o')] {
        for (n, entry) in items(value, list).iter_mut().enumerate() {
            drop_default(entry, "id", &format!("{letter}{}", n + 1).into());
            drop_default(entry, "at", &"0s".into());
            if let Value::Object(map) = entry {
                map.iter_mut().for_each(|(word, value)| defaults_of_words(word, value));
            }
        }
    }
}

/// The items of a list; none if there is no such list.
fn items<'v>(value: &'v mut Value, key: &str) -> &'v mut [Value] {
    value.get_mut(key).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// Parameters that stand for "everything" or "always" are what their absence means.
fn defaults_of_words(word: &str, value: &mut Value) {
    if let Value::Object(map) = value {
        for key in ["name", "namespace", "pod", "container"] {
            if map.get(key) == Some(&Value::from("*")) {
                map.remove(key);
            }
        }
        let mut usual = vec![("in_flight_applied", "1/1"), ("crds", "leave")];
        if word == "container_exit" {
            usual.extend([("reason", "Error"), ("after", "0s")]);
        }
        for (key, usual) in usual {
            if map.get(key) == Some(&Value::from(usual)) {
                map.remove(key);
            }
        }
    }
}

fn drop_default(value: &mut Value, key: &str, default: &Value) {
    if let Value::Object(map) = value {
        if let Some(member) = map.get_mut(key)
            && member.is_object()
        {
            subtract(member, default);
            if member.as_object().is_some_and(Map::is_empty) {
                map.remove(key);
            }
        } else if map.get(key) == Some(default) {
            map.remove(key);
        }
    }
}

/// Takes everything out of `value` that `usual` says as well.
fn subtract(value: &mut Value, usual: &Value) {
    let (Value::Object(map), Value::Object(usual)) = (&mut *value, usual) else { return };
    map.retain(|key, member| match usual.get(key) {
        Some(same) if member == same => false,
        Some(other @ Value::Object(_)) if member.is_object() => {
            subtract(member, other);
            member.as_object().is_none_or(|m| !m.is_empty())
        }
        _ => true,
    });
}

/// Whether a scenario compiles to what a plan does: the same world and the same actions, but for the ids of jobs.
pub fn says(scenario: &Scenario, plan: &Plan) -> bool {
    let made = compile::compile(scenario, None, plan.release(), plan.seed);
    let plain = |p: &Plan| {
        let mut actions: Vec<PlannedAction> = p.actions.clone();
        for a in &mut actions {
            a.id = if matches!(a.what, Action::Job(_)) { Str::default() } else { Str::from(a.id.replace('.', "-")) };
        }
        (p.world.clone(), actions, p.run_for, p.settle, p.limits)
    };
    plain(&made) == plain(plan)
}

#[cfg(test)]
mod tests;
