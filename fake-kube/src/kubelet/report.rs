//! A pod's status as its kubelet reports it: container statuses, phase, conditions. Never writes; [`super::node`] does.
//!
//! Source: kubernetes-api.md §5.1 step 3, §5.2 last paragraph, §5.8; recorded: a_basic, c_session_conflict (kubelet lines).

use arc_api::pod::{
    ContainerStatus, PodCondition,
    PodConditionType::{
        self, ContainersReady, DisruptionTarget, Initialized, PodReadyToStartContainers, PodScheduled, Ready,
    },
    PodPhase, PodStatus,
};
use arc_api::{Str, Time, format_smolstr};

use super::container::Container;
use super::effects::ContainerKind;
use super::phase::{View, phase};
use super::stop::Cause;
use super::worker::{PodWorker, Stage};

const CREATING: Str = Str::new_static("ContainerCreating");
const INITIALIZING: Str = Str::new_static("PodInitializing");

impl PodWorker {
    /// The status now. `stored` gives the conditions that belong to others.
    pub fn report(&self, stored: &PodStatus, now: Time) -> PodStatus {
        if self.stage == Stage::Refused || matches!(self.stage, Stage::Stopped { .. }) && self.never_admitted() {
            return self.refusal(stored);
        }
        let idle = if self.inits > 0 { INITIALIZING } else { CREATING };
        let (init, main) = self.containers.split_at(self.inits);
        let statuses = |list: &[Container]| -> Vec<ContainerStatus> { list.iter().map(|c| c.status(&idle)).collect() };
        let (init_statuses, main_statuses) = (statuses(init), statuses(main));
        let phase = match self.phase(&init_statuses, &main_statuses) {
            // Who has no statuses to go by keeps the phase that came with the eviction (recorded: b_evictions).
            ended if ended.is_terminal() && self.verdict.is_some() && self.statuses_hidden => PodPhase::Failed,
            phase => phase,
        };
        // A pod whose containers all end well is Succeeded, and the reason goes with the phase that it was given for
        // (kubelet_pods.go, generateAPIPodStatus).
        let verdict = self.verdict.as_ref().filter(|_| phase == PodPhase::Failed);
        let (reason, message) = verdict.cloned().unwrap_or_default();
        let mut status = PodStatus {
            phase,
            reason,
            message,
            start_time: Some(self.start_time),
            conditions: self.conditions(stored, phase, now),
            container_statuses: main_statuses,
            init_container_statuses: init_statuses,
        };
        if self.statuses_hidden {
            status.container_statuses.clear();
            status.init_container_statuses.clear();
        }
        status
    }

    fn never_admitted(&self) -> bool {
        self.verdict.is_some()
            && self.reported.as_ref().is_some_and(|r| r.conditions.len() <= 1 && r.phase == PodPhase::Failed)
    }
    fn refusal(&self, stored: &PodStatus) -> PodStatus {
        let (reason, message) = self.verdict.clone().unwrap_or_default();
        PodStatus {
            phase: PodPhase::Failed,
            reason,
            message,
            start_time: Some(self.start_time),
            conditions: stored.conditions.iter().filter(|c| is_foreign(c.type_)).cloned().collect(),
            ..PodStatus::default()
        }
    }

    /// The phase. A terminal one is held back while anything still runs or may start (§5.2, §5.4 item 3).
    fn phase(&self, init: &[ContainerStatus], main: &[ContainerStatus]) -> PodPhase {
        let (init_containers, main_containers) = self.containers.split_at(self.inits);
        let computed = {
            let mut views: [View<'_>; 8] =
                [View { kind: ContainerKind::Main, restart: super::container::Restart::Never, status: None }; 8];
            // Nearly every pod has at most eight containers: no allocation for those.
            let mut spill = Vec::new();
            let all = init_containers.iter().zip(init).chain(main_containers.iter().zip(main));
            let view = |(c, s): (&Container, _)| View { kind: c.kind, restart: c.restart, status: Some(s) };
            let count = self.containers.len();
            let list: &[View<'_>] = if count <= views.len() {
                for (slot, pair) in views.iter_mut().zip(all) {
                    *slot = view(pair);
                }
                &views[..count]
            } else {
                spill.extend(all.map(view));
                &spill
            };
            phase(&list[..self.inits], &list[self.inits..], self.is_ended())
        };
        if computed.is_terminal() && !matches!(self.stage, Stage::Stopped { .. }) {
            match self.reported_phase() {
                Some(held) if !held.is_terminal() => held,
                _ => PodPhase::Running,
            }
        } else {
            computed
        }
    }

    /// Stopped by somebody, so that every phase is terminal: from 1.27 on for a deletion (§5.5), always for an eviction.
    fn is_ended(&self) -> bool {
        match self.stage {
            Stage::Stopped { cause, .. } | Stage::Stopping(cause) => match cause {
                Cause::Completed => self.verdict.is_some(),
                Cause::Evicted => true,
                Cause::Deleted | Cause::Removed => self.minor >= 27 || self.verdict.is_some(),
            },
            _ => false,
        }
    }

    fn conditions(&self, stored: &PodStatus, phase: PodPhase, now: Time) -> Vec<PodCondition> {
        let (init, main) = self.containers.split_at(self.inits);
        let foreign = |which| stored.conditions.iter().find(|c| c.type_ == which).cloned();
        let mut list = Vec::with_capacity(6);
        list.extend(foreign(PodScheduled));
        let mut put = |type_, status, reason: Str, message: Str| {
            let before = self.reported.as_ref().and_then(|r| r.conditions.iter().find(|c| c.type_ == type_));
            let since = before.filter(|c| c.status == status).map_or(now.truncated(), |c| c.last_transition_time);
            list.push(PodCondition { type_, status, reason, message, last_transition_time: since });
        };
        let none = Str::default;
        if self.minor >= 29 {
            let sandbox = !matches!(self.stage, Stage::Volumes { .. } | Stage::Stopped { .. }) && self.has_begun();
            put(PodReadyToStartContainers, sandbox, none(), none());
        }
        let completed = Str::new_static("PodCompleted");
        if phase == PodPhase::Succeeded {
            put(Initialized, true, completed.clone(), none());
        } else if self.initialized || init.is_empty() {
            put(Initialized, true, none(), none());
        } else {
            let message = unready("containers with incomplete status: ", init.iter().filter(|c| !is_through(c)));
            put(Initialized, false, Str::new_static("ContainersNotInitialized"), message);
        }
        let (ready, reason, message) = match phase {
            PodPhase::Succeeded => (false, completed, none()),
            PodPhase::Failed => (false, Str::new_static("PodFailed"), none()),
            _ => {
                let counted = init.iter().filter(|c| c.kind == ContainerKind::Sidecar).chain(main);
                let mut missing = counted.filter(|c| !c.is_ready()).peekable();
                if missing.peek().is_none() {
                    (true, none(), none())
                } else {
                    let message = unready("containers with unready status: ", missing);
                    (false, Str::new_static("ContainersNotReady"), message)
                }
            }
        };
        put(Ready, ready, reason.clone(), message.clone());
        put(ContainersReady, ready, reason, message);
        match &self.verdict {
            Some((_, message)) if self.minor >= 26 && phase.is_terminal() => {
                put(DisruptionTarget, true, Str::new_static("TerminationByKubelet"), message.clone());
            }
            _ => list.extend(foreign(DisruptionTarget)),
        }
        list
    }

    fn has_begun(&self) -> bool {
        self.containers.iter().any(|c| c.attempt > 0 && (c.is_alive() || c.last.is_some() || c.ended_once()))
    }
}

/// Conditions that a kubelet does not own.
fn is_foreign(type_: PodConditionType) -> bool {
    matches!(type_, PodScheduled | DisruptionTarget)
}

fn is_through(c: &Container) -> bool {
    if c.kind == ContainerKind::Sidecar { c.is_started() } else { c.passed }
}

fn unready<'a>(text: &str, containers: impl Iterator<Item = &'a Container>) -> Str {
    let names: Vec<&str> = containers.map(|c| c.name.as_str()).collect();
    format_smolstr!("{text}[{}]", names.join(" "))
}
