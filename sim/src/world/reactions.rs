//! Faults that wait for something to happen at the service or in a cluster: a job that starts, a token that is issued, a pod that
//! is created, a stream that opens. Meets no call on its way.

use std::sync::Arc;

use arc_api::kube::{WatchEvent, WatchType};
use arc_api::pod::{Pod, PodPhase};
use arc_api::service::{Exception, Op, RunnerInfo};
use arc_api::{Duration, JobId, Kind, RunnerId, ScaleSetId, Str};
use controller_core::call::{CallError, Reply};
use fake_github::event::ServiceEvent;
use fake_github::{ExpiryPoint, JobFault, StaleViews};

use super::{CallId, Event, Machine, ProcId, SiteId, World};
use crate::plan::fault::{
    ExecCut, ExecMode, Fault, JobStateMode, PodDelayMode, RejectReason, RunnerEffect, Scope, SessionMode, SessionOf,
    StaleOp, TokenKind, TokenPoint,
};
use crate::process::runner::RunnerInput;

impl World {
    fn active_faults(&self) -> Vec<(u32, Arc<Fault>)> {
        self.faults.active().map(|(a, f)| (a, f.clone())).collect()
    }

    /// Whether a scale set of the service lies in a fault's scope.
    pub(super) fn covers(&self, scope: &Scope, id: ScaleSetId) -> bool {
        let Some(set) = self.github.scale_set(id) else { return scope.scale_set.is_none() && scope.org.is_none() };
        let scope = self.service_scope(scope);
        scope.tenant.as_ref().is_none_or(|t| self.github.tenant_path(set.tenant()) == t)
            && scope.scale_set.as_ref().is_none_or(|s| s.eq_ignore_ascii_case(&set.name))
    }

    /// The service did something: faults that wait for it strike.
    pub(super) fn service_reactions(&mut self, event: &ServiceEvent) {
        for (action, fault) in self.active_faults() {
            match (&*fault, event) {
                (_, ServiceEvent::FaultFired { rule })
                    if self.rules.get(&action).is_some_and(|r| r.service.contains(rule)) =>
                {
                    self.faults.hit(action);
                }
                (Fault::GhTokenExpiry(f), ServiceEvent::TokenIssued { kind, .. })
                    if f.life.is_some() && *kind == token_kind(f.token) =>
                {
                    self.faults.hit(action);
                }
                (Fault::GhTokenExpiry(f), ServiceEvent::TokenRevoked { kind, .. })
                    if f.falls_on.is_some_and(|p| *kind == expiry(p).1)
                        && self.faults.meets(action, crate::plan::Ratio::ONE, f.count) =>
                {
                    self.arm_expiry(action);
                }
                (Fault::GhTokenExpiry(f), ServiceEvent::ScaleSetCreated { .. }) if f.falls_on.is_some() => {
                    self.arm_expiry(action);
                }
                (Fault::GhSession(f), ServiceEvent::ScaleSetCreated { scale_set, .. })
                    if f.of == SessionOf::Listener
                        && f.mode == SessionMode::Ghost
                        && self.covers(&f.scope, *scale_set) =>
                {
                    let ghost = fake_github::SessionFault { ttl: f.ttl.map(|d| d.0), survives_deletion: true };
                    self.github.set_session_fault(*scale_set, ghost, self.now);
                    self.faults.hit(action);
                }
                (Fault::GhStats(f), ServiceEvent::ScaleSetCreated { scale_set, .. })
                    if f.until_reregistered && self.covers(&f.scope, *scale_set) =>
                {
                    self.end_fault(action);
                }
                (Fault::GhStaleView(f), ServiceEvent::RunnerRemoved { runner, scale_set, name, .. })
                    if matches!(f.op, StaleOp::GetRunner | StaleOp::GetRunnerByName)
                        && self.covers(&f.scope, *scale_set)
                        && f.scope.runner.as_ref().is_none_or(|g| g.matches(name))
                    // Drawn once a registration, not once a read: what one read still sees, the next does as well.
                    && self.faults.meets(action, f.probability, f.count) =>
                {
                    let until = self.now.after(self.faults.draw(action, &f.lag));
                    let tenant = self.github.scale_set(*scale_set).map(|s| self.github.tenant_path(s.tenant()).clone());
                    let info = RunnerInfo { id: *runner, name: name.clone(), scale_set: *scale_set };
                    self.github.keep_runner_in_view(&tenant.unwrap_or_default(), info, until);
                }
                (
                    Fault::GhStaleView(f),
                    ServiceEvent::ScaleSetCreated { .. } | ServiceEvent::ScaleSetDeleted { .. },
                ) if f.op == StaleOp::GetScaleset => {
                    self.faults.hit(action);
                }
                (Fault::GhJobState(f), ServiceEvent::JobAssigned { job, scale_set, .. })
                    if f.mode == JobStateMode::MessageNotFound
                        && self.covers(&f.scope, *scale_set)
                        && f.count.is_none_or(|c| self.faults.hits()[action as usize] < c)
                        && self.faults.draws(action, f.probability) =>
                {
                    let stays = f.runner_effect == RunnerEffect::StaysUp;
                    let kind = if stays { JobFault::AcquireConflict } else { JobFault::MessageNotFound };
                    let done = self.github.fault_job(*job, kind, self.now);
                    if !done && !stays {
                        // An idle runner had it at once: the next one meets the message that is gone.
                        self.github.lose_job_messages(*scale_set, 1, self.now);
                    }
                    if done || !stays {
                        self.faults.hit(action);
                    }
                }
                (Fault::GhJobState(f), ServiceEvent::JobStarted { job, scale_set, .. })
                    if f.mode != JobStateMode::MessageNotFound
                        && self.covers(&f.scope, *scale_set)
                        && f.count.is_none_or(|c| self.faults.hits()[action as usize] < c)
                        && self.faults.draws(action, f.probability) =>
                {
                    let wait = f.after.as_ref().map_or(Duration::from_millis(1), |d| self.faults.draw(action, d));
                    let at = self.now.after(wait);
                    self.schedule(at, Event::WrongJob { job: *job, action });
                }
                (Fault::GhRegistrationLoss(f), ServiceEvent::RunnerRegistered { runner, scale_set, name })
                    if self.plan.actions[action as usize].lasts.is_some() && self.covers(&f.scope, *scale_set) =>
                {
                    self.lose_runner(action, f, *runner, &name.clone());
                }
                _ => {}
            }
        }
    }

    /// A registration goes, if the fault means it; its process learns nothing, or ends with the stated code.
    pub(super) fn lose_runner(
        &mut self,
        action: u32,
        f: &crate::plan::fault::GhRegistrationLoss,
        id: RunnerId,
        name: &Str,
    ) {
        let named = f.names.is_empty() || f.names.iter().any(|g| g.matches(name));
        let meant = named && f.scope.runner.as_ref().is_none_or(|g| g.matches(name));
        if !meant || !self.faults.meets(action, f.fraction.unwrap_or(crate::plan::Ratio::ONE), None) {
            return;
        }
        self.github.lose_registration(id, matches!(f.runner_effect, RunnerEffect::Exits(_)), self.now);
        if let RunnerEffect::Exits(code) = f.runner_effect {
            self.end_runner(id, code);
        }
    }

    fn end_runner(&mut self, id: RunnerId, code: i32) {
        let found = self.procs.iter().position(
            |p| matches!(p.as_deref(), Some(p) if matches!(&p.machine, Machine::Runner(r) if r.registration() == id)),
        );
        if let Some(n) = found {
            self.end_container_after(ProcId(n as u32), Duration::from_millis(1), code, "Error");
        }
    }

    /// A job that runs is wronged (`premature_completed`, `lease_lost`).
    pub(crate) fn wrong_job(&mut self, job: JobId, action: u32) {
        let Some((_, fault)) = self.active_faults().into_iter().find(|(a, _)| *a == action) else { return };
        let Fault::GhJobState(f) = &*fault else { return };
        let runner = self.github.job(job).map(|j| j.runner);
        let kind = if f.mode == JobStateMode::LeaseLost { JobFault::LeaseLost } else { JobFault::PrematureCompleted };
        if self.faults.hits()[action as usize] < f.count.unwrap_or(u32::MAX)
            && self.github.fault_job(job, kind, self.now)
        {
            self.faults.hit(action);
            if let (RunnerEffect::Exits(code), Some(id)) = (f.runner_effect, runner) {
                self.end_runner(id, code);
            }
        }
        self.notice_github();
    }

    /// A runner hears of a refusal whose exit code a fault states.
    pub(super) fn runner_effects(&mut self, proc: ProcId, call: CallId, reply: &Reply) {
        let Reply::Service(Err(CallError::Service(e))) = reply else { return };
        let _ = call;
        for (action, fault) in self.active_faults() {
            let code = match &*fault {
                Fault::GhJobState(f) if e.exception == Exception::JobNotFound => match f.runner_effect {
                    RunnerEffect::Exits(code) if f.mode == JobStateMode::MessageNotFound => code,
                    _ => continue,
                },
                Fault::GhVersionReject(f) if e.exception == Exception::RunnerVersionTooOld && f.exit_code != 7 => {
                    f.exit_code
                }
                _ => continue,
            };
            self.faults.hit(action);
            let wait = self.latency.github.base + self.latency.github.spread + Duration::from_millis(1);
            return self.end_container_after(proc, wait, code, "Error");
        }
    }

    /// The next token of the kind ends just before the stated request, at every scale set in scope.
    pub(super) fn arm_expiry(&mut self, action: u32) {
        let plan = self.plan.clone();
        let crate::plan::Action::Fault(Fault::GhTokenExpiry(f)) = &plan.actions[action as usize].what else { return };
        let spent = f.count.is_some_and(|c| self.faults.hits()[action as usize] >= c);
        let (Some(point), false) = (f.falls_on, spent) else { return };
        let sets: Vec<ScaleSetId> = self.github.scale_sets().map(|s| s.id).collect();
        for id in sets.into_iter().filter(|id| self.covers(&f.scope, *id)).collect::<Vec<_>>() {
            self.github.expire_token_at(id, expiry(point).0);
        }
    }

    /// Reads that a fault shows the past: the service is told for this one request, and told otherwise after it.
    pub(super) fn stale_before(&mut self, proc: ProcId, op: &Op) -> bool {
        if self.faults.is_idle() {
            return false;
        }
        let mut views = StaleViews::default();
        for (action, fault) in self.active_faults() {
            let Fault::GhStaleView(f) = &*fault else { continue };
            match (f.op, op) {
                (StaleOp::RemoveRunner, Op::RemoveRunner(id)) => {
                    let busy = self.github.runner(*id).filter(|r| r.is_busy()).map(|r| (r.scale_set, r.name.clone()));
                    let meant = busy.is_some_and(|(set, name)| {
                        self.covers(&f.scope, set) && f.scope.runner.as_ref().is_none_or(|g| g.matches(&name))
                    });
                    let actor = f
                        .scope
                        .actor
                        .as_ref()
                        .is_none_or(|a| self.proc(proc).is_some_and(|p| a.matches(p.role, &p.label)));
                    if meant && actor && self.faults.meets(action, f.probability, f.count) {
                        views.busy = self.faults.draw(action, &f.lag);
                    }
                }
                // What goes must be remembered when it goes, what is read is drawn at the read.
                (StaleOp::GetScaleset, Op::DeleteScaleSet(_)) => views.scale_sets = f.lag.body.to.0,
                (StaleOp::GetScaleset, Op::GetScaleSet { .. } | Op::GetScaleSetById(_))
                    if self.faults.draws(action, f.probability) =>
                {
                    views.scale_sets = self.faults.draw(action, &f.lag);
                }
                _ => {}
            }
        }
        let any = views != StaleViews::default();
        if any {
            self.invariants.ledger.mistakes_busy = !views.busy.is_zero();
            self.github.set_stale_views(views);
        }
        any
    }

    pub(super) fn stale_after(&mut self) {
        self.github.set_stale_views(StaleViews::default());
    }

    fn streams(&self, set: Option<&crate::plan::SetRef>) -> Vec<ProcId> {
        let meant = |p: &super::Process| {
            matches!(&p.machine, Machine::Runner(r) if r.streams())
                && set.is_none_or(|s| s.matches(&self.site(p.site).name, &p.scale_set))
        };
        let all = self.procs.iter().enumerate();
        all.filter(|(_, p)| p.as_deref().is_some_and(meant)).map(|(n, _)| ProcId(n as u32)).collect()
    }

    pub(super) fn begin_exec_cut(&mut self, action: u32, f: &ExecCut) {
        for id in self.streams(f.scale_set.as_ref()) {
            match f.after_idle {
                None => self.cut_stream(id, action, f),
                Some(_) => self.exec_began(id),
            }
        }
    }

    /// A hook opened its exec stream: idle-timeouts begin. A silent step prints nothing for so long; heartbeats keep the stream
    /// alive (runner-container-hooks#333).
    pub(super) fn exec_began(&mut self, id: ProcId) {
        let Some((site, set)) = self.proc(id).map(|p| (p.site, p.scale_set.clone())) else { return };
        let Some(Machine::Runner(r)) = self.proc(id).map(|p| &p.machine) else { return };
        let silent = r.job().and_then(|j| j.needs.silent_for).unwrap_or(Duration::ZERO);
        let spec = self.spec_of(site).scale_sets.iter().find(|s| s.name == set || *s.service_name() == set);
        let beats = spec.is_some_and(|s| s.hooks.heartbeat);
        let cluster = self.site(site).name.clone();
        for (action, fault) in self.active_faults() {
            let Fault::ExecCut(f) = &*fault else { continue };
            let meant = f.scale_set.as_ref().is_none_or(|s| s.matches(&cluster, &set));
            if let Some(idle) = f.after_idle
                && meant
                && !beats
                && silent >= idle.0
            {
                let at = self.now.after(idle.0);
                self.schedule(at, Event::CutExec { proc: id, action });
            }
        }
    }

    pub(crate) fn cut_idle_stream(&mut self, proc: ProcId, action: u32) {
        let found = self.active_faults().into_iter().find(|(a, _)| *a == action);
        if let Some(Fault::ExecCut(f)) = found.as_ref().map(|(_, f)| &**f) {
            self.cut_stream(proc, action, f);
        }
    }

    fn cut_stream(&mut self, id: ProcId, action: u32, f: &ExecCut) {
        let open = matches!(self.proc(id).map(|p| &p.machine), Some(Machine::Runner(r)) if r.streams());
        if open && self.faults.meets(action, crate::plan::Ratio::ONE, f.count) {
            self.lose_stream(id, f.mode == ExecMode::CleanClose);
        }
    }

    fn lose_stream(&mut self, id: ProcId, clean: bool) {
        let now = self.now;
        let mut out = Vec::new();
        if let Some(Machine::Runner(r)) = self.proc_mut(id).map(|p| &mut p.machine) {
            r.handle(RunnerInput::ExecLost { clean }, now);
            super::processes::convert(r.take_outputs(), now, &mut out);
        }
        self.outputs(id, out);
    }

    /// The API server goes down: exec streams run through it.
    pub(super) fn cut_streams(&mut self, action: u32, site: SiteId) {
        for id in self.streams(None) {
            if self.proc(id).is_some_and(|p| p.site == site) {
                self.faults.hit(action);
                self.lose_stream(id, false);
            }
        }
    }

    /// A workflow pod's container is gone: the exec stream into it ends without a status.
    pub(super) fn workflow_gone(&mut self, site: SiteId, pod_name: &str) {
        let owner = self.procs.iter().enumerate().find_map(|(n, p)| {
            let p = p.as_deref().filter(|p| p.site == site && matches!(p.machine, Machine::Runner(_)))?;
            let base: String = p.pod_name.chars().take(54).collect();
            (format!("{base}-workflow") == pod_name).then_some(ProcId(n as u32))
        });
        if let Some(id) = owner {
            self.lose_stream(id, false);
        }
    }

    /// A cluster wrote an object: faults of pods that wait for it.
    pub(super) fn commit_reactions(&mut self, site: SiteId, event: &WatchEvent) {
        let Some(pod) = event.object.get::<Pod>().cloned() else { return };
        for (action, fault) in self.active_faults() {
            if !self.faults.concerns(action, &self.site(site).name.clone()) {
                continue;
            }
            match &*fault {
                Fault::PodReject(f)
                    if pod.status.phase == PodPhase::Failed
                        && event.type_ == WatchType::Modified
                        && pod.status.reason == reject_reason(f.reason) =>
                {
                    self.faults.hit(action);
                }
                Fault::PodDelay(f)
                    if f.mode == PodDelayMode::Unschedulable
                        && event.type_ == WatchType::Added
                        && self.pod_is(site, &pod, f.target, f.scale_set.as_ref()) =>
                {
                    self.hold_pod(action, f, site, &pod);
                }
                _ => {}
            }
        }
    }

    /// No node takes a pod for the stated time, or while the fault lasts.
    pub(super) fn hold_pod(&mut self, action: u32, f: &crate::plan::fault::PodDelay, site: SiteId, pod: &Pod) {
        if !self.faults.meets(action, f.probability, f.count) {
            return;
        }
        let scope = fake_kube::loops::scope::PodScope {
            namespace: Some(pod.metadata.namespace.clone()),
            name_prefix: pod.metadata.name.clone(),
            ..Default::default()
        };
        let text = "0/3 nodes are available: 3 Insufficient cpu.".into();
        let fault = self.site_mut(site).cluster.hold_pods(scope, text);
        match &f.by {
            Some(by) => {
                let at = self.now.after(self.faults.draw(action, by));
                self.schedule(at, Event::Release { site, fault });
            }
            None => self.rules.entry(action).or_default().cluster.push((site, fault)),
        }
    }

    pub(crate) fn release_pod(&mut self, site: SiteId, fault: fake_kube::cluster::FaultId) {
        let now = self.now;
        self.site_mut(site).cluster.end_fault(fault, now);
        self.notice(site);
    }

    /// Volumes that an action kept away are there.
    pub(super) fn volumes_come(&mut self, action: u32) {
        let (freed, kept) = std::mem::take(&mut self.stuck).into_iter().partition::<Vec<_>, _>(|(a, ..)| *a == action);
        self.stuck = kept;
        for (_, site, pod) in freed {
            let now = self.now;
            self.site_mut(site).cluster.volumes_ready(pod, now);
            self.notice(site);
        }
    }

    /// A struck node comes back before its fault ends, or a cloud controller removes its object.
    pub(crate) fn node_step(&mut self, action: u32, gone: bool) {
        let now = self.now;
        let nodes = self.rules.get(&action).map(|r| r.nodes.clone()).unwrap_or_default();
        for (site, node) in nodes {
            let cluster = &mut self.sites[site.0 as usize].cluster;
            if gone {
                let key = arc_api::meta::Key::new("", node);
                let options = arc_api::kube::DeleteOptions::default();
                let request = arc_api::kube::KubeRequest::Delete { kind: Kind::Node, key, options };
                let _ = cluster.handle(&arc_api::kube::Identity::System("cloud-node-controller"), &request, now);
            } else {
                cluster.node_back(&node, now);
                cluster.cordon(&node, false, now);
            }
            self.notice(site);
        }
    }
}

pub(super) fn reject_reason(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::OutOfPods => "OutOfpods",
        RejectReason::OutOfCpu => "OutOfcpu",
        RejectReason::OutOfMemory => "OutOfmemory",
    }
}

pub(super) fn token_kind(kind: TokenKind) -> fake_github::TokenKind {
    match kind {
        TokenKind::MessageQueue => fake_github::TokenKind::Queue,
        TokenKind::Admin => fake_github::TokenKind::Admin,
        TokenKind::Registration => fake_github::TokenKind::Registration,
        TokenKind::Runner => fake_github::TokenKind::Runner,
    }
}

fn expiry(point: TokenPoint) -> (ExpiryPoint, fake_github::TokenKind) {
    match point {
        TokenPoint::Poll => (ExpiryPoint::Poll, fake_github::TokenKind::Queue),
        TokenPoint::Ack => (ExpiryPoint::Acknowledge, fake_github::TokenKind::Queue),
        TokenPoint::Acquire => (ExpiryPoint::Acquire, fake_github::TokenKind::Queue),
        TokenPoint::Refresh => (ExpiryPoint::Refresh, fake_github::TokenKind::Admin),
    }
}
