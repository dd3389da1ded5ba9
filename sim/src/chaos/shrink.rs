//! From a plan that fails to a small one that fails in the same way: works on the plan, never on the world.
//!
//! Passes, largest first: cut the tail, drop families of faults, faults, operators, jobs, scale sets and clusters, give settings
//! their defaults, then simplify what is left: times, lengths, numbers, parameters. Repeated until no pass changes anything, so
//! that no single action can be left out any more (1-minimal). The budget is a number of executions, so the outcome is a
//! function of the plan. Source: dst-practices.md §10.

mod edits;
mod settings;

use std::collections::BTreeSet;

use crate::plan::world::ContainerMode;
use crate::plan::{Action, Dur, Fault, Operator, Plan, PlannedAction, QueueJob, SetRef, When};

/// Whether a plan still fails in the same way.
pub type Fails<'f> = &'f mut dyn FnMut(&Plan) -> bool;

/// A plan that was made smaller.
#[derive(Clone, PartialEq, Debug)]
pub struct Shrunk {
    /// The smallest that still fails.
    pub plan: Plan,
    /// Executions it took.
    pub tries: u32,
    /// Whether nothing more can be left out; false if the budget ended before.
    pub minimal: bool,
}

/// Makes a failing plan smaller in at most `most` executions. `at_the_end` says that the failure is one of the end state, so that
/// a world without time to settle would prove nothing.
pub fn shrink(plan: &Plan, at_the_end: bool, fails: Fails<'_>, most: u32) -> Shrunk {
    let mut s = Shrinker { best: plan.clone(), at_the_end, fails, tries: 0, most };
    loop {
        let before = s.best.clone();
        s.tail();
        s.families();
        s.drop_actions();
        s.sets();
        s.settings();
        s.edits();
        if s.best == before || s.out_of_budget() {
            break;
        }
    }
    Shrunk { minimal: !s.out_of_budget(), tries: s.tries, plan: s.best }
}

struct Shrinker<'f> {
    best: Plan,
    at_the_end: bool,
    fails: Fails<'f>,
    tries: u32,
    most: u32,
}

impl Shrinker<'_> {
    fn out_of_budget(&self) -> bool {
        self.tries >= self.most
    }
    /// Takes a candidate if it fails as well, and is a plan that somebody might write.
    fn take(&mut self, mut candidate: Plan) -> bool {
        if self.at_the_end {
            candidate.settle = candidate.settle.max(super::settle::bound(&candidate).total());
        }
        if self.out_of_budget() || candidate == self.best || !sound(&candidate) {
            return false;
        }
        self.tries += 1;
        let smaller = (self.fails)(&candidate);
        if smaller {
            self.best = candidate;
        }
        smaller
    }
    /// Changes a copy of the best plan and takes it if it still fails.
    fn attempt(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        self.take(candidate)
    }

    /// Less time, and nothing that begins after it. What is judged at the end keeps the time that a world needs to settle.
    fn tail(&mut self) {
        let least = if self.at_the_end { super::settle::bound(&self.best).total() } else { Dur::secs(90) };
        for settle in [90, 120, 180, 300, 420, 600, 780, 900, 1200].map(Dur::secs).into_iter().chain([least]) {
            if settle >= least && settle < self.best.settle && self.attempt(|p| p.settle = settle) {
                break;
            }
        }
        for run_for in [10, 20, 30, 60, 90, 120, 180, 240, 300] {
            let run_for = Dur::secs(run_for);
            let cut = |p: &mut Plan| {
                p.run_for = run_for;
                p.actions.retain(|a| !matches!(a.when, When::At(at) if at >= run_for));
                // What waits for something waits no longer than the run lasts.
                for a in &mut p.actions {
                    if let When::Event(t) = &mut a.when {
                        t.at_latest = t.at_latest.map(|at| at.min(Dur(run_for.0 - Dur::secs(5).0)));
                    }
                }
            };
            if run_for < self.best.run_for && self.attempt(cut) {
                break;
            }
        }
        self.attempt(|p| p.limits = crate::plan::Limits::default());
    }

    /// All actions of one name at once.
    fn families(&mut self) {
        let kinds: BTreeSet<&'static str> = self.best.actions.iter().map(kind).collect();
        self.attempt(|p| p.actions.retain(|a| kind(a) == "job"));
        for k in kinds {
            self.attempt(|p| p.actions.retain(|a| kind(a) != k));
        }
    }

    /// Halves, quarters, …, single actions; until no single one can go.
    fn drop_actions(&mut self) {
        let mut size = self.best.actions.len().div_ceil(2).max(1);
        loop {
            let mut dropped = false;
            let mut at = self.best.actions.len();
            // Later ones first: what comes before the failure depends on less.
            while at > 0 {
                let from = at.saturating_sub(size);
                dropped |= self.attempt(|p| drop(p.actions.drain(from..at.min(p.actions.len()))));
                at = from;
                if self.out_of_budget() {
                    return;
                }
            }
            if size == 1 && !dropped {
                return;
            }
            size = if dropped && size == 1 { 1 } else { (size / 2).max(1) };
        }
    }

    /// Scale sets, second clusters and replicas, with everything that is about them.
    fn sets(&mut self) {
        let all: Vec<SetRef> = self.best.world.set_refs().map(|(set, _)| set).collect();
        for set in all.into_iter().rev() {
            self.attempt(|p| without_set(p, &set));
        }
        for name in self.best.world.clusters.iter().skip(1).map(|c| c.name.clone()).collect::<Vec<_>>() {
            self.attempt(|p| {
                let sets = p.world.set_refs().map(|(set, _)| set);
                let gone: Vec<SetRef> = sets.filter(|set| set.cluster.as_ref() == Some(&name)).collect();
                gone.iter().for_each(|set| without_set(p, set));
                p.actions.retain(|a| a.cluster.as_ref() != Some(&name));
                p.world.clusters.retain(|c| c.name != name);
            });
        }
    }
}

/// Whether somebody might write this: nothing happens after its time, nothing is asked for that cannot be, and what was taken
/// away is asked for again in a way that waits for it.
fn sound(plan: &Plan) -> bool {
    let credentials = |name: &str| plan.world.github.orgs.iter().flat_map(|o| &o.credentials).any(|c| c.name == name);
    let sets = plan.world.clusters.iter().flat_map(|c| &c.scale_sets);
    sets.into_iter().all(|s| s.max_runners.is_none_or(|max| s.min_runners.unwrap_or(0) <= max))
        && plan.actions.iter().all(|a| {
            let in_time = match &a.when {
                When::At(at) => *at < plan.run_for,
                // What is waited for after another action goes with that action.
                When::Event(t) => {
                    t.since.as_ref().is_none_or(|id| plan.actions.iter().any(|a| a.id == *id))
                        && [t.not_before, t.at_latest].into_iter().flatten().all(|at| at < plan.run_for)
                }
            };
            in_time
                && match &a.what {
                    Action::Job(job) => fits(plan, job),
                    Action::Operator(Operator::Install(p)) => p.or_upgrade,
                    Action::Operator(Operator::RotateSecret(p)) => credentials(&p.credential),
                    Action::Operator(Operator::Patch(p)) => !p.set.is_empty(),
                    Action::Fault(Fault::GhRegistrationLoss(f)) => f.fraction.is_some() == f.names.is_empty(),
                    _ => true,
                }
        })
}

/// Whether the runners of a job's set have what it needs: a job that nobody could run there shows nothing.
fn fits(plan: &Plan, job: &QueueJob) -> bool {
    let sets = plan.world.clusters.iter().flat_map(|c| c.scale_sets.iter().map(move |s| (&c.name, s)));
    let mut modes = sets.filter(|(c, s)| job.scale_set.matches(c, &s.name)).map(|(_, s)| s.container_mode);
    modes.all(|mode| {
        (job.job.docker_after.is_none() || mode == ContainerMode::Dind) && (!job.job.container || mode.has_hooks())
    })
}

/// Takes a scale set and all that names it out of a plan.
fn without_set(plan: &mut Plan, set: &SetRef) {
    for cluster in &mut plan.world.clusters {
        let name = cluster.name.clone();
        cluster.scale_sets.retain(|s| !set.matches(&name, &s.name));
    }
    let is = |named: &SetRef| named.name == set.name && (named.cluster.is_none() || named.cluster == set.cluster);
    let existing = &mut plan.world.existing;
    existing.sessions.retain(|s| !is(&s.scale_set));
    existing.runners.retain(|r| !is(&r.scale_set));
    existing.backlog.retain(|b| !is(&b.scale_set));
    plan.actions.retain_mut(|a| {
        let mut about = false;
        match &mut a.what {
            Action::Job(job) => about = is(&job.scale_set),
            Action::Fault(fault) => fault.scale_sets_mut(|s| about |= is(s)),
            Action::Operator(operator) => operator.scale_sets_mut(|s| about |= is(s)),
            Action::Cancel(_) | Action::Mark(_) => {}
        }
        !about
    });
}

/// The name of what an action does.
pub(super) fn kind(action: &PlannedAction) -> &'static str {
    match &action.what {
        Action::Job(_) => "job",
        Action::Cancel(_) => "cancel",
        Action::Operator(o) => o.id(),
        Action::Fault(f) => f.id(),
        Action::Mark(_) => "mark",
    }
}

#[cfg(test)]
mod tests;
