//! What the state of the pod means for its runner.
//!
//! Source: arc-controllers.md §5.4, §5.5, §5.6; recorded: b_exit_codes, a_delete, b_kube_mode. The runner container's exit
//! code is what decides; never looks at image pulls or scheduling, but to say so on the runner (`next`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::crd::{Condition, EphemeralRunner, EphemeralRunnerSet, ErPhase};
use arc_api::kube::{DeleteOptions, ErStatusPatch, KubeRequest, Status};
use arc_api::meta::Key;
use arc_api::pod::{ContainerState, ContainerStatus, Pod, PodConditionType, PodPhase};
use arc_api::service::{Op, ServiceOk};
use arc_api::{Duration, Kind, Str, Time, Uid};

use super::pod_create::without;
use super::{
    END_ANSWERED, ErPass, NO_PHASE, NOT_STARTING, OUTDATED, Purpose, RUNNER_CONTAINER, Step, after, fail, failure_mark,
    is_runner_unknown, settled,
};
use crate::behaviour::{
    ErBackoff, ExitWithJob, ExitZero, InitFailure, Outdated, PodExists, PodFailed, ReadySource, RegistrationCheck,
    StuckPod, UsedJit,
};
use crate::call::{CallError, Reply};
use crate::pod_start::{START_PATIENCE, waits_in_vain, why_not_started};
use crate::reconcile::{Decision, Observed};

/// Exit code of a runner whose version the service refuses.
const DEPRECATED: i32 = 7;
/// How long after its grace period a pod may stay Terminating before its runner is given up.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// Between two looks at the name of a pod that is not ours.
const FOREIGN_WAIT: Duration = Duration::from_secs(30);
/// Between two looks at the registration of an idle runner: with the confirmation and a new pod it has a successor within five
/// minutes.
const CHECK_EVERY: u64 = 180;
/// From a registration found gone to the confirmation: the listener may still have to tell of a job. Also the span after each third minute in which a look is due.
const CHECK_AGAIN: Duration = Duration::from_secs(30);
/// Condition of the corrected controller: the service did not know the runner when it was last asked.
const UNREGISTERED: &str = "Unregistered";

/// What an inspection remembers between its calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The pod that ended.
    pub(super) pod: Option<Arc<Pod>>,
    /// Why, in the corrected controller's words.
    why: Option<(&'static str, Str)>,
}

impl ErPass {
    pub(super) fn inspect(&mut self, o: &mut Observed<'_>, pod: &Arc<Pod>) -> Decision {
        let behaviour = &o.settings.behaviour;
        let foreign = pod.metadata.controller().is_none_or(|owner| owner.uid != self.uid());
        if foreign && behaviour.er_pod_exists == PodExists::CheckOwner {
            let since = pod.metadata.creation_timestamp;
            return self.report_foreign(o, since, "ForeignPod", "a pod of another owner has this runner's name");
        }
        if self.was_accepted(pod) {
            return self.record_acceptance();
        }
        let cs = pod.status.container(RUNNER_CONTAINER);
        let exit = cs.and_then(|cs| cs.state.exit_code());
        if pod.metadata.is_deleting() && exit.is_none() && behaviour.er_stuck_pod == StuckPod::Replaced {
            let grace = Duration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(30).max(0) as u64);
            let deadline = pod.metadata.deletion_timestamp.unwrap_or(o.now).after(grace).after(STUCK_AFTER);
            if deadline <= o.now {
                o.info("The runner pod stays Terminating. Deleting the ephemeral runner");
                return self.delete_runner(Step::AfterRunnerDeleted);
            }
            self.wake_at(deadline, o.now);
        }
        if pod.status.phase == PodPhase::Failed && behaviour.er_pod_failed == PodFailed::First {
            return match exit {
                Some(code) => self.ended(o, pod, code),
                None => self.fail_or_delete(o, pod),
            };
        }
        if init_failed(pod, behaviour.er_init_failure, exit.is_some()) {
            return self.fail_or_delete(o, pod);
        }
        match (cs, exit) {
            (Some(_), Some(code)) => self.ended(o, pod, code),
            (Some(cs), None) if never_gets_its_secret(cs) && self.lost_its_secret(o) => self.fail_pod(o, pod),
            (Some(_), None) if pod.status.phase == PodPhase::Failed && pod.status.reason == "Evicted" => {
                self.fail_pod(o, pod)
            }
            (Some(_), None) => self.mirror(o, pod),
            (None, _) => self.rest(),
        }
    }

    fn lost_its_secret(&self, o: &Observed<'_>) -> bool {
        self.secret.is_none() && o.settings.behaviour.er_used_jit == UsedJit::Replaced
    }

    /// The runner container ended with `code`.
    fn ended(&mut self, o: &mut Observed<'_>, pod: &Arc<Pod>, code: i32) -> Decision {
        match (code, o.settings.behaviour.outdated) {
            (0, _) => self.exit_zero(o, pod),
            (DEPRECATED, Outdated::TearsDown) => {
                o.info("Ephemeral runner is outdated");
                self.mark(ErPhase::Outdated, "Outdated", "Runner is deprecated".into())
            }
            (DEPRECATED, Outdated::Reported) => {
                self.outcome.why = Some((OUTDATED, "the service refuses the version of the runner".into()));
                self.fail_or_delete(o, pod)
            }
            _ => self.fail_or_delete(o, pod),
        }
    }

    fn exit_zero(&mut self, o: &mut Observed<'_>, pod: &Arc<Pod>) -> Decision {
        let behaviour = &o.settings.behaviour;
        let recorded = self.runner().status.failures.as_ref().is_some_and(|f| f.contains_key(&pod.metadata.uid));
        let ask = match behaviour.er_exit_zero {
            ExitZero::Succeeded => false,
            ExitZero::Delete => return self.delete_runner(Step::AfterRunnerDeleted),
            ExitZero::AskService => true,
            ExitZero::Verified if recorded => return self.fail_pod(o, pod),
            ExitZero::Verified => !self.has_job(behaviour),
        };
        if !ask {
            return self.mark_succeeded(o);
        }
        self.outcome.pod = Some(pod.clone());
        let id = self.runner().status.runner_id;
        self.service(Purpose::AskFinished, Op::GetRunner(id))
    }

    pub(super) fn after_finished_asked(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        match reply.into_service() {
            Ok(ServiceOk::Runner(None)) => self.unregistered_after_exit(o),
            Err(e) if is_runner_unknown(&e) => self.unregistered_after_exit(o),
            Err(e) => fail(o, "Failed to get runner", &e),
            Ok(_) => {
                let Some(pod) = self.outcome.pod.clone() else { return settled() };
                if o.settings.behaviour.er_exit_zero == ExitZero::Verified {
                    let message = "the runner exited 0 but is still registered: it never served a job";
                    self.outcome.why = Some(("NoJobServed", message.into()));
                }
                self.fail_pod(o, &pod)
            }
        }
    }

    /// The service forgets a runner when its job is over, or because it was told to: a pass that the cache does not show yet may
    /// have counted this very pod's failure and removed its registration.
    fn unregistered_after_exit(&mut self, o: &mut Observed<'_>) -> Decision {
        if o.settings.behaviour.er_exit_zero != ExitZero::Verified {
            return self.mark_succeeded(o);
        }
        self.call(
            Step::AfterFinishedRunnerRead,
            KubeRequest::Get { kind: Kind::EphemeralRunner, key: self.key.clone() },
        )
    }

    /// This very runner as the server has it, and the pod that the pass looks at; without one of them the pass is over.
    fn live_runner_and_pod(&self, o: &mut Observed<'_>) -> Result<(Arc<EphemeralRunner>, Arc<Pod>), Decision> {
        self.live_runner(o)?.zip(self.outcome.pod.clone()).ok_or_else(settled)
    }

    pub(super) fn after_finished_runner_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let (live, pod) = match self.live_runner_and_pod(o) {
            Ok(found) => found,
            Err(decision) => return decision,
        };
        let counted = live.status.failures.as_ref().is_some_and(|f| f.contains_key(&pod.metadata.uid));
        if counted || live.metadata.is_deleting() {
            return settled();
        }
        self.runner = Some(live);
        self.mark_succeeded(o)
    }

    fn mark_succeeded(&mut self, o: &mut Observed<'_>) -> Decision {
        o.info("Ephemeral runner has finished successfully, removing it");
        let verified = o.settings.behaviour.er_exit_zero == ExitZero::Verified;
        let want = ErStatusPatch {
            phase: Some(ErPhase::Succeeded),
            ready: verified.then_some(false),
            ended_generation: (verified && self.runner().status.ended_generation != END_ANSWERED)
                .then(|| self.set_generation(o)),
            ..ErStatusPatch::default()
        };
        self.patch_status(Step::AfterStatusWritten, want)
    }

    /// The generation of the set's spec as this pass sees it: which demand the runner ended under.
    fn set_generation(&self, o: &Observed<'_>) -> i64 {
        let Some(owner) = self.runner().metadata.controller() else { return 0 };
        let key = Key::new(self.key.namespace.clone(), owner.name.clone());
        o.caches.get::<EphemeralRunnerSet>(&key).map_or(0, |set| set.metadata.generation)
    }

    /// A runner with a job is given up; one without gets another pod.
    fn fail_or_delete(&mut self, o: &mut Observed<'_>, pod: &Arc<Pod>) -> Decision {
        let behaviour = &o.settings.behaviour;
        if behaviour.er_exit_with_job == ExitWithJob::DeleteRunner && self.has_job(behaviour) {
            o.error("Ephemeral runner has a job assigned, but the pod has failed. Deleting it", "");
            return self.delete_runner(Step::AfterRunnerWithJobDeleted);
        }
        self.fail_pod(o, pod)
    }

    pub(super) fn after_runner_with_job_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => {
                let id = self.runner().status.runner_id;
                self.service(Purpose::RemoveBestEffort, Op::RemoveRunner(id))
            }
            Err(e) => fail(o, "Failed to delete ephemeral runner", &e),
        }
    }

    pub(super) fn after_best_effort(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        if let Err(e) = reply.into_service() {
            o.error("Failed to remove the runner from the service", e.text());
        }
        settled()
    }

    /// The pod is deleted and the failure counted. Releases delete first, so that the pod's event can overtake the count
    /// (Q-BACKOFF-BYPASS); the corrected controller counts first.
    pub(super) fn fail_pod(&mut self, o: &mut Observed<'_>, pod: &Arc<Pod>) -> Decision {
        self.outcome.pod = Some(pod.clone());
        if o.settings.behaviour.er_backoff != ErBackoff::TableAfterPod {
            if !pod.metadata.is_deleting() {
                o.info("Deleting the failed ephemeral runner pod");
                return self.delete_pod(o, Step::AfterFailedPodDeleted, pod.metadata.uid);
            }
            return self.record_failure(o, pod);
        }
        self.call(Step::AfterFailedPodRead, KubeRequest::Get { kind: Kind::Pod, key: self.key.clone() })
    }

    /// The pod cache may still show a pod that is gone: its successor has a registration of its own, and the failure is over.
    pub(super) fn after_failed_pod_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let live = match o.take_reply().into_found::<Pod>() {
            Ok(found) => found,
            Err(e) => return fail(o, "Failed to fetch the runner pod", &e),
        };
        let Some(pod) = self.outcome.pod.clone() else { return settled() };
        if live.is_some_and(|live| live.metadata.uid != pod.metadata.uid) {
            return self.rest();
        }
        if self.runner().status.failures.as_ref().is_some_and(|f| f.contains_key(&pod.metadata.uid)) {
            return self.remove_used(o);
        }
        self.record_failure(o, &pod)
    }

    fn record_failure(&mut self, o: &mut Observed<'_>, pod: &Arc<Pod>) -> Decision {
        let backoff = o.settings.behaviour.er_backoff;
        let mark = failure_mark(&o.settings.behaviour, o.now);
        let (mut reason, mut message) = (pod.status.reason.clone(), pod.status.message.clone());
        let mut want = ErStatusPatch::default();
        if backoff == ErBackoff::TableAfterPod {
            // The phase tells of a pod; this one is over (Q-PHASE-NOT-RESET).
            want.phase = Some(NO_PHASE);
            (reason, message) = self.why_failed(pod);
            if reason == OUTDATED {
                want.conditions = Some(self.with_condition(OUTDATED, &reason, &message));
            }
        }
        want.failures = Some(BTreeMap::from([(pod.metadata.uid, mark)]));
        want.ready = Some(false);
        want.reason = Some(reason);
        want.message = Some(message);
        self.patch_status(Step::AfterFailureRecorded, want)
    }

    fn with_condition(&self, type_: &str, reason: &Str, message: &Str) -> Arc<[Condition]> {
        let condition = Condition::new(type_, true, reason.clone(), message.clone());
        without(&self.runner().status.conditions, type_).iter().cloned().chain([condition]).collect()
    }

    /// Reason and message of an end, from whoever knows best.
    fn why_failed(&mut self, pod: &Pod) -> (Str, Str) {
        if let Some((reason, message)) = self.outcome.why.take() {
            return (reason.into(), message);
        }
        if !pod.status.reason.is_empty() {
            return (pod.status.reason.clone(), pod.status.message.clone());
        }
        let containers = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
        let mut ends = containers.filter_map(|c| match &c.state {
            ContainerState::Terminated(end) if end.exit_code != 0 => Some((c, end)),
            ContainerState::Terminated(_) | ContainerState::Waiting { .. } | ContainerState::Running { .. } => None,
        });
        match ends.next() {
            Some((c, end)) => {
                let text = arc_api::format_smolstr!("container {} ended with code {}", c.name, end.exit_code);
                (if end.reason.is_empty() { "Error".into() } else { end.reason.clone() }, text)
            }
            None => ("PodFailed".into(), Str::default()),
        }
    }

    pub(super) fn after_failure_recorded(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = self.adopt(o) {
            return fail(o, "Failed to update ephemeral runner status: failed attempts", &e);
        }
        match o.settings.behaviour.er_backoff {
            ErBackoff::TableAfterPod => self.remove_used(o),
            ErBackoff::None | ErBackoff::LostWakeup | ErBackoff::Table => self.rest(),
        }
    }

    /// The pod may have presented its registration to the service: no other pod may present it again.
    fn remove_used(&mut self, o: &mut Observed<'_>) -> Decision {
        // A secret that is younger than the failure belongs to a successor that the pod cache does not show yet.
        let failed = self.runner().status.last_failure();
        let used = self.secret.as_ref().is_some_and(|s| failed.is_none_or(|f| s.metadata.creation_timestamp <= f));
        if o.settings.behaviour.er_used_jit == UsedJit::Replaced && used {
            let id = self.secret_runner_id().unwrap_or(self.runner().status.runner_id);
            return self.service(Purpose::RemoveUsed, Op::RemoveRunner(id));
        }
        self.delete_failed_pod(o)
    }

    pub(super) fn delete_failed_pod(&mut self, o: &Observed<'_>) -> Decision {
        match &self.outcome.pod {
            Some(pod) if !pod.metadata.is_deleting() => {
                let uid = pod.metadata.uid;
                self.delete_pod(o, Step::AfterFailedPodDeleted, uid)
            }
            Some(_) | None => self.rest(),
        }
    }

    pub(super) fn after_failed_pod_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Err(e) if !e.is_not_found() && !is_other_pod(&e) => fail(o, "Failed to delete runner pod", &e),
            Ok(_) | Err(_) => match (o.settings.behaviour.er_backoff, self.outcome.pod.clone()) {
                (ErBackoff::None | ErBackoff::LostWakeup | ErBackoff::Table, Some(pod)) => self.record_failure(o, &pod),
                (_, _) => self.rest(),
            },
        }
    }

    /// Releases delete whatever has the name; the corrected controller only the pod it saw.
    fn delete_pod(&mut self, o: &Observed<'_>, then: Step, uid: Uid) -> Decision {
        let only_this = o.settings.behaviour.er_pod_exists == PodExists::CheckOwner;
        let options = DeleteOptions { uid: only_this.then_some(uid), ..DeleteOptions::default() };
        self.call(then, KubeRequest::Delete { kind: Kind::Pod, key: self.key.clone(), options })
    }

    /// Phase, reason and message; then the registration is removed.
    pub(super) fn mark(&mut self, phase: ErPhase, reason: &'static str, message: Str) -> Decision {
        let want = ErStatusPatch {
            phase: Some(phase),
            reason: Some(reason.into()),
            message: Some(message),
            ..ErStatusPatch::default()
        };
        self.patch_status(Step::AfterMarked, want)
    }

    pub(super) fn after_marked(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = self.adopt(o) {
            return fail(o, "Failed to update ephemeral runner status", &e);
        }
        let id = self.runner().status.runner_id;
        self.service(Purpose::RemoveMarked, Op::RemoveRunner(id))
    }

    pub(super) fn after_marked_removed(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        match reply.into_service() {
            Ok(_) => settled(),
            Err(e) => fail(o, "Failed to remove the runner from the service", &e),
        }
    }

    /// Phase and readiness follow the pod while its runner container has not ended (arc-controllers.md §5.5).
    fn mirror(&mut self, o: &mut Observed<'_>, pod: &Arc<Pod>) -> Decision {
        let behaviour = &o.settings.behaviour;
        let status = self.runner().status.clone();
        let phase = match pod.status.phase {
            PodPhase::Pending => ErPhase::Pending,
            PodPhase::Running => ErPhase::Running,
            PodPhase::Succeeded | PodPhase::Failed | PodPhase::Unknown => return self.rest(),
        };
        let ready = match behaviour.er_ready {
            ReadySource::StickyPhase => status.ready || phase == ErPhase::Running,
            ReadySource::Condition => pod.status.is_ready(),
        };
        let (mut reason, mut message) = (pod.status.reason.clone(), pod.status.message.clone());
        let mut changed = phase != status.phase || ready != status.ready;
        if behaviour.er_used_jit == UsedJit::Replaced {
            if let Some((waits, why)) = waits_in_vain(pod) {
                (reason, message) = (waits.clone(), why.clone());
            } else if phase == ErPhase::Pending && reason.is_empty() {
                // Nothing waits in vain and yet it does not start: an init container that never ends, a node that never comes.
                let due = pod.metadata.creation_timestamp.after(START_PATIENCE);
                if o.now >= due {
                    (reason, message) = (NOT_STARTING.into(), why_not_started(pod));
                } else {
                    self.wake_at(due, o.now);
                }
            }
            changed |= reason != status.reason || message != status.message;
        }
        if !changed {
            return self.check_registration(o, pod);
        }
        let want = ErStatusPatch {
            phase: Some(phase),
            ready: Some(ready),
            reason: Some(reason),
            message: Some(message),
            ..ErStatusPatch::default()
        };
        self.patch_status(Step::AfterStatusWritten, want)
    }

    /// An idle runner whose registration vanished looks healthy for ever (registrations-lost-in-outage).
    fn check_registration(&mut self, o: &mut Observed<'_>, pod: &Arc<Pod>) -> Decision {
        let behaviour = &o.settings.behaviour;
        let idle = self.runner().status.phase == ErPhase::Running && !self.has_job(behaviour);
        let ready = pod.status.conditions.iter().find(|c| c.type_ == PodConditionType::Ready && c.status);
        // A pod that lost its daemon is never ready again, and its runner waits on.
        let running = pod.status.container(RUNNER_CONTAINER).and_then(|c| match &c.state {
            ContainerState::Running { started_at } => Some(*started_at),
            ContainerState::Waiting { .. } | ContainerState::Terminated(_) => None,
        });
        let Some(since) = ready.map(|c| c.last_transition_time).or(running).filter(|_| idle) else {
            return self.rest();
        };
        if behaviour.er_registration_check == RegistrationCheck::Never {
            return self.rest();
        }
        let age = o.now.since(since);
        let suspected = self.runner().status.conditions.iter().find(|c| c.type_ == UNREGISTERED);
        let confirm_at = suspected.map(|c| c.last_transition_time.unwrap_or(Time::ZERO).after(CHECK_AGAIN));
        if let Some(at) = confirm_at.filter(|at| *at > o.now) {
            self.wake_at(at, o.now);
            return self.rest();
        }
        let into = age.as_secs() % CHECK_EVERY;
        if suspected.is_some() || (age.as_secs() >= CHECK_EVERY && into < CHECK_AGAIN.as_secs()) {
            self.outcome.pod = Some(pod.clone());
            let id = self.runner().status.runner_id;
            return self.service(Purpose::CheckIdle, Op::GetRunner(id));
        }
        self.wake_at(o.now.truncated().after(Duration::from_secs(CHECK_EVERY - into)), o.now);
        self.rest()
    }

    pub(super) fn after_idle_checked(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        let conditions = self.runner().status.conditions.clone();
        let suspected = conditions.iter().any(|c| c.type_ == UNREGISTERED);
        let gone = match reply.into_service() {
            Ok(ServiceOk::Runner(None)) => true,
            Ok(_) => false,
            Err(e) if is_runner_unknown(&e) => true,
            // Only a confirmed 404 says that it is gone; an outage says nothing.
            Err(_) => return after(CHECK_AGAIN),
        };
        let (reason, message) = (Str::from(UNREGISTERED), Str::from("the service does not know this runner"));
        match (gone, suspected) {
            (true, true) => {
                self.outcome.why = Some((UNREGISTERED, message));
                self.call(
                    Step::AfterUnregisteredRead,
                    KubeRequest::Get { kind: Kind::EphemeralRunner, key: self.key.clone() },
                )
            }
            (true, false) => {
                self.wake_at(o.now.truncated().after(CHECK_AGAIN), o.now);
                let mut one = Condition::new(UNREGISTERED, true, reason, message);
                one.last_transition_time = Some(o.now.truncated());
                let conditions = Some(conditions.iter().cloned().chain([one]).collect());
                self.patch_status(Step::AfterStatusWritten, ErStatusPatch { conditions, ..ErStatusPatch::default() })
            }
            (false, true) => {
                let conditions = Some(without(&conditions, UNREGISTERED));
                self.patch_status(Step::AfterStatusWritten, ErStatusPatch { conditions, ..ErStatusPatch::default() })
            }
            (false, false) => {
                self.wake = Some(Duration::from_secs(CHECK_EVERY - CHECK_AGAIN.as_secs()));
                self.rest()
            }
        }
    }

    /// The runner is not idle if the listener has told of a job by now, whatever the cache shows: its pod works on.
    pub(super) fn after_unregistered_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let (live, pod) = match self.live_runner_and_pod(o) {
            Ok(found) => found,
            Err(decision) => return decision,
        };
        self.runner = Some(live);
        if self.runner().metadata.is_deleting() || self.has_job(&o.settings.behaviour) {
            return settled();
        }
        self.fail_pod(o, &pod)
    }

    /// An object of somebody else, there since `since`, has our name: say so and look again; one that stays takes the name,
    /// and a runner of another name takes our place (Q-FOREIGN-POD).
    pub(super) fn report_foreign(
        &mut self,
        o: &mut Observed<'_>,
        since: Time,
        reason: &'static str,
        message: &'static str,
    ) -> Decision {
        let born = self.runner().metadata.creation_timestamp;
        let given_up = since.max(born).after(FOREIGN_WAIT);
        if given_up <= o.now && self.runner().status.reason == reason {
            o.info("The name of the ephemeral runner is taken. Deleting it");
            return self.delete_runner(Step::AfterRunnerDeleted);
        }
        self.wake = Some(FOREIGN_WAIT);
        if self.runner().status.reason == reason {
            return self.rest();
        }
        let want =
            ErStatusPatch { reason: Some(reason.into()), message: Some(message.into()), ..ErStatusPatch::default() };
        self.patch_status(Step::AfterStatusWritten, want)
    }
}

/// 409 Conflict of a DELETE with an identity: the pod of that name is another one.
fn is_other_pod(error: &CallError) -> bool {
    error.status().is_some_and(Status::is_conflict)
}

/// Whether an init container ended badly, as far as the release looks.
fn init_failed(pod: &Pod, switch: InitFailure, runner_ended: bool) -> bool {
    let sidecar = |name: &Str| {
        let spec = pod.spec.init_containers.iter().find(|c| c.name == *name);
        spec.is_some_and(|c| c.restart_policy.as_deref() == Some("Always"))
    };
    let failed = |c: &ContainerStatus| c.state.exit_code().is_some_and(|code| code != 0);
    let mut bad = pod.status.init_container_statuses.iter().filter(|c| failed(c));
    match switch {
        InitFailure::Ignored => false,
        InitFailure::Handled => bad.next().is_some(),
        InitFailure::HandledExceptSidecars => !runner_ended && bad.any(|c| !sidecar(&c.name)),
    }
}

/// The container cannot be made, and waits.
fn never_gets_its_secret(cs: &ContainerStatus) -> bool {
    matches!(&cs.state, ContainerState::Waiting { reason, .. } if reason == "CreateContainerConfigError")
}
