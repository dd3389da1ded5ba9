//! Faults of nodes and of what runs on them: slow starts, failing containers, lost sidecars, nodes that go. Meets no call.

use std::sync::Arc;

use arc_api::pod::Pod;
use arc_api::{Duration, Kind, Str, Time, Uid};
use fake_kube::kubelet::{ContainerKind, Signal, StartFailure};

use super::{Event, Machine, ProcId, SiteId, World};
use crate::plan::fault::{
    ContainerTarget, ExitPhase, Fault, InitMode, PodDelayMode, PodTarget, SidecarMode, SidecarTarget,
};
use crate::plan::{Role, SetRef};

impl World {
    pub(super) fn containers_meant(
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
                    && (role != Role::Workflow || p.container == "job")
                    && p.pod.is_some()
                    && pod.matches(&p.pod_name)
                    && set.is_none_or(|s| s.matches(&self.sites[p.site.0 as usize].name, &p.scale_set))
                    && (!busy || working);
                meant.then_some(ProcId(n as u32))
            })
            .collect()
    }

    pub(super) fn dinds(&self, target: SidecarTarget, set: Option<&SetRef>) -> Vec<ProcId> {
        self.procs
            .iter()
            .enumerate()
            .filter_map(|(n, p)| {
                let p = p.as_deref()?;
                let meant = self.is_helper(ProcId(n as u32), target)
                    && set.is_none_or(|s| s.matches(&self.sites[p.site.0 as usize].name, &p.scale_set));
                meant.then_some(ProcId(n as u32))
            })
            .collect()
    }

    pub(super) fn end_container_after(&mut self, id: ProcId, wait: Duration, code: i32, reason: &str) {
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
        let _ = pod;
        let Some(process) = self.proc(id) else { return };
        let (role, name, set, site) = (process.role, process.pod_name.clone(), process.scale_set.clone(), process.site);
        let cluster = self.site(site).name.clone();
        let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            match &*fault {
                Fault::ContainerExit(f)
                    if matches!(f.phase, None | Some(ExitPhase::BeforeConnect | ExitPhase::BeforeJob)) =>
                {
                    let meant = match f.target {
                        ContainerTarget::Runner => role == Role::Runner,
                        ContainerTarget::Listener => role == Role::Listener,
                        ContainerTarget::Controller => role == Role::Controller,
                        ContainerTarget::Workflow => role == Role::Workflow,
                    };
                    let meant = meant
                        && (role != Role::Workflow || *container == "job")
                        && f.pod.matches(&name)
                        && f.scale_set.as_ref().is_none_or(|s| s.matches(&cluster, &set));
                    if meant && self.faults.meets(action, f.probability, f.times) {
                        let wait = self.faults.draw(action, &f.after).max(Duration::from_millis(1));
                        if let (Some(ExitPhase::BeforeConnect), Some(Machine::Runner(runner))) =
                            (f.phase, self.proc_mut(id).map(|p| &mut p.machine))
                        {
                            runner.never_connects();
                        }
                        self.end_container_after(id, wait, f.code, f.reason.as_str());
                    }
                }
                Fault::SidecarFault(f) if f.mode == SidecarMode::CrashAtStart && self.is_helper(id, f.target) => {
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

    /// A runner's job is over: faults that strike before its process is gone take aim.
    pub(crate) fn plan_after_job(&mut self, id: ProcId) {
        let Some(process) = self.proc(id) else { return };
        let (name, set, site) = (process.pod_name.clone(), process.scale_set.clone(), process.site);
        let cluster = self.site(site).name.clone();
        let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            if let Fault::ContainerExit(f) = &*fault
                && f.phase == Some(ExitPhase::AfterJob)
                && f.target == ContainerTarget::Runner
                && f.pod.matches(&name)
                && f.scale_set.as_ref().is_none_or(|s| s.matches(&cluster, &set))
                && self.faults.meets(action, f.probability, f.times)
            {
                let wait = self.faults.draw(action, &f.after).max(Duration::from_millis(1));
                self.end_container_after(id, wait, f.code, f.reason.as_str());
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
                    let helper = match f.target {
                        SidecarTarget::Dind => Str::new_static("dind"),
                        SidecarTarget::Injected => self.spec_of(site).injected_sidecar.clone(),
                    };
                    let dind = pod.and_then(|p| self.containers.get(&(site, p, helper)).copied());
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

    fn set_of_runner(&self, site: SiteId, workflow: &Pod) -> Str {
        let name = workflow.metadata.label("runner-pod").cloned().unwrap_or_default();
        let key = arc_api::meta::Key::new(workflow.metadata.namespace.clone(), name);
        let runner = self.site(site).cluster.api().typed::<Pod>(&key);
        runner.and_then(|p| p.metadata.label("actions.github.com/scale-set-name").cloned()).unwrap_or_default()
    }

    pub(super) fn pod_is(&self, site: SiteId, pod: &Pod, target: PodTarget, set: Option<&SetRef>) -> bool {
        let is = match target {
            PodTarget::Any => true,
            PodTarget::Runner => pod.spec.container("runner").is_some(),
            PodTarget::Listener => pod.spec.container("listener").or(pod.spec.container("autoscaler")).is_some(),
            PodTarget::Controller => pod.spec.container("manager").is_some(),
            PodTarget::Workflow => pod.spec.container("job").is_some(),
        };
        let name = pod.metadata.label("actions.github.com/scale-set-name").cloned().unwrap_or_default();
        let name = if target == PodTarget::Workflow { self.set_of_runner(site, pod) } else { name };
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
                if f.by.is_none() {
                    self.stuck.push((action, site, pod.metadata.uid));
                }
                return f.by.as_ref().map(|d| self.faults.draw(action, d));
            }
        }
        Some(Duration::ZERO)
    }

    /// How much later a pod's containers start because of a fault; an error names the fault whose end lets them start.
    pub(crate) fn start_delay(&mut self, site: SiteId, pod: &Arc<Pod>) -> Result<Duration, u32> {
        let active: Vec<(u32, Arc<Fault>)> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            if let Fault::PodDelay(f) = &*fault
                && f.mode == PodDelayMode::SlowStart
                && self.pod_is(site, pod, f.target, f.scale_set.as_ref())
                && self.faults.meets(action, f.probability, f.count)
            {
                return f.by.as_ref().map(|d| self.faults.draw(action, d)).ok_or(action);
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
                    return Ok(whole.saturating_sub(lived));
                }
            }
        }
        Ok(Duration::ZERO)
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

    /// The kinds that a pattern names.
    pub(crate) fn kinds(pattern: &crate::plan::Glob) -> impl Iterator<Item = Kind> + '_ {
        Kind::ALL.iter().copied().filter(|k| pattern.matches(k.as_str()) || pattern.matches(k.plural()))
    }
}

impl World {
    pub(super) fn begin_node_fault(&mut self, action: u32, f: &crate::plan::fault::NodeFault) {
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
            if matches!(f.mode, NodeMode::PowerOff | NodeMode::Vanish) {
                self.mark_node_lost(site, &node);
            }
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
            let cloud = plan.world.clusters.get(n).and_then(|c| c.node_object_removed_after);
            if let (Some(after), NodeMode::PowerOff) = (f.object_removed_after.or(cloud), f.mode) {
                let at = self.now.after(after.0);
                self.schedule(at, Event::NodeStep { action, gone: true });
            }
            if let Some(after) = f.returns_after {
                let at = self.now.after(after.0);
                self.schedule(at, Event::NodeStep { action, gone: false });
            }
            self.notice(site);
        }
    }

    pub(super) fn end_node_fault(&mut self, f: &crate::plan::fault::NodeFault) {
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
}

pub(super) fn pod_scope(target: PodTarget, set: Option<&SetRef>) -> fake_kube::loops::scope::PodScope {
    let mut labels = Vec::new();
    match target {
        PodTarget::Runner => labels.push(("actions-ephemeral-runner".into(), "True".into())),
        PodTarget::Listener => labels.push(("app.kubernetes.io/component".into(), "runner-scale-set-listener".into())),
        PodTarget::Controller => labels.push(("app.kubernetes.io/component".into(), "controller-manager".into())),
        PodTarget::Workflow => {
            // The hook labels its pods with their runner's name only, and names them after it (actions-service.md §7.5).
            let name_prefix = set.map(|s| s.name.clone()).unwrap_or_default();
            let label_keys = vec!["runner-pod".into()];
            return fake_kube::loops::scope::PodScope { name_prefix, label_keys, ..Default::default() };
        }
        PodTarget::Any => {}
    }
    if let Some(set) = set {
        labels.push(("actions.github.com/scale-set-name".into(), set.name.clone()));
    }
    fake_kube::loops::scope::PodScope { labels, ..Default::default() }
}
