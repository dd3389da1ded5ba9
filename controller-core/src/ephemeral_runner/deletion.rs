//! Taking a runner down: its registration, its pod and secret, and what a container hook left behind.
//!
//! Source: arc-controllers.md §5.1 step 2 and 3, §5.6; recorded: a_basic (0.8.3 waits, 0.11.0 does not), b_github_remove.
//! Never removes anything of a runner that is neither deleting nor done.

use arc_api::core::Secret;
use arc_api::crd::ErPhase;
use arc_api::kube::{ErStatusPatch, KubeOk, KubeRequest, Patch};
use arc_api::meta::{Key, Meta};
use arc_api::service::{Op, ServiceOk};
use arc_api::{Duration, Kind, Object, RunnerId, Str, format_smolstr};

use super::{
    ErPass, FINALIZER, Purpose, REGISTRATION_FINALIZER, RUNNER_CONTAINER, Removal, Step, after, fail, removal, settled,
};
use crate::behaviour::{DoneCleanup, ErDeletion, PodExists, RemovalTarget, RemoveAfterSuccess};
use crate::call::{CallError, Reply};
use crate::labels::{SCALE_SET_NAME, SCALE_SET_NAMESPACE};
use crate::reconcile::{Decision, Observed, Outcome};

/// Between two questions whether a job still runs (arc-controllers.md §5.1).
const BUSY_WAIT: Duration = Duration::from_secs(30);
/// Between two looks at what a hook left behind (arc-controllers.md §5.6, 0.10.1 and older).
const HOOKS_WAIT: Duration = Duration::from_secs(5);
/// Label of the pods and secrets that container hooks make; its value is the runner's name.
const HOOK_LABEL: &str = "runner-pod";
/// The variable that turns container hooks on.
const HOOKS_ENV: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS";
/// Reason of the corrected controller while a registration cannot be removed.
const BLOCKED: &str = "DeregistrationBlocked";

/// What a clean-up remembers between its calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The runner is deleting: finalizers go when the objects are gone. Else it is only done.
    finalizing: bool,
    /// Each object is waited for.
    waiting: bool,
    /// Hook objects still to delete.
    hooks: Vec<Key>,
    /// Hook objects were found, so that a waiting clean-up looks again.
    found_hooks: bool,
    errors: Vec<Str>,
    /// How the pass ends after a refusal was written on the runner.
    pub(super) end: Option<Str>,
}

impl ErPass {
    pub(super) fn delete(&mut self, o: &mut Observed<'_>) -> Decision {
        let meta = &self.runner().metadata;
        // Without the first finalizer no release looks for the second, and the runner stays for ever (Q-ER-F1-MISSING).
        let looks = o.settings.behaviour.er_removal == RemovalTarget::Everything;
        let waits = meta.has_finalizer(FINALIZER) || looks && meta.has_finalizer(REGISTRATION_FINALIZER);
        if !waits {
            return settled();
        }
        if !meta.has_finalizer(REGISTRATION_FINALIZER) {
            return self.clean_up_deleting(o);
        }
        o.info("Trying to clean up runner from the service");
        let behaviour = &o.settings.behaviour;
        let status = &self.runner().status;
        let (phase, id) = (status.phase, status.runner_id);
        if phase == ErPhase::Succeeded && behaviour.er_remove_after_success == RemoveAfterSuccess::Skipped {
            return self.registration_finalizer_off();
        }
        match behaviour.er_removal {
            // The registration of a job's runner ends with the job, and its secret was cleaned up before.
            RemovalTarget::Everything if !phase.is_done() => self.read_secret(Step::AfterDeletionSecretRead),
            RemovalTarget::StatusId | RemovalTarget::Everything => {
                self.service(Purpose::RemoveOnDeletion, Op::RemoveRunner(id))
            }
        }
    }

    /// The secret knows a registration that the status does not know yet; without it, only the service knows. Nor is a secret
    /// trusted before there is a pod: another manager may still be registering the runner (a roll without a lease), and could
    /// not write down what it got beside this secret. A name has one registration, so whatever bears it goes.
    pub(super) fn after_deletion_secret_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_found::<Secret>() {
            Ok(found) => self.secret = found.filter(|s| self.may_take(o, &s.metadata)),
            Err(e) => return fail(o, "Failed to fetch secret", &e),
        }
        match self.secret_runner_id().filter(|_| self.cached_pod(o).is_some()) {
            Some(id) => self.service(Purpose::RemoveFound, Op::RemoveRunner(id)),
            None => self.service(Purpose::FindOnDeletion, Op::GetRunnerByName(self.key.name.clone())),
        }
    }

    pub(super) fn after_found_on_deletion(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        let set = self.runner().spec.runner_scale_set_id;
        match reply.into_service() {
            Ok(ServiceOk::Runner(Some(found))) if found.scale_set == set => {
                self.service_with(Purpose::RemoveFound, Op::RemoveRunner(found.id))
            }
            Ok(_) => self.remove_known(RunnerId(0)),
            Err(e) => self.deletion_failed(o, &e),
        }
    }

    pub(super) fn after_found_removed(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        match removal(reply, true) {
            Removal::Gone => {
                let removed = self.secret_runner_id().unwrap_or(self.runner().status.runner_id);
                self.remove_known(removed)
            }
            Removal::Busy => self.still_busy(o),
            Removal::Failed(e) => self.deletion_failed(o, &e),
        }
    }

    /// Removes `status.runnerId` as well, unless it is what was just removed.
    fn remove_known(&mut self, removed: RunnerId) -> Decision {
        let known = self.runner().status.runner_id;
        if known.is_none() || known == removed {
            return self.registration_finalizer_off();
        }
        self.service_with(Purpose::RemoveOnDeletion, Op::RemoveRunner(known))
    }

    pub(super) fn after_removed_on_deletion(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        match removal(reply, o.settings.behaviour.er_removal == RemovalTarget::Everything) {
            Removal::Gone => self.registration_finalizer_off(),
            Removal::Busy => self.still_busy(o),
            Removal::Failed(e) => self.deletion_failed(o, &e),
        }
    }

    fn still_busy(&mut self, o: &mut Observed<'_>) -> Decision {
        o.info("Runner is still running the job. Re-queueing in 30 seconds");
        after(BUSY_WAIT)
    }

    fn deletion_failed(&mut self, o: &mut Observed<'_>, error: &CallError) -> Decision {
        let text = error.text();
        o.error("Failed to clean up runner from the service", text.clone());
        self.deletion_blocked(o, text)
    }

    /// A runner that came after the end of its set, made by a manager that did not know of it, has nobody who would bring the
    /// credentials back; the scale set and all its registrations went with the set.
    pub(super) fn deletion_without_client(&mut self, o: &Observed<'_>, error: Str) -> Decision {
        let labels = &self.runner().metadata;
        let set = labels.label(SCALE_SET_NAMESPACE).zip(labels.label(SCALE_SET_NAME));
        match (o.settings.behaviour.er_removal, set) {
            (RemovalTarget::Everything, Some((namespace, name))) => {
                let key = Key::new(namespace.clone(), name.clone());
                self.deletion.end = Some(error);
                self.call(Step::AfterSetRead, KubeRequest::Get { kind: Kind::AutoscalingRunnerSet, key })
            }
            (RemovalTarget::Everything, None) | (RemovalTarget::StatusId, _) => self.deletion_blocked(o, error),
        }
    }

    pub(super) fn after_set_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let error = self.deletion.end.take().unwrap_or_default();
        match o.take_reply().into_object() {
            Err(e) if e.is_not_found() => self.registration_finalizer_off(),
            Ok(_) | Err(_) => self.deletion_blocked(o, error),
        }
    }

    /// Nobody sees why a runner stays: the corrected controller writes it on the runner, once.
    pub(super) fn deletion_blocked(&mut self, o: &Observed<'_>, error: Str) -> Decision {
        let status = &self.runner().status;
        let reported = status.reason == BLOCKED && status.message == error;
        if o.settings.behaviour.er_removal == RemovalTarget::StatusId || reported {
            return Decision::End(Outcome::Error(error));
        }
        let want =
            ErStatusPatch { reason: Some(BLOCKED.into()), message: Some(error.clone()), ..ErStatusPatch::default() };
        self.deletion.end = Some(error);
        self.patch_status(Step::AfterStatusWritten, want)
    }

    fn registration_finalizer_off(&mut self) -> Decision {
        let list = self.runner().metadata.finalizers_without(REGISTRATION_FINALIZER);
        self.patch_main(Step::AfterRegistrationFinalizerOff, Patch::finalizers(list))
    }

    pub(super) fn after_registration_finalizer_off(&mut self, o: &mut Observed<'_>) -> Decision {
        match (self.adopt(o), o.settings.behaviour.er_deletion) {
            (Ok(()), ErDeletion::Waiting) => settled(),
            (Ok(()), ErDeletion::OnePass) => self.clean_up_deleting(o),
            (Err(e), _) => fail(o, "Failed to update ephemeral runner without runner registration finalizer", &e),
        }
    }

    fn clean_up_deleting(&mut self, o: &mut Observed<'_>) -> Decision {
        o.info("Finalizing ephemeral runner");
        self.deletion.finalizing = true;
        self.deletion.waiting = o.settings.behaviour.er_deletion == ErDeletion::Waiting;
        self.clean_up_pod(o)
    }

    pub(super) fn clean_up_done(&mut self, o: &mut Observed<'_>) -> Decision {
        self.deletion.finalizing = false;
        self.deletion.waiting = o.settings.behaviour.er_done_cleanup == DoneCleanup::Waiting;
        self.clean_up_pod(o)
    }

    /// Pod, then secret. A waiting clean-up ends the pass at the first that is still there.
    fn clean_up_pod(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.cached_pod(o).filter(|pod| self.may_take(o, &pod.metadata)) {
            Some(pod) if !pod.metadata.is_deleting() => {
                o.info("Deleting the runner pod");
                self.delete_object(Step::AfterPodDeleted, Kind::Pod, self.key.clone())
            }
            Some(_) if self.deletion.waiting => Decision::End(Outcome::Requeue),
            Some(_) | None => self.read_secret(Step::AfterCleanupSecretRead),
        }
    }

    /// Whether an object of the runner's name is the runner's: every release takes it for that (Q-FOREIGN-POD).
    fn may_take(&self, o: &Observed<'_>, meta: &Meta) -> bool {
        let any_owner = o.settings.behaviour.er_pod_exists != PodExists::CheckOwner;
        any_owner || meta.controller().is_some_and(|owner| owner.uid == self.uid())
    }

    pub(super) fn after_pod_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Err(e) if !e.is_not_found() => self.cleanup_failed(o, &e),
            Ok(_) | Err(_) if self.deletion.waiting => Decision::End(Outcome::Requeue),
            Ok(_) | Err(_) => self.read_secret(Step::AfterCleanupSecretRead),
        }
    }

    pub(super) fn after_cleanup_secret_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_object() {
            Ok(Some(object)) if !self.may_take(o, object.meta()) => self.objects_gone(o),
            Ok(Some(object)) if !object.meta().is_deleting() => {
                o.info("Deleting the jitconfig secret");
                self.delete_object(Step::AfterSecretDeleted, Kind::Secret, self.key.clone())
            }
            Err(e) if !e.is_not_found() => self.cleanup_failed(o, &e),
            Ok(Some(_)) if self.deletion.waiting => Decision::End(Outcome::Requeue),
            Ok(_) | Err(_) => self.objects_gone(o),
        }
    }

    pub(super) fn after_secret_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Err(e) if !e.is_not_found() => self.cleanup_failed(o, &e),
            Ok(_) | Err(_) if self.deletion.waiting => Decision::End(Outcome::Requeue),
            Ok(_) | Err(_) => self.objects_gone(o),
        }
    }

    fn cleanup_failed(&mut self, o: &mut Observed<'_>, error: &CallError) -> Decision {
        fail(o, "Failed to clean up ephemeral runner owned resources", error)
    }

    fn objects_gone(&mut self, o: &mut Observed<'_>) -> Decision {
        if !self.deletion.finalizing {
            return settled();
        }
        let spec = &self.runner().spec.template.spec;
        let hooks_on = spec.container(RUNNER_CONTAINER).is_some_and(|c| c.has_env(HOOKS_ENV));
        if !self.deletion.waiting && !hooks_on {
            return self.finalizer_off();
        }
        let mut pods: Vec<Key> = o
            .caches
            .pods_labelled(&self.key.namespace, HOOK_LABEL, &self.key.name)
            .inspect(|_| self.deletion.found_hooks = true)
            .filter(|pod| !pod.metadata.is_deleting())
            .map(|pod| pod.metadata.key())
            .collect();
        pods.reverse();
        self.deletion.hooks = pods;
        self.next_hook_pod()
    }

    fn next_hook_pod(&mut self) -> Decision {
        if let Some(key) = self.deletion.hooks.pop() {
            return self.delete_object(Step::AfterHookPodDeleted, Kind::Pod, key);
        }
        if self.deletion.waiting && self.deletion.found_hooks {
            return self.hooks_end();
        }
        let labels = vec![(HOOK_LABEL.into(), self.key.name.clone())];
        let namespace = Some(self.key.namespace.clone());
        self.call(Step::AfterHookSecretsListed, KubeRequest::List { kind: Kind::Secret, namespace, labels })
    }

    pub(super) fn after_hook_pod_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        self.note(o.take_reply());
        self.next_hook_pod()
    }

    pub(super) fn after_hook_secrets_listed(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(KubeOk::List { items, .. }) => {
                self.deletion.found_hooks |= !items.is_empty();
                self.deletion.hooks = items.iter().rev().filter(|s| !s.meta().is_deleting()).map(Object::key).collect();
            }
            Ok(_) => {}
            Err(e) => self.deletion.errors.push(format_smolstr!("failed to list runner-linked secrets: {}", e.text())),
        }
        self.next_hook_secret(o)
    }

    fn next_hook_secret(&mut self, _o: &Observed<'_>) -> Decision {
        match self.deletion.hooks.pop() {
            Some(key) => self.delete_object(Step::AfterHookSecretDeleted, Kind::Secret, key),
            None => self.hooks_end(),
        }
    }

    pub(super) fn after_hook_secret_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        self.note(o.take_reply());
        self.next_hook_secret(o)
    }

    fn note(&mut self, reply: Reply) {
        if let Err(e) = reply.into_kube()
            && !e.is_not_found()
        {
            self.deletion.errors.push(e.text());
        }
    }

    fn hooks_end(&mut self) -> Decision {
        if !self.deletion.errors.is_empty() {
            return Decision::End(Outcome::Error(join(&self.deletion.errors)));
        }
        if self.deletion.waiting && self.deletion.found_hooks {
            return after(HOOKS_WAIT);
        }
        self.finalizer_off()
    }

    fn finalizer_off(&mut self) -> Decision {
        let list = self.runner().metadata.finalizers_without(FINALIZER);
        self.patch_main(Step::AfterFinalizerOff, Patch::finalizers(list))
    }

    pub(super) fn after_finalizer_off(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Err(e) if !e.is_not_found() => fail(o, "Failed to update ephemeral runner without the finalizer", &e),
            Ok(_) | Err(_) => {
                o.info("Successfully removed finalizer after cleanup");
                settled()
            }
        }
    }
}

/// Several errors as one, as Go's `multierr` joins them.
pub(crate) fn join(errors: &[Str]) -> Str {
    match errors {
        [one] => one.clone(),
        many => many.iter().map(Str::as_str).collect::<Vec<_>>().join("; ").into(),
    }
}
