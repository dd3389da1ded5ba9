//! The EphemeralRunnerSet reconciler: as many runners as the listener asked for.
//!
//! A pass counts the runners its cache shows, compares them with `spec.replicas` if the release's gate is open, creates or
//! removes, and reports the counts. **Never** touches a pod or a registration of a runner it does not remove, never decides
//! by a release: by its [`Behaviour`](crate::Behaviour) only.
//!
//! Reading order: this file (main order, status) → `classify` → `scale` (creating, removing idle ones) → `cleanup` (the end of
//! a set) → `level` (the corrected controller's comparison). Source: arc-controllers.md §4.

mod classify;
mod cleanup;
mod level;
mod proxy;
mod scale;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_next;

use std::sync::Arc;

use arc_api::crd::{Conditions, EphemeralRunner, EphemeralRunnerSet, ErSpec, ErsPhase, ErsStatus};
use arc_api::kube::{Body, DeleteOptions, ErsStatusPatch, KubeRequest, Patch, Sub};
use arc_api::meta::Key;
use arc_api::service::Op;
use arc_api::{Duration, Kind, Labels, Object, RunnerId, Str};

use crate::behaviour::{ErsGate, ErsScaleDown, ErsStatusMembers, FinishedSweep, Outdated};
use crate::call::{Call, CallError, ClientKey, ServiceCall};
use crate::client_build::ClientBuild;
use crate::ephemeral_runner::FINALIZER;
use crate::reconcile::{Decision, Observed, Outcome, Pass};
use classify::Census;

/// Annotation of a runner: the patch id it was created under (0.9.0 on).
pub const PATCH_ID: &str = "actions.github.com/patch-id";
/// Condition of the corrected controller: pods of the set exist and do not start.
pub const PODS_NOT_STARTING: &str = "PodsNotStarting";
/// Condition of the corrected controller: the API refuses pods of the set's template.
pub const TEMPLATE_REJECTED: &str = "TemplateRejected";

/// What a service client of a pass is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Purpose {
    /// Removing idle runners.
    Idle,
    /// Removing all runners of a deleting set.
    All,
}

/// What has just happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Start,
    AfterFinalizerAdded,
    AfterProxySecretRead,
    AfterProxyCredentialsRead,
    AfterProxySecretCreated,
    AfterFinishedDeleted,
    AfterListed,
    AfterLiveSetRead,
    AfterCleanUpListed,
    AfterCreated,
    AfterClientRead(Purpose),
    AfterRemoved(Purpose),
    AfterDeleted(Purpose),
    AfterStatus,
    AfterSwept,
    AfterEndedDeleted,
    AfterProxySecretDeleted,
    AfterFinalizerOff,
}

/// A pass over one EphemeralRunnerSet.
#[derive(Clone, Debug)]
pub struct ErsPass {
    key: Key,
    step: Step,
    set: Option<Arc<EphemeralRunnerSet>>,
    census: Census,
    /// Runners that are deleted one by one: finished ones first (0.8.3 and older), or those of a deleting set that are over.
    doomed: Vec<Arc<EphemeralRunner>>,
    /// Finished runners that are deleted when the pass ends, however it ends.
    sweep: Vec<Arc<EphemeralRunner>>,
    /// How the pass ends once the sweep is done.
    end: Option<Outcome>,
    /// What new runners look like.
    mould: Option<Box<Mould>>,
    /// Runners still to create, or idle runners still to remove.
    missing: i32,
    /// Candidates for removal, next one last.
    candidates: Vec<Arc<EphemeralRunner>>,
    /// Removals that the service refused.
    refused: usize,
    client: Option<Arc<ClientKey>>,
    build: Option<Box<ClientBuild>>,
    proxy: Option<Box<proxy::Progress>>,
    errors: Vec<Str>,
    /// Conditions that the status shall have (`next`).
    conditions: Option<Conditions>,
    wake: Option<Duration>,
}

/// What all runners made in one pass have in common.
#[derive(Clone, Debug)]
struct Mould {
    labels: Labels,
    annotations: Labels,
    spec: Arc<ErSpec>,
}

impl ErsPass {
    /// A pass over the set `key`.
    pub fn new(key: Key) -> ErsPass {
        ErsPass {
            key,
            step: Step::Start,
            set: None,
            census: Census::default(),
            doomed: Vec::new(),
            sweep: Vec::new(),
            end: None,
            mould: None,
            missing: 0,
            candidates: Vec::new(),
            refused: 0,
            client: None,
            build: None,
            proxy: None,
            errors: Vec::new(),
            conditions: None,
            wake: None,
        }
    }
}

impl Pass for ErsPass {
    const KIND: Kind = Kind::EphemeralRunnerSet;

    fn step(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.step {
            Step::Start => self.start(o),
            Step::AfterFinalizerAdded => self.after_finalizer_added(o),
            Step::AfterProxySecretRead => self.after_proxy_secret_read(o),
            Step::AfterProxyCredentialsRead => self.after_proxy_credentials_read(o),
            Step::AfterProxySecretCreated => self.after_proxy_secret_created(o),
            Step::AfterFinishedDeleted => self.after_finished_deleted(o),
            Step::AfterListed => self.after_listed(o),
            Step::AfterLiveSetRead => self.after_live_set_read(o),
            Step::AfterCleanUpListed => self.after_clean_up_listed(o),
            Step::AfterCreated => self.after_created(o),
            Step::AfterClientRead(purpose) => self.after_client_read(o, purpose),
            Step::AfterRemoved(purpose) => self.after_removed(o, purpose),
            Step::AfterDeleted(purpose) => self.after_deleted(o, purpose),
            Step::AfterStatus => self.after_status(o),
            Step::AfterSwept => self.after_swept(o),
            Step::AfterEndedDeleted => self.after_ended_deleted(o),
            Step::AfterProxySecretDeleted => self.after_proxy_secret_deleted(o),
            Step::AfterFinalizerOff => self.after_finalizer_off(o),
        }
    }

    fn at(&self) -> &'static str {
        match self.step {
            Step::Start => "start",
            Step::AfterFinalizerAdded => "after-finalizer-added",
            Step::AfterProxySecretRead => "after-proxy-secret-read",
            Step::AfterProxyCredentialsRead => "after-proxy-credentials-read",
            Step::AfterProxySecretCreated => "after-proxy-secret-created",
            Step::AfterFinishedDeleted => "after-finished-deleted",
            Step::AfterListed => "after-listed",
            Step::AfterLiveSetRead => "after-live-set-read",
            Step::AfterCleanUpListed => "after-clean-up-listed",
            Step::AfterCreated => "after-runner-created",
            Step::AfterClientRead(_) => "after-client-read",
            Step::AfterRemoved(_) => "after-runner-removed",
            Step::AfterDeleted(_) => "after-runner-deleted",
            Step::AfterStatus => "after-status",
            Step::AfterSwept => "after-swept",
            Step::AfterEndedDeleted => "after-ended-deleted",
            Step::AfterProxySecretDeleted => "after-proxy-secret-deleted",
            Step::AfterFinalizerOff => "after-finalizer-off",
        }
    }
}

/// The main order (arc-controllers.md §4.1).
impl ErsPass {
    fn start(&mut self, o: &mut Observed<'_>) -> Decision {
        let Some(set) = o.caches.get::<EphemeralRunnerSet>(&self.key) else { return settled() };
        self.set = Some(set.clone());
        let known = set.metadata.has_finalizer(FINALIZER);
        if set.metadata.is_deleting() {
            return if known { self.clean_up(o) } else { settled() };
        }
        if !known {
            o.info("Adding finalizer");
            let list = set.metadata.finalizers_with(FINALIZER);
            return self.patch(Step::AfterFinalizerAdded, Sub::Main, Patch::finalizers(list));
        }
        if set.status.phase == ErsPhase::Outdated && o.settings.behaviour.outdated == Outdated::TearsDown {
            o.info("Ephemeral runner set is in outdated phase, skipping reconcile");
            return settled();
        }
        if set.spec.ephemeral_runner_spec.proxy.is_some() {
            return self.read_proxy_secret();
        }
        self.compare(o)
    }

    fn after_finalizer_added(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => settled(),
            Err(e) => fail(o, "Failed to update ephemeral runner set with finalizer added", &e),
        }
    }

    fn compare(&mut self, o: &mut Observed<'_>) -> Decision {
        let behaviour = &o.settings.behaviour;
        let first = behaviour.ers_finished_sweep == FinishedSweep::First;
        // The comparison by level counts for itself.
        if first || behaviour.ers_gate != ErsGate::Level {
            self.census = Census::of(o.caches.runners(&self.key), behaviour.ers_gate);
        }
        let url = &self.set().spec.ephemeral_runner_spec.github_config_url;
        if o.settings.metrics && !is_config_url(url) {
            let url = url.clone();
            o.error("Github Config URL is invalid", url);
            return settled();
        }
        if first {
            self.doomed = std::mem::take(&mut self.census.finished);
            self.doomed.reverse();
        }
        self.delete_next_finished(o)
    }

    /// Up to 0.8.3 finished runners went first, and an error ended the pass.
    fn delete_next_finished(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Some(runner) = self.doomed.pop() {
            return self.delete_runner(Step::AfterFinishedDeleted, &runner);
        }
        if !self.errors.is_empty() {
            return self.fail_joined(o, "Failed to delete finished ephemeral runners");
        }
        self.scale(o)
    }

    fn after_finished_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        self.note(o.take_reply().into_kube().err());
        self.delete_next_finished(o)
    }

    fn scale(&mut self, o: &mut Observed<'_>) -> Decision {
        let spec = &self.set().spec;
        let (replicas, patch_id) = (spec.replicas, spec.patch_id);
        let open = match o.settings.behaviour.ers_gate {
            ErsGate::Always => true,
            ErsGate::PatchId => patch_id == 0 || patch_id != self.census.latest_patch_id,
            ErsGate::Level => return self.level(o),
        };
        if !open {
            return self.report(o);
        }
        if o.settings.behaviour.ers_finished_sweep == FinishedSweep::DeferredGated {
            self.sweep = std::mem::take(&mut self.census.finished);
            self.sweep.reverse();
        }
        let total = self.census.total();
        let down = match o.settings.behaviour.ers_scale_down {
            ErsScaleDown::AnyPatch => true,
            ErsScaleDown::ForcedOnly | ErsScaleDown::ForcedWithRetry => patch_id == 0,
        };
        if total < replicas {
            o.info("Creating new ephemeral runners (scale up)");
            self.create(o, replicas - total)
        } else if down && total > replicas {
            o.info("Deleting ephemeral runners (scale down)");
            let candidates = Census::idle_first(o.caches.runners(&self.key));
            self.remove_idle(o, candidates, total - replicas)
        } else {
            self.report(o)
        }
    }

    /// Writes the counts if they differ from those the cache shows.
    fn report(&mut self, o: &mut Observed<'_>) -> Decision {
        let behaviour = &o.settings.behaviour;
        let now = &self.set().status;
        let (pending, running, failed) = self.census.reported();
        let total = match behaviour.ers_failed_counts {
            crate::behaviour::FailedCounts::Counted => pending + running + failed,
            crate::behaviour::FailedCounts::NotCounted => pending + running,
        };
        let phase = match behaviour.outdated {
            Outdated::Unknown => now.phase,
            Outdated::TearsDown if self.census.outdated > 0 => ErsPhase::Outdated,
            Outdated::TearsDown if now.phase == ErsPhase::Empty => ErsPhase::Running,
            Outdated::TearsDown => now.phase,
            Outdated::Reported => ErsPhase::Running,
        };
        let want = ErsStatus {
            current_replicas: total,
            pending_ephemeral_runners: pending,
            running_ephemeral_runners: running,
            failed_ephemeral_runners: failed,
            phase,
            conditions: self.conditions.clone().unwrap_or_else(|| now.conditions.clone()),
            written: now.written,
        };
        if want == *now {
            return self.conclude(Outcome::Settled);
        }
        let always = behaviour.ers_status_patch == ErsStatusMembers::AlwaysTotal;
        let body = Body::ErsStatus(difference(now, want, always));
        self.patch(Step::AfterStatus, Sub::Status, Patch::body(body))
    }

    fn after_status(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => self.conclude(Outcome::Settled),
            Err(e) => {
                o.error("Failed to update status with current runners count", e.text());
                self.conclude(Outcome::failed(&e))
            }
        }
    }

    /// Ends the pass, after the deferred sweep: it runs on every way out of an open gate (arc-controllers.md §14).
    fn conclude(&mut self, outcome: Outcome) -> Decision {
        self.end = Some(match (outcome, self.wake) {
            (Outcome::Settled, Some(wait)) => Outcome::After(wait),
            (outcome, _) => outcome,
        });
        self.next_swept()
    }

    fn next_swept(&mut self) -> Decision {
        match self.sweep.pop() {
            Some(runner) => self.delete_runner(Step::AfterSwept, &runner),
            None => Decision::End(self.end.take().unwrap_or(Outcome::Settled)),
        }
    }

    fn after_swept(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = o.take_reply().into_kube()
            && !e.is_not_found()
        {
            o.error("failed to delete finished ephemeral runner", e.text());
            // What was not swept must not wait for somebody else's event.
            if o.settings.behaviour.ers_gate == ErsGate::Level {
                self.end = Some(Outcome::failed(&e));
            }
        }
        self.next_swept()
    }
}

/// What all parts use.
impl ErsPass {
    /// The set as the pass began.
    ///
    /// # Panics
    /// Before the first step read it: a bug of this module.
    fn set(&self) -> &Arc<EphemeralRunnerSet> {
        match &self.set {
            Some(set) => set,
            None => panic!("a pass uses its set before it read it"),
        }
    }

    fn call(&mut self, then: Step, request: KubeRequest) -> Decision {
        self.step = then;
        Decision::Call(Call::Kube(request))
    }

    fn patch(&mut self, then: Step, sub: Sub, patch: Patch) -> Decision {
        let key = self.key.clone();
        self.call(then, KubeRequest::Patch { kind: Kind::EphemeralRunnerSet, key, sub, patch: Arc::new(patch) })
    }

    fn delete_runner(&mut self, then: Step, runner: &EphemeralRunner) -> Decision {
        let key = runner.metadata.key();
        self.call(then, KubeRequest::Delete { kind: Kind::EphemeralRunner, key, options: DeleteOptions::default() })
    }

    /// Keeps an error for the end of a loop; an object that is gone already is none.
    fn note(&mut self, error: Option<CallError>) {
        if let Some(e) = error.filter(|e| !e.is_not_found()) {
            self.errors.push(e.text());
        }
    }

    fn fail_joined(&mut self, o: &mut Observed<'_>, message: &'static str) -> Decision {
        let text = crate::ephemeral_runner::join(&self.errors);
        o.error(message, text.clone());
        self.conclude(Outcome::Error(text))
    }

    /// Starts building the client that removals go through: one for all of them.
    fn build_client(&mut self, purpose: Purpose) -> Decision {
        let build = ClientBuild::of(&self.set().spec.ephemeral_runner_spec, &self.key.namespace);
        let request = build.request();
        self.build = Some(Box::new(build));
        match request {
            Some(request) => self.call(Step::AfterClientRead(purpose), request),
            None => panic!("a client without a secret"),
        }
    }

    fn after_client_read(&mut self, o: &mut Observed<'_>, purpose: Purpose) -> Decision {
        let reply = o.take_reply();
        let Some(build) = &mut self.build else { panic!("a client is read that nobody builds") };
        let ready = match build.answer(reply) {
            Err(e) => Err(e),
            Ok(()) => match build.request() {
                Some(request) => return self.call(Step::AfterClientRead(purpose), request),
                None => build.key(),
            },
        };
        match ready {
            Ok(client) => {
                self.client = Some(client);
                self.next_removal(o, purpose)
            }
            Err(e) => {
                o.error("Failed to create actions client for ephemeral runner replica set", e.clone());
                self.conclude(Outcome::Error(e))
            }
        }
    }

    fn remove(&mut self, purpose: Purpose, id: RunnerId) -> Decision {
        self.step = Step::AfterRemoved(purpose);
        match &self.client {
            Some(client) => {
                Decision::Call(Call::Service(ServiceCall { client: client.clone(), op: Op::RemoveRunner(id) }))
            }
            None => panic!("a removal without a client"),
        }
    }

    fn next_removal(&mut self, o: &mut Observed<'_>, purpose: Purpose) -> Decision {
        match purpose {
            Purpose::Idle => self.next_idle(o),
            Purpose::All => self.next_of_all(o),
        }
    }

    fn after_removed(&mut self, o: &mut Observed<'_>, purpose: Purpose) -> Decision {
        let reply = o.take_reply().into_service();
        match purpose {
            Purpose::Idle => self.after_idle_removed(o, reply),
            Purpose::All => self.after_one_removed(o, reply),
        }
    }

    fn after_deleted(&mut self, o: &mut Observed<'_>, purpose: Purpose) -> Decision {
        let error = o.take_reply().into_kube().err().filter(|e| !e.is_not_found());
        if purpose == Purpose::Idle && error.is_none() {
            self.missing -= 1;
        }
        self.note(error);
        self.next_removal(o, purpose)
    }
}

/// The members of a status patch: those that change, and the total if the release always sends it.
fn difference(now: &ErsStatus, want: ErsStatus, always_total: bool) -> ErsStatusPatch {
    fn changed<T: PartialEq>(now: &T, want: T) -> Option<T> {
        (*now != want).then_some(want)
    }
    let total = changed(&now.current_replicas, want.current_replicas);
    ErsStatusPatch {
        current_replicas: total.or(always_total.then_some(now.current_replicas)),
        pending: changed(&now.pending_ephemeral_runners, want.pending_ephemeral_runners),
        running: changed(&now.running_ephemeral_runners, want.running_ephemeral_runners),
        failed: changed(&now.failed_ephemeral_runners, want.failed_ephemeral_runners),
        phase: changed(&now.phase, want.phase),
        conditions: changed(&now.conditions, want.conditions),
    }
}

/// Whether a config URL names an enterprise, an organisation or a repository (actions-service.md §1.1).
fn is_config_url(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    let Some((host, path)) = rest.split_once('/') else { return false };
    let segments = path.trim_matches('/').split('/').count();
    !host.is_empty() && !path.trim_matches('/').is_empty() && segments <= 2
}

fn settled() -> Decision {
    Decision::End(Outcome::Settled)
}

fn fail(o: &mut Observed<'_>, message: &'static str, error: &CallError) -> Decision {
    o.error(message, error.text());
    Decision::End(Outcome::failed(error))
}

/// The runners of a live list that belong to the set `owner` itself, not to a namesake.
fn own_runners(items: &[Object], owner: &EphemeralRunnerSet) -> Vec<Arc<EphemeralRunner>> {
    let own = |r: &&Arc<EphemeralRunner>| r.metadata.controller().is_some_and(|c| c.uid == owner.metadata.uid);
    items.iter().filter_map(Object::get::<EphemeralRunner>).filter(own).cloned().collect()
}
