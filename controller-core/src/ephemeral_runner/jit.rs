//! The registration of a runner: getting it (E14), keeping it in a Secret, and what a taken name means.
//!
//! Source: arc-controllers.md §5.2, §5.6; recorded: a_basic, b_crash_points. Never decides about pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::Secret;
use arc_api::crd::{EphemeralRunner, ErSpec, Token};
use arc_api::kube::{ErStatusPatch, KubeRequest};
use arc_api::meta::Labels;
use arc_api::service::{Exception, Op, RunnerInfo, ServiceOk};
use arc_api::{Kind, Meta, Object, OwnerRef, Resource, RunnerId, Str, ToSmolStr};

use super::{ErPass, NO_PHASE, Purpose, RUNNER_CONTAINER, Removal, Step, fail, removal, settled};
use crate::behaviour::{
    ErBackoff, ForeignName, JitStore, Overlays, PodExists, SinglePass, StaleObject, UsedJit, WorkFolder,
};
use crate::call::Reply;
use crate::reconcile::{Decision, Observed, Outcome};

/// Key of the JIT secret that holds the configuration.
pub(super) const JIT_TOKEN: &str = "jitToken";
const RUNNER_ID: &str = "runnerId";
const RUNNER_NAME: &str = "runnerName";
const SCALE_SET_ID: &str = "scaleSetId";

/// The registration a JIT secret names; none in the secrets of 0.12.1 and older (recorded: a_basic/0.12.1).
pub(super) fn runner_id_of(secret: &Secret) -> Option<RunnerId> {
    secret.data.get(RUNNER_ID)?.parse().ok().map(RunnerId)
}

impl ErPass {
    pub(super) fn register(&mut self, o: &mut Observed<'_>) -> Decision {
        if self.set_is_going(o) {
            return self.rest();
        }
        match o.settings.behaviour.er_stale_object {
            StaleObject::Believed => self.register_now(o),
            StaleObject::Read => self.call(
                Step::AfterLiveRunnerRead,
                KubeRequest::Get { kind: Kind::EphemeralRunner, key: self.key.clone() },
            ),
        }
    }

    /// A registration belongs to nobody if the runner is gone: the cache of a manager whose watches broke may not know it yet.
    pub(super) fn after_live_runner_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.see_live_runner(o) {
            Ok(()) => self.register_now(o),
            Err(decision) => decision,
        }
    }

    /// The pass goes on with this very runner as the server has it; one that is gone, going or done ends it.
    pub(super) fn see_live_runner(&mut self, o: &mut Observed<'_>) -> Result<(), Decision> {
        let live = self.live_runner(o)?.filter(|r| !r.metadata.is_deleting() && !r.status.phase.is_done());
        self.runner = Some(live.ok_or_else(settled)?);
        Ok(())
    }

    /// This very runner as the server has it, if it still has it.
    pub(super) fn live_runner(&self, o: &mut Observed<'_>) -> Result<Option<Arc<EphemeralRunner>>, Decision> {
        match o.take_reply().into_found::<EphemeralRunner>() {
            Ok(found) => Ok(found.filter(|r| r.metadata.uid == self.uid())),
            Err(e) => Err(fail(o, "Failed to fetch the ephemeral runner", &e)),
        }
    }

    fn register_now(&mut self, o: &mut Observed<'_>) -> Decision {
        o.info("Creating ephemeral runner JIT config");
        let runner = self.runner();
        let op = Op::GenerateJitConfig {
            id: runner.spec.runner_scale_set_id,
            name: self.key.name.clone(),
            work_folder: work_folder(&runner.spec, o.settings.behaviour.er_work_folder),
        };
        self.service(Purpose::Register, op)
    }

    pub(super) fn after_jit(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        match reply.into_service() {
            Ok(ServiceOk::Jit { runner, jit }) => {
                self.fresh = true;
                self.made = Some(runner.id);
                self.keep(o, &runner, jit)
            }
            Ok(_) => Decision::End(Outcome::Error("generate jit config: unexpected answer".into())),
            Err(e) if e.service().is_some_and(|s| s.status == 409 && s.exception == Exception::AgentExists) => {
                o.info("Runner with the same name already exists, checking whether it belongs to this scale set");
                self.service_with(Purpose::FindByName, Op::GetRunnerByName(self.key.name.clone()))
            }
            Err(e) => fail(o, "Failed to generate JIT config", &e),
        }
    }

    /// Up to 0.12.1 the status came first, then the secret; from 0.13.0 on the secret alone holds the configuration.
    fn keep(&mut self, o: &Observed<'_>, info: &RunnerInfo, jit: Token) -> Decision {
        match o.settings.behaviour.er_jit_store {
            JitStore::Status => {
                let want = ErStatusPatch {
                    runner_id: Some(info.id),
                    runner_name: Some(info.name.clone()),
                    runner_jit_config: Some(jit),
                    ..ErStatusPatch::default()
                };
                self.patch_status(Step::AfterJitStatus, want)
            }
            JitStore::SecretOnly => {
                let data = BTreeMap::from([
                    (JIT_TOKEN.into(), jit.to_smolstr()),
                    (RUNNER_ID.into(), info.id.to_smolstr()),
                    (RUNNER_NAME.into(), info.name.clone()),
                    (SCALE_SET_ID.into(), self.runner().spec.runner_scale_set_id.to_smolstr()),
                ]);
                let overlays = o.settings.behaviour.overlays;
                self.create_secret(overlays, data)
            }
        }
    }

    fn create_secret(&mut self, overlays: Overlays, data: BTreeMap<Str, Str>) -> Decision {
        let runner = self.runner();
        let overlay =
            runner.spec.ephemeral_runner_config_secret_metadata.as_deref().filter(|_| overlays != Overlays::None);
        let metadata = Meta {
            labels: overlay.map(|o| o.labels.clone()).unwrap_or_default(),
            annotations: overlay.map(|o| o.annotations.clone()).unwrap_or_default(),
            owner_references: [OwnerRef::controller(EphemeralRunner::KIND, &runner.metadata)].into(),
            ..Meta::named(self.key.namespace.clone(), self.key.name.clone())
        };
        let secret = Secret { metadata, data: Labels::new(data), ..Secret::default() };
        self.call(Step::AfterSecretCreated, KubeRequest::Create(secret.into()))
    }

    pub(super) fn after_found_by_name(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        match reply.into_service() {
            Ok(ServiceOk::Runner(None)) => Decision::End(Outcome::Requeue),
            Ok(ServiceOk::Runner(Some(found))) if found.scale_set == self.runner().spec.runner_scale_set_id => {
                if o.settings.behaviour.er_used_jit == UsedJit::Replaced {
                    self.made = Some(found.id);
                    return self.read_secret(Step::AfterNamesakeSecretRead);
                }
                self.remove_namesake(o, found.id)
            }
            Ok(_) => match o.settings.behaviour.er_foreign_name {
                ForeignName::Error => {
                    let error = "runner with the same name doesn't belong to this RunnerScaleSet";
                    o.error("Failed to generate JIT config", error);
                    Decision::End(Outcome::Error(error.into()))
                }
                ForeignName::DeleteRunner => self.delete_runner(Step::AfterRunnerDeleted),
            },
            Err(e) => fail(o, "Failed to get runner by name", &e),
        }
    }

    fn remove_namesake(&mut self, o: &mut Observed<'_>, id: RunnerId) -> Decision {
        o.info("Removing the runner with the same name");
        self.service_with(Purpose::RemoveNamesake, Op::RemoveRunner(id))
    }

    /// Who is in the way may be this very runner, registered by another manager in the same moment (a roll without a lease):
    /// then its secret is there by now, and a pod will present that registration.
    pub(super) fn after_namesake_secret_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let found = self.made.take().unwrap_or_default();
        match o.take_reply().into_object() {
            Ok(Some(_)) => Decision::End(Outcome::Requeue),
            Err(e) if !e.is_not_found() => fail(o, "Failed to fetch secret", &e),
            Ok(None) | Err(_) => self.remove_namesake(o, found),
        }
    }

    pub(super) fn after_namesake_removed(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        match removal(reply, o.settings.behaviour.er_used_jit == UsedJit::Replaced) {
            Removal::Gone => Decision::End(Outcome::Requeue),
            // Whoever used the name has a job: this object must not register beside it.
            Removal::Busy if o.settings.behaviour.er_used_jit == UsedJit::Replaced => {
                self.delete_runner(Step::AfterRunnerDeleted)
            }
            Removal::Busy => {
                let error = "failed to remove the runner from the service: job still running";
                o.error("Failed to remove the runner with the same name", error);
                Decision::End(Outcome::Error(error.into()))
            }
            Removal::Failed(e) => fail(o, "Failed to remove the runner with the same name", &e),
        }
    }

    pub(super) fn after_jit_status(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = self.adopt(o) {
            return fail(o, "Failed to update runner status for RunnerId/RunnerName/RunnerJITConfig", &e);
        }
        match o.settings.behaviour.er_single_pass {
            SinglePass::No => settled(),
            SinglePass::Yes => {
                self.fresh = false;
                self.read_secret(Step::AfterSecretRead)
            }
        }
    }

    pub(super) fn after_secret_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_object() {
            Ok(object) => {
                self.secret = object.as_ref().and_then(Object::get::<Secret>).cloned();
                match o.settings.behaviour.er_jit_store {
                    JitStore::Status => self.with_secret(o),
                    JitStore::SecretOnly => self.compare_runner_id(o),
                }
            }
            Err(e) if e.is_not_found() => self.without_secret(o),
            Err(e) => {
                let decision = fail(o, "Failed to fetch secret", &e);
                if self.may_lose_registration(o) { self.settle_registration(e) } else { decision }
            }
        }
    }

    fn without_secret(&mut self, o: &mut Observed<'_>) -> Decision {
        if o.settings.behaviour.er_jit_store == JitStore::Status {
            let token = self.runner().status.runner_jit_config.unwrap_or_default();
            return self.create_secret(Overlays::None, BTreeMap::from([(JIT_TOKEN.into(), token.to_smolstr())]));
        }
        // A pod that is there has taken its registration: making another would remove the one in use
        // (Q-SECRET-DELETED-REREGISTER).
        let pod_first = o.settings.behaviour.er_used_jit == UsedJit::Replaced;
        if pod_first && let Some(made) = self.made.take() {
            // Another manager's secret was in the way of this pass's, and went with its runner before it could be read.
            o.info("Removing the registration that nobody will use");
            return self.service_with(Purpose::RemoveNamesake, Op::RemoveRunner(made));
        }
        if pod_first && let Some(pod) = self.cached_pod(o) {
            return self.inspect(o, &pod);
        }
        if o.settings.behaviour.er_backoff == ErBackoff::TableAfterPod
            && let Some(decision) = self.limit_or_backoff(o)
        {
            return decision;
        }
        if pod_first && !self.runner().status.runner_id.is_none() {
            return self.read_pod();
        }
        self.register(o)
    }

    pub(super) fn after_secret_created(&mut self, o: &mut Observed<'_>) -> Decision {
        let object = match o.take_reply().into_object() {
            Ok(object) => object,
            // Another manager was faster (a roll without a lease); whose registration it keeps is in the secret.
            Err(e) if e.is_already_exists() && o.settings.behaviour.er_used_jit == UsedJit::Replaced => {
                return self.read_secret(Step::AfterSecretRead);
            }
            Err(e) => {
                let decision = fail(o, "Failed to create the JIT config secret", &e);
                return if self.may_lose_registration(o) { self.settle_registration(e) } else { decision };
            }
        };
        self.secret = object.as_ref().and_then(Object::get::<Secret>).cloned();
        match (o.settings.behaviour.er_jit_store, o.settings.behaviour.er_single_pass) {
            (JitStore::SecretOnly, _) => self.compare_runner_id(o),
            (JitStore::Status, SinglePass::No) => Decision::End(Outcome::Requeue),
            (JitStore::Status, SinglePass::Yes) => self.read_secret(Step::AfterSecretRead),
        }
    }

    /// The status learns the registration from the secret (0.13.0 on).
    fn compare_runner_id(&mut self, o: &mut Observed<'_>) -> Decision {
        let replaced = o.settings.behaviour.er_used_jit == UsedJit::Replaced;
        if let Some(made) = self.made.take().filter(|id| replaced && self.secret_runner_id() != Some(*id)) {
            o.info("Removing the registration that nobody will use");
            return self.service_with(Purpose::RemoveNamesake, Op::RemoveRunner(made));
        }
        let known = self.runner().status.runner_id;
        if !known.is_none() && (!replaced || self.secret_runner_id() == Some(known)) {
            return self.with_secret(o);
        }
        let Some(secret) = &self.secret else { return settled() };
        let foreign = secret.metadata.controller().is_none_or(|owner| owner.uid != self.uid());
        if foreign && o.settings.behaviour.er_pod_exists == PodExists::CheckOwner {
            let since = secret.metadata.creation_timestamp;
            return self.report_foreign(o, since, "ForeignSecret", "a secret of another owner has this runner's name");
        }
        let Some(id) = runner_id_of(secret) else {
            o.error("Runner config secret is corrupted: missing runnerId", "");
            return self.delete_object(Step::AfterBadSecretDeleted, Kind::Secret, self.key.clone());
        };
        let want = ErStatusPatch {
            runner_id: Some(id),
            runner_name: secret.data.get(RUNNER_NAME).cloned(),
            // What a former pod of this runner left behind says nothing about the new registration.
            phase: (replaced && self.fresh).then_some(NO_PHASE),
            ..ErStatusPatch::default()
        };
        self.patch_status(Step::AfterRunnerId, want)
    }

    pub(super) fn after_bad_secret_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => Decision::End(Outcome::Requeue),
            Err(e) => fail(o, "Failed to delete the corrupted runner config secret", &e),
        }
    }

    pub(super) fn after_runner_id(&mut self, o: &mut Observed<'_>) -> Decision {
        let adopted = self.adopt(o);
        // Another manager took the runner down meanwhile, and may have asked for its registration before it was there.
        let gone = match &adopted {
            Ok(()) => self.runner().metadata.is_deleting(),
            Err(e) => e.is_not_found(),
        };
        if gone
            && self.fresh
            && o.settings.behaviour.er_used_jit == UsedJit::Replaced
            && let Some(id) = self.secret_runner_id()
        {
            o.info("Removing the registration that nobody will use");
            return self.service_with(Purpose::RemoveBestEffort, Op::RemoveRunner(id));
        }
        match adopted {
            Ok(()) => self.with_secret(o),
            Err(e) => {
                let decision = fail(o, "Failed to update runner status for RunnerId/RunnerName", &e);
                self.made = self.secret_runner_id().filter(|_| self.fresh);
                if self.may_lose_registration(o) { self.settle_registration(e) } else { decision }
            }
        }
    }
}

fn work_folder(spec: &ErSpec, switch: WorkFolder) -> Str {
    match switch {
        WorkFolder::Never => Str::default(),
        WorkFolder::Sent => {
            spec.template.spec.container(RUNNER_CONTAINER).map(|c| c.working_dir.clone()).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_api::meta::labels;

    #[test]
    fn a_secret_of_an_old_release_names_no_registration() {
        let secret = |pairs: &[(&str, &str)]| Secret { data: labels(pairs.iter().copied()), ..Secret::default() };
        assert_eq!(runner_id_of(&secret(&[("jitToken", "7")])), None);
        assert_eq!(runner_id_of(&secret(&[("runnerId", "x")])), None);
        assert_eq!(runner_id_of(&secret(&[("runnerId", "12")])), Some(RunnerId(12)));
    }
}
