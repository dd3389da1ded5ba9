//! Triggers: what in the world sets off an action of the plan. Looks only while an action waits for something.

use std::sync::Arc;

use arc_api::kube::{WatchEvent, WatchType};
use arc_api::{Kind, Object};
use fake_github::event::ServiceEvent;

use super::{Event, SiteId, World};
use crate::plan::{Glob, JobIs, ObjectIs, ObjectState, Trigger};

impl World {
    pub(super) fn object_triggers(&mut self, site: SiteId, event: &WatchEvent) {
        if self.faults.armed().next().is_none() {
            return;
        }
        let cluster = self.site(site).name.clone();
        let kind = event.object.kind();
        let meta = event.object.meta();
        let name = meta.name.clone();
        let set = meta.label("actions.github.com/scale-set-name").cloned().unwrap_or_default();
        let phase = phase_of(&event.object);
        let deleting = meta.is_deleting();
        let type_ = event.type_;
        let states: Vec<(u32, Arc<Trigger>)> =
            self.faults.armed().filter(|(_, t)| t.object.is_some()).map(|(a, t)| (a, t.clone())).collect();
        let counts: std::collections::BTreeMap<u32, usize> = states
            .iter()
            .filter_map(|(a, t)| t.object.as_ref().map(|o| (*a, self.count_objects(site, kind, o))))
            .collect();
        let armed: std::collections::BTreeMap<*const Trigger, u32> =
            self.faults.armed().map(|(a, t)| (Arc::as_ptr(t), a)).collect();
        let fired = self.faults.fire(
            |t| {
                let Some(o) = &t.object else { return false };
                let count = armed.get(&std::ptr::from_ref(t)).and_then(|a| counts.get(a)).copied().unwrap_or(0);
                let meant = (o.kind.matches(kind.as_str()) || o.kind.matches(kind.plural()))
                    && o.name.matches(&name)
                    && o.scale_set.as_ref().is_none_or(|s| s.matches(&cluster, &set));
                meant
                    && match o.is {
                        ObjectIs::Added => type_ == WatchType::Added && count >= o.count as usize,
                        ObjectIs::Deleting => deleting && type_ != WatchType::Deleted,
                        ObjectIs::Gone => type_ == WatchType::Deleted && count == 0,
                        ObjectIs::Phase => o.phase.as_deref() == Some(phase) && count >= o.count as usize,
                    }
            },
            self.now,
        );
        for action in fired {
            self.trigger(action, None);
        }
    }

    pub(super) fn job_triggers(&mut self, event: &ServiceEvent) {
        if self.faults.armed().next().is_none() {
            return;
        }
        let (job, is) = match event {
            ServiceEvent::JobQueued { job } => (*job, JobIs::Queued),
            ServiceEvent::JobAssigned { job, .. } => (*job, JobIs::Assigned),
            ServiceEvent::JobStarted { job, .. } => (*job, JobIs::Started),
            ServiceEvent::JobCompleted { job, .. } => (*job, JobIs::Finished),
            _ => return,
        };
        let id = self.job_ids.get(&job).cloned().unwrap_or_default();
        let all = self.job_ids.len();
        let counts: Vec<(arc_api::Str, usize)> = self
            .faults
            .armed()
            .filter_map(|(_, t)| t.job.as_ref())
            .map(|j| (j.id.0.clone(), self.count_jobs(&j.id, is)))
            .collect();
        let fired = self.faults.fire(
            |t| {
                t.job.as_ref().is_some_and(|j| {
                    let n = counts.iter().find(|(g, _)| *g == j.id.0).map_or(0, |(_, n)| *n);
                    let needed = if j.count == 0 { all } else { j.count as usize };
                    j.is == is && j.id.matches(&id) && n >= needed
                })
            },
            self.now,
        );
        for action in fired {
            self.trigger(action, None);
        }
    }

    /// How many objects of a kind are in a state; for `gone`, how many there are.
    fn count_objects(&self, site: SiteId, kind: Kind, o: &ObjectState) -> usize {
        let cluster = &self.sites[site.0 as usize];
        let in_set = |x: &Object| {
            let label = || x.meta().label("actions.github.com/scale-set-name").cloned().unwrap_or_default();
            o.scale_set.as_ref().is_none_or(|s| s.matches(&cluster.name, &label()))
        };
        let found = cluster.cluster.api().iter(kind).filter(|x| o.name.matches(&x.meta().name) && in_set(x));
        match o.is {
            ObjectIs::Phase => found.filter(|x| o.phase.as_deref() == Some(phase_of(x))).count(),
            ObjectIs::Deleting => found.filter(|x| x.meta().is_deleting()).count(),
            ObjectIs::Added | ObjectIs::Gone => found.count(),
        }
    }

    /// How many jobs have reached a state.
    fn count_jobs(&self, glob: &Glob, is: JobIs) -> usize {
        let jobs = self.metrics.jobs.iter().filter(|(j, _)| self.job_ids.get(*j).is_some_and(|i| glob.matches(i)));
        match is {
            JobIs::Queued | JobIs::Assigned => jobs.count(),
            JobIs::Started => jobs.filter(|(_, t)| t.started.is_some()).count(),
            JobIs::Finished => jobs.filter(|(_, t)| t.ended.is_some()).count(),
        }
    }

    /// Whether the state that a trigger waits for is there already.
    fn holds(&self, trigger: &Trigger) -> bool {
        if let Some(o) = &trigger.object {
            let kinds: Vec<Kind> = World::kinds(&o.kind).collect();
            let count: usize = (0..self.sites.len())
                .flat_map(|n| kinds.iter().map(move |k| (SiteId(n as u8), *k)))
                .map(|(site, kind)| self.count_objects(site, kind, o))
                .sum();
            return if o.is == ObjectIs::Gone { count == 0 } else { count >= o.count.max(1) as usize };
        }
        if let Some(glob) = &trigger.begun {
            return self.faults.has_begun(glob, &self.plan);
        }
        trigger.job.as_ref().is_some_and(|j| {
            let needed = if j.count == 0 { self.job_ids.len() } else { j.count as usize };
            j.is != JobIs::Assigned && self.count_jobs(&j.id, j.is) >= needed.max(1)
        })
    }

    /// An action has begun: faults that last until then end, what counts from it wakes, whoever waited for it goes on.
    pub(crate) fn begun_triggers(&mut self, id: &str) {
        let id = id.split('.').next().unwrap_or(id);
        let plan = self.plan.clone();
        let ending: Vec<u32> = self
            .faults
            .active()
            .map(|(a, _)| a)
            .filter(|a| plan.actions[*a as usize].ends_with.as_deref() == Some(id))
            .collect();
        for action in ending {
            self.end_fault(action);
        }
        for (action, trigger) in self.faults.wake(id) {
            if let Some(within) = trigger.within {
                let at = self.now.after(within.0);
                self.schedule_first(at, Event::GiveUp(action));
            }
            if self.holds(&trigger) && self.faults.holds_at_once(action) {
                self.trigger(action, None);
            }
        }
        let fired = self.faults.fire(|t| t.begun.as_ref().is_some_and(|g| g.matches(id)), self.now);
        for action in fired {
            self.trigger(action, None);
        }
    }

    /// An operator's command is over: whoever waited for it goes on.
    pub(crate) fn done_triggers(&mut self, id: &str) {
        let fired = self.faults.fire(|t| t.done.as_deref() == Some(id), self.now);
        for action in fired {
            self.trigger(action, None);
        }
    }
}

pub(super) fn phase_of(object: &Object) -> &'static str {
    match object {
        Object::AutoscalingRunnerSet(o) => o.status.phase.as_str(),
        Object::EphemeralRunnerSet(o) => o.status.phase.as_str(),
        Object::EphemeralRunner(o) => o.status.phase.as_str(),
        Object::Pod(o) => o.status.phase.as_str(),
        _ => "",
    }
}
