//! Making the pod, and what the API server's answer means.
//!
//! Source: arc-controllers.md §5.3; recorded: b_rejections, b_invalid_template. Never looks at a pod that exists.

use arc_api::crd::{Condition, Conditions, ErPhase};
use arc_api::kube::{ErStatusPatch, KubeRequest};
use arc_api::pod::Pod;
use arc_api::service::Op;
use arc_api::{Duration, Kind, Object, Str, format_smolstr};

use super::{
    ErPass, FAILURES_MAX, POD_REJECTED, Purpose, QUOTA_EXCEEDED, Removal, Step, after, fail, pod_build, removal,
};
use crate::behaviour::{Behaviour, ErBackoff, FailureLimit, PodExists, PodRejection, QuotaRejection, UsedJit};
use crate::call::{CallError, Reply};
use crate::reconcile::{Decision, Observed, Outcome};

/// Between two looks at a name that is taken (arc-controllers.md §5.3).
const EXISTS_WAIT: Duration = Duration::from_secs(5);
/// Between two tries against a full quota (arc-controllers.md §5.3).
const QUOTA_WAIT: Duration = Duration::from_secs(30);
/// A runner older than this is given up when the quota is full (arc-controllers.md §5.3).
const QUOTA_AGE_MAX: Duration = Duration::from_secs(600);
/// First and longest wait of the corrected controller after a refused pod.
const REJECTION_WAIT: (u64, u64) = (5, 300);

impl ErPass {
    pub(super) fn without_pod(&mut self, o: &mut Observed<'_>) -> Decision {
        let behaviour = &o.settings.behaviour;
        if behaviour.er_failure_limit == FailureLimit::MarkFailed && self.runner().status.failure_count() > FAILURES_MAX
        {
            o.error("Failed to start the pod more than 5 times", "");
            let message = "Pod has failed to start more than 5 times: ";
            return self.mark(ErPhase::Failed, "TooManyPodFailures", message.into());
        }
        if behaviour.er_backoff == ErBackoff::TableAfterPod
            && let Some(decision) = self.limit_or_backoff(o)
        {
            return decision;
        }
        if o.settings.behaviour.er_used_jit == UsedJit::Replaced && !self.fresh {
            if self.registration_is_used(&o.settings.behaviour) {
                return self.read_pod();
            }
            // The cache may not show yet that there was a pod.
            let read = KubeRequest::Get { kind: Kind::EphemeralRunner, key: self.key.clone() };
            return self.call(Step::AfterUnusedRunnerRead, read);
        }
        self.make_pod(o)
    }

    pub(super) fn after_unused_runner_read(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(decision) = self.see_live_runner(o) {
            return decision;
        }
        if self.registration_is_used(&o.settings.behaviour) {
            return self.read_pod();
        }
        self.make_pod(o)
    }

    fn make_pod(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Some(wait) = self.rejection_wait(o) {
            return after(wait);
        }
        if self.set_is_going(o) {
            return self.rest();
        }
        o.info("Creating new pod for ephemeral runner");
        let pod = pod_build::pod(self.runner(), o.settings);
        self.call(Step::AfterPodCreated, KubeRequest::Create(pod.into()))
    }

    /// Whether a pod may have presented this registration to the service: one was seen, or took a job, or failed after it was
    /// made.
    fn registration_is_used(&self, behaviour: &Behaviour) -> bool {
        let status = &self.runner().status;
        let made = self.secret.as_ref().map(|s| s.metadata.creation_timestamp);
        status.phase != ErPhase::Empty
            || self.has_job(behaviour)
            || status.last_failure().zip(made).is_some_and(|(failed, made)| made <= failed)
    }

    /// Asks the server itself for the pod: the cache may not show yet what this controller made.
    pub(super) fn read_pod(&mut self) -> Decision {
        self.call(Step::AfterLivePodRead, KubeRequest::Get { kind: Kind::Pod, key: self.key.clone() })
    }

    pub(super) fn after_live_pod_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let uid = self.uid();
        let ours = |object: &Object| {
            object.get::<Pod>().is_some_and(|p| p.metadata.controller().is_some_and(|owner| owner.uid == uid))
        };
        match o.take_reply().into_object() {
            Ok(Some(object)) if ours(&object) => after(EXISTS_WAIT),
            Err(e) if !e.is_not_found() => fail(o, "Failed to fetch the pod", &e),
            // Its registration has served or is lost with its job: the name would go on with somebody else's job on it.
            Ok(_) | Err(_) if self.has_job(&o.settings.behaviour) => {
                o.info("Ephemeral runner has a job assigned, but its pod is gone. Deleting it");
                self.delete_runner(Step::AfterRunnerDeleted)
            }
            Ok(_) | Err(_) if self.secret.is_none() => self.register(o),
            Ok(_) | Err(_) => {
                let id = self.secret_runner_id().unwrap_or(self.runner().status.runner_id);
                self.service(Purpose::RemoveUsed, Op::RemoveRunner(id))
            }
        }
    }

    pub(super) fn after_used_removed(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        match removal(reply, true) {
            Removal::Gone => self.delete_object(Step::AfterUsedSecretDeleted, Kind::Secret, self.key.clone()),
            // It had a job that nobody told us of: no second pod is ever made for it.
            Removal::Busy => self.delete_runner(Step::AfterRunnerDeleted),
            Removal::Failed(e) => fail(o, "Failed to remove the registration of the ended pod", &e),
        }
    }

    pub(super) fn after_used_secret_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Err(e) if !e.is_not_found() => fail(o, "Failed to delete the used JIT config secret", &e),
            Ok(_) | Err(_) if self.outcome.pod.is_some() => self.delete_failed_pod(o),
            Ok(_) | Err(_) => Decision::End(Outcome::Requeue),
        }
    }

    pub(super) fn after_pod_created(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) if self.runner().status.rejections > 0 => self.record_acceptance(),
            // Its pod may come and go between two looks: what it was given is used from now on.
            Ok(_) if o.settings.behaviour.er_used_jit == UsedJit::Replaced => {
                let want = ErStatusPatch { phase: Some(ErPhase::Pending), ..ErStatusPatch::default() };
                self.patch_status(Step::AfterStatusWritten, want)
            }
            Ok(_) => self.rest(),
            Err(e) => self.pod_refused(o, e),
        }
    }

    fn pod_refused(&mut self, o: &mut Observed<'_>, error: CallError) -> Decision {
        let behaviour = &o.settings.behaviour;
        let (rejection, quota, exists) = (behaviour.er_rejection, behaviour.er_quota, behaviour.er_pod_exists);
        let (is_invalid, is_forbidden) = match error.status() {
            Some(status) => (status.is_invalid(), status.is_forbidden()),
            None => (false, false),
        };
        if error.is_already_exists() && exists != PodExists::Error {
            o.info("Runner pod already exists. Waiting for the pod event to be received");
            return after(EXISTS_WAIT);
        }
        if rejection == PodRejection::Error || !(is_invalid || is_forbidden) {
            return fail(o, "Failed to create the pod", &error);
        }
        if is_forbidden && error.text().contains("exceeded quota:") {
            match quota {
                QuotaRejection::MarkFailed => {}
                QuotaRejection::Retry30s => {
                    let age = o.now.since(self.runner().metadata.creation_timestamp);
                    o.info("Resource quota exceeded");
                    return if age > QUOTA_AGE_MAX {
                        self.delete_runner(Step::AfterRunnerDeleted)
                    } else {
                        after(QUOTA_WAIT)
                    };
                }
                QuotaRejection::Wait30s => return self.record_rejection(o, QUOTA_EXCEEDED, &error),
            }
        }
        o.error("Failed to create a pod due to unrecoverable failure", error.text());
        match rejection {
            PodRejection::Backoff => self.record_rejection(o, POD_REJECTED, &error),
            PodRejection::MarkFailed | PodRejection::Error => {
                let message = format_smolstr!("Failed to create the pod: {}", error.text());
                self.mark(ErPhase::Failed, "InvalidPod", message)
            }
        }
    }

    /// How long the last refusal still keeps from trying again; `None` when a try is due.
    fn rejection_wait(&self, o: &Observed<'_>) -> Option<Duration> {
        let status = &self.runner().status;
        let last = status.last_rejection.filter(|_| status.rejections > 0)?;
        let until = last.after(wait_after(status.rejections, &status.reason));
        (until > o.now).then(|| until.since(o.now))
    }

    fn record_rejection(&mut self, o: &Observed<'_>, reason: &'static str, error: &CallError) -> Decision {
        let status = &self.runner().status;
        let rejections = if status.reason == reason { status.rejections + 1 } else { 1 };
        let message = error.text();
        let mut conditions = without(&status.conditions, POD_REJECTED);
        if reason == POD_REJECTED {
            let condition = Condition::new(POD_REJECTED, true, reason, message.clone());
            conditions = conditions.iter().cloned().chain([condition]).collect();
        }
        let want = ErStatusPatch {
            reason: Some(reason.into()),
            message: Some(message),
            rejections: Some(rejections),
            last_rejection: Some(o.now.truncated()),
            conditions: Some(conditions),
            ..ErStatusPatch::default()
        };
        self.wake = Some(wait_after(rejections, reason));
        self.patch_status(Step::AfterRejectionRecorded, want)
    }

    pub(super) fn after_rejection_recorded(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.adopt(o) {
            Ok(()) => self.rest(),
            Err(e) => fail(o, "Failed to record the refused pod", &e),
        }
    }

    /// Whether a pod is there although refusals are still on record: whoever made it did not know of them, or could not say so.
    /// A webhook refuses a pod that exists as well, so the refusal may be the younger one.
    pub(super) fn was_accepted(&self, pod: &Pod) -> bool {
        let (status, meta) = (&self.runner().status, &pod.metadata);
        let failed = status.failures.as_ref().is_some_and(|f| f.contains_key(&meta.uid));
        let lives = !meta.is_deleting() && !pod.status.phase.is_terminal() && !failed;
        status.rejections > 0 && (lives || status.last_rejection.is_none_or(|last| meta.creation_timestamp >= last))
    }

    pub(super) fn record_acceptance(&mut self) -> Decision {
        let want = ErStatusPatch {
            phase: (self.runner().status.phase == ErPhase::Empty).then_some(ErPhase::Pending),
            reason: Some(Str::default()),
            message: Some(Str::default()),
            rejections: Some(0),
            conditions: Some(without(&self.runner().status.conditions, POD_REJECTED)),
            ..ErStatusPatch::default()
        };
        self.patch_status(Step::AfterAcceptanceRecorded, want)
    }
}

/// The wait after the n-th refusal in a row: 5, 10, 20 … 300 s; 30 s for a full quota.
fn wait_after(rejections: i32, reason: &str) -> Duration {
    if reason == QUOTA_EXCEEDED {
        return QUOTA_WAIT;
    }
    let (first, longest) = REJECTION_WAIT;
    let doublings = rejections.clamp(1, 10) as u32 - 1;
    Duration::from_secs((first << doublings).min(longest))
}

/// The conditions that are not of `type_`.
pub(super) fn without(conditions: &Conditions, type_: &str) -> Conditions {
    if conditions.iter().any(|c| c.type_ == type_) {
        conditions.iter().filter(|c| c.type_ != type_).cloned().collect()
    } else {
        conditions.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_after_refusals_double_up_to_five_minutes() {
        let waits: Vec<u64> = (1..=8).map(|n| wait_after(n, POD_REJECTED).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(wait_after(9, QUOTA_EXCEEDED).as_secs(), 30);
    }
}
