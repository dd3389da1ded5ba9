//! What all parts of a runner pass use: its calls, its status patches, its service client and its in-memory copy.
//!
//! **Never** decides what comes next but where a reply goes. Source: arc-controllers.md §2.5, §2.6.

use std::sync::Arc;

use arc_api::crd::{AutoscalingRunnerSet, EphemeralRunner, EphemeralRunnerSet};
use arc_api::kube::{Body, DeleteOptions, ErStatusPatch, KubeRequest, Patch, Sub};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::service::Op;
use arc_api::{Duration, Kind, Meta, Object, RunnerId, Str, Time, Uid};

use super::{ErPass, Purpose, Step, after, fail, jit, settled};
use crate::behaviour::{Behaviour, BusyTest, GoingSet};
use crate::call::{Call, CallError, ServiceCall};
use crate::client_build::ClientBuild;
use crate::reconcile::{Decision, Observed, Outcome};

/// What all parts use.
impl ErPass {
    /// The in-memory copy.
    ///
    /// # Panics
    /// Before the first step read it: a bug of this module.
    pub(super) fn runner(&self) -> &Arc<EphemeralRunner> {
        match &self.runner {
            Some(runner) => runner,
            None => panic!("a pass uses its runner before it read it"),
        }
    }

    pub(super) fn cached_pod(&self, o: &Observed<'_>) -> Option<Arc<Pod>> {
        o.caches.get::<Pod>(&self.key).cloned()
    }

    pub(super) fn has_job(&self, behaviour: &Behaviour) -> bool {
        let status = &self.runner().status;
        match behaviour.busy_test {
            BusyTest::JobRequestId => status.has_job_request(),
            BusyTest::JobId => status.has_job_id(),
        }
    }

    /// Whether the runner's set is being deleted, as far as the caches know: it is about to be deleted itself.
    pub(super) fn set_is_going(&self, o: &Observed<'_>) -> bool {
        let owner = |meta: &Meta| meta.controller().map(|c| Key::new(self.key.namespace.clone(), c.name.clone()));
        let runner_set = owner(&self.runner().metadata).and_then(|k| o.caches.get::<EphemeralRunnerSet>(&k));
        let set = runner_set.and_then(|s| owner(&s.metadata)).and_then(|k| o.caches.get::<AutoscalingRunnerSet>(&k));
        o.settings.behaviour.er_going_set == GoingSet::Respected
            && (runner_set.is_some_and(|s| s.metadata.is_deleting()) || set.is_some_and(|s| s.metadata.is_deleting()))
    }

    pub(super) fn call(&mut self, then: Step, request: KubeRequest) -> Decision {
        self.step = then;
        Decision::Call(Call::Kube(request))
    }

    pub(super) fn read_secret(&mut self, then: Step) -> Decision {
        self.call(then, KubeRequest::Get { kind: Kind::Secret, key: self.key.clone() })
    }

    pub(super) fn delete_object(&mut self, then: Step, kind: Kind, key: Key) -> Decision {
        self.call(then, KubeRequest::Delete { kind, key, options: DeleteOptions::default() })
    }

    pub(super) fn delete_runner(&mut self, then: Step) -> Decision {
        self.delete_object(then, Kind::EphemeralRunner, self.key.clone())
    }

    pub(super) fn patch_main(&mut self, then: Step, patch: Patch) -> Decision {
        let request = KubeRequest::Patch {
            kind: Kind::EphemeralRunner,
            key: self.key.clone(),
            sub: Sub::Main,
            patch: Arc::new(patch),
        };
        self.call(then, request)
    }

    /// A status patch: what of `want` differs from the in-memory copy. One without a difference is sent as well, as upstream
    /// does (recorded: a_delete/0.11.0, `{}`).
    pub(super) fn patch_status(&mut self, then: Step, want: ErStatusPatch) -> Decision {
        let body = match self.difference(want) {
            patch if patch.is_empty() => Body::None,
            patch => Body::ErStatus(Box::new(patch)),
        };
        let request = KubeRequest::Patch {
            kind: Kind::EphemeralRunner,
            key: self.key.clone(),
            sub: Sub::Status,
            patch: Arc::new(Patch::body(body)),
        };
        self.call(then, request)
    }

    pub(super) fn difference(&self, mut want: ErStatusPatch) -> ErStatusPatch {
        let now = &self.runner().status;
        fn drop_same<T: PartialEq>(want: &mut Option<T>, now: &T) {
            if want.as_ref() == Some(now) {
                *want = None;
            }
        }
        drop_same(&mut want.phase, &now.phase);
        drop_same(&mut want.ready, &now.ready);
        drop_same(&mut want.reason, &now.reason);
        drop_same(&mut want.message, &now.message);
        drop_same(&mut want.runner_id, &now.runner_id);
        drop_same(&mut want.runner_name, &now.runner_name);
        drop_same(&mut want.ended_generation, &now.ended_generation);
        drop_same(&mut want.rejections, &now.rejections);
        drop_same(&mut want.conditions, &now.conditions);
        if want.last_rejection.is_some() && want.last_rejection == now.last_rejection {
            want.last_rejection = None;
        }
        if want.runner_jit_config.is_some() && want.runner_jit_config == now.runner_jit_config {
            want.runner_jit_config = None;
        }
        if let Some(entries) = &mut want.failures {
            entries.retain(|uid, mark| now.failures.as_ref().and_then(|f| f.get(uid)) != Some(mark));
            if entries.is_empty() {
                want.failures = None;
            }
        }
        want
    }

    /// Takes the reply to a patch of the runner as the new in-memory copy.
    pub(super) fn adopt(&mut self, o: &mut Observed<'_>) -> Result<(), CallError> {
        if let Some(runner) = o.take_reply().into_object()?.as_ref().and_then(Object::get::<EphemeralRunner>) {
            self.runner = Some(runner.clone());
        }
        Ok(())
    }

    /// Starts a service call with a client of its own, whose secret is read first.
    pub(super) fn service(&mut self, purpose: Purpose, op: Op) -> Decision {
        let build = ClientBuild::of(&self.runner().spec, &self.key.namespace);
        self.op = Some(op);
        let request = build.request();
        self.build = Some(Box::new(build));
        match request {
            Some(request) => self.call(Step::AfterClientRead(purpose), request),
            None => self.service_again(purpose),
        }
    }

    /// A further call with the client this pass already has.
    pub(super) fn service_with(&mut self, purpose: Purpose, op: Op) -> Decision {
        self.op = Some(op);
        self.service_again(purpose)
    }

    pub(super) fn service_again(&mut self, purpose: Purpose) -> Decision {
        self.step = Step::AfterService(purpose);
        match (&self.client, self.op.take()) {
            (Some(client), Some(op)) => Decision::Call(Call::Service(ServiceCall { client: client.clone(), op })),
            _ => panic!("a service call without a client"),
        }
    }

    pub(super) fn after_client_read(&mut self, o: &mut Observed<'_>, purpose: Purpose) -> Decision {
        let reply = o.take_reply();
        let Some(build) = &mut self.build else { panic!("a client is read that nobody builds") };
        if let Err(e) = build.answer(reply) {
            return self.without_client(o, purpose, e);
        }
        if let Some(request) = build.request() {
            return self.call(Step::AfterClientRead(purpose), request);
        }
        match build.key() {
            Ok(client) => {
                self.client = Some(client);
                self.build = None;
                self.service_again(purpose)
            }
            Err(e) => self.without_client(o, purpose, e),
        }
    }

    pub(super) fn without_client(&mut self, o: &mut Observed<'_>, purpose: Purpose, error: Str) -> Decision {
        let message = "Failed to get actions client for removing the runner from the service";
        match purpose {
            Purpose::RemoveBestEffort => {
                o.error(message, error);
                settled()
            }
            Purpose::RemoveOnDeletion | Purpose::FindOnDeletion | Purpose::RemoveFound => {
                o.error(message, error.clone());
                self.deletion_without_client(o, error)
            }
            _ => {
                o.error("Failed to get actions client", error.clone());
                Decision::End(Outcome::Error(error))
            }
        }
    }

    pub(super) fn after_service(&mut self, o: &mut Observed<'_>, purpose: Purpose) -> Decision {
        let reply = o.take_reply();
        match purpose {
            Purpose::Register => self.after_jit(o, reply),
            Purpose::FindByName => self.after_found_by_name(o, reply),
            Purpose::RemoveNamesake => self.after_namesake_removed(o, reply),
            Purpose::RemoveOnDeletion => self.after_removed_on_deletion(o, reply),
            Purpose::FindOnDeletion => self.after_found_on_deletion(o, reply),
            Purpose::RemoveFound => self.after_found_removed(o, reply),
            Purpose::RemoveMarked => self.after_marked_removed(o, reply),
            Purpose::RemoveBestEffort => self.after_best_effort(o, reply),
            Purpose::AskFinished => self.after_finished_asked(o, reply),
            Purpose::RemoveUnsettled => self.after_unsettled_removed(o, reply),
            Purpose::RemoveUsed => self.after_used_removed(o, reply),
            Purpose::CheckIdle => self.after_idle_checked(o, reply),
        }
    }

    pub(super) fn after_status_written(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.adopt(o) {
            Ok(()) => self.rest(),
            Err(e) => fail(o, "Failed to update runner status", &e),
        }
    }

    pub(super) fn after_runner_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => settled(),
            Err(e) => fail(o, "Failed to delete the ephemeral runner", &e),
        }
    }

    /// Settled, unless something must be looked at later anyway.
    pub(super) fn rest(&self) -> Decision {
        match (&self.deletion.end, self.wake) {
            (Some(error), _) => Decision::End(Outcome::Error(error.clone())),
            (None, Some(wait)) => after(wait),
            (None, None) => settled(),
        }
    }

    pub(super) fn wake_at(&mut self, at: Time, now: Time) {
        let wait = at.since(now).max(Duration::from_millis(1));
        self.wake = Some(self.wake.map_or(wait, |w| w.min(wait)));
    }

    /// The uid that owns the runner's dependents.
    pub(super) fn uid(&self) -> Uid {
        self.runner().metadata.uid
    }

    /// The registration that the JIT secret names.
    pub(super) fn secret_runner_id(&self) -> Option<RunnerId> {
        self.secret.as_ref().and_then(|s| jit::runner_id_of(s))
    }
}
