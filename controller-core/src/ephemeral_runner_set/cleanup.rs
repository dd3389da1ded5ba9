//! The end of a set: all its runners, then its proxy secret, then its finalizer.
//!
//! Source: arc-controllers.md §4.4; recorded: d_uninstall, a_two_sets. Never takes a runner whose job still runs.

use arc_api::crd::EphemeralRunner;
use arc_api::kube::{DeleteOptions, KubeOk, KubeRequest, Patch, Sub};
use arc_api::meta::Key;
use arc_api::service::ServiceOk;
use arc_api::{Duration, Kind};

use super::classify::{Census, over};
use super::scale::{NO_RUNNER, has_job};
use super::{ErsPass, FINALIZER, Purpose, Step, fail, own_runners, settled};
use crate::behaviour::{ErsGate, ErsScaleDown, RemovalTarget};
use crate::call::CallError;
use crate::ephemeral_runner::END_ANSWERED;
use crate::ephemeral_runner::{is_job_still_running, is_runner_unknown};
use crate::names;
use crate::reconcile::{Decision, Observed, Outcome};

/// When the corrected controller looks again at runners that are left.
const LEFT_WAIT: Duration = Duration::from_secs(30);

impl ErsPass {
    pub(super) fn clean_up(&mut self, o: &mut Observed<'_>) -> Decision {
        o.info("Deleting resources");
        if o.caches.runners(&self.key).next().is_none() {
            return match o.settings.behaviour.ers_gate {
                ErsGate::Always | ErsGate::PatchId => self.without_runners(),
                ErsGate::Level => self.list_runners(Step::AfterCleanUpListed),
            };
        }
        let ended = |r: &&std::sync::Arc<EphemeralRunner>| !r.metadata.is_deleting() && over(r);
        self.doomed = o.caches.runners(&self.key).filter(ended).cloned().collect();
        self.doomed.reverse();
        self.candidates = Census::idle_first(o.caches.runners(&self.key));
        self.next_ended(o)
    }

    /// A runner that the cache does not show yet would be left to a controller that has lost its rights.
    pub(super) fn after_clean_up_listed(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(KubeOk::List { items, .. }) if !own_runners(&items, self.set()).is_empty() => self.incomplete(o),
            Ok(_) => self.without_runners(),
            Err(e) => fail(o, "Failed to list ephemeral runners", &e),
        }
    }

    fn without_runners(&mut self) -> Decision {
        match self.set().spec.ephemeral_runner_spec.proxy {
            Some(_) => {
                let key = Key::new(self.key.namespace.clone(), names::runner_proxy(&self.key));
                let options = DeleteOptions::default();
                self.call(Step::AfterProxySecretDeleted, KubeRequest::Delete { kind: Kind::Secret, key, options })
            }
            None => self.finalizer_off(),
        }
    }

    fn next_ended(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Some(runner) = self.doomed.pop() {
            return self.delete_runner(Step::AfterEndedDeleted, &runner);
        }
        if !self.errors.is_empty() {
            return self.fail_joined(o, "Failed to delete finished ephemeral runners");
        }
        if self.candidates.is_empty() {
            return self.incomplete(o);
        }
        self.build_client(Purpose::All)
    }

    pub(super) fn after_ended_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        self.note(o.take_reply().into_kube().err());
        self.next_ended(o)
    }

    /// Every runner is tried, also one that is not registered: the service is asked to remove id 0 then.
    pub(super) fn next_of_all(&mut self, o: &mut Observed<'_>) -> Decision {
        let everything = o.settings.behaviour.er_removal == RemovalTarget::Everything;
        while let Some(runner) = self.candidates.last() {
            let (id, runner) = (runner.status.runner_id, runner.clone());
            // A job that the service calls over keeps no runner: one that stays is asked for, and kept if it works after all.
            let works = has_job(&runner, &o.settings.behaviour) && runner.status.ended_generation != END_ANSWERED;
            if everything && works {
                self.candidates.pop();
            } else if everything && id == NO_RUNNER {
                self.candidates.pop();
                return self.delete_runner(Step::AfterDeleted(Purpose::All), &runner);
            } else {
                return self.remove(Purpose::All, id);
            }
        }
        if !self.errors.is_empty() {
            return self.fail_joined(o, "Failed to clean up ephemeral runners");
        }
        self.incomplete(o)
    }

    pub(super) fn after_one_removed(&mut self, o: &mut Observed<'_>, reply: Result<ServiceOk, CallError>) -> Decision {
        let Some(runner) = self.candidates.pop() else { return self.incomplete(o) };
        match reply {
            Ok(_) => self.delete_runner(Step::AfterDeleted(Purpose::All), &runner),
            Err(e) if is_job_still_running(&e) => self.next_of_all(o),
            // Its registration went before it did, or is being made anew: it deregisters itself.
            Err(e) if is_runner_unknown(&e) && o.settings.behaviour.er_removal == RemovalTarget::Everything => {
                self.delete_runner(Step::AfterDeleted(Purpose::All), &runner)
            }
            Err(e) => {
                self.errors.push(e.text());
                self.next_of_all(o)
            }
        }
    }

    /// Runners are left. Releases wait for one of their events (Q-ERS-DELETE-NO-REQUEUE).
    fn incomplete(&mut self, o: &mut Observed<'_>) -> Decision {
        o.info("Waiting for ephemeral runner owned objects to be deleted");
        match o.settings.behaviour.ers_scale_down {
            ErsScaleDown::AnyPatch | ErsScaleDown::ForcedOnly => settled(),
            ErsScaleDown::ForcedWithRetry => Decision::End(Outcome::After(LEFT_WAIT)),
        }
    }

    pub(super) fn after_proxy_secret_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Err(e) if !e.is_not_found() => fail(o, "Failed to delete proxy secret", &e),
            Ok(_) | Err(_) => self.finalizer_off(),
        }
    }

    fn finalizer_off(&mut self) -> Decision {
        let list = self.set().metadata.finalizers_without(FINALIZER);
        self.patch(Step::AfterFinalizerOff, Sub::Main, Patch::finalizers(list))
    }

    pub(super) fn after_finalizer_off(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Err(e) if !e.is_not_found() => fail(o, "Failed to update ephemeral runner set with removed finalizer", &e),
            Ok(_) | Err(_) => {
                o.info("Successfully removed finalizer after cleanup");
                settled()
            }
        }
    }
}
