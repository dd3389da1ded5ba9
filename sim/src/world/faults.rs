//! Faults and triggers meet the world: verdicts on calls, what begins and ends with a fault, what it does to pods.

use std::sync::Arc;

use arc_api::pod::Pod;
use arc_api::{Duration, Kind, Str, Time, Uid, format_smolstr};
use fake_kube::kubelet::{ContainerKind, Exit, Signal, StartFailure};

use super::{Body, CallId, Event, Machine, ProcId, SiteId, World};
use crate::fault::{CallView, Point, Road, Verdict};
use crate::plan::fault::{
    ContainerTarget, ExitPhase, Fault, InitMode, OutageMode, PodDelayMode, PodTarget, SidecarMode, SidecarTarget,
};
use crate::plan::{Action, Role, SetRef};
use crate::trace::{Actor, Digest, What};

impl World {
    /// What becomes of a call at a point of its life. Triggers go first: an action they set off may already concern this call.
    pub(crate) fn verdict(&mut self, call: CallId, point: Point) -> Verdict {
        if self.faults.is_quiet() {
            return Verdict::Pass;
        }
        let Some(flight) = self.calls.get_mut(call) else { return Verdict::Pass };
        if point == Point::OnArrival && flight.held {
            return Verdict::Pass;
        }
        let (proc, body, reply) = (flight.proc, flight.body.clone(), flight.reply.clone());
        let Some(process) = self.procs.get(proc.0 as usize).and_then(Option::as_deref) else { return Verdict::Pass };
        let (role, label, set, site) = (process.role, process.label.clone(), process.scale_set.clone(), process.site);
        let cluster = self.sites[site.0 as usize].name.clone();
        let org = self.org_of(&cluster, &set);
        let view = CallView {
            role,
            label: &label,
            scale_set: &set,
            cluster: &cluster,
            org: &org,
            road: match &body {
                Body::Kube(_, request) => Road::Kube(request),
                Body::Service(request) => Road::Service(&request.op),
            },
            reply: reply.as_ref(),
        };
        let fired = self.faults.triggered(&view, point, self.now);
        let found = self.faults.verdict(&view, point, self.now);
        for action in fired {
            self.trigger(action, Some(proc));
        }
        let Some((action, verdict)) = found else { return Verdict::Pass };
        if point == Point::OnArrival
            && let Some(flight) = self.calls.get_mut(call)
        {
            flight.held = true;
        }
        let id = self.plan.actions[action as usize].id.clone();
        let what = super::describe(&body);
        self.note(Actor(0), Digest::of(9).with(u64::from(action)).text(&what), || What::Fault {
            id,
            did: format_smolstr!("meets {what}"),
        });
        verdict
    }

    fn org_of(&self, cluster: &str, set: &str) -> Str {
        let set = SetRef { cluster: Some(cluster.into()), name: set.into() };
        let found = self.plan.world.scale_set(&set).and_then(|(_, s)| self.plan.world.org(s)).or(self
            .plan
            .world
            .github
            .orgs
            .first());
        found.map(|o| o.name.clone()).unwrap_or_default()
    }

    /// A trigger went off: its action is due now, or after its delay.
    pub(crate) fn trigger(&mut self, action: u32, caller: Option<ProcId>) {
        let planned = &self.plan.clone().actions[action as usize];
        let after = match &planned.when {
            crate::plan::When::Event(t) => t.after.map_or(Duration::ZERO, |d| d.0),
            crate::plan::When::At(_) => Duration::ZERO,
        };
        if !after.is_zero() {
            let at = self.now.after(after);
            return self.schedule(at, Event::Action(action));
        }
        // A crash of the caller happens here and now, between this point and the next.
        if let Action::Fault(Fault::ActorCrash(f)) = &planned.what
            && let Some(id) = caller
            && self.proc(id).is_some_and(|p| f.target.matches(p.role, &p.label))
        {
            self.faults.hit(action);
            let said = planned.id.clone();
            self.note(Actor(0), Digest::of(10).with(u64::from(action)), || What::Fault {
                id: said,
                did: "kills its caller".into(),
            });
            return self.crash(id);
        }
        self.begin_action(action);
    }

    /// A fault begins.
    pub(crate) fn begin_fault(&mut self, action: u32, fault: &Fault) {
        let plan = self.plan.clone();
        let planned = &plan.actions[action as usize];
        let id = planned.id.clone();
        self.faults.begin(action, &id, planned.cluster.clone(), Arc::new(fault.clone()), self.now);
        self.invariants.bounds.disturb();
        let kind = fault.id();
        self.note(Actor(0), Digest::of(11).with(u64::from(action)), || What::Fault {
            id,
            did: format_smolstr!("{kind} begins"),
        });
        match fault {
            Fault::ActorCrash(f) => {
                let targets = self.find(&f.target);
                if !targets.is_empty() {
                    self.faults.hit(action);
                }
                for id in targets {
                    self.crash(id);
                }
            }
            Fault::ActorSlow(f) => {
                if let Some(pause) = &f.pause {
                    let wait = self.faults.draw(action, pause);
                    let until = self.now.after(wait);
                    for id in self.find(&f.target) {
                        if let Some(p) = self.proc_mut(id) {
                            p.paused_until = until;
                        }
                        self.faults.hit(action);
                        self.schedule(until, Event::Thaw(id));
                    }
                }
            }
            Fault::ApiOutage(f) => {
                self.faults.hit(action);
                let until = planned.lasts.map_or(self.plan.run_for.from_start(), |d| self.now.after(d.0));
                for n in 0..self.sites.len() {
                    if planned.cluster.as_ref().is_some_and(|c| *c != self.sites[n].name) {
                        continue;
                    }
                    self.sites[n].frozen_until = until;
                    if f.mode == OutageMode::Down {
                        self.close_watches(SiteId(n as u8), until);
                    }
                }
            }
            Fault::CacheLag(f) if f.relist => {
                for id in self.find(&f.actor) {
                    self.faults.hit(action);
                    for w in 0..self.watchers.len() {
                        let kind = self.watchers[w].kind;
                        if self.watchers[w].proc == id
                            && (f.kind.matches(kind.as_str()) || f.kind.matches(kind.plural()))
                        {
                            self.watchers[w].open = false;
                            self.input(id, crate::process::Input::WatchClosed(kind));
                        }
                    }
                }
            }
            Fault::ContainerExit(f) if f.phase.is_none() || f.phase == Some(ExitPhase::MidJob) => {
                for id in
                    self.containers_meant(f.target, f.scale_set.as_ref(), &f.pod, f.phase == Some(ExitPhase::MidJob))
                {
                    if self.faults.meets(action, f.probability, f.times) {
                        let wait = self.faults.draw(action, &f.after);
                        self.end_container_after(id, wait, f.code, f.reason.as_str());
                    }
                }
            }
            Fault::SidecarFault(f) if matches!(f.mode, SidecarMode::CrashMidJob | SidecarMode::CrashAtStart) => {
                for id in self.dinds(f.target, f.scale_set.as_ref()) {
                    if self.faults.meets(action, f.probability, f.count) {
                        self.end_container_after(id, Duration::ZERO, f.code, "Error");
                    }
                }
            }
            Fault::NodeFault(f) => self.begin_node_fault(action, f),
            other => self.begin_service_fault(action, other),
        }
    }

    /// A fault ends.
    pub(crate) fn end_fault(&mut self, action: u32) {
        let Some(fault) = self.faults.end(action) else { return };
        self.invariants.bounds.calm(self.now);
        self.rearm_deadline();
        let id = self.plan.actions[action as usize].id.clone();
        self.note(Actor(0), Digest::of(12).with(u64::from(action)), || What::Fault { id, did: "ends".into() });
        match &*fault {
            Fault::ApiOutage(_) => {
                for n in 0..self.sites.len() {
                    self.thaw_site(SiteId(n as u8));
                }
            }
            Fault::NodeFault(f) => self.end_node_fault(f),
            other => self.end_service_fault(action, other),
        }
    }

    fn thaw_site(&mut self, site: SiteId) {
        self.site_mut(site).frozen_until = Time::ZERO;
        let held = std::mem::take(&mut self.site_mut(site).held);
        for event in held {
            let now = self.now;
            self.schedule(now, event);
        }
        self.notice(site);
    }

    fn close_watches(&mut self, site: SiteId, _until: Time) {
        for w in 0..self.watchers.len() {
            if self.watchers[w].site == site && self.watchers[w].open {
                self.watchers[w].open = false;
                let (proc, kind) = (self.watchers[w].proc, self.watchers[w].kind);
                self.input(proc, crate::process::Input::WatchClosed(kind));
            }
        }
    }

    /// Processes that an actor pattern means now.
    pub(crate) fn find(&self, actor: &crate::plan::Actor) -> Vec<ProcId> {
        self.procs
            .iter()
            .enumerate()
            .filter_map(|(n, p)| {
                let p = p.as_deref()?;
                actor.matches(p.role, &p.label).then_some(ProcId(n as u32))
            })
            .collect()
    }

    /// kill -9.
    pub(crate) fn crash(&mut self, id: ProcId) {
        self.kill(id, "killed");
    }

    fn containers_meant(
        &self,
        target: ContainerTarget,
        set: Option<&SetRef>,
        pod: &crate::plan::Glob,
        busy: bool,
    ) -> Vec<ProcId> {
        let role = match target {
            ContainerTarget::Runner => Role::Runner,
            ContainerTarget::Listener => Role::Listener,
            ContainerTarget::Controller => Role::Controller,
            ContainerTarget::Workflow => Role::Workflow,
        };
        self.procs
            .iter()
            .enumerate()
            .filter_map(|(n, p)| {
                let p = p.as_deref()?;
                let working = matches!(&p.machine, Machine::Runner(r) if r.job().is_some());
                let meant = p.role == role
                    && p.pod.is_some()
                    && pod.matches(&p.pod_name)
                    && set.is_none_or(|s| s.matches(&self.sites[p.site.0 as usize].name, &p.scale_set))
                    && (!busy || working);
                meant.then_some(ProcId(n as u32))
            })
            .collect()
    }

    fn dinds(&self, target: SidecarTarget, set: Option<&SetRef>) -> Vec<ProcId> {
        let role = match target {
            SidecarTarget::Dind => Role::Dind,
            SidecarTarget::Injected => Role::Workflow,
        };
        self.procs
            .iter()
            .enumerate()
            .filter_map(|(n, p)| {
                let p = p.as_deref()?;
                let meant =
                    p.role == role && set.is_none_or(|s| s.matches(&self.sites[p.site.0 as usize].name, &p.scale_set));
                meant.then_some(ProcId(n as u32))
            })
            .collect()
    }

    fn end_container_after(&mut self, id: ProcId, wait: Duration, code: i32, reason: &str) {
        if wait.is_zero() {
            return self.exit(id, code, reason.into());
        }
        self.doomed.push((self.now.after(wait), id, code, reason.into()));
        let at = self.now.after(wait);
        self.schedule(at, Event::Thaw(id));
    }

    /// Containers whose end was set for now.
    pub(crate) fn run_doomed(&mut self, id: ProcId) {
        let now = self.now;
        let due: Vec<_> = self.doomed.iter().filter(|(at, p, ..)| *p == id && *at <= now).cloned().collect();
        self.doomed.retain(|(at, p, ..)| !(*p == id && *at <= now));
        for (_, id, code, reason) in due {
            self.exit(id, code, reason);
        }
    }

    /// A container came up: faults that end containers of its sort take aim.
    pub(crate) fn plan_container_end(&mut self, id: ProcId, pod: &Arc<Pod>, container: &Str) {
        let _ = (pod, container);
        let Some(process) = self.proc(id) else { return };
        let (role, name, set, site) = (process.role, process.pod_name.clone(), process.scale_set.clone(), process.site);
        let cluster = self.site(site).name.clone();
        let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            match &*fault {
                Fault::ContainerExit(f) if f.phase.is_none() || f.phase == Some(ExitPhase::BeforeJob) => {
                    let meant = match f.target {
                        ContainerTarget::Runner => role == Role::Runner,
                        ContainerTarget::Listener => role == Role::Listener,
                        ContainerTarget::Controller => role == Role::Controller,
                        ContainerTarget::Workflow => role == Role::Workflow,
                    };
                    let meant =
                        meant && f.pod.matches(&name) && f.scale_set.as_ref().is_none_or(|s| s.matches(&cluster, &set));
                    if meant && self.faults.meets(action, f.probability, f.times) {
                        let wait = self.faults.draw(action, &f.after).max(Duration::from_millis(1));
                        self.end_container_after(id, wait, f.code, f.reason.as_str());
                    }
                }
                Fault::SidecarFault(f) if f.mode == SidecarMode::CrashAtStart && role == Role::Dind => {
                    let meant = f.scale_set.as_ref().is_none_or(|s| s.matches(&cluster, &set));
                    if meant && self.faults.meets(action, f.probability, f.count) {
                        let wait = f.delay.as_ref().map_or(Duration::from_millis(1), |d| self.faults.draw(action, d));
                        self.end_container_after(id, wait.max(Duration::from_millis(1)), f.code, "Error");
                    }
                }
                _ => {}
            }
        }
    }

    /// A runner took a job: faults that strike in the middle of jobs take aim.
    pub(crate) fn plan_job_end(&mut self, id: ProcId) {
        let Some(process) = self.proc(id) else { return };
        let (name, set, site) = (process.pod_name.clone(), process.scale_set.clone(), process.site);
        let cluster = self.site(site).name.clone();
        let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            match &*fault {
                Fault::ContainerExit(f)
                    if f.phase == Some(ExitPhase::MidJob) && f.target == ContainerTarget::Runner =>
                {
                    let meant = f.pod.matches(&name) && f.scale_set.as_ref().is_none_or(|s| s.matches(&cluster, &set));
                    if meant && self.faults.meets(action, f.probability, f.times) {
                        let wait = self.faults.draw(action, &f.after).max(Duration::from_millis(1));
                        self.end_container_after(id, wait, f.code, f.reason.as_str());
                    }
                }
                Fault::SidecarFault(f) if f.mode == SidecarMode::CrashMidJob => {
                    let meant = f.scale_set.as_ref().is_none_or(|s| s.matches(&cluster, &set));
                    let pod = self.proc(id).and_then(|p| p.pod);
                    let dind = pod.and_then(|p| self.containers.get(&(site, p, Str::new_static("dind"))).copied());
                    if let Some(dind) = dind
                        && meant
                        && self.faults.meets(action, f.probability, f.count)
                    {
                        let wait = f.delay.as_ref().map_or(Duration::from_millis(1), |d| self.faults.draw(action, d));
                        self.end_container_after(dind, wait.max(Duration::from_millis(1)), f.code, "Error");
                    }
                }
                _ => {}
            }
        }
    }

    fn pod_is(&self, site: SiteId, pod: &Pod, target: PodTarget, set: Option<&SetRef>) -> bool {
        let is = match target {
            PodTarget::Any => true,
            PodTarget::Runner => pod.spec.container("runner").is_some(),
            PodTarget::Listener => pod.spec.container("listener").or(pod.spec.container("autoscaler")).is_some(),
            PodTarget::Controller => pod.spec.container("manager").is_some(),
            PodTarget::Workflow => pod.spec.container("job").is_some(),
        };
        let name = pod.metadata.label("actions.github.com/scale-set-name").cloned().unwrap_or_default();
        is && set.is_none_or(|s| s.matches(&self.site(site).name, &name))
    }

    /// How long a pod's volumes take; `None`: they never come while a fault lasts.
    pub(crate) fn volume_delay(&mut self, site: SiteId, pod: &Arc<Pod>) -> Option<Duration> {
        let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            if let Fault::VolumeFault(f) = &*fault
                && self.pod_is(site, pod, f.target, f.scale_set.as_ref())
                && self.faults.meets(action, f.probability, None)
            {
                return f.by.as_ref().map(|d| self.faults.draw(action, d));
            }
        }
        Some(Duration::ZERO)
    }

    /// How much later a pod's containers start because of a fault.
    pub(crate) fn start_delay(&mut self, site: SiteId, pod: &Arc<Pod>) -> Option<Duration> {
        let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            if let Fault::PodDelay(f) = &*fault
                && f.mode == PodDelayMode::SlowStart
                && self.pod_is(site, pod, f.target, f.scale_set.as_ref())
                && self.faults.meets(action, f.probability, f.count)
            {
                return Some(f.by.as_ref().map_or(Duration::from_secs(60), |d| self.faults.draw(action, d)));
            }
        }
        // A manager whose start is slowed down by the roll (roll_overlap).
        if pod.spec.container("manager").is_some() {
            let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
            for (action, fault) in active {
                if let Fault::RollOverlap(f) = &*fault {
                    self.faults.hit(action);
                    let whole = self.faults.draw(action, &f.new_start);
                    let lived = self.now.since(pod.metadata.creation_timestamp);
                    return Some(whole.saturating_sub(lived));
                }
            }
        }
        None
    }

    /// Whether a container's start fails, and how long until the kubelet says so.
    pub(crate) fn start_failure(
        &mut self,
        site: SiteId,
        pod: &Arc<Pod>,
        container: &Str,
        kind: ContainerKind,
    ) -> Option<(StartFailure, Duration)> {
        let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            match &*fault {
                Fault::PodDelay(f)
                    if f.mode == PodDelayMode::ImagePullError
                        && self.pod_is(site, pod, f.target, f.scale_set.as_ref())
                        && self.faults.meets(action, f.probability, f.count) =>
                {
                    return Some((StartFailure::ImagePull, Duration::from_secs(1)));
                }
                Fault::InitFail(f)
                    if kind == ContainerKind::Init
                        && f.mode == InitMode::StartError
                        && f.container.matches(container)
                        && self.pod_is(site, pod, PodTarget::Runner, f.scale_set.as_ref())
                        && self.faults.meets(action, f.probability, f.count) =>
                {
                    let message = "failed to create containerd task: context canceled".into();
                    return Some((StartFailure::StartError(128, message), Duration::ZERO));
                }
                _ => {}
            }
        }
        None
    }

    /// How an ordinary init container ends: code and time; `None`: as usual.
    pub(crate) fn init_end(&mut self, site: SiteId, pod: &Arc<Pod>, container: &Str) -> Option<(Time, i32)> {
        let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            if let Fault::InitFail(f) = &*fault
                && f.mode != InitMode::StartError
                && f.container.matches(container)
                && self.pod_is(site, pod, PodTarget::Runner, f.scale_set.as_ref())
                && self.faults.meets(action, f.probability, f.count)
            {
                return Some(match f.mode {
                    InitMode::NeverCompletes => (Time::NEVER, 0),
                    InitMode::Exit | InitMode::StartError => {
                        (self.now.after(Duration::from_millis(300)), f.code.unwrap_or(1))
                    }
                });
            }
        }
        None
    }

    /// How long a signal is on its way to a process.
    pub(crate) fn signal_delay(&mut self, site: SiteId, pod: Uid, container: &str, signal: Signal) -> Duration {
        if signal == Signal::Kill {
            return Duration::ZERO;
        }
        if container == "manager" {
            let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
            for (action, fault) in active {
                if let Fault::RollOverlap(f) = &*fault {
                    self.faults.hit(action);
                    return self.faults.draw(action, &f.old_sigterm);
                }
            }
        }
        let _ = (site, pod);
        self.dice.node.delay(self.latency.sigterm)
    }

    /// How long the docker daemon of a pod takes to its socket.
    pub(crate) fn docker_delay(&mut self, site: SiteId, pod: &Arc<Pod>) -> Duration {
        let usual = self.dice.docker.sample(&self.spec_of(site).kubelet.dind_ready.clone());
        let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            if let Fault::SidecarFault(f) = &*fault
                && f.target == SidecarTarget::Dind
                && f.mode == SidecarMode::ReadyDelay
                && self.pod_is(site, pod, PodTarget::Runner, f.scale_set.as_ref())
                && self.faults.meets(action, f.probability, f.count)
            {
                return f.delay.as_ref().map_or(usual, |d| self.faults.draw(action, d));
            }
        }
        usual
    }

    /// An exit as the kubelet reports it.
    pub(crate) fn exit_of(code: i32, reason: &str) -> Exit {
        if reason == "OOMKilled" { Exit::oom() } else { Exit::code(code) }
    }

    /// The kinds that a pattern names.
    pub(crate) fn kinds(pattern: &crate::plan::Glob) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.iter().copied().filter(|k| pattern.matches(k.as_str()) || pattern.matches(k.plural()))
    }
}

/// What an active fault holds at the service or a cluster, to be taken back at its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    service: Vec<fake_github::RuleId>,
    cluster: Vec<(SiteId, fake_kube::cluster::FaultId)>,
    nodes: Vec<(SiteId, Str)>,
}

impl World {
    fn begin_node_fault(&mut self, action: u32, f: &crate::plan::fault::NodeFault) {
        use crate::plan::fault::NodeMode;
        let target = f.target.to_string();
        let plan = self.plan.clone();
        let cluster = plan.actions[action as usize].cluster.clone();
        for n in 0..self.sites.len() {
            if cluster.as_ref().is_some_and(|c| *c != self.sites[n].name) {
                continue;
            }
            let site = SiteId(n as u8);
            let node = self.node_of(site, &target);
            if self.site(site).cluster.api().get(Kind::Node, &arc_api::meta::Key::new("", node.clone())).is_none() {
                continue;
            }
            self.faults.hit(action);
            let now = self.now;
            let cluster = &mut self.sites[n].cluster;
            match f.mode {
                NodeMode::Drain => {
                    cluster.cordon(&node, true, now);
                    cluster.drain(&node, f.grace.map(|g| g.0), now);
                }
                NodeMode::PressureEviction => cluster.pressure(&node, "memory", f.before_status, now),
                NodeMode::PowerOff => cluster.power_off(&node, now),
                NodeMode::Vanish => cluster.vanish(&node, fake_kube::cluster::Vanish::PodsAtOnce, now),
            }
            self.rules.entry(action).or_default().nodes.push((site, node));
            self.notice(site);
        }
    }

    fn end_node_fault(&mut self, f: &crate::plan::fault::NodeFault) {
        let _ = f;
        let now = self.now;
        let ended: Vec<u32> = self.rules.keys().copied().collect();
        for action in ended {
            if self.faults.active().any(|(a, _)| a == action) {
                continue;
            }
            for (site, node) in self.rules.remove(&action).unwrap_or_default().nodes {
                let cluster = &mut self.sites[site.0 as usize].cluster;
                cluster.node_back(&node, now);
                cluster.cordon(&node, false, now);
                self.notice(site);
            }
        }
    }

    fn tenant_of(&self, org: Option<&Str>) -> Option<Str> {
        let org = self.plan.world.github.orgs.iter().find(|o| org.is_some_and(|n| *n == o.name))?;
        Some(fake_github::tenant_path(&org.config_url()))
    }

    fn service_scope(&self, scope: &crate::plan::fault::Scope) -> fake_github::Scope {
        fake_github::Scope {
            tenant: self.tenant_of(scope.org.as_ref()),
            scale_set: scope.scale_set.as_ref().map(|s| {
                self.plan.world.scale_set(s).map_or_else(|| s.name.clone(), |(_, spec)| spec.service_name().clone())
            }),
            id: None,
        }
    }

    fn sets_in(&self, scope: &fake_github::Scope) -> Vec<arc_api::ScaleSetId> {
        let named = |name: &Str| scope.scale_set.as_ref().is_none_or(|s| s.eq_ignore_ascii_case(name));
        self.github.scale_sets().filter(|s| named(&s.name)).map(|s| s.id).collect()
    }

    fn begin_service_fault(&mut self, action: u32, fault: &Fault) {
        use crate::plan::fault::{
            MessageMode, MessageType, PodDelayMode, RejectReason, SessionMode, SessionOf, StatsMode,
        };
        let now = self.now;
        match fault {
            Fault::GhSession(f) if f.of == SessionOf::Listener => {
                let scope = self.service_scope(&f.scope);
                for id in self.sets_in(&scope) {
                    self.faults.hit(action);
                    match f.mode {
                        SessionMode::Ghost => {
                            let fault = fake_github::SessionFault { ttl: f.ttl.map(|d| d.0), survives_deletion: true };
                            self.github.set_session_fault(id, fault, now);
                        }
                        SessionMode::Foreign => {
                            let lasts = self.plan.actions[action as usize].lasts;
                            let until = lasts.map_or(self.plan.run_for.from_start(), |d| now.after(d.0));
                            self.github.evict_session(id, now);
                            self.github.hold_session(id, "somebody-else", until, now);
                        }
                        SessionMode::Evict => self.github.evict_session(id, now),
                    }
                }
            }
            Fault::GhStats(f) => {
                let scope = self.service_scope(&f.scope);
                self.faults.hit(action);
                let mode = match f.mode {
                    StatsMode::Zero => fake_github::StatMode::Zero,
                    StatsMode::Freeze => fake_github::StatMode::Freeze,
                    StatsMode::Add => fake_github::StatMode::Add(f.add.unwrap_or(0)),
                };
                for field in stat_fields(f.field) {
                    let rule = self.github.fault_statistics(scope.clone(), field, mode);
                    self.rules.entry(action).or_default().service.push(rule);
                }
            }
            Fault::GhMessage(f) => {
                let kind = match f.type_ {
                    MessageType::JobAvailable => Some(fake_github::EventType::Available),
                    MessageType::JobAssigned => Some(fake_github::EventType::Assigned),
                    MessageType::JobStarted => Some(fake_github::EventType::Started),
                    MessageType::JobCompleted => Some(fake_github::EventType::Completed),
                    MessageType::Any => None,
                };
                let mode = match f.mode {
                    MessageMode::Delay => fake_github::EventMode::Delay,
                    MessageMode::Drop => fake_github::EventMode::Drop,
                    MessageMode::Duplicate | MessageMode::Inject => fake_github::EventMode::Duplicate,
                    MessageMode::Reorder => fake_github::EventMode::Reorder,
                    MessageMode::Redeliver => fake_github::EventMode::Redeliver,
                };
                let by = f.by.as_ref().map_or(Duration::from_secs(1), |d| self.faults.draw(action, d));
                let mut firing = fake_github::Firing::default();
                firing.count = f.count.unwrap_or(u32::MAX);
                let scope = self.service_scope(&f.scope);
                let rule = self.github.fault_events(fake_github::EventFault { scope, kind, mode, by, firing });
                self.rules.entry(action).or_default().service.push(rule);
            }
            Fault::GhRegistrationLoss(f) => {
                let meant: Vec<(arc_api::RunnerId, Str)> =
                    self.github.runners().map(|r| (r.id, r.name.clone())).collect();
                for (id, name) in meant {
                    let named = f.names.is_empty() || f.names.iter().any(|g| g.matches(&name));
                    let share = f.fraction.unwrap_or(crate::plan::Ratio::ONE);
                    if named && self.faults.meets(action, share, None) {
                        let tells = matches!(f.runner_effect, crate::plan::fault::RunnerEffect::Exits(_));
                        self.github.lose_registration(id, tells, now);
                    }
                }
            }
            Fault::GhScalesetLoss(f) => {
                let scope = self.service_scope(&crate::plan::fault::Scope {
                    scale_set: Some(f.scale_set.clone()),
                    ..Default::default()
                });
                for id in self.sets_in(&scope) {
                    self.faults.hit(action);
                    self.github.lose_scale_set(id, now);
                }
            }
            Fault::GhVersionReject(f) => {
                self.faults.hit(action);
                let versions: Vec<fake_github::VersionRule> = match f.versions.is_empty() {
                    true => vec![fake_github::VersionRule::All],
                    false => f
                        .versions
                        .iter()
                        .map(|v| {
                            if v.is_exact() {
                                fake_github::VersionRule::Exactly(v.0.clone())
                            } else {
                                fake_github::VersionRule::All
                            }
                        })
                        .collect(),
                };
                for rule in versions {
                    let rule = self.github.reject_version(rule);
                    self.rules.entry(action).or_default().service.push(rule);
                }
            }
            Fault::GhTokenExpiry(f) if f.revoke => {
                let kind = match f.token {
                    crate::plan::fault::TokenKind::MessageQueue => fake_github::TokenKind::Queue,
                    crate::plan::fault::TokenKind::Admin => fake_github::TokenKind::Admin,
                    crate::plan::fault::TokenKind::Registration => fake_github::TokenKind::Registration,
                    crate::plan::fault::TokenKind::Runner => fake_github::TokenKind::Runner,
                };
                let tenant = self.tenant_of(f.scope.org.as_ref());
                if self.github.revoke_tokens(tenant.as_deref(), kind, now) > 0 {
                    self.faults.hit(action);
                }
            }
            Fault::Credential(f) => self.set_credentials(action, f, true),
            Fault::PodReject(f) => {
                let reason = match f.reason {
                    RejectReason::OutOfPods => "OutOfpods",
                    RejectReason::OutOfCpu => "OutOfcpu",
                    RejectReason::OutOfMemory => "OutOfmemory",
                };
                for n in 0..self.sites.len() {
                    let rule = fake_kube::kubelet::AdmissionRule {
                        scope: pod_scope(f.target, f.scale_set.as_ref()),
                        reason: reason.into(),
                        message: format_smolstr!(
                            "Pod was rejected: Node didn't have enough resource: {}",
                            &reason[5..]
                        ),
                        chance: (f.probability.num, f.probability.den),
                        times: f.count,
                    };
                    let id = self.sites[n].cluster.reject_pods(rule);
                    self.faults.hit(action);
                    self.rules.entry(action).or_default().cluster.push((SiteId(n as u8), id));
                }
            }
            Fault::PodDelay(f) if f.mode == PodDelayMode::Unschedulable => {
                for n in 0..self.sites.len() {
                    let scope = pod_scope(f.target, f.scale_set.as_ref());
                    let id =
                        self.sites[n].cluster.hold_pods(scope, "0/3 nodes are available: 3 Insufficient cpu.".into());
                    self.faults.hit(action);
                    self.rules.entry(action).or_default().cluster.push((SiteId(n as u8), id));
                }
            }
            _ => {}
        }
        self.notice_github();
    }

    fn end_service_fault(&mut self, action: u32, fault: &Fault) {
        let now = self.now;
        if let Fault::Credential(f) = fault {
            self.set_credentials(action, f, false);
        }
        if let Fault::GhSession(f) = fault {
            let scope = self.service_scope(&f.scope);
            for id in self.sets_in(&scope) {
                self.github.set_session_fault(id, fake_github::SessionFault::default(), now);
            }
        }
        let rules = self.rules.remove(&action).unwrap_or_default();
        for rule in rules.service {
            self.github.remove_rule(rule);
        }
        for (site, id) in rules.cluster {
            self.sites[site.0 as usize].cluster.end_fault(id, now);
            self.notice(site);
        }
        self.notice_github();
    }

    fn set_credentials(&mut self, action: u32, f: &crate::plan::fault::CredentialFault, begins: bool) {
        use crate::plan::fault::CredentialMode;
        let plan = self.plan.clone();
        for org in &plan.world.github.orgs {
            if f.org.as_ref().is_some_and(|n| *n != org.name) {
                continue;
            }
            let Some(credential) = super::values::credential(org, f.credential.as_deref().unwrap_or("")) else {
                continue;
            };
            let data = super::values::secret_data(org, credential).into_iter().collect();
            let secret = arc_api::core::Secret { data: Arc::new(data), ..Default::default() };
            let Ok(c) = controller_core::credentials::credentials(&secret) else { continue };
            let state = match (begins, f.mode) {
                (false, _) => fake_github::CredentialState::Valid,
                (true, CredentialMode::Revoked) => fake_github::CredentialState::Revoked,
                (true, CredentialMode::Expired) => fake_github::CredentialState::Expired,
                (true, CredentialMode::NeverExisted) => fake_github::CredentialState::NeverExisted,
                (true, CredentialMode::WrongScope) => fake_github::CredentialState::WrongScope,
            };
            self.faults.hit(action);
            let path = fake_github::tenant_path(&org.config_url());
            self.github.set_credential(Some(&path), &Arc::new(c), state);
        }
    }
}

fn stat_fields(field: crate::plan::fault::StatsField) -> Vec<fake_github::StatField> {
    use crate::plan::fault::StatsField as P;
    use fake_github::StatField as S;
    let all = [
        (P::TotalAvailable, S::Available),
        (P::TotalAcquired, S::Acquired),
        (P::TotalAssigned, S::Assigned),
        (P::TotalRunning, S::Running),
        (P::TotalRegistered, S::Registered),
        (P::TotalBusy, S::Busy),
        (P::TotalIdle, S::Idle),
    ];
    all.into_iter().filter(|(p, _)| field == P::All || field == *p).map(|(_, s)| s).collect()
}

fn pod_scope(target: PodTarget, set: Option<&SetRef>) -> fake_kube::loops::scope::PodScope {
    let mut labels = Vec::new();
    match target {
        PodTarget::Runner => labels.push(("actions-ephemeral-runner".into(), "True".into())),
        PodTarget::Listener => labels.push(("app.kubernetes.io/component".into(), "runner-scale-set-listener".into())),
        PodTarget::Controller => labels.push(("app.kubernetes.io/component".into(), "controller-manager".into())),
        PodTarget::Workflow | PodTarget::Any => {}
    }
    if let Some(set) = set {
        labels.push(("actions.github.com/scale-set-name".into(), set.name.clone()));
    }
    fake_kube::loops::scope::PodScope { labels, ..Default::default() }
}
