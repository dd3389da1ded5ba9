//! Creating runners and removing idle ones, one call at a time; errors are collected and the loops go on.
//!
//! Source: arc-controllers.md §4.5, §4.6; recorded: a_basic, a_minmax, b_github_remove. Never decides how many.

use std::sync::Arc;

use arc_api::crd::{EphemeralRunner, ErPhase};
use arc_api::kube::KubeRequest;
use arc_api::service::ServiceOk;
use arc_api::{Duration, Meta, OwnerRef, Resource, RunnerId, Str, ToSmolStr, format_smolstr};

use super::{ErsPass, Mould, PATCH_ID, Purpose, Step};
use crate::behaviour::{
    Behaviour, BusyTest, ErFinalizers, ErsGate, ErsScaleDown, LabelPropagation, Overlays, RemovalTarget,
};
use crate::call::CallError;
use crate::ephemeral_runner::{FINALIZER, REGISTRATION_FINALIZER, is_job_still_running, is_runner_unknown};
use crate::labels;
use crate::names;
use crate::reconcile::{Decision, Observed, Outcome};

/// When the corrected controller tries refused removals again.
const REFUSED_WAIT: Duration = Duration::from_secs(10);

/// The labels that were handed down up to 0.9.1.
const COMMON: [&str; 7] = [
    labels::PART_OF,
    labels::VERSION,
    labels::SCALE_SET_NAME,
    labels::SCALE_SET_NAMESPACE,
    labels::ENTERPRISE,
    labels::ORGANIZATION,
    labels::REPOSITORY,
];

/// Whether the status says that the runner has a job.
pub(super) fn has_job(runner: &EphemeralRunner, behaviour: &Behaviour) -> bool {
    match behaviour.busy_test {
        BusyTest::JobRequestId => runner.status.has_job_request(),
        BusyTest::JobId => runner.status.has_job_id(),
    }
}

/// Whether a candidate has a job by now: the corrected controller looks at what its cache has shown since the runners were listed.
fn is_taken(o: &Observed<'_>, listed: &EphemeralRunner) -> bool {
    let behaviour = &o.settings.behaviour;
    let since = || o.caches.get::<EphemeralRunner>(&listed.metadata.key());
    has_job(listed, behaviour)
        || behaviour.ers_gate == ErsGate::Level
            && since().is_some_and(|r| r.metadata.uid == listed.metadata.uid && has_job(r, behaviour))
}

impl ErsPass {
    pub(super) fn create(&mut self, o: &mut Observed<'_>, count: i32) -> Decision {
        match self.mould(&o.settings.behaviour) {
            Ok(mould) => self.mould = Some(Box::new(mould)),
            Err(e) => {
                o.error("failed to make ephemeral runner", e.clone());
                return self.conclude(Outcome::Error(e));
            }
        }
        self.missing = count;
        self.create_next(o)
    }

    fn create_next(&mut self, o: &mut Observed<'_>) -> Decision {
        if self.missing > 0
            && let Some(mould) = &self.mould
        {
            self.missing -= 1;
            o.info("Creating new ephemeral runner");
            let runner = self.cast(mould, o.settings.behaviour.er_finalizers);
            return self.call(Step::AfterCreated, KubeRequest::Create(runner.into()));
        }
        if !self.errors.is_empty() {
            return self.fail_joined(o, "failed to make ephemeral runner");
        }
        self.report(o)
    }

    pub(super) fn after_created(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = o.take_reply().into_kube() {
            o.error("failed to make ephemeral runner", e.text());
            self.errors.push(e.text());
        }
        self.create_next(o)
    }

    fn mould(&self, behaviour: &Behaviour) -> Result<Mould, Str> {
        let set = self.set();
        let all = behaviour.label_propagation == LabelPropagation::All;
        let inherited = set.metadata.labels.iter().filter(|(k, _)| all || COMMON.contains(&k.as_str()));
        let mut labels: labels::Map = inherited.map(|(k, v)| (k.clone(), v.clone())).collect();
        labels.insert(labels::COMPONENT.into(), "runner".into());
        let mut annotations: labels::Map = (*set.metadata.annotations).clone();
        match behaviour.ers_gate {
            ErsGate::Always => {}
            ErsGate::PatchId | ErsGate::Level => {
                annotations.insert(PATCH_ID.into(), set.spec.patch_id.to_smolstr());
            }
        }
        let overlay = set.spec.ephemeral_runner_metadata.as_deref().filter(|_| behaviour.overlays != Overlays::None);
        let (labels, annotations) = labels::over(overlay, labels, annotations, behaviour)?;
        let mut spec = set.spec.ephemeral_runner_spec.clone();
        if spec.proxy.is_some() {
            Arc::make_mut(&mut spec).proxy_secret_ref = names::runner_proxy(&self.key);
        }
        Ok(Mould { labels, annotations, spec })
    }

    fn cast(&self, mould: &Mould, finalizers: ErFinalizers) -> EphemeralRunner {
        let metadata = Meta {
            namespace: self.key.namespace.clone(),
            generate_name: Some(format_smolstr!("{}-runner-", self.key.name)),
            labels: mould.labels.clone(),
            annotations: mould.annotations.clone(),
            finalizers: match finalizers {
                ErFinalizers::AtCreation => [FINALIZER.into(), REGISTRATION_FINALIZER.into()].into(),
                ErFinalizers::TwoInOnePass | ErFinalizers::TwoPasses => [].into(),
            },
            owner_references: [OwnerRef::controller(arc_api::crd::EphemeralRunnerSet::KIND, &self.set().metadata)]
                .into(),
            ..Meta::default()
        };
        EphemeralRunner { metadata, spec: mould.spec.clone(), ..EphemeralRunner::default() }
    }

    /// Removes `count` of the candidates, the last of the list first.
    pub(super) fn remove_idle(
        &mut self,
        o: &mut Observed<'_>,
        candidates: Vec<Arc<EphemeralRunner>>,
        count: i32,
    ) -> Decision {
        if candidates.is_empty() {
            return self.report(o);
        }
        self.candidates = candidates;
        self.missing = count;
        self.build_client(Purpose::Idle)
    }

    pub(super) fn next_idle(&mut self, o: &mut Observed<'_>) -> Decision {
        let behaviour = &o.settings.behaviour;
        while self.missing > 0 {
            let Some(runner) = self.candidates.last() else { break };
            let id = runner.status.runner_id;
            let runner = runner.clone();
            if is_taken(o, &runner) {
                self.candidates.pop();
            } else if !id.is_none() {
                return self.remove(Purpose::Idle, id);
            } else if behaviour.er_removal == RemovalTarget::Everything {
                // It deregisters itself, whatever it has reached meanwhile.
                self.candidates.pop();
                return self.delete_runner(Step::AfterDeleted(Purpose::Idle), &runner);
            } else {
                o.info("Skipping ephemeral runner since it is not registered yet");
                self.candidates.pop();
            }
        }
        if !self.errors.is_empty() {
            return self.fail_joined(o, "failed to delete idle runners");
        }
        if self.refused > 0 && self.missing > 0 && behaviour.ers_scale_down == ErsScaleDown::ForcedWithRetry {
            self.wake = Some(self.wake.map_or(REFUSED_WAIT, |w| w.min(REFUSED_WAIT)));
        }
        self.report(o)
    }

    pub(super) fn after_idle_removed(&mut self, o: &mut Observed<'_>, reply: Result<ServiceOk, CallError>) -> Decision {
        let Some(runner) = self.candidates.pop() else { return self.report(o) };
        match reply {
            // The service believed it idle and the listener's word came since: it still has its pod to do the job in.
            Ok(_) if is_taken(o, &runner) => self.next_idle(o),
            Ok(_) => {
                o.info("Deleting ephemeral runner after removing from the service");
                self.delete_runner(Step::AfterDeleted(Purpose::Idle), &runner)
            }
            Err(e) if is_job_still_running(&e) => {
                o.info("Runner job is still running, skipping deletion");
                self.refused += 1;
                self.next_idle(o)
            }
            Err(e) if is_runner_unknown(&e) && o.settings.behaviour.er_removal == RemovalTarget::Everything => {
                self.delete_runner(Step::AfterDeleted(Purpose::Idle), &runner)
            }
            Err(e) => {
                self.errors.push(e.text());
                self.next_idle(o)
            }
        }
    }
}

/// A registration that cannot serve: its pod was refused or failed, so it goes first.
pub(super) fn is_useless(runner: &EphemeralRunner) -> bool {
    runner.status.rejections > 0 || (runner.status.phase == ErPhase::Empty && runner.status.failure_count() > 0)
}

/// No registration.
pub(super) const NO_RUNNER: RunnerId = RunnerId(0);
