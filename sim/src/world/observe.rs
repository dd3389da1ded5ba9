//! Where the world tells its observers what happened.

use std::sync::Arc;

use arc_api::crd::ErPhase;
use arc_api::kube::{Identity, KubeRequest, WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::service::{JobResult, Op, ServiceOk};
use arc_api::{Duration, JobId, Kind, Object, RunnerId, Str, Time, format_smolstr};
use controller_core::call::{CallError, Reply};
use fake_github::event::ServiceEvent;

use super::{Body, CallId, Event, Machine, ProcId, Process, SiteId, World};
use crate::invariant::{Check, Ledger, SetKey, SetState};
use crate::plan::Role;
use crate::trace::{Actor, Digest, What};

impl World {
    /// Shortly after anything was observed: new clocks get their deadline.
    pub(crate) fn after_observation(&mut self) {
        for v in self.invariants.take_reports() {
            let cause = if v.cause == 0 { self.cause } else { v.cause };
            let about = v.about.first().cloned().unwrap_or_default();
            self.violation(v.invariant, v.component, v.at, cause, &about, v.said);
        }
        if let Some(due) = self.invariants.bounds.take_fresh()
            && due < self.deadline
        {
            self.deadline = due;
            let at = due.max(self.now);
            self.schedule_first(at, Event::Deadline);
        }
    }

    pub(crate) fn observe_commit(&mut self, site: SiteId, event: &WatchEvent) {
        self.invariants.on_commit(site, event, self.now);
        self.mark_commit(site, event);
        if let Some(pod) = event.object.get::<Pod>()
            && event.type_ == WatchType::Added
            && pod.spec.container("runner").is_some()
        {
            self.metrics.count("runner_pods");
            let account = Key::new(pod.metadata.namespace.clone(), pod.spec.service_account_name.clone());
            let sound = self
                .site(site)
                .cluster
                .api()
                .get(Kind::ServiceAccount, &account)
                .is_some_and(|a| !a.meta().is_deleting());
            if !pod.spec.service_account_name.is_empty() {
                self.invariants.on_pod_identity(pod, !sound, self.now);
            }
        }
        if let Object::EphemeralRunner(runner) = &event.object {
            if event.type_ == WatchType::Added {
                self.metrics.count("runners_created");
            }
            if runner.status.phase == ErPhase::Failed && self.metrics.failed.insert(runner.metadata.uid) {
                self.metrics.count("runners_failed");
            }
        }
        self.object_triggers(site, event);
        self.autoscale(site, event);
        if !self.faults.is_idle() {
            self.commit_reactions(site, event);
        }
        self.after_observation();
    }

    pub(crate) fn observe_service(&mut self, event: &ServiceEvent) {
        match event {
            ServiceEvent::JobQueued { job } => self.metrics.jobs.entry(*job).or_default().queued = self.now,
            ServiceEvent::JobStarted { job, .. } => {
                self.metrics.jobs.entry(*job).or_default().started.get_or_insert(self.now);
                if let Some(crate::plan::JobCancel::AfterStarted(d)) = self.cancels.get(job) {
                    let at = self.now.after(d.0);
                    self.schedule(at, Event::CancelJob(*job));
                }
            }
            ServiceEvent::JobCompleted { job, result, .. } => {
                self.metrics.jobs.entry(*job).or_default().ended = Some((self.now, *result));
            }
            ServiceEvent::RunnerRegistered { .. } => self.metrics.count("registrations"),
            ServiceEvent::FaultFired { rule } => self.rule_fired(*rule),
            ServiceEvent::SessionCreated { .. } => self.metrics.count("sessions"),
            ServiceEvent::SessionRefused { .. } => {
                self.metrics.count("session_refusals");
                let first = self.metrics.refusals.map_or(self.now, |(f, _)| f);
                self.metrics.refusals = Some((first, self.now));
            }
            _ => {}
        }
        self.mark_service(event);
        let procs = &self.procs;
        let job_of = |id: RunnerId| {
            let machines = procs.iter().flatten().map(|p| &p.machine);
            machines.into_iter().find_map(|m| match m {
                Machine::Runner(r) if r.registration() == id => r.job().map(|j| j.id),
                _ => None,
            })
        };
        self.invariants.on_service(event, self.now, self.cause, job_of);
        self.job_triggers(event);
        if !self.faults.is_idle() {
            self.service_reactions(event);
        }
        self.after_observation();
    }

    /// What all sets report now, and what there is: kept at every mark.
    pub(crate) fn observe_reported(&mut self) {
        let mut r = crate::metrics::Reported::default();
        for site in &self.sites {
            let api = site.cluster.api();
            for o in api.iter(Kind::AutoscalingRunnerSet).chain(api.iter(Kind::EphemeralRunnerSet)) {
                match o {
                    Object::AutoscalingRunnerSet(a) => {
                        r.current += i64::from(a.status.current_runners);
                        r.pending += i64::from(a.status.pending_ephemeral_runners);
                        r.running += i64::from(a.status.running_ephemeral_runners);
                    }
                    Object::EphemeralRunnerSet(e) => r.failed += i64::from(e.status.failed_ephemeral_runners),
                    _ => {}
                }
            }
            let pods = api.iter(Kind::Pod).filter_map(|o| o.get::<Pod>());
            r.pods += pods.filter(|p| p.spec.container("runner").is_some()).count() as i64;
        }
        self.metrics.reported = Some(r);
    }

    /// Who is told that a message is gone cannot delete it, whoever says so: the service, or a fault in its place.
    pub(crate) fn observe_denial(&mut self, call: CallId, reply: &Reply) {
        let Some(Body::Service(request)) = self.calls.get_mut(call).map(|flight| &flight.body) else { return };
        let Op::DeleteMessage { id, message } = &request.op else { return };
        let denied = match reply {
            Reply::Service(Ok(ok)) => matches!(ok, ServiceOk::Malformed(_)),
            Reply::Service(Err(e)) => e.service().is_some_and(|e| e.status == 404),
            _ => false,
        };
        if denied {
            self.invariants.ledger.denied.insert((*id, *message));
        }
    }

    /// A service call was answered: polls keep a listener's clock going, JIT configurations are remembered.
    pub(crate) fn observe_service_call(&mut self, proc: ProcId, call: CallId, reply: &Reply) {
        let Some(flight) = self.calls.get_mut(call) else { return };
        let Body::Service(request) = &flight.body else { return };
        let Some(process) = self.procs.get(proc.0 as usize).and_then(Option::as_deref) else { return };
        let refused = process.role == Role::Listener && matches!(reply, Reply::Service(Err(CallError::Service(_))));
        let refused = refused.then(|| request.op.name());
        match &request.op {
            Op::GetMessage { .. } => {
                let good = matches!(reply, Reply::Service(Ok(ServiceOk::Message(_) | ServiceOk::Nothing)));
                let set = (process.site, process.set_key.clone());
                if let (Reply::Service(Ok(ServiceOk::Message(message))), Role::Listener) = (reply, process.role) {
                    self.invariants.told(&message.events, self.now);
                }
                if good && process.role == Role::Listener {
                    self.metrics.poll_opens(&set, self.now);
                }
                self.metrics.poll_ends(&set, self.now);
                if good && process.role == Role::Listener {
                    self.observe_poll(set);
                }
            }
            Op::DeleteMessage { .. } => self.observe_denial(call, reply),
            Op::RunnerConnect { jit, .. } => {
                let (jit, pod) = (*jit, process.pod);
                self.invariants.looked("registration-serves-one-job");
                let entry = self.invariants.ledger.jits.get(&jit).cloned();
                match (entry, pod) {
                    (None, Some(pod)) => {
                        let used = crate::invariant::JitUse { pod, took_job: false };
                        self.invariants.ledger.jits.insert(jit, used);
                    }
                    (Some(used), Some(pod)) if used.pod != pod && used.took_job => {
                        let about = process.pod_name.clone();
                        let said = "presented a registration that had served a job of another pod".into();
                        let (now, cause) = (self.now, self.cause);
                        self.violation("registration-serves-one-job", "runner", now, cause, &about, said);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        if let Some(op) = refused {
            self.observe_refusal(proc, op);
        }
    }

    /// A listener asks again and again for what it is refused.
    fn observe_refusal(&mut self, proc: ProcId, op: &'static str) {
        let key = Key::new("", op);
        let now = self.now;
        let window = self.invariants.ledger.repeats.entry((proc.0, key, 0)).or_default();
        let often = Ledger::window(window, now, Duration::from_secs(60));
        self.invariants.looked("restarts-are-bounded");
        if often > 60 {
            let about = self.proc(proc).map(|p| p.pod_name.clone()).unwrap_or_default();
            let said = format_smolstr!("{op} is refused {often} times in a minute and asked for again");
            let cause = self.cause;
            self.violation("restarts-are-bounded", "listener", now, cause, &about, said);
        }
    }

    /// An answer of the service reaches a process, whoever made it.
    pub(crate) fn observe_service_reply(&mut self, proc: ProcId, reply: &Reply) {
        let Reply::Service(Err(CallError::Service(e))) = reply else { return };
        let Some(wait) = e.retry_after.filter(|_| self.proc(proc).is_some_and(|p| p.role == Role::Controller)) else {
            return;
        };
        // Its HTTP client waits inside the pass, as upstream's does (go-retryablehttp).
        let until = self.now.after(Duration::from_secs(u64::from(wait) + 10));
        let ledger = &mut self.invariants.ledger;
        ledger.told_to_wait = ledger.told_to_wait.max(until);
    }

    /// An API request was answered: deletions by a controller are weighed, refusals and no-ops are counted.
    pub(crate) fn observe_kube_call(
        &mut self,
        proc: ProcId,
        site: SiteId,
        who: &Identity,
        request: &KubeRequest,
        reply: &Reply,
        changed: bool,
    ) {
        self.mark_kube_call(request, reply);
        if let (KubeRequest::Create(Object::Pod(_)), Reply::Kube(Err(CallError::Api(_)))) = (request, reply) {
            self.metrics.count("pods_rejected");
            if let KubeRequest::Create(object) = request {
                let label = |name: &str| object.meta().label(name).cloned().unwrap_or_default();
                let set = Key::new(
                    label("actions.github.com/scale-set-namespace"),
                    label("actions.github.com/scale-set-name"),
                );
                if let Some(state) = self.invariants.ledger.sets.get_mut(&(site, set)) {
                    state.pod_refused = Some(self.now);
                }
            }
        }
        let manager = self.proc(proc).is_some_and(|p| p.role == Role::Controller);
        if !manager {
            if let (Identity::Admin, KubeRequest::Delete { kind: Kind::AutoscalingRunnerSet, key, .. }) = (who, request)
            {
                let set = (site, key.clone());
                self.intend(set, None);
            }
            return;
        }
        let ok = matches!(reply, Reply::Kube(Ok(_)));
        if let KubeRequest::Delete { kind, key, .. } = request
            && ok
            && changed
        {
            match kind {
                Kind::AutoscalingRunnerSet => {
                    self.invariants.looked("owned-by-user");
                    let kept = self.invariants.ledger.sets.get(&(site, key.clone())).is_some_and(|s| !s.may_go());
                    if kept {
                        self.metrics.count("sets_deleted");
                        let about = format_smolstr!("AutoscalingRunnerSet {key}");
                        let said = "was deleted by a controller; its user had not asked for it".into();
                        let (now, cause) = (self.now, self.cause);
                        self.violation("owned-by-user", "set", now, cause, &about, said);
                    }
                }
                Kind::Pod => {
                    self.invariants.pod_removed((site, key.clone()));
                    self.invariants.looked("busy-runner-kept");
                    let (ledger, now) = (&self.invariants.ledger, self.now);
                    let works = |r: &crate::process::runner::Runner| {
                        let known = ledger.registrations.contains_key(&r.registration());
                        let mistaken = ledger.runners.get(&(site, key.clone())).is_some_and(|r| r.mistaken);
                        r.job().is_some_and(|j| !ledger.is_over(j.id))
                            && !mistaken
                            && (known || ledger.is_known_busy(&key.name, now))
                    };
                    let busy = self.containers.iter().any(|((s, ..), id)| {
                        let here = |p: &&Process| *s == site && p.pod_name == key.name;
                        let process = self.proc(*id).filter(here);
                        process.is_some_and(|p| matches!(&p.machine, Machine::Runner(r) if works(r)))
                    });
                    if busy {
                        let about = format_smolstr!("Pod {key}");
                        let (now, cause) = (self.now, self.cause);
                        self.violation(
                            "busy-runner-kept",
                            "runner",
                            now,
                            cause,
                            &about,
                            "was deleted during its job".into(),
                        );
                    }
                }
                _ => {}
            }
        }
        if request.is_write() && changed && request.kind() != Some(Kind::Lease) {
            self.invariants.ledger.writes.add(self.now, request);
        }
        if request.is_write() && changed && !self.invariants.ledger.repeats.is_empty() {
            // Something came of it: what follows is no repetition.
            let key = request.key().unwrap_or_default();
            self.invariants.ledger.repeats.remove(&(proc.0, key, request.verb().as_bytes()[0]));
        }
        if request.is_write() && !changed {
            let key = request.key().unwrap_or_default();
            let verb = request.verb().as_bytes()[0];
            let now = self.now;
            let window = self.invariants.ledger.repeats.entry((proc.0, key.clone(), verb)).or_default();
            let often = Ledger::window(window, now, Duration::from_secs(60));
            self.invariants.looked("restarts-are-bounded");
            if often > 60 {
                let about = format_smolstr!("{} {key}", request.kind().map_or("object", Kind::as_str));
                let said = format_smolstr!("{} {often} times in a minute to no effect", request.verb());
                let cause = self.cause;
                self.violation("restarts-are-bounded", "controller", now, cause, &about, said);
            }
        }
    }

    pub(crate) fn observe_start(&mut self, id: ProcId, pod: &Arc<Pod>, attempt: u32) {
        let _ = pod;
        let Some(process) = self.proc(id) else { return };
        let (role, label) = (process.role, process.label.clone());
        self.mark_start(role, &label);
        let Some(process) = self.proc(id) else { return };
        match process.role {
            Role::Listener => {
                let set = (process.site, process.set_key.clone());
                self.metrics.count("listener_starts");
                let about = format_smolstr!("AutoscalingRunnerSet {}", set.1);
                let now = self.now;
                let state = self.invariants.ledger.set(&set);
                let starts = Ledger::window(&mut state.listener_starts, now, Duration::from_secs(60));
                self.invariants.looked("restarts-are-bounded");
                if starts > 6 {
                    let said = format_smolstr!("{starts} listener processes started within a minute");
                    let cause = self.cause;
                    self.violation("restarts-are-bounded", "listener", now, cause, &about, said);
                }
            }
            Role::Controller => {
                let site = process.site;
                let elects = matches!(&process.machine, Machine::Manager(m) if m.is_elected());
                let here = |p: &&Process| p.site == site && p.role == Role::Controller;
                if !elects && self.procs.iter().flatten().map(|p| &**p).filter(here).count() > 1 {
                    self.invariants.ledger.overlaps.insert(site, self.now);
                }
                self.metrics.count("controller_starts");
                self.invariants.ledger.manager_recovers(self.now, 60);
            }
            Role::Runner => self.metrics.count("runner_starts"),
            Role::Dind if attempt > 0 => self.metrics.count("dind_restarts"),
            _ => {}
        }
    }

    pub(crate) fn observe_exit(&mut self, id: ProcId, process: &Process, code: i32, text: &Str) {
        let _ = text;
        if process.role == Role::Controller {
            // A container that ends again and again waits up to five minutes.
            self.invariants.ledger.manager_recovers(self.now, 360);
            let others = self.procs.iter().enumerate().filter(|(n, _)| *n != id.0 as usize);
            let mut others = others.filter_map(|(_, p)| p.as_deref()).filter(|p| p.role == Role::Controller);
            if code != 0 && others.any(|p| p.site == process.site) {
                self.invariants.ledger.maker_died();
            }
        }
        self.mark_exit(process, code);
        if process.role == Role::Listener {
            self.metrics.listener_exits.push((self.now, code));
            self.metrics.poll_ends(&(process.site, process.set_key.clone()), self.now);
        }
    }

    pub(crate) fn observe_log(&mut self, id: ProcId, level: &str, line: &str) {
        if level == "ERROR" && self.proc(id).is_some_and(|p| p.role == Role::Controller) {
            *self.metrics.error_lines.entry(message_of(line)).or_default() += 1;
        }
    }

    /// A poll is open or came to a good end: the listener's clock begins again.
    fn observe_poll(&mut self, set: SetKey) {
        if self.invariants.ledger.sets.get(&set).is_some_and(|s| s.wanted) {
            self.invariants.looked("listener-is-polling");
            let name = set.1.clone();
            let about = || format_smolstr!("AutoscalingRunnerSet {name}");
            self.invariants.bounds.restart(Check::Polling(set), self.now, about, || "no poll".into());
            self.after_observation();
        }
    }

    /// A listener's poll reached the service and waits there.
    pub(crate) fn observe_poll_parked(&mut self, proc: ProcId) {
        let Some(process) = self.procs.get(proc.0 as usize).and_then(Option::as_deref) else { return };
        if process.role == Role::Listener {
            let set = (process.site, process.set_key.clone());
            self.metrics.poll_opens(&set, self.now);
            self.observe_poll(set);
        }
    }

    pub(crate) fn observe_job_began(&mut self, id: ProcId, job: JobId) {
        let _ = job;
        let Some(process) = self.proc(id) else { return };
        if let Machine::Runner(r) = &process.machine {
            let jit = r.jit();
            if let Some(used) = self.invariants.ledger.jits.get_mut(&jit) {
                used.took_job = true;
            }
        }
        self.plan_job_end(id);
    }

    pub(crate) fn observe_job_ended(&mut self, id: ProcId, job: JobId, result: JobResult, why: &'static str) {
        let Some(process) = self.proc(id) else { return };
        let (actor, name, set) = (process.actor, process.pod_name.clone(), (process.site, process.set_key.clone()));
        self.metrics.jobs.entry(job).or_default().why = why;
        self.plan_after_job(id);
        self.note(actor, Digest::of(14).with(job.0).text(why), || What::Log {
            level: "JOB",
            line: format_smolstr!("{job} {result:?} {why}"),
        });
        self.invariants.looked("runner-ready-before-job");
        let infra =
            why == "docker-socket" || matches!(why, "hook-permissions" | "hook-http-error" | "hook-create-failed");
        let taken = self.invariants.ledger.identity_gone.get(&(set.0, set.1.namespace.clone()));
        let began = self.github.job(job).map_or(Time::ZERO, |j| j.started);
        let left = |s: &SetState| !s.wanted && s.unwanted_at.is_some_and(|at| at >= began);
        let lost = why != "docker-socket"
            && (taken.is_some_and(|at| self.now.since(*at) < Duration::from_secs(60))
                || self.invariants.ledger.sets.get(&set).is_some_and(left));
        if infra {
            self.metrics.count("infra_failures");
        }
        if infra && !lost {
            let about = format_smolstr!("EphemeralRunner {name}");
            let said = match why {
                "docker-socket" => "took a job whose docker daemon was not there".into(),
                other => format_smolstr!("took a job that failed in its hook: {other}"),
            };
            let (now, cause) = (self.now, self.cause);
            self.violation("runner-ready-before-job", "runner", now, cause, &about, said);
        }
        // A few failures may be chance; a kind of job of which the last three failed is something to report.
        let needs = self.github.job(job).map(|j| j.order.needs.clone()).unwrap_or_default();
        self.invariants.looked("failure-is-visible");
        // An outage, or somebody who deletes the hook's pod, says nothing of the next job.
        let passing = matches!(why, "hook-unreachable" | "hook-pod-gone");
        for (lack, needed, fails) in [
            ("docker daemon", needs.docker_after.is_some(), why == "docker-socket"),
            ("container hook", needs.container, why.starts_with("hook-") && !passing),
        ] {
            if needed && !lost && (fails || result == JobResult::Succeeded) {
                let streak = self.invariants.ledger.set(&set).failing.entry(lack).or_default();
                *streak = if fails { *streak + 1 } else { 0 };
                let bad = *streak >= 3;
                let now = self.now;
                let about = || format_smolstr!("AutoscalingRunnerSet {}", set.1);
                let said = || format_smolstr!("every job that needs the {lack} fails, and no condition says so");
                self.invariants.bounds.set(Check::JobsFail(set.clone(), lack), bad, now, about, said);
            }
        }
        self.after_observation();
    }

    /// Reports a violation, in the trace as well.
    pub(crate) fn violation(
        &mut self,
        invariant: &'static str,
        component: &'static str,
        at: Time,
        cause: u32,
        about: &Str,
        said: Str,
    ) {
        let violation = crate::invariant::Violation {
            invariant,
            component,
            at,
            said: said.clone(),
            about: vec![about.clone()],
            cause,
        };
        if self.invariants.violate(violation) {
            let saved = self.cause;
            self.cause = cause;
            let line = format_smolstr!("{about} {said}");
            self.note(Actor(0), Digest::of(15).text(invariant), || What::Violation { invariant, said: line });
            self.cause = saved;
        }
    }

    /// Conditions that have been bad for too long.
    pub(crate) fn check_overdue(&mut self) {
        for (check, since, about, said) in self.invariants.bounds.overdue(self.now) {
            let (invariant, bound) = check.rule();
            let good_until = self.good_until(&check);
            if let Some(from) = good_until.filter(|t| t.after(bound) > self.now) {
                self.invariants.bounds.restart(check, from, || about, || said);
                continue;
            }
            let lasted = self.now.since(since);
            let said = format_smolstr!("{said} (since {since}, {} s)", lasted.as_secs());
            let (component, now, cause) = (check.component(), self.now, self.cause);
            self.violation(invariant, component, now, cause, &about, said);
            if let Check::Polling(set) = &check
                && !self.is_reported(set)
            {
                let said = "has no listener that polls, and no condition says why".into();
                self.violation("failure-is-visible", "listener", now, cause, &about, said);
            }
        }
    }
}

/// The message of a controller's log line, without the object and the error it is about.
fn message_of(line: &str) -> Str {
    let head = line.split(['"', ':']).next().unwrap_or(line).trim();
    match head.rsplit_once(' ') {
        Some((message, object)) if object.contains('/') => message.into(),
        _ => head.into(),
    }
}
