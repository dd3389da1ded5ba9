//! One pod on one node: from admission to its end. Pure: inputs come from the API (through [`super::node`]), the engine and
//! timers; outputs are effects, notes and a status. Never writes to the API itself.
//!
//! Source: kubernetes-api.md §5.1, §5.3–§5.5, §5.8; pkg/kubelet/pod_workers.go, kuberuntime_manager.go (computePodActions).

use std::sync::Arc;

use arc_api::pod::{Pod, PodPhase, PodStatus, Terminated};
use arc_api::{Duration, Str, Time, Uid};

use super::container::{Container, Run, init_kind};
use super::effects::{ContainerKind, Exit, HookKind, NodeEffect, StartFailure};
use super::needs::{self, Lookup};
use super::probe::{ProbeKind, ProbeVerdict};
use super::stop::{self, Cause};
use crate::loops::requests::Requests;

/// Delays of a kubelet that are its own.
#[derive(Clone, PartialEq, Debug)]
pub struct KubeletSettings {
    /// From a change of a pod in the API to the kubelet's reaction (recorded: a_basic, 0.1 s).
    pub notice: Duration,
    /// Between two tries of a container whose configuration is incomplete (§5.3: ~10 s … 1 min).
    pub sync_period: Duration,
    /// From the last terminated status to the final DELETE: volumes and sandbox go (golden/arc/README.md: 0.3 s).
    pub teardown: Duration,
}

impl Default for KubeletSettings {
    fn default() -> KubeletSettings {
        KubeletSettings {
            notice: Duration::from_millis(50),
            sync_period: Duration::from_secs(10),
            teardown: Duration::from_millis(300),
        }
    }
}

/// What a step of a worker sees and gives.
pub struct Context<'a> {
    /// Now.
    pub now: Time,
    /// Secrets and ConfigMaps.
    pub lookup: &'a dyn Lookup,
    /// Settings.
    pub settings: &'a KubeletSettings,
    /// What the node must do.
    pub effects: &'a mut Vec<NodeEffect>,
    /// Warning events: reason and message.
    pub notes: &'a mut Vec<(&'static str, Str)>,
}

/// How far the pod is.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Stage {
    /// Volumes are not there. `since` is the first try; `asked` says that the engine prepares them.
    Volumes { since: Time, asked: bool, retry_at: Time },
    /// Containers are started, restarted and probed.
    Alive,
    /// Containers are being stopped.
    Stopping(Cause),
    /// Nothing runs any more. The object is deleted at the given time.
    Stopped { cause: Cause, delete_at: Time },
    /// Refused at admission: nothing ever ran.
    Refused,
}

/// A pod on a node.
#[derive(Clone, PartialEq, Debug)]
pub struct PodWorker {
    pub(super) pod: Arc<Pod>,
    pub(super) node: Str,
    pub(super) minor: u32,
    pub(super) stage: Stage,
    /// Init containers and sidecars in order, then main containers in order.
    pub(super) containers: Vec<Container>,
    pub(super) inits: usize,
    /// When it last did everything that could be done: a start that was due then waits for something else.
    pub(super) synced_at: Time,
    /// All init containers have passed and all sidecars have started, once.
    pub(super) initialized: bool,
    pub(super) start_time: Time,
    /// A phase that the kubelet imposes: reason and message of Failed.
    pub(super) verdict: Option<(Str, Str)>,
    /// A fault: the status shows no containers.
    pub(super) statuses_hidden: bool,
    /// What was last given to the API.
    pub(super) reported: Option<PodStatus>,
    /// What was last given may have been overwritten since.
    pub(super) stale: bool,
    /// What it holds of the node's resources.
    pub(super) charge: Option<Requests>,
}

impl PodWorker {
    /// A pod that the node refuses: Failed without container statuses (§5.8 last item).
    pub fn refused(pod: Arc<Pod>, node: Str, minor: u32, reason: Str, message: Str, now: Time) -> PodWorker {
        let mut worker = PodWorker::idle(pod, node, minor, now);
        worker.stage = Stage::Refused;
        worker.verdict = Some((reason, message));
        worker
    }
    /// A pod of which nothing has been started.
    pub fn idle(pod: Arc<Pod>, node: Str, minor: u32, now: Time) -> PodWorker {
        let spec = &pod.spec;
        let init = spec.init_containers.iter().map(|c| Container::new(spec, c, init_kind(c, minor)));
        let main = spec.containers.iter().map(|c| Container::new(spec, c, ContainerKind::Main));
        PodWorker {
            containers: init.chain(main).collect(),
            inits: spec.init_containers.len(),
            stage: Stage::Volumes { since: now, asked: false, retry_at: Time::NEVER },
            synced_at: now,
            initialized: false,
            start_time: now.truncated(),
            verdict: None,
            statuses_hidden: false,
            reported: None,
            stale: false,
            charge: None,
            pod,
            node,
            minor,
        }
    }

    /// Its identity.
    pub fn uid(&self) -> Uid {
        self.pod.metadata.uid
    }
    /// The pod as the kubelet knows it.
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }
    /// Whether it holds resources of the node.
    pub fn is_active(&self) -> bool {
        !matches!(self.stage, Stage::Stopped { .. } | Stage::Refused)
    }
    /// Whether it waits for a Secret or ConfigMap called `object`.
    pub fn waits_for(&self, namespace: &str, object: &str) -> bool {
        self.is_blocked() && self.pod.metadata.namespace == namespace && needs::names(&self.pod.spec, object)
    }
    /// Whether something from the API is missing.
    pub fn is_blocked(&self) -> bool {
        match &self.stage {
            Stage::Volumes { asked, .. } => !asked,
            Stage::Alive => self.containers.iter().any(is_config_blocked),
            _ => false,
        }
    }
    /// Whether the final DELETE is due; says so once.
    pub fn take_delete(&mut self, now: Time) -> bool {
        match &mut self.stage {
            Stage::Stopped { delete_at, .. } if *delete_at <= now => {
                *delete_at = Time::NEVER;
                true
            }
            _ => false,
        }
    }
    /// Nothing runs any more and nobody in the API knows the pod.
    pub fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Stopped { cause: Cause::Removed, .. })
    }
    pub(super) fn grace(&self) -> Duration {
        let meta = &self.pod.metadata;
        let stated = meta.deletion_grace_period_seconds.or(self.pod.spec.termination_grace_period_seconds);
        Duration::from_secs(stated.unwrap_or(30).max(0) as u64)
    }
    pub(super) fn spec_of(&self, index: usize) -> Option<&arc_api::pod::Container> {
        spec_at(&self.pod, self.inits, index)
    }
    fn index(&self, container: &str) -> Option<usize> {
        self.containers.iter().position(|c| c.name == container)
    }

    /// When a timer of this pod is due next.
    pub fn deadline(&self) -> Time {
        match &self.stage {
            Stage::Refused => Time::NEVER,
            Stage::Volumes { retry_at, .. } => *retry_at,
            Stage::Stopped { delete_at, .. } => *delete_at,
            Stage::Stopping(_) => stop::deadline(&self.containers),
            Stage::Alive => {
                let mut next = stop::deadline(&self.containers);
                for c in &self.containers {
                    next = next.min(c.show_backoff_at);
                    next = next.min(match &c.run {
                        Run::Running { .. } if c.stopping.is_none() => c.probes.deadline(),
                        Run::Hooking { until, .. } => *until,
                        Run::Waiting { .. } | Run::Exited(_) if c.wants_start() && c.retry_at > self.synced_at => {
                            c.retry_at
                        }
                        _ => Time::NEVER,
                    });
                }
                next
            }
        }
    }

    /// A timer is due.
    pub fn on_timer(&mut self, cx: &mut Context<'_>) {
        if self.stage == Stage::Alive {
            for i in 0..self.containers.len() {
                if self.containers[i].show_backoff_at <= cx.now {
                    let meta = &self.pod.metadata;
                    let pod = arc_api::format_smolstr!("{}_{}({})", meta.name, meta.namespace, meta.uid);
                    self.containers[i].show_backoff(&pod, cx.now);
                }
                if let Run::Hooking { until, .. } = self.containers[i].run
                    && until <= cx.now
                {
                    self.after_post_start(i, cx.now);
                }
                if self.containers[i].stopping.is_none()
                    && matches!(self.containers[i].run, Run::Running { .. })
                    && let ProbeVerdict::Kill(kind) = self.containers[i].probes.answer(cx.now)
                {
                    let which = if kind == ProbeKind::Startup { "startup" } else { "liveness" };
                    let name = &self.containers[i].name;
                    let text = arc_api::format_smolstr!("Container {name} failed {which} probe, will be restarted");
                    cx.notes.push(("Unhealthy", text));
                    self.stop_one(i, cx);
                }
            }
        }
        self.sync(cx);
    }

    /// The pod is admitted: volumes first.
    pub fn begin(&mut self, cx: &mut Context<'_>) {
        self.sync(cx);
    }
    /// The next report is written whatever the API was told before.
    pub fn report_anew(&mut self) {
        self.stale = true;
    }
    /// The engine finished with the volumes and the sandbox.
    pub fn volumes_ready(&mut self, cx: &mut Context<'_>) {
        if matches!(self.stage, Stage::Volumes { asked: true, .. }) {
            self.stage = Stage::Alive;
            self.sync(cx);
        }
    }
    /// The container runs.
    pub fn container_started(&mut self, container: &str, cx: &mut Context<'_>) {
        let Some(i) = self.index(container) else { return };
        if self.stage != Stage::Alive || !matches!(self.containers[i].run, Run::Starting { .. }) {
            return;
        }
        let hook = self.spec_of(i).and_then(|c| c.lifecycle.as_ref()).and_then(|l| l.post_start.as_ref());
        let until = match hook {
            None => None,
            Some(hook) if hook.exec.is_some() => Some(Time::NEVER),
            Some(hook) => hook.sleep.as_ref().map(|s| cx.now.after(Duration::from_secs(s.seconds.max(0) as u64))),
        };
        match until {
            None => self.after_post_start(i, cx.now),
            Some(until) => {
                self.containers[i].run = Run::Hooking { since: cx.now, until };
                if until == Time::NEVER {
                    let (pod, container) = (self.uid(), self.containers[i].name.clone());
                    cx.effects.push(NodeEffect::Hook { pod, container, kind: HookKind::PostStart, until });
                }
            }
        }
        self.sync(cx);
    }
    fn after_post_start(&mut self, i: usize, now: Time) {
        self.containers[i].run = Run::Running { since: now };
        if let Some(spec) = spec_at(&self.pod, self.inits, i) {
            self.containers[i].probes.begin(spec, now);
        }
    }
    /// The container's process is gone.
    pub fn container_exited(&mut self, container: &str, exit: Exit, cx: &mut Context<'_>) {
        let Some(i) = self.index(container) else { return };
        if self.containers[i].is_alive() {
            self.containers[i].exited(exit.terminated(cx.now), cx.now);
            self.sync(cx);
        }
    }
    /// The container did not start.
    pub fn start_failed(&mut self, container: &str, failure: StartFailure, cx: &mut Context<'_>) {
        let Some(i) = self.index(container) else { return };
        if self.stage != Stage::Alive || !matches!(self.containers[i].run, Run::Starting { .. }) {
            return;
        }
        match failure {
            StartFailure::ImagePull => {
                let image = self.spec_of(i).map(|c| c.image.clone()).unwrap_or_default();
                self.containers[i].pull_failed(&image, cx.now);
                cx.notes.push(("Failed", arc_api::format_smolstr!("Failed to pull image \"{image}\"")));
            }
            StartFailure::ConfigError(message) => {
                cx.notes.push(("Failed", arc_api::format_smolstr!("Error: {message}")));
                block_on_config(&mut self.containers[i], message, cx.now.after(cx.settings.sync_period));
                self.containers[i].attempt -= 1;
            }
            StartFailure::StartError(code, message) => {
                let reason = if code == 128 { "StartError" } else { "ContainerCannotRun" };
                cx.notes.push(("Failed", arc_api::format_smolstr!("Error: {message}")));
                let exit = Exit { code, reason: Str::new_static(reason), message };
                self.containers[i].exited(exit.terminated(cx.now), cx.now);
            }
        }
        self.sync(cx);
    }
    /// A hook is over.
    pub fn hook_done(&mut self, container: &str, cx: &mut Context<'_>) {
        let Some(i) = self.index(container) else { return };
        match self.containers[i].run {
            Run::Hooking { .. } if self.containers[i].stopping.is_none() => self.after_post_start(i, cx.now),
            _ => stop::hook_done(&mut self.containers[i], cx.now),
        }
        self.sync(cx);
    }
    /// What the container's probes see from now on, and how long each takes to answer (`None`: as before).
    pub fn set_health(&mut self, container: &str, healthy: Option<bool>, latency: Option<Duration>, now: Time) {
        let Some(i) = self.index(container) else { return };
        let (was_healthy, was_latency) = self.containers[i].probes.seen();
        self.containers[i].probes.set(healthy.unwrap_or(was_healthy), latency.unwrap_or(was_latency), now);
    }
    /// A Secret or ConfigMap that this pod may wait for has appeared or changed: the next try is made at its turn.
    pub fn poke(&mut self, cx: &Context<'_>) {
        if let Stage::Volumes { since, asked: false, retry_at } = &mut self.stage {
            *retry_at = super::sync::mount_try(*since, cx.now);
        }
        for c in &mut self.containers {
            if is_config_blocked(c) && c.retry_at == Time::NEVER {
                let period = cx.settings.sync_period.as_micros().max(1) as u64;
                let past = cx.now.since(self.start_time).as_micros() as u64;
                c.retry_at = Time(self.start_time.0 + past.div_ceil(period).max(1) * period);
            }
        }
    }

    /// Whether the kubelet would evict it: it runs, and nobody has deleted it.
    pub fn is_evictable(&self) -> bool {
        self.is_active() && !matches!(self.stage, Stage::Stopping(Cause::Deleted | Cause::Removed))
    }

    /// The object in the API was deleted gracefully, or its grace became shorter.
    pub fn deleted(&mut self, pod: Arc<Pod>, cx: &mut Context<'_>) {
        self.pod = pod;
        self.begin_stop(Cause::Deleted, self.grace(), cx);
    }
    /// The object in the API is gone: containers get what grace it said, at least a second (§5.5, pod_workers.go).
    pub fn removed(&mut self, pod: Arc<Pod>, cx: &mut Context<'_>) {
        let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or(0).max(1);
        self.begin_stop(Cause::Removed, Duration::from_secs(seconds as u64), cx);
    }
    /// The kubelet ends the pod by itself, e.g. under memory pressure: Failed with this reason (§5.8).
    pub fn evicted(&mut self, reason: Str, message: Str, grace: Duration, cx: &mut Context<'_>) {
        if self.is_evictable() {
            self.verdict = Some((reason, message));
            self.begin_stop(Cause::Evicted, grace, cx);
        }
    }
    pub(super) fn begin_stop(&mut self, cause: Cause, grace: Duration, cx: &mut Context<'_>) {
        match &mut self.stage {
            Stage::Stopped { cause: was, delete_at } => {
                *was = (*was).max(cause);
                if *delete_at == Time::NEVER && cause >= Cause::Deleted {
                    *delete_at = cx.now.after(cx.settings.teardown);
                }
                return;
            }
            Stage::Refused => {
                if cause >= Cause::Deleted {
                    self.stage = Stage::Stopped { cause, delete_at: cx.now.after(cx.settings.teardown) };
                }
                return;
            }
            Stage::Stopping(was) => *was = (*was).max(cause),
            Stage::Volumes { .. } | Stage::Alive => self.stage = Stage::Stopping(cause),
        }
        // Also what is being stopped already: for a failed probe, or with a longer grace.
        stop::shorten(&mut self.containers, cx.now.after(grace));
        for i in 0..self.containers.len() {
            self.stop_at(i, grace, cx);
        }
        self.sync(cx);
    }
    fn stop_one(&mut self, i: usize, cx: &mut Context<'_>) {
        self.stop_at(i, self.grace(), cx);
    }
    fn stop_at(&mut self, i: usize, grace: Duration, cx: &mut Context<'_>) {
        let uid = self.uid();
        stop::begin(&mut self.containers[i], spec_at(&self.pod, self.inits, i), uid, grace, cx.now, cx.effects);
    }

    /// All processes of the pod died unseen (power loss). The kubelet learns it when it is back.
    ///
    /// Source: kubernetes-api.md §5.3 `ContainerStatusUnknown`. Containers that may start again do so from the first init
    /// container: the sandbox is new.
    pub fn lost_processes(&mut self, cx: &mut Context<'_>) {
        for c in &mut self.containers {
            match c.run {
                Run::Running { .. } | Run::Hooking { .. } => {
                    let mut exit = Exit::status_unknown();
                    exit.message = Str::new_static("The container could not be located when the pod was deleted");
                    c.exited(exit.terminated(cx.now), cx.now);
                }
                Run::Starting { .. } => c.run = Run::Waiting { reason: Str::default(), message: Str::default() },
                Run::Waiting { .. } | Run::Exited(_) => {}
            }
        }
        let restarts = self.containers[self.inits..].iter().any(|c| !c.is_over());
        if self.stage == Stage::Alive && restarts {
            self.initialized = false;
            for c in self.containers.iter_mut().filter(|c| c.kind == ContainerKind::Init) {
                (c.passed, c.run) = (false, Run::Waiting { reason: Str::default(), message: Str::default() });
            }
            self.stage = Stage::Volumes { since: cx.now, asked: false, retry_at: cx.now };
        } else if matches!(self.stage, Stage::Volumes { asked: true, .. }) {
            self.stage = Stage::Volumes { since: cx.now, asked: false, retry_at: cx.now };
        }
        self.sync(cx);
    }
    /// One container cannot be found any more (§5.3 `ContainerStatusUnknown`): as if it had ended.
    pub fn container_lost(&mut self, container: &str, cx: &mut Context<'_>) {
        self.container_exited(container, Exit::status_unknown(), cx);
    }
    /// Shows or hides all container statuses (a fault).
    pub fn hide_statuses(&mut self, hidden: bool) {
        self.statuses_hidden = hidden;
    }

    /// The phase that the last report gave.
    pub fn reported_phase(&self) -> Option<PodPhase> {
        self.reported.as_ref().map(|s| s.phase)
    }
    /// Silently drops everything: the node is gone.
    pub fn forget(&self, effects: &mut Vec<NodeEffect>) {
        if self.is_active() {
            effects.push(NodeEffect::Forget { pod: self.uid() });
        }
    }
    /// Names of the containers that run.
    pub fn running(&self) -> impl Iterator<Item = &Str> {
        self.containers.iter().filter(|c| c.is_alive()).map(|c| &c.name)
    }
    /// How a container ended last, if it did.
    pub fn ended(&self, container: &str) -> Option<&Terminated> {
        let c = &self.containers[self.index(container)?];
        if let Run::Exited(end) = &c.run { Some(end) } else { c.last.as_ref() }
    }
}

pub(super) fn spec_at(pod: &Pod, inits: usize, index: usize) -> Option<&arc_api::pod::Container> {
    if index < inits { pod.spec.init_containers.get(index) } else { pod.spec.containers.get(index - inits) }
}

pub(super) fn is_config_blocked(c: &Container) -> bool {
    matches!(&c.run, Run::Waiting { reason, .. } if reason == "CreateContainerConfigError")
}

pub(super) fn block_on_config(c: &mut Container, message: Str, retry_at: Time) {
    c.run = Run::Waiting { reason: Str::new_static("CreateContainerConfigError"), message };
    c.retry_at = retry_at;
}
