//! The EphemeralRunner reconciler: one runner, one registration, one pod, one job.
//!
//! A pass adds finalizers, obtains a registration and keeps it in a Secret, makes the pod, and then follows the pod until it
//! ends. **Never** waits inside a pass, never calls twice in a step, never decides by a release: by its
//! [`Behaviour`] only.
//!
//! Reading order: this file (the main order) → `calls` (what all parts share) → `jit` (registration) → `pod_build`,
//! `pod_create` → `pod_outcome` (what the pod's state means) → `deletion`. Source: arc-controllers.md §5.

mod calls;
mod deletion;
mod jit;
mod pod_build;
mod pod_create;
mod pod_outcome;
mod unsettled;

#[cfg(test)]
mod tests;

pub(crate) use deletion::join;

use std::sync::Arc;

use arc_api::core::Secret;
use arc_api::crd::{EphemeralRunner, ErPhase, FailureMark};
use arc_api::kube::Patch;
use arc_api::meta::Key;
use arc_api::service::Op;
use arc_api::{Duration, Kind, Str, Time};

use crate::behaviour::{Behaviour, DoneCleanup, ErBackoff, ErFinalizers, FailureLimit, JitStore};
use crate::call::{CallError, ClientKey, Reply};
use crate::client_build::ClientBuild;
use crate::reconcile::{Decision, Observed, Outcome, Pass};

/// Keeps an EphemeralRunner (and, up to 0.14.2, an EphemeralRunnerSet) until its dependents are cleaned up.
pub const FINALIZER: &str = "ephemeralrunner.actions.github.com/finalizer";
/// Keeps an EphemeralRunner until its registration is removed.
pub const REGISTRATION_FINALIZER: &str = "ephemeralrunner.actions.github.com/runner-registration-finalizer";
/// Name of the container that is the runner.
pub const RUNNER_CONTAINER: &str = "runner";
/// Condition of the corrected controller: the service refuses the runner's version.
pub const OUTDATED: &str = "Outdated";
/// Condition and reason of the corrected controller: the API refuses the runner's pod.
pub const POD_REJECTED: &str = "PodRejected";
/// Reason of the corrected controller: the runner's pod exists and does not start.
pub const NOT_STARTING: &str = "PodNotStarting";
/// Reason of the corrected controller: a quota leaves no room for the pod.
pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";

/// `status.endedGeneration` of a runner for whose end the listener has answered: it is not waited for.
pub(crate) const END_ANSWERED: i64 = -1;

/// More recorded failures than this end a runner (arc-controllers.md §5, `maxFailures`).
const FAILURES_MAX: usize = 5;
/// Wait by number of recorded failures, in seconds (arc-controllers.md §5).
const BACKOFF: [u64; 6] = [0, 5, 10, 20, 40, 80];

/// What a release writes of a pod that failed now.
pub fn failure_mark(behaviour: &Behaviour, now: Time) -> FailureMark {
    match behaviour.er_backoff {
        ErBackoff::None => FailureMark::Happened(true),
        ErBackoff::LostWakeup | ErBackoff::Table | ErBackoff::TableAfterPod => FailureMark::At(now.truncated()),
    }
}

/// What a service call of a pass is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// Register (E14).
    Register,
    /// Look up who has the runner's name (E16).
    FindByName,
    /// Remove the registration that has the runner's name, to register anew.
    RemoveNamesake,
    /// Remove the registration of a deleting runner.
    RemoveOnDeletion,
    /// Look up, while deleting, what is registered under the runner's name.
    FindOnDeletion,
    /// Remove, while deleting, what was found beside `status.runnerId`.
    RemoveFound,
    /// Remove the registration of a runner just marked Failed or Outdated.
    RemoveMarked,
    /// Remove the registration of a runner that died with its job: errors are only logged.
    RemoveBestEffort,
    /// Is the runner that exited 0 still registered (E15)?
    AskFinished,
    /// Remove a registration that could not be written down and that nobody will use.
    RemoveUnsettled,
    /// Remove the registration that an ended pod used.
    RemoveUsed,
    /// Is an idle runner still registered (E15)?
    CheckIdle,
}

/// What has just happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Start,
    AfterRegistrationFinalizer,
    AfterFinalizer,
    AfterFinalizers,
    AfterClientRead(Purpose),
    AfterService(Purpose),
    AfterSecretRead,
    AfterLiveRunnerRead,
    AfterNamesakeSecretRead,
    AfterSetRead,
    AfterJitStatus,
    AfterSecretCreated,
    AfterUnsettledSecretRead,
    AfterUnsettledRunnerRead,
    AfterBadSecretDeleted,
    AfterRunnerId,
    AfterPodCreated,
    AfterRejectionRecorded,
    AfterAcceptanceRecorded,
    AfterMarked,
    AfterRunnerDeleted,
    AfterRunnerWithJobDeleted,
    AfterFailedPodRead,
    AfterFailedPodDeleted,
    AfterFailureRecorded,
    AfterUsedSecretDeleted,
    AfterLivePodRead,
    AfterUnusedRunnerRead,
    AfterUnregisteredRead,
    AfterFinishedRunnerRead,
    AfterStatusWritten,
    AfterDeletionSecretRead,
    AfterRegistrationFinalizerOff,
    AfterPodDeleted,
    AfterCleanupSecretRead,
    AfterSecretDeleted,
    AfterHookPodDeleted,
    AfterHookSecretsListed,
    AfterHookSecretDeleted,
    AfterFinalizerOff,
}

/// A pass over one EphemeralRunner.
#[derive(Clone, Debug)]
pub struct ErPass {
    key: Key,
    step: Step,
    /// The in-memory copy: from the cache at first, from the server after each patch (arc-controllers.md §2.5).
    runner: Option<Arc<EphemeralRunner>>,
    client: Option<Arc<ClientKey>>,
    build: Option<Box<ClientBuild>>,
    op: Option<Op>,
    /// The JIT secret as last read or created.
    secret: Option<Arc<Secret>>,
    /// The registration was made in this pass.
    fresh: bool,
    /// Which.
    made: Option<arc_api::RunnerId>,
    /// It could not be written down, and is looked after before the pass ends.
    unsettled: Option<Box<unsettled::Unsettled>>,
    /// How long until something must be looked at although no event comes.
    wake: Option<Duration>,
    deletion: deletion::Progress,
    outcome: pod_outcome::Progress,
}

impl ErPass {
    /// A pass over the runner `key`.
    pub fn new(key: Key) -> ErPass {
        ErPass {
            key,
            step: Step::Start,
            runner: None,
            client: None,
            build: None,
            op: None,
            secret: None,
            fresh: false,
            made: None,
            unsettled: None,
            wake: None,
            deletion: deletion::Progress::default(),
            outcome: pod_outcome::Progress::default(),
        }
    }
}

impl Pass for ErPass {
    const KIND: Kind = Kind::EphemeralRunner;

    fn step(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.step {
            Step::Start => self.start(o),
            Step::AfterRegistrationFinalizer => self.after_registration_finalizer(o),
            Step::AfterFinalizer => self.after_finalizer(o),
            Step::AfterFinalizers => self.after_finalizers(o),
            Step::AfterClientRead(purpose) => self.after_client_read(o, purpose),
            Step::AfterService(purpose) => self.after_service(o, purpose),
            Step::AfterSecretRead => self.after_secret_read(o),
            Step::AfterLiveRunnerRead => self.after_live_runner_read(o),
            Step::AfterNamesakeSecretRead => self.after_namesake_secret_read(o),
            Step::AfterSetRead => self.after_set_read(o),
            Step::AfterJitStatus => self.after_jit_status(o),
            Step::AfterSecretCreated => self.after_secret_created(o),
            Step::AfterUnsettledSecretRead => self.after_unsettled_secret_read(o),
            Step::AfterUnsettledRunnerRead => self.after_unsettled_runner_read(o),
            Step::AfterBadSecretDeleted => self.after_bad_secret_deleted(o),
            Step::AfterRunnerId => self.after_runner_id(o),
            Step::AfterPodCreated => self.after_pod_created(o),
            Step::AfterRejectionRecorded => self.after_rejection_recorded(o),
            Step::AfterAcceptanceRecorded => self.after_status_written(o),
            Step::AfterMarked => self.after_marked(o),
            Step::AfterRunnerDeleted => self.after_runner_deleted(o),
            Step::AfterRunnerWithJobDeleted => self.after_runner_with_job_deleted(o),
            Step::AfterFailedPodRead => self.after_failed_pod_read(o),
            Step::AfterFailedPodDeleted => self.after_failed_pod_deleted(o),
            Step::AfterFailureRecorded => self.after_failure_recorded(o),
            Step::AfterUsedSecretDeleted => self.after_used_secret_deleted(o),
            Step::AfterLivePodRead => self.after_live_pod_read(o),
            Step::AfterUnusedRunnerRead => self.after_unused_runner_read(o),
            Step::AfterUnregisteredRead => self.after_unregistered_read(o),
            Step::AfterFinishedRunnerRead => self.after_finished_runner_read(o),
            Step::AfterStatusWritten => self.after_status_written(o),
            Step::AfterDeletionSecretRead => self.after_deletion_secret_read(o),
            Step::AfterRegistrationFinalizerOff => self.after_registration_finalizer_off(o),
            Step::AfterPodDeleted => self.after_pod_deleted(o),
            Step::AfterCleanupSecretRead => self.after_cleanup_secret_read(o),
            Step::AfterSecretDeleted => self.after_secret_deleted(o),
            Step::AfterHookPodDeleted => self.after_hook_pod_deleted(o),
            Step::AfterHookSecretsListed => self.after_hook_secrets_listed(o),
            Step::AfterHookSecretDeleted => self.after_hook_secret_deleted(o),
            Step::AfterFinalizerOff => self.after_finalizer_off(o),
        }
    }

    fn at(&self) -> &'static str {
        match self.step {
            Step::Start => "start",
            Step::AfterRegistrationFinalizer => "after-registration-finalizer",
            Step::AfterFinalizer => "after-finalizer",
            Step::AfterFinalizers => "after-finalizers",
            Step::AfterClientRead(_) => "after-client-read",
            Step::AfterService(Purpose::Register) => "after-jit",
            Step::AfterService(Purpose::FindByName | Purpose::FindOnDeletion) => "after-find-by-name",
            Step::AfterService(Purpose::AskFinished | Purpose::CheckIdle) => "after-runner-looked-up",
            Step::AfterService(_) => "after-runner-removed",
            Step::AfterSecretRead => "after-jit-secret-read",
            Step::AfterLiveRunnerRead => "after-live-runner-read",
            Step::AfterNamesakeSecretRead => "after-namesake-secret-read",
            Step::AfterSetRead => "after-set-read",
            Step::AfterJitStatus => "after-jit-status",
            Step::AfterSecretCreated => "after-jit-secret-created",
            Step::AfterUnsettledSecretRead => "after-unsettled-secret-read",
            Step::AfterUnsettledRunnerRead => "after-unsettled-runner-read",
            Step::AfterBadSecretDeleted => "after-bad-secret-deleted",
            Step::AfterRunnerId => "after-runner-id",
            Step::AfterPodCreated => "after-pod-created",
            Step::AfterRejectionRecorded => "after-rejection-recorded",
            Step::AfterAcceptanceRecorded => "after-acceptance-recorded",
            Step::AfterMarked => "after-marked",
            Step::AfterRunnerDeleted => "after-runner-deleted",
            Step::AfterRunnerWithJobDeleted => "after-runner-with-job-deleted",
            Step::AfterFailedPodRead => "after-failed-pod-read",
            Step::AfterFailedPodDeleted => "after-failed-pod-deleted",
            Step::AfterFailureRecorded => "after-failure-recorded",
            Step::AfterUsedSecretDeleted => "after-used-secret-deleted",
            Step::AfterLivePodRead => "after-live-pod-read",
            Step::AfterUnusedRunnerRead => "after-unused-runner-read",
            Step::AfterUnregisteredRead => "after-unregistered-read",
            Step::AfterFinishedRunnerRead => "after-finished-runner-read",
            Step::AfterStatusWritten => "after-status-written",
            Step::AfterDeletionSecretRead => "after-deletion-secret-read",
            Step::AfterRegistrationFinalizerOff => "after-registration-finalizer-off",
            Step::AfterPodDeleted => "after-pod-deleted",
            Step::AfterCleanupSecretRead => "after-cleanup-secret-read",
            Step::AfterSecretDeleted => "after-jit-secret-deleted",
            Step::AfterHookPodDeleted => "after-hook-pod-deleted",
            Step::AfterHookSecretsListed => "after-hook-secrets-listed",
            Step::AfterHookSecretDeleted => "after-hook-secret-deleted",
            Step::AfterFinalizerOff => "after-finalizer-off",
        }
    }
}

/// The main order (arc-controllers.md §5.1, §5.6).
impl ErPass {
    fn start(&mut self, o: &mut Observed<'_>) -> Decision {
        let Some(runner) = o.caches.get::<EphemeralRunner>(&self.key) else { return settled() };
        self.runner = Some(runner.clone());
        if runner.metadata.is_deleting() {
            return self.delete(o);
        }
        // Up to 0.8.3 a finished runner still got missing finalizers before it was left alone.
        if o.settings.behaviour.er_done_cleanup != DoneCleanup::None && runner.status.phase.is_done() {
            o.info("Cleaning up resources after after ephemeral runner termination");
            return self.clean_up_done(o);
        }
        self.add_finalizers(o)
    }

    fn add_finalizers(&mut self, o: &mut Observed<'_>) -> Decision {
        let meta = &self.runner().metadata;
        let (first, second) = (meta.has_finalizer(FINALIZER), meta.has_finalizer(REGISTRATION_FINALIZER));
        if first && second {
            return self.with_finalizers(o);
        }
        match o.settings.behaviour.er_finalizers {
            ErFinalizers::TwoInOnePass if !second => {
                let list = meta.finalizers_with(REGISTRATION_FINALIZER);
                self.patch_main(Step::AfterRegistrationFinalizer, Patch::finalizers(list))
            }
            ErFinalizers::TwoInOnePass | ErFinalizers::TwoPasses => {
                let missing = if first { REGISTRATION_FINALIZER } else { FINALIZER };
                let list = meta.finalizers_with(missing);
                self.patch_main(Step::AfterFinalizer, Patch::finalizers(list))
            }
            ErFinalizers::AtCreation => {
                let add = [FINALIZER, REGISTRATION_FINALIZER].into_iter().filter(|f| !meta.has_finalizer(f));
                let list = meta.finalizers.iter().cloned().chain(add.map(Str::from)).collect();
                self.patch_main(Step::AfterFinalizers, Patch::finalizers(list))
            }
        }
    }

    fn after_registration_finalizer(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.adopt(o) {
            Ok(()) => self.add_finalizers(o),
            Err(e) => fail(o, "Failed to update with runner registration finalizer set", &e),
        }
    }

    fn after_finalizer(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.adopt(o) {
            Ok(()) => settled(),
            Err(e) => fail(o, "Failed to update with finalizer set", &e),
        }
    }

    fn after_finalizers(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.adopt(o) {
            Ok(()) => self.with_finalizers(o),
            Err(e) => fail(o, "Failed to update with finalizer set", &e),
        }
    }

    fn with_finalizers(&mut self, o: &mut Observed<'_>) -> Decision {
        if self.runner().status.phase.is_done() {
            return settled();
        }
        match o.settings.behaviour.er_jit_store {
            JitStore::Status if self.runner().status.runner_id.is_none() => self.register(o),
            JitStore::Status | JitStore::SecretOnly => self.read_secret(Step::AfterSecretRead),
        }
    }

    /// Registration and secret are there: wait, make the pod or look at it.
    fn with_secret(&mut self, o: &mut Observed<'_>) -> Decision {
        if o.settings.behaviour.er_backoff != ErBackoff::TableAfterPod
            && let Some(decision) = self.limit_or_backoff(o)
        {
            return decision;
        }
        match self.cached_pod(o) {
            Some(pod) => self.inspect(o, &pod),
            None => self.without_pod(o),
        }
    }

    /// What too many or too recent failures ask for, before another pod is made.
    fn limit_or_backoff(&mut self, o: &mut Observed<'_>) -> Option<Decision> {
        let backoff = o.settings.behaviour.er_backoff;
        let status = &self.runner().status;
        let failures = status.failure_count();
        if failures > FAILURES_MAX && o.settings.behaviour.er_failure_limit == FailureLimit::DeleteRunner {
            o.info("EphemeralRunner has failed more than 5 times. Deleting it");
            return Some(self.delete_runner(Step::AfterRunnerDeleted));
        }
        let until = status.last_failure()?.after(Duration::from_secs(*BACKOFF.get(failures)?));
        if until <= o.now {
            return None;
        }
        match backoff {
            ErBackoff::None => None,
            // The wait was computed with the wrong sign, and a negative wait is no wake-up (Q-BACKOFF-LOST-WAKEUP).
            ErBackoff::LostWakeup => Some(settled()),
            ErBackoff::Table | ErBackoff::TableAfterPod => Some(after(until.since(o.now))),
        }
    }
}

fn settled() -> Decision {
    Decision::End(Outcome::Settled)
}

fn after(wait: Duration) -> Decision {
    Decision::End(Outcome::After(wait))
}

fn fail(o: &mut Observed<'_>, message: &'static str, error: &CallError) -> Decision {
    o.error(message, error.text());
    Decision::End(Outcome::failed(error))
}

/// 400 at E17: the runner is busy.
pub(crate) fn is_job_still_running(error: &CallError) -> bool {
    error.service().is_some_and(|e| e.status == 400 && e.exception == arc_api::service::Exception::JobStillRunning)
}

/// 404 at E15 or E17: there is no such registration.
pub(crate) fn is_runner_unknown(error: &CallError) -> bool {
    error.service().is_some_and(|e| e.status == 404 && e.exception == arc_api::service::Exception::AgentNotFound)
}

/// The answer to a removal. Every release takes anything but 204 and 400 for an error (Q-REMOVERUNNER-NON204).
fn removal(reply: Reply, unknown_is_gone: bool) -> Removal {
    match reply.into_service() {
        Ok(_) => Removal::Gone,
        Err(e) if is_job_still_running(&e) => Removal::Busy,
        Err(e) if unknown_is_gone && is_runner_unknown(&e) => Removal::Gone,
        Err(e) => Removal::Failed(e),
    }
}

/// What became of a removal.
enum Removal {
    Gone,
    Busy,
    Failed(CallError),
}

/// A runner that never reached a phase counts as pending: one name for the empty phase.
const NO_PHASE: ErPhase = ErPhase::Empty;
