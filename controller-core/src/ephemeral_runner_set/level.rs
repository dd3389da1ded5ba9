//! The corrected controller's comparison: every pass, by level, with nothing counted twice and nothing forgotten.
//!
//! **Never** trusts the cache for a change: before it creates or removes, it lists the runners at the server, so neither a
//! cache that lags nor a reply that was lost makes two where one is wanted (Q-STALE-EMPTY-LIST-DUP). What a pass must know of
//! earlier ones stands in the objects. Source: DESIGN.md §4; field-bugs.md, *Correct controller*.
//!
//! * A runner that ended with its job counts until the set's spec changes, which is the listener's answer to that end: no
//!   surplus runner per batch (Q-PATCHID-NOCREATE-OVERSCALE).
//! * A runner that is Failed or Outdated counts for nothing and is swept.
//! * Until the API accepted a pod of the template, and while it refuses one, a single runner is the probe.

use std::borrow::Cow;
use std::sync::Arc;

use arc_api::crd::{AutoscalingRunnerSet, Condition, Conditions, EphemeralRunner, EphemeralRunnerSet, ErPhase};
use arc_api::kube::KubeRequest;
use arc_api::meta::Key;
use arc_api::pod::{Pod, PodConditionType};
use arc_api::{Duration, Kind, Str, Time, format_smolstr};

use super::classify::Census;
use super::scale::{has_job, is_useless};
use super::{ErsPass, PODS_NOT_STARTING, Step, TEMPLATE_REJECTED, fail, own_runners, settled};
use crate::behaviour::{Behaviour, ErsGate, ErsScaleDown, FailedCounts, TemplateProbe};
use crate::ephemeral_runner::{NOT_STARTING, OUTDATED, POD_REJECTED, RUNNER_CONTAINER};
use crate::labels::SCALE_SET_NAME;
use crate::reconcile::{Decision, Observed};

/// A pod that was ready this long has proved that the service accepts its version.
const PROVED_AFTER: Duration = Duration::from_secs(60);
/// How often a probe without a verdict is looked at: as old as it is, within these limits.
const PROBE_WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// One look at the runners, by what they are worth.
#[derive(Clone, Debug, Default)]
struct View {
    census: Census,
    /// Ended with their job under the present spec.
    held: Vec<Arc<EphemeralRunner>>,
    /// Over for good.
    spent: Vec<Arc<EphemeralRunner>>,
    /// Not over, without a job.
    idle: i32,
}

impl View {
    fn of<'a>(
        runners: impl Iterator<Item = &'a Arc<EphemeralRunner>> + Clone,
        generation: i64,
        behaviour: &Behaviour,
    ) -> View {
        let mut view = View { census: Census::of(runners.clone(), ErsGate::Level), ..View::default() };
        for runner in runners.filter(|r| !r.metadata.is_deleting()) {
            match runner.status.phase {
                ErPhase::Succeeded if is_held(runner, generation) => view.held.push(runner.clone()),
                ErPhase::Failed if behaviour.ers_failed_counts == FailedCounts::Counted => {}
                ErPhase::Succeeded | ErPhase::Failed | ErPhase::Outdated => view.spent.push(runner.clone()),
                ErPhase::Running | ErPhase::Pending | ErPhase::Empty => {
                    view.idle += i32::from(!has_job(runner, behaviour));
                    view.census.blocked +=
                        i32::from(runner.status.phase != ErPhase::Running && runner.status.rejections > 0);
                }
            }
        }
        if behaviour.ers_failed_counts == FailedCounts::NotCounted {
            view.census.failed = 0;
        }
        view
    }
    /// Runners that are or will be able to serve, refused ones included: they keep trying.
    fn alive(&self) -> i32 {
        self.census.total()
    }
    /// Runners beyond `most`, as far as they have no job.
    fn surplus(&self, most: i32) -> i32 {
        (self.alive() - most).min(self.idle)
    }
}

/// Whether the listener has not answered yet for the end of this runner.
fn is_held(runner: &EphemeralRunner, generation: i64) -> bool {
    runner.status.ended_generation > 0 && runner.status.ended_generation >= generation
}

/// What the runners and their pods say about the template.
struct Verdict {
    conditions: Conditions,
    /// At most one idle runner.
    probing: bool,
    wake: Option<Duration>,
}

impl ErsPass {
    pub(super) fn level(&mut self, o: &mut Observed<'_>) -> Decision {
        let behaviour = o.settings.behaviour.clone();
        let set = self.set().clone();
        let mut runners = Vec::with_capacity(32);
        runners.extend(o.caches.runners(&self.key));
        let view = View::of(runners.iter().copied(), set.metadata.generation, &behaviour);
        let verdict = self.verdict(o, &runners, &behaviour);
        let replicas = self.wanted(o);
        self.conditions = Some(verdict.conditions);
        self.wake = verdict.wake.filter(|_| replicas > view.alive());
        let room = if verdict.probing { (1 - view.idle).max(0) } else { i32::MAX };
        let leaving = self.leaving(o, runners.iter().copied());
        let short = self.short(o, &view, leaving).max(0);
        let surplus = view.surplus(self.most(o));
        let settled = view.alive() >= replicas;
        self.census = view.census;
        self.sweep = view.spent;
        if settled {
            self.sweep.extend(view.held);
        }
        self.sweep.reverse();
        if short.min(room) > 0 || surplus > 0 {
            return self.list_runners(Step::AfterListed);
        }
        self.report(o)
    }

    /// How many runners there shall be: no more than maxRunners, also if the listener that asked for more has not heard of a
    /// lower limit yet.
    fn wanted(&self, o: &Observed<'_>) -> i32 {
        self.set().spec.replicas.min(self.max(o))
    }

    fn max(&self, o: &Observed<'_>) -> i32 {
        let owner = self.set().metadata.controller().map(|c| Key::new(self.key.namespace.clone(), c.name.clone()));
        let ars = owner.and_then(|key| o.caches.get::<AutoscalingRunnerSet>(&key));
        ars.map_or(i32::MAX, |a| a.spec.max())
    }

    /// How many runners are missing, with room for them below maxRunners.
    fn short(&self, o: &Observed<'_>, view: &View, leaving: i32) -> i32 {
        let missing = self.wanted(o) - view.alive() - view.held.len() as i32;
        missing.min(self.max(o).saturating_sub(view.alive() + leaving))
    }

    /// Runners that somebody deleted and that go on with their job, for hours perhaps: their pods take up what maxRunners
    /// allows (Q-DELETING-BUSY-NOT-COUNTED).
    fn leaving<'a>(&self, o: &Observed<'_>, runners: impl Iterator<Item = &'a Arc<EphemeralRunner>>) -> i32 {
        let works = |r: &&Arc<EphemeralRunner>| {
            r.metadata.is_deleting()
                && has_job(r, &o.settings.behaviour)
                && pod_of(o, r).is_some_and(|pod| {
                    let runner = pod.status.container(RUNNER_CONTAINER);
                    !pod.metadata.is_deleting() && runner.is_some_and(|c| c.state.is_running())
                })
        };
        runners.filter(works).count() as i32
    }

    /// How many runners may stay. While jobs come and go one that is above the target may be about to end, and an idle one is
    /// wanted; above maxRunners it was made twice, by two managers or by a network that delivered a request twice.
    fn most(&self, o: &Observed<'_>) -> i32 {
        let set = self.set();
        if may_remove(set.spec.patch_id, &o.settings.behaviour) {
            return set.spec.replicas;
        }
        self.max(o).max(set.spec.replicas)
    }

    /// The runners of the scale set as the server has them.
    pub(super) fn list_runners(&mut self, then: Step) -> Decision {
        let name = self.set().metadata.label(SCALE_SET_NAME).cloned();
        let labels = name.map(|name| (SCALE_SET_NAME.into(), name)).into_iter().collect();
        let namespace = Some(self.key.namespace.clone());
        self.call(then, KubeRequest::List { kind: Kind::EphemeralRunner, namespace, labels })
    }

    pub(super) fn after_listed(&mut self, o: &mut Observed<'_>) -> Decision {
        let items = match o.take_reply().into_list() {
            Ok(items) => items,
            Err(e) => return fail(o, "Failed to list ephemeral runners", &e),
        };
        let runners = own_runners(&items, self.set());
        let view = View::of(runners.iter(), self.set().metadata.generation, &o.settings.behaviour);
        // What the cache shows as over may be gone.
        let there =
            |r: &Arc<EphemeralRunner>| view.spent.iter().chain(&view.held).any(|s| s.metadata.uid == r.metadata.uid);
        self.sweep.retain(there);
        if self.gap(o, &runners, &view) == 0 {
            return self.report(o);
        }
        self.candidates = runners;
        let key = self.key.clone();
        self.call(Step::AfterLiveSetRead, KubeRequest::Get { kind: Kind::EphemeralRunnerSet, key })
    }

    /// How many of the server's runners are missing or, negative, too many.
    fn gap(&self, o: &Observed<'_>, runners: &[Arc<EphemeralRunner>], view: &View) -> i32 {
        let cached: Vec<_> = o.caches.runners(&self.key).collect();
        let probing = self.verdict(o, &cached, &o.settings.behaviour).probing;
        let room = if probing { (1 - view.idle).max(0) } else { i32::MAX };
        let missing = self.short(o, view, self.leaving(o, runners.iter())).min(room);
        if missing > 0 { missing } else { -view.surplus(self.most(o)).max(0) }
    }

    /// Runners come and go by the set as the server has it: caches come back one by one after an outage, a set that is gone would
    /// get runners that nobody can take down any more, and of two managers one may see what the listener wanted long ago.
    pub(super) fn after_live_set_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let live = match o.take_reply().into_found::<EphemeralRunnerSet>() {
            Ok(found) => found,
            Err(e) => return fail(o, "Failed to fetch the ephemeral runner set", &e),
        };
        let Some(live) = live.filter(|l| l.metadata.uid == self.set().metadata.uid && !l.metadata.is_deleting()) else {
            return settled();
        };
        let runners = std::mem::take(&mut self.candidates);
        let view = View::of(runners.iter(), live.metadata.generation, &o.settings.behaviour);
        self.set = Some(live);
        match self.gap(o, &runners, &view) {
            0 => self.report(o),
            missing @ 1.. => self.create(o, missing),
            surplus => {
                let behaviour = &o.settings.behaviour;
                let mut candidates = Census::idle_first(runners.iter().filter(|r| !has_job(r, behaviour)));
                // Stable, and the next one is last: runners that cannot serve go before those that can.
                candidates.sort_by_key(|r| is_useless(r));
                self.remove_idle(o, candidates, -surplus)
            }
        }
    }

    fn verdict(&self, o: &Observed<'_>, runners: &[&Arc<EphemeralRunner>], behaviour: &Behaviour) -> Verdict {
        let old = &self.set().status.conditions;
        if behaviour.ers_probe == TemplateProbe::None {
            return Verdict { conditions: old.clone(), probing: false, wake: None };
        }
        let state = |type_: &str| old.iter().find(|c| c.type_ == type_);
        let made = |type_, status, reason, message| Some(Cow::Owned(condition(type_, status, reason, message)));
        let alive = || runners.iter().copied().filter(|r| !r.metadata.is_deleting());
        let mut wake = None;

        let refused = alive().find(|r| r.status.rejections > 0 && r.status.reason == POD_REJECTED);
        let template = match (refused, state(TEMPLATE_REJECTED)) {
            (Some(r), _) => made(TEMPLATE_REJECTED, true, POD_REJECTED, r.status.message.clone()),
            (None, Some(known)) if !known.status => Some(Cow::Borrowed(known)),
            (None, _) if alive().any(|r| is_accepted(o, r)) => {
                made(TEMPLATE_REJECTED, false, "PodAccepted", Str::default())
            }
            (None, known) => known.map(Cow::Borrowed),
        };
        let undecided = template.as_ref().is_none_or(|c| c.status);
        if undecided && let Some(probe) = alive().filter(|r| !r.status.phase.is_done()).map(|r| age(o.now, r)).min() {
            wake = Some(probe.clamp(PROBE_WAIT.0, PROBE_WAIT.1));
        }

        let suspect = alive().find(|r| is_outdated(o, r, behaviour));
        let outdated = match (suspect, state(OUTDATED)) {
            (Some(r), _) => {
                let message = r.status.conditions.iter().find(|c| c.type_ == OUTDATED).map(|c| c.message.clone());
                made(OUTDATED, true, OUTDATED, message.unwrap_or_default())
            }
            (None, Some(_)) if alive().any(|r| is_proved(o, r, behaviour)) => None,
            (None, known) => known.map(Cow::Borrowed),
        };
        if outdated.is_some() {
            wake = Some(wake.map_or(PROBE_WAIT.1, |w: Duration| w.min(PROBE_WAIT.1)));
        }

        let stuck = alive().find(|r| r.status.reason == NOT_STARTING);
        let stuck = stuck.and_then(|r| {
            let message = format_smolstr!("{}: {}", r.metadata.name, r.status.message);
            made(PODS_NOT_STARTING, true, NOT_STARTING, message)
        });

        let probing = undecided || outdated.is_some();
        let ours = [TEMPLATE_REJECTED, OUTDATED, PODS_NOT_STARTING];
        let others = old.iter().filter(|c| !ours.contains(&c.type_.as_str())).map(Cow::Borrowed);
        let list = others.chain(template).chain(outdated).chain(stuck);
        let list: Vec<Cow<'_, Condition>> = list.collect();
        let conditions = if list.iter().map(|c| &**c).eq(old.iter()) {
            old.clone()
        } else {
            list.into_iter().map(Cow::into_owned).collect()
        };
        Verdict { conditions, probing, wake }
    }
}

fn may_remove(patch_id: i64, behaviour: &Behaviour) -> bool {
    patch_id == 0 || behaviour.ers_scale_down == ErsScaleDown::AnyPatch
}

fn condition(type_: &str, status: bool, reason: &str, message: Str) -> Condition {
    Condition::new(type_, status, reason, message)
}

fn age(now: Time, runner: &EphemeralRunner) -> Duration {
    now.since(runner.metadata.creation_timestamp)
}

/// The API took a pod of this runner.
fn is_accepted(o: &Observed<'_>, runner: &EphemeralRunner) -> bool {
    runner.status.phase != ErPhase::Empty || pod_of(o, runner).is_some()
}

fn pod_of<'a>(o: &'a Observed<'_>, runner: &EphemeralRunner) -> Option<&'a Arc<Pod>> {
    let pod = o.caches.get::<Pod>(&runner.metadata.key())?;
    pod.metadata.controller().is_some_and(|owner| owner.uid == runner.metadata.uid).then_some(pod)
}

/// The service took this runner's version: it has a job, or has been up for a minute.
fn is_proved(o: &Observed<'_>, runner: &EphemeralRunner, behaviour: &Behaviour) -> bool {
    let since = pod_of(o, runner).and_then(|pod| {
        pod.status
            .conditions
            .iter()
            .find(|c| c.type_ == PodConditionType::Ready && c.status)
            .map(|c| c.last_transition_time)
    });
    has_job(runner, behaviour) || since.is_some_and(|t| o.now.since(t) >= PROVED_AFTER)
}

fn is_outdated(o: &Observed<'_>, runner: &EphemeralRunner, behaviour: &Behaviour) -> bool {
    runner.status.conditions.iter().any(|c| c.type_ == OUTDATED && c.status) && !is_proved(o, runner, behaviour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Release;
    use crate::test_world::{NS, SET, World};
    use arc_api::{Meta, OwnerRef};

    /// Two managers listed the runners before either had made one.
    #[test]
    fn what_was_made_twice_goes_at_once_if_it_exceeds_the_limit() {
        for (max, left) in [(2, 2), (3, 3)] {
            let mut w = World::new(Release::Next);
            let mut ars = AutoscalingRunnerSet { metadata: Meta::named(NS, "demo"), ..Default::default() };
            Arc::make_mut(&mut ars.spec).max_runners = Some(max);
            let owner = OwnerRef::controller(Kind::AutoscalingRunnerSet, &ars.metadata);
            w.put(ars);
            w.update::<EphemeralRunnerSet>(SET, |s| s.metadata.owner_references = [owner].into());
            w.add_registered("busy", ErPhase::Running, Some(1));
            w.job_started("busy");
            w.add_registered("one", ErPhase::Pending, Some(2));
            w.add_registered("two", ErPhase::Pending, Some(2));
            w.listener(2, 2);
            w.run_set();
            let live = w.runners().iter().filter(|r| !r.metadata.is_deleting()).count();
            assert_eq!(live, left, "maxRunners {max}: {:#?}", w.trace);
        }
    }
}
