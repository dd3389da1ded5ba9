//! Makes plans of scenarios: expands workloads, resolves releases and names, draws what chance decides beforehand.
//!
//! Every entry draws from a stream of its own, named by its id, so that editing one entry changes no other's jobs.

use arc_api::{Str, format_smolstr};
use controller_core::Release;
use rand_chacha::ChaCha8Rng;

use super::entry::{Entry, Head, Say};
use super::file::{Arrivals, Pattern, Scenario, Workload};
use crate::plan::values::{Between, below};
use crate::plan::{
    Action, Delay, Dur, Fault, JobCancel, JobSpec, Operator, Plan, PlannedAction, QueueJob, ReleaseRef, SCHEMA, SetRef,
    Trigger, When, WorldSpec,
};
use crate::rand::Streams;

/// Most actions that one entry becomes.
const ACTIONS_MAX: u64 = 200_000;

/// The plan of a scenario (its variants already laid over) for one release and seed.
pub fn compile(scenario: &Scenario, variant: Option<&str>, release: Release, seed: u64) -> Plan {
    let mut world = WorldSpec {
        github: scenario.github.clone(),
        clusters: scenario.clusters.clone(),
        network: scenario.network.clone(),
        existing: scenario.existing.clone(),
    };
    resolve_world(&mut world, release);
    let streams = Streams::new(seed).family("plan");
    let gaps = idle_gaps(scenario);
    let mut actions = Vec::new();
    for entry in scenario.marks.iter().filter(|e| e.head.is_for(release)) {
        expand(&entry.head, scenario.run_for, false, &mut actions, |_| match &entry.what {
            Say::Mark(text) => Action::Mark(text.clone()),
        });
    }
    for workload in &scenario.workload {
        jobs(workload, scenario.run_for, &gaps, &streams, &world, &mut actions);
    }
    for entry in scenario.operators.iter().filter(|e| e.head.is_for(release)) {
        let operator = resolve_operator(&entry.what, release, &world);
        expand(&entry.head, scenario.run_for, false, &mut actions, |_| Action::Operator(operator.clone()));
    }
    for entry in scenario.faults.iter().filter(|e| e.head.is_for(release)) {
        let fault = resolve_fault(&entry.what, &world);
        expand(&entry.head, scenario.run_for, true, &mut actions, |_| Action::Fault(fault.clone()));
    }
    for action in &mut actions {
        if let When::Event(trigger) = &mut action.when
            && let Some(object) = &mut trigger.object
        {
            qualify_option(&mut object.scale_set, &world);
        }
    }
    Plan {
        schema: SCHEMA,
        scenario: scenario.name.clone(),
        variant: variant.map(Str::from),
        release: ReleaseRef::Exact(release),
        seed,
        world,
        actions,
        run_for: scenario.run_for,
        settle: scenario.settle,
        forks: Vec::new(),
        limits: scenario.limits,
    }
}

/// Gives every entry without id the id of its position.
pub fn name_entries(scenario: &mut Scenario) {
    fn name<T>(entries: &mut [Entry<T>], letter: char) {
        for (i, entry) in entries.iter_mut().enumerate() {
            entry.head.id.get_or_insert_with(|| format_smolstr!("{letter}{}", i + 1));
        }
    }
    name(&mut scenario.faults, 'f');
    name(&mut scenario.operators, 'o');
    name(&mut scenario.marks, 'm');
    for (i, workload) in scenario.workload.iter_mut().enumerate() {
        workload.id.get_or_insert_with(|| format_smolstr!("w{}", i + 1));
    }
}

fn resolve_world(world: &mut WorldSpec, release: Release) {
    world.releases_mut(|r| *r = ReleaseRef::Exact(r.resolve(release)));
    let copy = world.clone();
    world.existing.scale_sets_mut(|set| qualify(set, &copy));
}

/// States the cluster of a reference.
fn qualify(set: &mut SetRef, world: &WorldSpec) {
    if let Some((cluster, _)) = world.scale_set(set) {
        set.cluster = Some(cluster.name.clone());
    }
}
fn qualify_option(set: &mut Option<SetRef>, world: &WorldSpec) {
    if let Some(set) = set {
        qualify(set, world);
    }
}
fn resolve_operator(operator: &Operator, release: Release, world: &WorldSpec) -> Operator {
    let mut operator = operator.clone();
    operator.releases_mut(|r| *r = ReleaseRef::Exact(r.resolve(release)));
    operator.scale_sets_mut(|set| qualify(set, world));
    operator
}

fn resolve_fault(fault: &Fault, world: &WorldSpec) -> Fault {
    let mut fault = fault.clone();
    fault.scale_sets_mut(|set| qualify(set, world));
    fault
}

/// When an entry takes place: once, or every so often.
fn expand(head: &Head, run_for: Dur, lasting: bool, out: &mut Vec<PlannedAction>, what: impl Fn(usize) -> Action) {
    let id = head.id.clone().unwrap_or_default();
    let first = head.at.unwrap_or_default();
    let lasts = head.lasts.or_else(|| head.until.map(|until| Dur(until.0.saturating_sub(first.0))));
    let ends = if lasting { run_for } else { head.until.unwrap_or(run_for) };
    for (i, offset) in instants(first, head.every, head.times, ends).enumerate() {
        let id = if i == 0 { id.clone() } else { format_smolstr!("{id}.{}", i + 1) };
        out.push(PlannedAction {
            id,
            when: when(head.when.as_ref(), first, offset),
            lasts: lasts.filter(|_| lasting),
            ends_with: head.ends_with.clone().filter(|_| lasting),
            cluster: head.cluster.clone(),
            what: what(i),
        });
    }
}

/// Steady instants from `first` on: one without `every`, else `times` many, else as many as lie before `ends`.
fn instants(first: Dur, every: Option<Dur>, times: Option<u32>, ends: Dur) -> impl Iterator<Item = Dur> {
    let step = every.filter(|d| *d != Dur::ZERO);
    let count = match (step, times) {
        (None, _) => 1,
        (Some(_), Some(times)) => u64::from(times),
        (Some(step), None) => ends.as_micros().saturating_sub(first.as_micros()).div_ceil(step.as_micros()).max(1),
    };
    let step = step.map_or(0, Dur::as_micros);
    (0..count.min(ACTIONS_MAX)).map(move |i| Dur::micros(first.as_micros() + i * step))
}

fn when(trigger: Option<&Trigger>, first: Dur, instant: Dur) -> When {
    match trigger {
        None => When::At(instant),
        Some(trigger) => {
            let offset = Dur(instant.0 - first.0);
            let mut trigger = trigger.clone();
            if offset != Dur::ZERO {
                trigger.after = Some(Dur(trigger.after.unwrap_or_default().0 + offset.0));
            }
            When::Event(Box::new(trigger))
        }
    }
}

/// A scale set without jobs, and the time it has none.
struct Gap {
    set: SetRef,
    at: Dur,
    until: Dur,
}

fn idle_gaps(scenario: &Scenario) -> Vec<Gap> {
    let gap = |w: &Workload| {
        let at = w.at.unwrap_or_default();
        Gap { set: w.scale_set.clone(), at, until: Dur(at.0 + w.duration.unwrap_or_default().body.from.0) }
    };
    scenario.workload.iter().filter(|w| w.pattern == Pattern::IdleGap).map(gap).collect()
}

fn jobs(w: &Workload, run_for: Dur, gaps: &[Gap], streams: &Streams, world: &WorldSpec, out: &mut Vec<PlannedAction>) {
    let id = w.id.clone().unwrap_or_default();
    let mut set = w.scale_set.clone();
    qualify(&mut set, world);
    let first = w.at.unwrap_or_default();
    if w.pattern == Pattern::IdleGap {
        let ends = Dur(first.0 + w.duration.unwrap_or_default().body.from.0);
        for (suffix, at) in [("begins", first), ("ends", ends)] {
            let text = format_smolstr!("idle gap of {set} {suffix}");
            let id = format_smolstr!("{id}.{suffix}");
            out.push(PlannedAction {
                id,
                when: When::At(at),
                lasts: None,
                ends_with: None,
                cluster: None,
                what: Action::Mark(text),
            });
        }
        return;
    }
    let mut rng = streams.stream(&format!("workload.{id}"));
    let ends = w.until.unwrap_or(run_for);
    let arrivals: Vec<Dur> = match w.arrivals {
        Arrivals::Steady => instants(first, w.every, w.times, ends).collect(),
        Arrivals::Poisson => poisson(first, w, ends, &mut streams.stream(&format!("arrivals.{id}"))),
    };
    let mut number = 0;
    for instant in arrivals {
        for _ in 0..w.count.unwrap_or(1) {
            number += 1;
            let job = job(w, &mut rng);
            let idle = w.when.is_none()
                && gaps.iter().any(|g| instant >= g.at && instant < g.until && (g.set == w.scale_set || g.set == set));
            if idle || number > ACTIONS_MAX {
                continue;
            }
            let queue = QueueJob { scale_set: set.clone(), label: w.label.clone(), job };
            out.push(PlannedAction {
                id: format_smolstr!("{id}.{number}"),
                when: when(w.when.as_ref(), first, instant),
                lasts: None,
                ends_with: None,
                cluster: None,
                what: Action::Job(queue),
            });
        }
    }
}

/// One job. Draws the same number of numbers whatever the pattern, so that changing one setting changes no other draw.
fn job(w: &Workload, rng: &mut ChaCha8Rng) -> JobSpec {
    let duration = w.duration.unwrap_or(Delay::fixed(Dur::secs(60))).sample(rng);
    let docker = w.docker_after.unwrap_or(Delay::fixed(Dur::secs(1))).sample(rng);
    let cancel = w
        .cancel_after
        .unwrap_or(Delay { body: Between { from: Dur::secs(5), to: Dur::secs(40) }, tail: None })
        .sample(rng);
    JobSpec {
        duration,
        result: w.result,
        docker_after: (w.pattern == Pattern::DockerFirstStep || w.docker_after.is_some()).then_some(docker),
        container: matches!(w.pattern, Pattern::ContainerJob | Pattern::SilentStep),
        silent_for: w.silent_for,
        exit_code: w.exit_code,
        cancel: match w.pattern {
            Pattern::CancelQueued => Some(JobCancel::AfterQueued(cancel)),
            Pattern::CancelRunning => Some(JobCancel::AfterStarted(cancel)),
            _ => None,
        },
    }
}

/// Parts of an interval in each of which one arrival is drawn with this chance: geometric gaps, integers only, because
/// logarithms differ between machines.
const SLOTS: u64 = 64;

fn poisson(first: Dur, w: &Workload, ends: Dur, rng: &mut ChaCha8Rng) -> Vec<Dur> {
    let slot = (w.every.unwrap_or(Dur::secs(60)).as_micros() / SLOTS).max(1);
    let most = w.times.map_or(ACTIONS_MAX, u64::from).min(ACTIONS_MAX) as usize;
    let mut out = Vec::new();
    let mut at = first.as_micros();
    while at < ends.as_micros() && out.len() < most {
        if below(rng, SLOTS) == 0 {
            out.push(Dur::micros(at + below(rng, slot)));
        }
        at += slot;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_arrivals_have_their_mean_and_stay_in_their_time() {
        let text = "name: p\nwhy: x\nrelease: next\nclusters: [{ scale_sets: [{ name: linux }] }]\nrun_for: 100h\nexpect: { next: { holds: all } }\n\
                    workload: [{ pattern: trickle, scale_set: linux, every: 1m, at: 1h, arrivals: poisson }]\n";
        let loaded = crate::scenario::load("p.yaml", text).unwrap_or_else(|r| panic!("{}", r.render(false)));
        let counts: Vec<usize> = (0..5)
            .map(|seed| {
                let plan = loaded.plan(None, Release::Next, seed).unwrap_or_else(|| panic!("no plan"));
                let times = plan.actions.iter().map(|a| match a.when {
                    When::At(d) => d.0.as_secs(),
                    When::Event(_) => 0,
                });
                let times: Vec<u64> = times.collect();
                assert!(times.is_sorted() && times[0] >= 3600 && times[times.len() - 1] < 360_060);
                times.len()
            })
            .collect();
        assert!(counts.iter().all(|n| (5_500..6_400).contains(n)), "{counts:?}");
        assert!(counts.windows(2).any(|w| w[0] != w[1]));
    }
}
