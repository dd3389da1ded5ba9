//! From a seed to a plan: a world, jobs, operators and faults at random, written out. Never runs anything.
//!
//! *Swarm*: each seed switches whole families of faults and actions off and weighs the others wildly, since what is always on
//! hides what it drowns (dst-practices.md §6). Every concern draws from a stream of its own, so that a new fault shifts no
//! world. What no correct system survives is not drawn (`budget`).

mod budget;
mod cluster;
pub(super) mod existing;
mod github;
mod nodes;
mod operators;
mod world;

use std::collections::BTreeMap;

use arc_api::{Str, format_smolstr};
use controller_core::Release;

use super::draws::Draws;
use super::profile::Profile;
use crate::plan::fault::NetMode;
use crate::plan::world::{ContainerMode, Personality};
use crate::plan::{
    Action, Actor, Dur, Fault, Glob, Limits, Plan, PlannedAction, Point, ReleaseRef, Role, SCHEMA, SetRef, Trigger,
    When, WorldSpec,
};
use crate::rand::Streams;

/// What the parts of a plan must know of each other.
pub(super) struct Shape<'p> {
    profile: &'p Profile,
    release: Release,
    /// Scale sets with their container modes.
    sets: Vec<(SetRef, ContainerMode)>,
    acquires: bool,
    nodes: u32,
    /// Times at which something runs out in this world.
    deadlines: Vec<Dur>,
    injected: bool,
}

/// The plan of a seed for a release. Same arguments, same plan, for ever the same on every machine.
pub fn draw(seed: u64, profile: &Profile, release: Release) -> Plan {
    let streams = Streams::new(seed).family("chaos");
    let knobs = world::Knobs { streams: streams.family("knobs"), share: profile.knobs };
    let mut world = world::draw(&mut Draws::of(&streams, "world"), &knobs, release, profile);
    existing::draw(&mut Draws::of(&streams, "existing"), profile.existing, &mut world);
    let shape = Shape::of(&world, profile, release);
    let mut actions = jobs(&mut Draws::of(&streams, "jobs"), &shape);
    let (acts, restarts) = operators::draw(&streams, &shape, &world);
    actions.extend(acts);
    actions.extend(faults(&streams, &shape, restarts));
    let mut plan = Plan {
        schema: SCHEMA,
        scenario: format_smolstr!("chaos-{seed}"),
        variant: None,
        release: ReleaseRef::Exact(release),
        seed,
        world,
        actions,
        forks: Vec::new(),
        run_for: profile.run_for,
        settle: Dur::ZERO,
        limits: Limits { events: profile.most.events, ..Limits::default() },
    };
    budget::keep(&mut plan);
    plan.settle = super::settle::bound(&plan).total();
    plan
}

impl<'p> Shape<'p> {
    fn of(world: &WorldSpec, profile: &'p Profile, release: Release) -> Shape<'p> {
        let g = &world.github;
        let sets = world.set_refs().map(|(set, s)| (set, s.container_mode));
        let known = [
            g.poll_hold,
            g.session_ttl,
            g.queue_token_ttl,
            g.admin_token_ttl,
            g.pickup_timeout,
            g.dead_runner_after,
            g.job_lease,
            // Leases of replicas, a pod's grace, retries of clients, back-offs of runners.
            Dur::secs(15),
            Dur::secs(30),
            Dur::secs(20),
            Dur::secs(80),
        ];
        Shape {
            profile,
            release,
            sets: sets.collect(),
            acquires: g.mode == Personality::AcquireRequired,
            nodes: world.clusters.iter().map(|c| c.nodes).max().unwrap_or(1),
            deadlines: known.into_iter().filter(|d| *d <= profile.run_for).collect(),
            injected: world.clusters.iter().any(|c| !c.injected_sidecar.is_empty()),
        }
    }
    fn set(&self, d: &mut Draws) -> SetRef {
        d.one(&self.sets).0
    }
    /// A scale set, or all of them.
    fn some_set(&self, d: &mut Draws) -> Option<SetRef> {
        let set = self.set(d);
        (d.one_in(2) && self.sets.len() > 1).then_some(set)
    }
    fn has(&self, mode: impl Fn(ContainerMode) -> bool) -> bool {
        self.sets.iter().any(|(_, m)| mode(*m))
    }
    fn has_dind(&self) -> bool {
        self.has(|m| m == ContainerMode::Dind)
    }
    fn has_hooks(&self) -> bool {
        self.has(ContainerMode::has_hooks)
    }
    /// When something begins: mostly in the middle of things, sometimes while the world is being installed.
    fn begins(&self, d: &mut Draws) -> Dur {
        let last = (self.profile.run_for.0.as_secs() as u32).saturating_sub(60).max(1);
        let early = d.one_in(5);
        let (whole, part) = (d.secs(0, if early { 25 } else { last }), d.millis(0, 999));
        // Half of the times are round: people and schedulers love round times, and so do races.
        if d.one_in(2) { whole } else { Dur(whole.0 + part.0) }
    }
    /// How long something lasts: a few seconds or minutes, or exactly as long as something takes to run out, or a moment less or
    /// more.
    fn lasts(&self, d: &mut Draws) -> Dur {
        let usual = d.one(&[Dur::secs(20), Dur::secs(1), Dur::secs(5), Dur::secs(60), Dur::secs(120), Dur::secs(300)]);
        let exact = d.one(&self.deadlines);
        let shift = d.one(&[0, 1_000, 1_000_000]);
        let late = d.one_in(2);
        if !d.hits(self.profile.boundary) {
            return usual;
        }
        let us = exact.as_micros();
        Dur::micros(if late { us + shift } else { us.saturating_sub(shift).max(1) })
    }
}

/// Weights of the families that a seed leaves on: half of them, by the profile, are off, the others weigh more or less.
fn swarm(d: &mut Draws, weights: &BTreeMap<Str, u32>, off: crate::plan::Ratio) -> Vec<(u32, Str)> {
    let weigh = |(id, usual): (&Str, &u32)| {
        let (gone, wild) = (d.hits(off), d.one(&[1, 1, 2, 4, 16]));
        (if gone { 0 } else { usual * wild }, id.clone())
    };
    weights.iter().map(weigh).collect()
}

fn jobs(d: &mut Draws, shape: &Shape<'_>) -> Vec<PlannedAction> {
    use crate::plan::{JobCancel, JobSpec, QueueJob};
    let mut out = Vec::new();
    let end = shape.profile.run_for.0.as_secs() as u32;
    for n in 1..=d.between(0, shape.profile.most.workloads) {
        let (set, mode) = d.one(&shape.sets);
        let first = d.between(0, end.saturating_sub(120));
        let (each, every, times) = (d.between(1, 3), d.one(&[0, 10, 25]), d.between(1, 8));
        let duration = d.one(&[Dur::secs(3), Dur::secs(20), Dur::secs(60), Dur::millis(200)]);
        let (cancels, running, after) = (d.one_in(8), d.one_in(2), d.secs(1, 20));
        let (silent, failing) = (d.one_in(6), d.one_in(8));
        // Files have one word for a job: it is cancelled, or it runs in a workflow pod.
        let hooks = mode.has_hooks();
        let cancels = cancels && !hooks;
        let job = JobSpec {
            duration,
            docker_after: (mode == ContainerMode::Dind).then_some(Dur::secs(1)),
            container: hooks,
            silent_for: (silent && mode == ContainerMode::Kubernetes).then_some(Dur::secs(30)),
            result: if failing { arc_api::service::JobResult::Failed } else { arc_api::service::JobResult::Succeeded },
            cancel: cancels.then_some(if running {
                JobCancel::AfterStarted(after)
            } else {
                JobCancel::AfterQueued(after)
            }),
            ..JobSpec::default()
        };
        let mut number = 0;
        for turn in 0..if every == 0 { 1 } else { times } {
            let at = first + turn * every;
            if at >= end {
                break;
            }
            for _ in 0..each {
                number += 1;
                out.push(PlannedAction {
                    id: format_smolstr!("w{n}.{number}"),
                    when: When::At(Dur::secs(u64::from(at))),
                    lasts: None,
                    ends_with: None,
                    cluster: None,
                    what: Action::Job(QueueJob { scale_set: set.clone(), label: None, job: job.clone() }),
                });
            }
        }
    }
    out
}

fn faults(streams: &Streams, shape: &Shape<'_>, restarts: Vec<Dur>) -> Vec<PlannedAction> {
    let weights = swarm(&mut Draws::of(streams, "swarm faults"), &shape.profile.faults, shape.profile.family_off);
    let mut d = Draws::of(streams, "faults");
    let most = d.between(0, shape.profile.most.faults);
    let mut out = Vec::new();
    for n in 1..=most {
        let Some(kind) = d.weighted(&weights) else { break };
        // Each fault draws from a stream of its own: leaving one out changes no other.
        let mut d = Draws::of(streams, &format!("fault {n}"));
        let at = shape.begins(&mut d);
        let lasts = shape.lasts(&mut d);
        let trigger = trigger(&mut d, shape);
        let crash = kind == "actor_crash";
        // Crash points are worth more than crash times: every gap between two calls is one.
        let waits = d.hits(shape.profile.triggered) || (crash && d.one_in(2));
        let trigger = if crash && d.one_in(2) { step_trigger(&mut d, &trigger) } else { trigger };
        if kind == "net_cut" && d.one_in(4) {
            out.extend(swizzle(&mut d, shape, n, at));
            continue;
        }
        let made = match kind.as_str() {
            "roll_overlap" => None,
            id => github::draw(id, &mut d, shape)
                .or_else(|| cluster::draw(id, &mut d, shape))
                .or_else(|| nodes::draw(id, &mut d, shape)),
        };
        let Some(fault) = made else { continue };
        let when = if waits { When::Event(Box::new(trigger)) } else { When::At(at) };
        out.push(lasting(format_smolstr!("f{n}"), when, lasts, fault, shape));
    }
    out.extend(refusal(&mut Draws::of(streams, "refusals"), shape));
    // Two controllers side by side, for each time that one is rolled.
    let mut d = Draws::of(streams, "overlaps");
    for (n, at) in restarts.into_iter().enumerate() {
        let overlap =
            crate::plan::fault::RollOverlap { new_start: d.varying(100, 20_000), old_sigterm: d.varying(10, 40_000) };
        let before = Dur(at.0.saturating_sub(Dur::secs(1).0));
        let id = format_smolstr!("roll{}", n + 1);
        out.push(lasting(id, When::At(before), Dur::secs(90), Fault::RollOverlap(overlap), shape));
    }
    out
}

fn lasting(id: Str, when: When, lasts: Dur, what: Fault, shape: &Shape<'_>) -> PlannedAction {
    let left = match &when {
        When::At(at) => Dur(shape.profile.run_for.0.saturating_sub(at.0)),
        When::Event(_) => shape.profile.run_for,
    };
    PlannedAction { id, when, lasts: Some(lasts.min(left)), ends_with: None, cluster: None, what: Action::Fault(what) }
}

/// A quota or an admission webhook that refuses runners' pods for a while (field-bugs.md, quota-rejection-is-terminal and
/// seed-invalid-init-restart-policy). As one of so many faults it would meet a pod once in hundreds of worlds.
fn refusal(d: &mut Draws, shape: &Shape<'_>) -> Option<PlannedAction> {
    use crate::plan::fault::{ApiReject, RejectClass};
    let (drawn, at, lasts) = (d.hits(shape.profile.refusals), shape.begins(d), shape.lasts(d));
    let classes = [
        RejectClass::ForbiddenQuota,
        RejectClass::ForbiddenQuota,
        RejectClass::ForbiddenWebhook,
        RejectClass::Invalid,
        RejectClass::ForbiddenRbac,
    ];
    let (class, probability) = (d.one(&classes), d.share());
    let (limited, count) = (d.one_in(2), d.between(1, 12));
    let fault = Fault::ApiReject(ApiReject {
        kind: Glob("pods".into()),
        verb: Glob("create".into()),
        class,
        message: None,
        actor: Some(Actor::all(Role::Controller)),
        name: Glob::default(),
        scale_set: shape.some_set(d),
        namespace: Glob::default(),
        probability,
        count: limited.then_some(count),
    });
    (drawn && shape.profile.most.faults > 0).then(|| lasting("refused".into(), When::At(at), lasts, fault, shape))
}

/// Links that are cut one after another and come back one after another, in another order (dst-practices.md §6, "Swizzle").
fn swizzle(d: &mut Draws, shape: &Shape<'_>, n: u32, at: Dur) -> Vec<PlannedAction> {
    let links = [
        (Role::Controller, Role::KubeApi),
        (Role::Controller, Role::Github),
        (Role::Listener, Role::KubeApi),
        (Role::Listener, Role::Github),
        (Role::Runner, Role::Github),
    ];
    let (cut, back) = (d.order(links.len()), d.order(links.len()));
    let (step, apart) = (d.secs(1, 8), d.secs(2, 12));
    let how = d.one(&[NetMode::Refused, NetMode::Reset, NetMode::Blackhole]);
    let many = d.between(2, links.len() as u32) as usize;
    let first = at;
    let cuts = cut.iter().take(many).enumerate().map(|(turn, link)| {
        let begins = Dur(first.0 + step.0 * turn as u32);
        let returns = back.iter().position(|b| b == link).unwrap_or(0) as u32;
        let ends = Dur(first.0 + step.0 * many as u32 + apart.0 * (returns + 1));
        let (from, to) = links[*link];
        let fault = Fault::NetCut(crate::plan::fault::NetCut {
            from: Actor::all(from),
            to: Actor::all(to),
            mode: how,
            call: None,
            by: None,
            probability: crate::plan::Ratio::ONE,
            count: None,
        });
        lasting(format_smolstr!("f{n}-{}", turn + 1), When::At(begins), Dur(ends.0 - begins.0), fault, shape)
    });
    cuts.filter(|a| matches!(a.when, When::At(at) if at < shape.profile.run_for)).collect()
}

/// Calls after or before which a fault may strike, with who makes them.
const CALLS: [(&str, Role); 22] = [
    ("kube.*", Role::Controller),
    ("kube.*", Role::Controller),
    ("github.*", Role::Controller),
    ("github.*", Role::Listener),
    ("github.*", Role::Runner),
    ("kube.create pods", Role::Controller),
    ("kube.create secrets", Role::Controller),
    ("kube.create ephemeralrunners", Role::Controller),
    ("kube.create ephemeralrunnersets", Role::Controller),
    ("kube.create autoscalinglisteners", Role::Controller),
    ("kube.patch ephemeralrunners/status", Role::Controller),
    ("kube.patch ephemeralrunners", Role::Controller),
    ("kube.delete *", Role::Controller),
    ("kube.patch ephemeralrunnersets", Role::Listener),
    ("kube.patch ephemeralrunners/status", Role::Listener),
    ("github.generate_jit", Role::Controller),
    ("github.remove_runner", Role::Controller),
    ("github.create_session", Role::Listener),
    ("github.get_message", Role::Listener),
    ("github.delete_message", Role::Listener),
    ("github.refresh_session", Role::Listener),
    ("github.runner_connect", Role::Runner),
];

/// The n-th call of a component.
fn trigger(d: &mut Draws, shape: &Shape<'_>) -> Trigger {
    let (call, role) = d.one(&CALLS);
    let many = if role == Role::Controller && call.ends_with(".*") { 120 } else { 12 };
    let late = Dur(shape.profile.run_for.0.saturating_sub(Dur::secs(30).0));
    Trigger {
        call: Some(Glob(call.into())),
        actor: Some(Actor::all(role)),
        occurrence: d.between(1, many),
        point: d.one(&[Point::AfterReply, Point::AfterApply, Point::BeforeSend]),
        // A call that never comes is no reason for a quiet world.
        at_latest: Some(late),
        ..Trigger::default()
    }
}

/// Steps of passes, named for what has just happened: the places where a crash hurts.
const STEPS: [&str; 16] = [
    "after-jit",
    "after-jit-status",
    "after-jit-secret-created",
    "after-pod-created",
    "after-runner-id",
    "after-failure-recorded",
    "after-failed-pod-deleted",
    "after-runner-removed",
    "after-registration-finalizer-off",
    "after-jit-secret-deleted",
    "after-finalizer",
    "after-finalizer-off",
    "after-marked",
    "after-*created*",
    "after-*deleted*",
    "after-*",
];

/// The n-th time that a pass of a controller gets to a step.
fn step_trigger(d: &mut Draws, like: &Trigger) -> Trigger {
    Trigger {
        call: None,
        step: Some(Glob(d.one(&STEPS).into())),
        actor: Some(Actor::all(Role::Controller)),
        occurrence: d.between(1, 8),
        ..like.clone()
    }
}

#[cfg(test)]
mod tests;
