//! What promises tolerate beyond their bounds, in the catalogue's words: until when something was not bad after all.

use std::sync::Arc;

use arc_api::pod::{Pod, PodPhase};
use arc_api::{Duration, JobId, Kind, Object, Time, Uid};
use controller_core::call::{CallError, Reply};
use controller_core::ephemeral_runner_set::{PODS_NOT_STARTING, TEMPLATE_REJECTED};

use super::calls::{Body, InFlight};
use super::{CallId, Machine, SiteId, World};
use crate::invariant::{Check, RunnerSetState, RunnerState, SetKey, SetState, says_not_starting};
use crate::plan::Role;
use crate::plan::world::Strategy;

/// How long a pass may wait for an answer of the service: `next` waits no longer for what takes a moment (`http_timeout`).
const PATIENCE: Duration = Duration::from_secs(30);

impl World {
    /// An object of any cluster.
    fn find_object(&self, uid: Uid) -> Option<(SiteId, &Object)> {
        let found = |n: usize| self.sites[n].cluster.api().by_uid(uid).map(|o| (SiteId(n as u8), o));
        (0..self.sites.len()).find_map(found)
    }

    /// Until when what is overdue was not bad after all: until now if it is excused, else until its set had a runner to spare,
    /// or the last job of its set was over.
    pub(crate) fn good_until(&self, check: &Check) -> Option<Time> {
        if self.is_excused(check) {
            return Some(self.now);
        }
        let ledger = &self.invariants.ledger;
        if let Check::Isolated(set, job) = check {
            // In a world that is left alone `job-gets-runner` has it.
            let bounds = &self.invariants.bounds;
            let apart = bounds.others_are_disturbed(set) && bounds.calm_since() == Time::NEVER;
            return if apart { self.good_until(&Check::JobRunner(*job)) } else { Some(self.now) };
        }
        if let Check::Applied(uid) = check {
            let says = |s: &RunnerSetState| s.object.status.conditions.iter().any(|c| c.status);
            // Asked by a listener that did not know yet of the limit that its user has set since. One that has ended counts until
            // a listener has answered for it.
            let full = |s: &RunnerSetState| {
                let of_it = |r: &&RunnerState| {
                    let owner = r.object.as_ref().and_then(|o| o.metadata.controller());
                    owner.is_some_and(|o| o.uid == s.object.metadata.uid)
                };
                let lowered =
                    |set: &&SetState| set.lowered_at.is_some_and(|at| self.now.since(at) <= Duration::from_secs(120));
                let set = s.set.as_ref().and_then(|set| ledger.sets.get(set)).filter(lowered);
                set.is_some_and(|set| ledger.runners.values().filter(of_it).count() as i32 >= set.max)
            };
            if ledger.runner_sets.values().any(|s| s.object.metadata.uid == *uid && (says(s) || full(s))) {
                return Some(self.now);
            }
            if self.now < ledger.manager_recovers {
                return Some(self.now);
            }
            return self.uncontrolled_until(*uid).max(self.waited_until());
        }
        if let Check::RunnerServes(uid) = check
            && self.is_due(*uid)
        {
            return Some(self.now);
        }
        if let Check::Counters(uid) = check {
            return self.uncontrolled_until(*uid).max(self.waited_until());
        }
        if let Check::Polling(set) | Check::MinRunners(set) = check {
            return self.unheard_until(set);
        }
        if let Check::Deleting(uid) = check {
            return self.worked_until(*uid);
        }
        let Check::JobRunner(job) = check else { return None };
        match ledger.jobs.get(job).and_then(|j| j.set.as_ref()) {
            Some(set) => ledger.sets.get(set)?.full_at.max(self.unheard_until(set)),
            None => {
                let sets = self.github.candidates(*job);
                let full = sets.iter().map(|id| {
                    let set = ledger.scale_sets.get(id)?;
                    ledger.sets.get(set)?.full_at.max(self.unheard_until(set))
                });
                // As soon as one of them had room.
                full.min().flatten()
            }
        }
    }

    /// Until when a manager's pass has waited for the service's answer to this call, if it takes longer than answers do.
    fn asks_until(&self, call: &InFlight) -> Option<Time> {
        let slow = matches!(call.body, Body::Service(_)) && self.now.since(call.sent) >= Duration::from_secs(1);
        let manager = slow && self.proc(call.proc).is_some_and(|p| p.role == Role::Controller);
        manager.then(|| call.sent.after(PATIENCE).min(self.now))
    }

    /// A call is answered or given up.
    pub(crate) fn observe_wait(&mut self, call: CallId) {
        let until = self.calls.get(call).and_then(|call| self.asks_until(call)).unwrap_or_default();
        let ledger = &mut self.invariants.ledger;
        ledger.told_to_wait = ledger.told_to_wait.max(until);
    }

    /// Until when a pass was not late because the service told it to wait, or let it wait.
    fn waited_until(&self) -> Option<Time> {
        let asks = self.calls.iter().filter_map(|call| self.asks_until(call)).max();
        asks.max(Some(self.invariants.ledger.told_to_wait))
    }

    /// Whether a manager of a cluster waits for the answer to a call that was lost: its pass goes on when the client gives up.
    fn waits_in_vain(&self, site: SiteId) -> bool {
        let lost = |c: &InFlight| matches!(c.reply, Some(Reply::Kube(Err(CallError::Transport(_)))));
        self.calls
            .iter()
            .filter(|c| lost(c))
            .any(|c| self.proc(c.proc).is_some_and(|p| p.site == site && matches!(p.machine, Machine::Manager(_))))
    }

    /// Whether a pass for this object waits for a worker: its manager has more to do than it can.
    fn is_due(&self, uid: Uid) -> bool {
        let Some((site, object)) = self.find_object(uid) else { return false };
        let mut here = self.procs.iter().flatten().filter(|p| p.site == site);
        here.any(|p| matches!(&p.machine, Machine::Manager(m) if m.is_behind(object.kind(), &object.key(), self.now)))
    }

    /// Until when no manager of the object's cluster was up: its kubelet lets one that crashes wait for minutes.
    fn uncontrolled_until(&self, uid: Uid) -> Option<Time> {
        let (site, _) = self.find_object(uid)?;
        let since = self.procs.iter().flatten().filter(|p| p.site == site).filter_map(|p| match &p.machine {
            Machine::Manager(m) => m.works_since(),
            _ => None,
        });
        since.min().or(Some(self.now))
    }

    /// Until when the jobs ran that the deletion of this object waits for: a runner's own, those of a runner set's runners,
    /// and for what is a whole set's those of all its runners, once the user has taken the set away.
    fn worked_until(&self, uid: Uid) -> Option<Time> {
        let ledger = &self.invariants.ledger;
        let (site, object) = self.find_object(uid)?;
        let place = (site, object.key());
        match object.kind() {
            Kind::EphemeralRunner => ledger.runners.get(&place)?.work.until(self.now),
            Kind::EphemeralRunnerSet => ledger.runner_sets.get(&place)?.work.until(self.now),
            // It listens or it does not: no job keeps it.
            Kind::AutoscalingListener => None,
            _ => {
                let goes = |s: &SetState| s.ars.as_ref().is_none_or(|a| a.metadata.is_deleting());
                let mut own = ledger.sets.iter().filter(|(set, s)| set.0 == site && is_of(object, set) && goes(s));
                own.find_map(|(_, s)| if s.works { Some(self.now) } else { s.worked_at })
            }
        }
    }

    /// Until when nobody could listen for the set: an eventual update kept its listener away, or a kubelet that has no image.
    fn unheard_until(&self, set: &SetKey) -> Option<Time> {
        self.drained_until(set).max(self.starved_until(set))
    }

    /// Until when the listener's pod waited for its image, if the listener said that it does not start: the kubelet pulls again
    /// after up to five minutes, whatever becomes of the image in between (kubernetes-api.md §5.3), and nobody can hurry it.
    fn starved_until(&self, set: &SetKey) -> Option<Time> {
        let ledger = &self.invariants.ledger;
        let state = ledger.sets.get(set)?;
        let mut listeners = state.listeners.iter().filter_map(|l| ledger.listeners.get(&(set.0, l.clone())));
        if state.starves && listeners.any(|l| says_not_starting(l)) { Some(self.now) } else { state.starved_at }
    }

    /// Until when an eventual update kept the set's listener away: until then the jobs of its old runners ran.
    fn drained_until(&self, set: &SetKey) -> Option<Time> {
        let eventual = self.spec_of(set.0).controllers.iter().any(|c| c.update_strategy == Strategy::Eventual);
        let state = self.invariants.ledger.sets.get(set).filter(|_| eventual)?;
        if state.drains { Some(self.now) } else { state.drained_at }
    }

    /// Whether a set that the user wants would take this job.
    fn is_anybodys(&self, job: JobId) -> bool {
        let Some(label) = self.job_labels.get(&job) else { return true };
        self.specs.iter().enumerate().any(|(n, cluster)| {
            cluster.scale_sets.iter().filter(|s| s.service_name() == label || s.labels.contains(label)).any(|s| {
                let set = (SiteId(n as u8), World::set_key(s));
                self.invariants.ledger.sets.get(&set).is_some_and(|s| s.wanted)
            })
        })
    }

    /// Nobody can make a runner of this set's template; the promise is then that the set says so.
    fn is_hindered(&self, set: &SetKey) -> bool {
        let ledger = &self.invariants.ledger;
        let Some(state) = ledger.sets.get(set) else { return false };
        let says = |type_: &str| {
            let conditions = state.ars.as_ref().map(|a| &a.status.conditions);
            conditions.is_some_and(|list| list.iter().any(|c| c.status && c.type_ == type_))
        };
        let recently = |t: Time| self.now.since(t) <= Duration::from_secs(360);
        let stuck = |r: &RunnerState| {
            let pending = |p: &Arc<Pod>| {
                p.status.phase == PodPhase::Pending
                    && self.now.since(p.metadata.creation_timestamp) >= Duration::from_secs(180)
            };
            r.live_in.as_ref() == Some(set) && r.pod.as_ref().is_some_and(pending)
        };
        (says(TEMPLATE_REJECTED) && state.pod_refused.is_some_and(recently))
            || (says(PODS_NOT_STARTING) && ledger.runners.values().any(stuck))
    }

    /// What a promise tolerates beyond its bound (the catalogue's words).
    pub(crate) fn is_excused(&self, check: &Check) -> bool {
        let ledger = &self.invariants.ledger;
        match check {
            Check::RunnerServes(uid) => {
                let runner =
                    ledger.runners.values().find(|r| r.object.as_ref().is_some_and(|o| o.metadata.uid == *uid));
                let home = runner.and_then(|r| r.runner_set.as_ref()).and_then(|h| ledger.runner_sets.get(h));
                home.is_none_or(|h| h.object.status.current_replicas <= h.usable || h.object.metadata.is_deleting())
            }
            // Made within seconds of the lowering, by a pass that did not know of it, and at work since.
            Check::OverMax(set) if self.waits_in_vain(set.0) => true,
            Check::OverMax(set) => ledger.sets.get(set).is_some_and(|s| {
                s.busy >= s.live && s.lowered_at.is_some_and(|t| self.now.since(t) < Duration::from_secs(300))
            }),
            Check::MinRunners(set) => self.is_hindered(set),
            Check::JobRunner(job) if !self.is_anybodys(*job) => true,
            Check::JobRunner(job) => {
                let full = |s: &SetKey| ledger.sets.get(s).is_some_and(SetState::is_full);
                let waits = |s: &SetKey| full(s) || self.is_hindered(s);
                match ledger.jobs.get(job).and_then(|j| j.set.as_ref()) {
                    Some(set) => waits(set),
                    // Nobody has it yet: sets that could take it are known to the service alone.
                    None => {
                        let could = self.github.candidates(*job);
                        !could.is_empty() && could.iter().all(|id| ledger.scale_sets.get(id).is_some_and(waits))
                    }
                }
            }
            Check::Deleting(uid) => {
                let Some((at, object)) = self.find_object(*uid) else { return false };
                let protected =
                    matches!(object.kind(), Kind::ServiceAccount | Kind::Role | Kind::RoleBinding | Kind::Secret);
                protected && ledger.is_left_by_helm(at, object)
                    || ledger.sets.iter().any(|(set, s)| {
                        let live = s.ars.as_deref().filter(|a| protected && !a.metadata.is_deleting());
                        set.0 == at
                            && live.is_some_and(|a| {
                                crate::invariant::is_named_by(a, object)
                                    || crate::invariant::is_used_by(a, object, &self.site(at).cluster)
                            })
                    })
            }
            // What the user has taken away ends with its job, under an account that Helm deletes before it.
            Check::Reference(uid) => ledger.runners.values().any(|r| {
                let home = r.runner_set.as_ref().and_then(|h| ledger.runner_sets.get(h)?.set.as_ref());
                let taken = home.and_then(|set| ledger.sets.get(set)).is_some_and(|s| !s.wanted);
                taken && r.pod.as_ref().is_some_and(|p| p.metadata.uid == *uid)
            }),
            Check::JobsFail(set, _) => self.is_reported(set),
            Check::Visible(uid) => {
                let Some((site, pod)) = self.find_object(*uid) else { return true };
                let name = &pod.meta().name;
                let event =
                    self.site(site).cluster.api().iter(Kind::Event).filter_map(|e| e.get::<arc_api::core::Event>());
                let told = event.into_iter().any(|e| e.involved_name == *name && e.type_ == "Warning");
                let runner =
                    ledger.runners.values().find_map(|r| r.object.as_ref().filter(|o| o.metadata.name == *name));
                told || runner
                    .is_some_and(|r| !r.status.reason.is_empty() || r.status.conditions.iter().any(|c| c.status))
            }
            _ => false,
        }
    }

    /// A condition of the set or its listener says that something is wrong.
    pub(crate) fn is_reported(&self, set: &SetKey) -> bool {
        let ledger = &self.invariants.ledger;
        let Some(state) = ledger.sets.get(set) else { return false };
        let on_set = state.ars.as_ref().is_some_and(|a| a.status.conditions.iter().any(|c| c.status));
        let on_listener = state.listeners.iter().filter_map(|l| ledger.listeners.get(&(set.0, l.clone())));
        on_set || on_listener.into_iter().any(|l| l.status.conditions.iter().any(|c| c.status))
    }
}

/// Whether an object is the set's own, or one made for it.
fn is_of(object: &Object, set: &SetKey) -> bool {
    let (meta, set) = (object.meta(), &set.1);
    let labelled = meta.label("actions.github.com/scale-set-name").is_some_and(|name| *name == set.name);
    let home = meta.label("actions.github.com/scale-set-namespace").unwrap_or(&meta.namespace);
    *home == set.namespace && (meta.name == set.name || labelled)
}
