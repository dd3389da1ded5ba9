//! Where the world notes that it has reached an interesting state ([`crate::marks`]). Decides nothing and draws nothing.

use arc_api::crd::ErPhase;
use arc_api::kube::{KubeRequest, Reason, WatchEvent, WatchType};
use arc_api::pod::{ContainerState, Pod, PodPhase};
use arc_api::{Kind, Object};
use controller_core::call::{CallError, Reply};
use controller_core::labels::SCALE_SET_NAME;
use fake_github::event::{JobEnd, RunnerEnd, ScaleSetEnd, ServiceEvent, SessionEnd};

use super::{Machine, Process, SiteId, World};
use crate::marks::Mark;
use crate::plan::Role;

impl World {
    pub(crate) fn mark(&mut self, mark: Mark) {
        self.marks.reach(mark);
    }

    pub(super) fn mark_kube_call(&mut self, request: &KubeRequest, reply: &Reply) {
        let Reply::Kube(Err(CallError::Api(status))) = reply else { return };
        let write = request.is_write();
        match status.reason {
            Reason::Conflict if write => self.mark(Mark::WriteConflict),
            Reason::AlreadyExists => self.mark(Mark::AlreadyExists),
            Reason::NotFound if write => self.mark(Mark::WriteToGone),
            _ => {}
        }
        if matches!(request, KubeRequest::Create(Object::Pod(_))) && status.reason != Reason::AlreadyExists {
            self.mark(Mark::PodRefused);
        }
    }

    pub(super) fn mark_service_call(&mut self, reply: &Reply) {
        if let Reply::Service(Err(CallError::Service(error))) = reply {
            match error.status {
                401 => self.mark(Mark::Unauthorized),
                429 => self.mark(Mark::RateLimited),
                _ => {}
            }
        }
    }

    pub(super) fn mark_service(&mut self, event: &ServiceEvent) {
        let mark = match event {
            ServiceEvent::SessionRefused { .. } => Mark::SessionRefused,
            ServiceEvent::SessionEnded { why: SessionEnd::Expired | SessionEnd::Evicted, .. } => Mark::SessionLost,
            ServiceEvent::MessageDelivered { again: true, .. } => Mark::MessageAgain,
            ServiceEvent::EventDropped { .. } => Mark::EventDropped,
            ServiceEvent::JobAssigned { attempt: 2.., .. } => Mark::AssignedAgain,
            ServiceEvent::JobReturned { .. } => Mark::JobReturned,
            ServiceEvent::JobCompleted { why: JobEnd::Cancelled, runner, .. } if runner.0 == 0 => {
                Mark::CancelledWaiting
            }
            ServiceEvent::JobCancelRequested { .. } => Mark::CancelledRunning,
            ServiceEvent::JobCompleted { why: JobEnd::RunnerLost, .. } => Mark::RunnerLost,
            ServiceEvent::JobEndedLate { .. } => Mark::EndedLate,
            ServiceEvent::RunnerRemoved { why: RunnerEnd::Lost, .. } => Mark::RegistrationLost,
            ServiceEvent::ScaleSetDeleted { why: ScaleSetEnd::Lost, .. } => Mark::ScaleSetLost,
            _ => return,
        };
        self.mark(mark);
    }

    pub(super) fn mark_commit(&mut self, site: SiteId, event: &WatchEvent) {
        let meta = event.object.meta();
        match (&event.object, event.type_) {
            (Object::Pod(pod), type_) if pod.spec.container("runner").is_some() => {
                if meta.is_deleting() && type_ == WatchType::Modified && self.works_in(site, pod) {
                    self.mark(Mark::BusyEvicted);
                }
                if type_ == WatchType::Modified
                    && pod.status.phase == PodPhase::Failed
                    && pod.status.container_statuses.iter().all(|c| matches!(c.state, ContainerState::Waiting { .. }))
                {
                    self.mark(Mark::FailedUnstarted);
                }
            }
            (Object::EphemeralRunner(runner), WatchType::Modified) => {
                match runner.status.phase {
                    ErPhase::Failed => self.mark(Mark::RunnerFailed),
                    ErPhase::Outdated => self.mark(Mark::RunnerOutdated),
                    _ => {}
                }
                if runner.status.failures.as_ref().is_some_and(|f| !f.is_empty()) {
                    self.mark(Mark::PodReplaced);
                }
            }
            (Object::EphemeralRunnerSet(set), WatchType::Modified) => {
                let now = (set.spec.patch_id, set.spec.replicas);
                let before = self.patches.insert(meta.uid, now);
                if now.0 != 0 && before.is_some_and(|b| b != now) && self.is_stamped(site, meta.uid, now.0) {
                    self.mark(Mark::PatchIdAgain);
                }
            }
            (Object::EphemeralRunnerSet(_), WatchType::Added) => {
                let set = |o: &Object| o.meta().label(SCALE_SET_NAME).cloned();
                let own = set(&event.object);
                let others =
                    self.site(site).cluster.api().iter(Kind::EphemeralRunnerSet).filter(|o| set(o) == own).count();
                if others > 1 {
                    self.mark(Mark::SetReplaced);
                }
            }
            (Object::AutoscalingRunnerSet(_), WatchType::Modified) if meta.is_deleting() => {
                let busy = self.procs.iter().flatten().any(|p| {
                    p.site == site
                        && p.set_key == meta.key()
                        && matches!(&p.machine, Machine::Runner(r) if r.job().is_some())
                });
                if busy {
                    self.mark(Mark::UninstalledBusy);
                }
            }
            (Object::Lease(lease), WatchType::Modified) if lease.lease_transitions > 0 => self.mark(Mark::LeaseTaken),
            (_, WatchType::Modified)
                if meta.is_deleting() && meta.has_finalizer("actions.github.com/cleanup-protection") =>
            {
                self.mark(Mark::ProtectedLeft);
            }
            _ => {}
        }
    }

    /// Whether a runner of a set carries the id of a patch that its controller has not seen yet.
    fn is_stamped(&self, site: SiteId, set: arc_api::Uid, id: i64) -> bool {
        let id = arc_api::format_smolstr!("{id}");
        let runners = self.site(site).cluster.api().iter(Kind::EphemeralRunner).map(Object::meta);
        let mut own = runners.filter(|m| m.controller().is_some_and(|o| o.uid == set));
        own.any(|m| m.annotation("actions.github.com/patch-id") == Some(&id))
    }

    /// Whether a job runs in a pod.
    fn works_in(&self, site: SiteId, pod: &Pod) -> bool {
        let id = self.containers.get(&(site, pod.metadata.uid, "runner".into()));
        id.and_then(|id| self.proc(*id)).is_some_and(|p| matches!(&p.machine, Machine::Runner(r) if r.job().is_some()))
    }

    pub(super) fn mark_exit(&mut self, process: &Process, code: i32) {
        match &process.machine {
            Machine::Manager(manager) if code == 137 => {
                let mut steps = manager.steps().peekable();
                if steps.peek().is_some() {
                    self.marks.reach(Mark::KilledInPass);
                }
                if steps.any(|step| matches!(step, "after-jit-status" | "after-jit-secret-created")) {
                    self.marks.reach(Mark::KilledAfterJit);
                }
            }
            Machine::Listener(_) if code != 0 => self.mark(Mark::ListenerDied),
            _ => {}
        }
    }

    /// A node goes without a word.
    pub(super) fn mark_node_lost(&mut self, site: SiteId, node: &str) {
        if self.procs.iter().flatten().any(|p| p.site == site && p.role == Role::Runner && p.node == node) {
            self.mark(Mark::NodeLost);
        }
    }

    pub(super) fn mark_start(&mut self, role: Role, label: &str) {
        let same = |p: &&Process| p.role == Role::Controller && p.label == label && !p.label.is_empty();
        if role == Role::Controller && self.procs.iter().flatten().map(|p| &**p).filter(same).count() > 1 {
            self.mark(Mark::TwoManagers);
        }
    }
}
