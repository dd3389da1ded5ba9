//! Triggers: what in the world sets off an action of the plan. Looks only while an action waits for something.

use std::sync::Arc;

use arc_api::Object;
use arc_api::kube::{WatchEvent, WatchType};
use fake_github::event::ServiceEvent;

use super::{SiteId, World};

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
        let counts: std::collections::BTreeMap<u32, usize> = self
            .faults
            .armed()
            .filter_map(|(a, t)| t.object.as_ref().map(|o| (a, o)))
            .map(|(a, o)| {
                let n = self.sites[site.0 as usize]
                    .cluster
                    .api()
                    .iter(kind)
                    .filter(|x| o.name.matches(&x.meta().name))
                    .filter(|x| o.is != crate::plan::ObjectIs::Phase || o.phase.as_deref() == Some(phase_of(x)));
                (a, n.count())
            })
            .collect();
        let armed: std::collections::BTreeMap<*const crate::plan::Trigger, u32> =
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
                        crate::plan::ObjectIs::Added => type_ == WatchType::Added && count >= o.count as usize,
                        crate::plan::ObjectIs::Deleting => deleting && type_ != WatchType::Deleted,
                        crate::plan::ObjectIs::Gone => type_ == WatchType::Deleted && count == 0,
                        crate::plan::ObjectIs::Phase => o.phase.as_deref() == Some(phase) && count >= o.count as usize,
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
        use crate::plan::JobIs;
        let (job, is) = match event {
            ServiceEvent::JobQueued { job } => (*job, JobIs::Queued),
            ServiceEvent::JobAssigned { job, .. } => (*job, JobIs::Assigned),
            ServiceEvent::JobStarted { job, .. } => (*job, JobIs::Started),
            ServiceEvent::JobCompleted { job, .. } => (*job, JobIs::Finished),
            _ => return,
        };
        let id = self.job_ids.get(&job).cloned().unwrap_or_default();
        let reached = |glob: &crate::plan::Glob| {
            let jobs = self.metrics.jobs.iter().filter(|(j, _)| self.job_ids.get(*j).is_some_and(|i| glob.matches(i)));
            match is {
                JobIs::Queued | JobIs::Assigned => jobs.count(),
                JobIs::Started => jobs.filter(|(_, t)| t.started.is_some()).count(),
                JobIs::Finished => jobs.filter(|(_, t)| t.ended.is_some()).count(),
            }
        };
        let all = self.job_ids.len();
        let counts: Vec<(arc_api::Str, usize)> =
            self.faults.armed().filter_map(|(_, t)| t.job.as_ref()).map(|j| (j.id.0.clone(), reached(&j.id))).collect();
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

    /// An operator's command is over: whoever waited for it goes on.
    pub(crate) fn done_triggers(&mut self, id: &str) {
        let fired = self.faults.fire(|t| t.done.as_deref() == Some(id), self.now);
        for action in fired {
            self.trigger(action, None);
        }
    }
}

fn phase_of(object: &Object) -> &'static str {
    match object {
        Object::AutoscalingRunnerSet(o) => o.status.phase.as_str(),
        Object::EphemeralRunnerSet(o) => o.status.phase.as_str(),
        Object::EphemeralRunner(o) => o.status.phase.as_str(),
        Object::Pod(o) => o.status.phase.as_str(),
        _ => "",
    }
}
