//! The AutoscalingRunnerSet reconciler: one pass over one scale set. It registers the scale set, keeps one EphemeralRunnerSet
//! and one AutoscalingListener, and takes everything down again.
//!
//! **Never**: touches runners or pods; those belong to the sets below it. Waits inside a pass.
//!
//! Guarantees: one call per step, so every gap between two calls is a point where the world may crash the process or lose the
//! reply; a new pass then starts from what was written. Assumes: caches may lag, each kind by itself; Secrets are read live.
//! Source: arc-controllers.md §3 (autoscalingrunnerset_controller.go, 0.7.0–0.14.2), recorded in a_basic, a_update,
//! a_update_ev, a_delete, d_uninstall, d_version_gate. The corrected controller follows field-bugs.md, *Correct controller*.
//! Differs: a vault is not asked, the named Secret is read in its place.

mod build;
mod children;
mod cleanup;
mod identity;
mod protection;
mod rights;
mod scale_set;
mod status;
mod strays;
mod version;

pub(crate) use identity::names_identity;
pub(crate) use status::with as with_condition;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_api::crd::*;
use arc_api::kube::{Body, DeleteOptions, KubeRequest, Patch, Sub};
use arc_api::meta::Key;
use arc_api::{Duration, GroupId, Kind, Resource, ScaleSetId, Str};

use crate::behaviour::*;
use crate::call::{Call, CallError, ClientKey};
use crate::client_build::ClientBuild;
use crate::reconcile::{CACHE_LAG, Decision, Observed, Outcome, Pass, steps};
use crate::{hashes, names};

steps! {
    Start = "start",
    AfterRefusedVersionDeleted = "after-refused-version-deleted",
    AfterFinalizerAdded = "after-finalizer-added",
    AfterChangeHashWritten = "after-change-hash-written",
    AfterRightsRead = "after-rights-read",
    AfterPendingStatus = "after-pending-status",
    AfterSecretRead = "after-secret-read",
    AfterServiceSecretRead = "after-service-secret-read",
    AfterGroupFound = "after-group-found",
    AfterScaleSetLookedUp = "after-scale-set-looked-up",
    AfterScaleSetAnnounced = "after-scale-set-announced",
    AfterScaleSetCreated = "after-scale-set-created",
    AfterScaleSetAnnotated = "after-scale-set-annotated",
    AfterScaleSetUpdated = "after-scale-set-updated",
    AfterScaleSetChecked = "after-scale-set-checked",
    AfterScaleSetForgotten = "after-scale-set-forgotten",
    AfterIdentityReleased = "after-identity-released",
    AfterIdentityMade = "after-identity-made",
    AfterIdentityRecorded = "after-identity-recorded",
    AfterStrayReleased = "after-stray-released",
    AfterRunnerSetsListed = "after-runner-sets-listed",
    AfterRunnerSetCreated = "after-runner-set-created",
    AfterOutdatedStatus = "after-outdated-status",
    AfterBindingRead = "after-binding-read",
    AfterListenerDeleted = "after-listener-deleted",
    AfterRunnerSetDrained = "after-runner-set-drained",
    AfterOldRunnerSetDeleted = "after-old-runner-set-deleted",
    AfterListenerCreated = "after-listener-created",
    AfterStatus = "after-status",
    AfterFailureReported = "after-failure-reported",
    AfterUnwantedScaleSetDeleted = "after-unwanted-scale-set-deleted",
    AfterLiveSetRead = "after-live-set-read",
    AfterLiveOwnerRead = "after-live-owner-read",
    AfterLeftRunnerSetsListed = "after-left-runner-sets-listed",
    AfterListenerCleaned = "after-listener-cleaned",
    AfterRunnerSetCleaned = "after-runner-set-cleaned",
    AfterScaleSetDeleted = "after-scale-set-deleted",
    AfterGoneScaleSetRead = "after-gone-scale-set-read",
    AfterScaleSetIdRemoved = "after-scale-set-id-removed",
    AfterProtectedSecretRead = "after-protected-secret-read",
    AfterProtectionRemoved = "after-protection-removed",
    AfterFinalizerRemoved = "after-finalizer-removed",
}

/// What a service client is being made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Purpose {
    #[default]
    Create,
    UpdateGroup,
    UpdateName,
    Check,
    /// Finding what a pass may have made without noting its id.
    Find,
    Delete,
}

/// Why everything is being taken down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Cleaning {
    #[default]
    Deletion,
    Outdated,
}

/// What an error text is logged under, and the reason of the condition that reports it.
type Failure = (&'static str, &'static str);

/// One pass over one AutoscalingRunnerSet.
#[derive(Clone, Debug)]
pub struct ArsPass {
    key: Key,
    step: Step,
    /// The set as read at the beginning, replaced by every answer to a patch.
    ars: Option<Arc<AutoscalingRunnerSet>>,
    latest: Option<Arc<EphemeralRunnerSet>>,
    listener: Option<Arc<AutoscalingListener>>,
    /// Where this set's listener is, by the spec it was computed from: a pass asks several times.
    listener_at: Option<(Arc<ArsSpec>, Key)>,
    /// Objects that are still to be deleted in this pass.
    doomed: Vec<Key>,
    building: Option<ClientBuild>,
    client: Option<Arc<ClientKey>>,
    purpose: Purpose,
    cleaning: Cleaning,
    group: GroupId,
    /// The scale set that this pass made.
    made: Option<ScaleSetId>,
    protected: usize,
    /// Strays of the chart that this pass has let go.
    let_go: Vec<(Kind, Key)>,
    identity: identity::Identity,
    /// Looked at again after this time although nothing changes.
    again: Option<Duration>,
    /// How the pass ends once its failure has been reported.
    verdict: Option<Outcome>,
    checked: bool,
    /// Another controller has a listener for the set, and the set is ours all the same.
    has_rights: bool,
}

impl ArsPass {
    /// A pass over the set `key`.
    pub fn new(key: Key) -> ArsPass {
        ArsPass {
            key,
            step: Step::Start,
            ars: None,
            latest: None,
            listener: None,
            listener_at: None,
            doomed: Vec::new(),
            building: None,
            client: None,
            purpose: Purpose::Create,
            cleaning: Cleaning::Deletion,
            group: GroupId(1),
            made: None,
            protected: 0,
            let_go: Vec::new(),
            identity: identity::Identity::Unchecked,
            again: None,
            verdict: None,
            checked: false,
            has_rights: false,
        }
    }

    fn ars(&self) -> &Arc<AutoscalingRunnerSet> {
        match &self.ars {
            Some(ars) => ars,
            None => panic!("the pass was resumed before it began"),
        }
    }

    fn kube(&mut self, step: Step, request: KubeRequest) -> Decision {
        self.step = step;
        Decision::Call(Call::Kube(request))
    }

    fn patch(&mut self, step: Step, patch: Patch) -> Decision {
        self.patch_object(step, Kind::AutoscalingRunnerSet, self.key.clone(), Sub::Main, patch)
    }

    fn patch_status(&mut self, step: Step, patch: arc_api::kube::ArsStatusPatch) -> Decision {
        let patch = Patch::body(Body::ArsStatus(patch));
        self.patch_object(step, Kind::AutoscalingRunnerSet, self.key.clone(), Sub::Status, patch)
    }

    fn patch_object(&mut self, step: Step, kind: Kind, key: Key, sub: Sub, patch: Patch) -> Decision {
        self.kube(step, KubeRequest::Patch { kind, key, sub, patch: Arc::new(patch) })
    }

    fn delete(&mut self, step: Step, kind: Kind, key: Key) -> Decision {
        self.kube(step, KubeRequest::Delete { kind, key, options: DeleteOptions::default() })
    }

    /// Ends the pass: looked at again only if a timer is wanted.
    fn settle(&self) -> Decision {
        Decision::End(self.again.map_or(Outcome::Settled, Outcome::After))
    }

    /// Takes the answer to a patch of the set itself, so that what others wrote meanwhile is seen.
    fn take_patched(&mut self, o: &mut Observed<'_>) -> Result<(), CallError> {
        if let Some(ars) = o.take_reply().into_object()?.as_ref().and_then(AutoscalingRunnerSet::unwrap) {
            self.ars = Some(Arc::clone(ars));
        }
        Ok(())
    }

    /// An answer that only has to be good.
    fn take_done(&mut self, o: &mut Observed<'_>) -> Result<(), CallError> {
        o.take_reply().into_kube().map(drop)
    }

    /// An answer to a DELETE, in releases for which 404 is an error.
    fn take_deleted(&mut self, o: &mut Observed<'_>) -> Result<(), CallError> {
        let gone_is_fine = o.settings.behaviour.gone_objects == GoneObjects::Fine;
        match self.take_done(o) {
            Err(e) if gone_is_fine && e.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Ends the pass with an error; the corrected controller says so on the set first.
    fn fail(&mut self, o: &mut Observed<'_>, (message, reason): Failure, error: Str) -> Decision {
        o.error(message, error.clone());
        if o.settings.behaviour.conditions == ConditionsRule::None {
            return Decision::End(Outcome::Error(error));
        }
        let known = |c: &Condition| c.type_ == status::BLOCKED && c.reason == reason;
        if self.ars().status.conditions.iter().any(known) {
            // Already said: back-off would grow to 1000 s, healing must not take that long.
            return Decision::End(Outcome::After(Duration::from_secs(10)));
        }
        let blocked = Condition::new(status::BLOCKED, true, reason, error.clone());
        self.verdict = Some(Outcome::Error(error));
        let conditions = status::with(&self.ars().status.conditions, blocked);
        let patch = arc_api::kube::ArsStatusPatch { conditions: Some(conditions), ..Default::default() };
        self.patch_status(Step::AfterFailureReported, patch)
    }

    /// The name and namespace of this set's listener.
    fn listener_key(&self, o: &Observed<'_>) -> Key {
        if let Some((_, key)) = self.listener_at.as_ref().filter(|(spec, _)| Arc::ptr_eq(spec, &self.ars().spec)) {
            return key.clone();
        }
        let name = names::listener(&self.key, &self.ars().spec, &o.settings.behaviour);
        Key::new(o.settings.namespace.clone(), name)
    }

    // ---- the main pass, §3.1

    fn start(&mut self, o: &mut Observed<'_>) -> Decision {
        let Some(ars) = o.caches.get::<AutoscalingRunnerSet>(&self.key) else {
            return Decision::End(Outcome::Settled);
        };
        self.ars = Some(Arc::clone(ars));
        self.listener_at = Some((Arc::clone(&ars.spec), self.listener_key(o)));
        let meta = &ars.metadata;
        if meta.is_deleting() {
            if !meta.has_finalizer(names::ARS_FINALIZER) {
                return Decision::End(Outcome::Settled);
            }
            return self.clean_up(o, Cleaning::Deletion);
        }
        if !version::is_accepted(ars, o.settings) {
            // The gate stands before the finalizer: a new set of another version vanishes with this one call.
            o.info("Autoscaling runner set version doesn't match the build version. Deleting the resource.");
            return self.delete(Step::AfterRefusedVersionDeleted, Kind::AutoscalingRunnerSet, self.key.clone());
        }
        if !meta.has_finalizer(names::ARS_FINALIZER) {
            o.info("Adding finalizer");
            let patch = Patch::finalizers(meta.finalizers_with(names::ARS_FINALIZER));
            return self.patch(Step::AfterFinalizerAdded, patch);
        }
        self.write_change_hash(o)
    }

    fn after_finalizer_added(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = self.take_patched(o) {
            if e.is_not_found() && o.settings.behaviour.gone_objects == GoneObjects::Fine {
                return Decision::End(Outcome::Settled);
            }
            o.error("Failed to update autoscaling runner set with finalizer added", e.text());
            return Decision::End(Outcome::failed(&e));
        }
        match o.settings.behaviour.ars_finalizer {
            ArsFinalizer::Return => Decision::End(Outcome::Settled),
            ArsFinalizer::FallThrough => self.write_change_hash(o),
        }
    }

    fn write_change_hash(&mut self, o: &mut Observed<'_>) -> Decision {
        if o.settings.behaviour.ars_change_hash == ChangeHash::ZeroesStatus {
            let ars = self.ars();
            let hash = hashes::spec(&ars.spec, &o.settings.behaviour).change(&ars.metadata.labels);
            if ars.metadata.annotation(names::CHANGE_HASH) != Some(&hash) {
                let annotations = vec![(names::CHANGE_HASH.into(), Some(hash))];
                return self.patch(Step::AfterChangeHashWritten, Patch { annotations, ..Patch::default() });
            }
        }
        self.register(o)
    }

    fn after_change_hash_written(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = self.take_patched(o) {
            return Decision::End(Outcome::failed(&e));
        }
        // Not atomic with the annotation: a crash here consumes a recovery edit (Q-CHANGEHASH-NONATOMIC).
        if self.ars().status.phase == ArsPhase::Pending {
            return self.register(o);
        }
        let zero = status::counters(&self.ars().status, ArsPhase::Pending, None);
        self.patch_status(Step::AfterPendingStatus, zero)
    }

    fn is_outdated(&self, o: &Observed<'_>) -> bool {
        o.settings.behaviour.outdated == Outdated::TearsDown && self.ars().status.phase == ArsPhase::Outdated
    }

    fn resume(&mut self, o: &mut Observed<'_>) -> Decision {
        let done = |this: &mut Self, o: &mut Observed<'_>, failure: Failure| match this.take_done(o) {
            Ok(()) => this.settle(),
            Err(e) => this.fail(o, failure, e.text()),
        };
        match self.step {
            Step::Start => self.start(o),
            Step::AfterRefusedVersionDeleted => {
                if let Err(e) = self.take_done(o) {
                    // Swallowed: the set is left alone until its next event (Q-VERSION-MISMATCH).
                    o.error("Failed to delete autoscaling runner set", e.text());
                }
                Decision::End(Outcome::Settled)
            }
            Step::AfterFinalizerAdded => self.after_finalizer_added(o),
            Step::AfterChangeHashWritten => self.after_change_hash_written(o),
            Step::AfterRightsRead => self.after_rights_read(o),
            Step::AfterPendingStatus => match self.take_patched(o) {
                Ok(()) => self.register(o),
                Err(e) => Decision::End(Outcome::failed(&e)),
            },
            Step::AfterSecretRead => match self.take_done(o) {
                Ok(()) => self.runner_sets(o),
                Err(e) => self.fail(o, ("Failed to find GitHub config secret.", "Credentials"), e.text()),
            },
            Step::AfterServiceSecretRead => self.after_service_secret_read(o),
            Step::AfterGroupFound => self.after_group_found(o),
            Step::AfterScaleSetLookedUp => self.after_scale_set_looked_up(o),
            Step::AfterScaleSetAnnounced => self.after_scale_set_announced(o),
            Step::AfterScaleSetCreated => self.after_scale_set_created(o),
            Step::AfterScaleSetUpdated => self.after_scale_set_updated(o),
            Step::AfterScaleSetAnnotated => self.after_scale_set_annotated(o),
            Step::AfterUnwantedScaleSetDeleted => Decision::End(Outcome::Settled),
            Step::AfterLiveSetRead => self.after_live_set_read(o),
            Step::AfterLiveOwnerRead => self.after_live_owner_read(o),
            Step::AfterLeftRunnerSetsListed => self.after_left_runner_sets_listed(o),
            Step::AfterScaleSetChecked => self.after_scale_set_checked(o),
            Step::AfterScaleSetForgotten => {
                done(self, o, ("Failed to note whether the runner scale set is lost", "ApiServer"))
            }
            Step::AfterIdentityReleased => self.after_identity_released(o),
            Step::AfterIdentityMade => match self.take_done(o) {
                Err(e) if !e.is_already_exists() => {
                    self.fail(o, ("Failed to make the runners' ServiceAccount anew", "Identity"), e.text())
                }
                _ => Decision::End(Outcome::After(CACHE_LAG)),
            },
            Step::AfterIdentityRecorded => done(self, o, ("Failed to record the runners' identity", "ApiServer")),
            Step::AfterStrayReleased => self.after_stray_released(o),
            Step::AfterRunnerSetsListed => self.after_runner_sets_listed(o),
            Step::AfterRunnerSetCreated => {
                self.after_created(o, ("Failed to create a new ephemeral runner set", "ApiServer"))
            }
            Step::AfterOutdatedStatus => match self.take_patched(o) {
                Ok(()) => self.clean_up(o, Cleaning::Outdated),
                Err(e) => Decision::End(Outcome::failed(&e)),
            },
            Step::AfterBindingRead => self.after_binding_read(o),
            Step::AfterListenerDeleted => match self.take_done(o) {
                Ok(()) => self.settle(),
                Err(e) if e.is_not_found() => self.settle(),
                Err(e) => self.fail(o, ("Failed to delete AutoscalingListener resource", "ApiServer"), e.text()),
            },
            Step::AfterRunnerSetDrained => self.after_runner_set_drained(o),
            Step::AfterOldRunnerSetDeleted => match self.take_deleted(o) {
                Ok(()) => self.delete_next_old_runner_set(o),
                Err(e) => self.fail(o, ("Failed to clean up old runner sets", "ApiServer"), e.text()),
            },
            Step::AfterListenerCreated => {
                self.after_created(o, ("Failed to create AutoscalingListener resource", "ApiServer"))
            }
            Step::AfterStatus => done(self, o, ("Failed to update autoscaling runner set status", "ApiServer")),
            Step::AfterFailureReported => {
                let _ = o.take_reply();
                Decision::End(self.verdict.take().unwrap_or(Outcome::Requeue))
            }
            Step::AfterListenerCleaned => match self.take_deleted(o) {
                Ok(()) => self.incomplete(o),
                Err(e) => self.fail_cleaning(o, e.text()),
            },
            Step::AfterRunnerSetCleaned => match self.take_deleted(o) {
                Ok(()) => self.clean_next_runner_set(o),
                Err(e) => self.fail_cleaning(o, e.text()),
            },
            Step::AfterScaleSetDeleted => self.after_scale_set_deleted(o),
            Step::AfterGoneScaleSetRead => self.after_gone_scale_set_read(o),
            Step::AfterScaleSetIdRemoved => match self.take_patched(o) {
                Ok(()) => self.cleaned(o),
                // The next attempt deletes what is already gone: 404 for ever up to 0.14.2 (Q-SCALESET-404-STUCK).
                Err(e) => self.fail_cleaning(o, e.text()),
            },
            Step::AfterProtectedSecretRead => self.after_protected_secret_read(o),
            Step::AfterProtectionRemoved => self.after_protection_removed(o),
            Step::AfterFinalizerRemoved => match self.take_done(o) {
                Err(e) if !e.is_not_found() => {
                    self.fail(o, ("Failed to update autoscaling runner set without finalizer", "ApiServer"), e.text())
                }
                _ => Decision::End(Outcome::Settled),
            },
        }
    }
}

impl Pass for ArsPass {
    const KIND: Kind = Kind::AutoscalingRunnerSet;

    fn step(&mut self, observed: &mut Observed<'_>) -> Decision {
        self.resume(observed)
    }

    fn at(&self) -> &'static str {
        self.step.name()
    }
}
