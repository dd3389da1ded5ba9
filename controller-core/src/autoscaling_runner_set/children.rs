//! Steps 8 to 16: one runner set of the current spec and one listener bound to it; what does not fit is drained, replaced,
//! deleted. Never touches the service.
//!
//! Source: arc-controllers.md §3.1, §3.4; orders of a_update, a_update_ev, b_exit_codes, a_delete.

use std::sync::Arc;

use arc_api::crd::*;
use arc_api::kube::{Body, KubeRequest, Patch, Sub};
use arc_api::{Kind, Resource, Str};

use super::{ArsPass, Cleaning, Failure, Step, build, identity, status};
use crate::behaviour::*;
use crate::labels;
use crate::reconcile::{CACHE_LAG, Decision, Observed, Outcome, UpdateStrategy};

impl ArsPass {
    /// Steps 8 to 12: which runner set is the latest, and whether there is one at all.
    pub(super) fn runner_sets(&mut self, o: &mut Observed<'_>) -> Decision {
        let outdated = self.is_outdated(o);
        self.latest = build::latest(self.ars(), o.caches.runner_sets(&self.key), o.settings).cloned();
        self.identity = identity::inspect(self.ars(), self.latest.as_deref(), o);
        if let Some(decision) = self.repair_identity().or_else(|| self.release_stray(o)) {
            return decision;
        }
        let Some(latest) = self.latest.clone() else {
            if outdated {
                return self.tear_down_outdated(o);
            }
            return self.create_runner_set(o);
        };
        self.listener = o.caches.get::<AutoscalingListener>(&self.listener_key(o)).cloned();
        let tears_down = o.settings.behaviour.outdated == Outdated::TearsDown;
        if outdated || tears_down && latest.status.phase == ErsPhase::Outdated {
            return self.tear_down_outdated(o);
        }
        self.listener_is_right(o, &latest)
    }

    /// Step 12: the whole scale set goes, its registration included (Q-OUTDATED-PERMANENT).
    pub(super) fn tear_down_outdated(&mut self, o: &mut Observed<'_>) -> Decision {
        if self.ars().status.phase == ArsPhase::Outdated {
            return self.clean_up(o, Cleaning::Outdated);
        }
        let counted = self.latest.as_ref().map(|l| &l.status);
        let patch = status::counters(&self.ars().status, ArsPhase::Outdated, counted);
        self.patch_status(Step::AfterOutdatedStatus, patch)
    }

    /// Step 13: a listener that no longer fits is deleted, and nothing else happens in this pass.
    pub(super) fn listener_is_right(&mut self, o: &mut Observed<'_>, latest: &Arc<EphemeralRunnerSet>) -> Decision {
        if o.settings.behaviour.ars_listener_binding == ListenerBinding::Checked {
            // A rename orphans nothing: whatever listens for this set under another name goes first.
            if let Some(stray) = self.next_stray(o) {
                return if stray.metadata.is_deleting() {
                    self.settle()
                } else {
                    self.delete(Step::AfterListenerDeleted, Kind::AutoscalingListener, stray.metadata.key())
                };
            }
        }
        let Some(listener) = self.listener.clone() else { return self.runner_set_is_right(o, latest) };
        match build::listener_fits(&listener, self.ars(), latest, self.identity.offers_jobs(), o.settings) {
            Ok(true) if !listener.metadata.is_deleting() => self.runner_set_is_right(o, latest),
            Ok(true) if o.settings.behaviour.ars_listener_binding == ListenerBinding::Ignored => {
                self.runner_set_is_right(o, latest)
            }
            Ok(_) => {
                let waits = o.settings.behaviour.ars_listener_binding == ListenerBinding::Checked;
                if waits && listener.metadata.is_deleting() {
                    return self.settle();
                }
                let bound_to = &listener.spec.ephemeral_runner_set_name;
                if waits && !o.caches.runner_sets(&self.key).any(|s| s.metadata.name == *bound_to) {
                    // Somebody who saw more may have bound it to a set that the cache does not show yet: the server is asked.
                    let list = self.runner_sets_request();
                    return self.kube(Step::AfterBindingRead, list);
                }
                // Upstream does not look at deletionTimestamp: one more DELETE per pass (recorded: a_update/0.14.2).
                self.delete(Step::AfterListenerDeleted, Kind::AutoscalingListener, listener.metadata.key())
            }
            Err(why) => self.fail(o, ("Failed to build the AutoscalingListener", "ListenerBuild"), why),
        }
    }

    /// The listener serves a runner set that the cache does not show: it goes if there is no such set, and stays while the cache is
    /// behind, or two managers would take each other's listeners away.
    pub(super) fn after_binding_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let items = match o.take_reply().into_list() {
            Ok(items) => items,
            Err(e) => return self.fail(o, ("Failed to list EphemeralRunnerSets", "ApiServer"), e.text()),
        };
        let Some(listener) = self.listener.clone() else { return self.settle() };
        let serves = |s: &Arc<EphemeralRunnerSet>| s.metadata.name == listener.spec.ephemeral_runner_set_name;
        if items.iter().filter_map(EphemeralRunnerSet::unwrap).any(|s| serves(s) && !s.metadata.is_deleting()) {
            return Decision::End(Outcome::After(CACHE_LAG));
        }
        self.delete(Step::AfterListenerDeleted, Kind::AutoscalingListener, listener.metadata.key())
    }

    /// What follows a drain; a set that is gone is what the cache will show.
    pub(super) fn after_runner_set_drained(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.take_done(o) {
            Ok(()) => self.settle(),
            Err(e) if e.is_not_found() && o.settings.behaviour.gone_objects == GoneObjects::Fine => {
                Decision::End(Outcome::After(CACHE_LAG))
            }
            Err(e) => self.fail(o, ("Failed to patch runner set with scale down", "ApiServer"), e.text()),
        }
    }

    /// Listeners of this set that do not have the name they should have.
    pub(super) fn strays<'a>(&self, o: &Observed<'a>) -> impl Iterator<Item = &'a Arc<AutoscalingListener>> + use<'a> {
        let (own, set) = (self.listener_key(o), self.key.clone());
        o.caches.of(Kind::AutoscalingListener).iter().filter_map(AutoscalingListener::unwrap).filter(move |l| {
            l.spec.autoscaling_runner_set_name == set.name
                && l.spec.autoscaling_runner_set_namespace == set.namespace
                && l.metadata.key() != own
        })
    }

    /// Step 14: a runner set of another spec is drained (`eventual`) or gets a successor.
    pub(super) fn runner_set_is_right(&mut self, o: &mut Observed<'_>, latest: &Arc<EphemeralRunnerSet>) -> Decision {
        if build::runner_set_fits(latest, self.ars(), &self.identity, o.settings) {
            return self.delete_old_runner_sets(o, latest);
        }
        let eventual = o.settings.update_strategy == UpdateStrategy::Eventual;
        if !(eventual && build::is_working(&latest.status)) {
            return self.create_runner_set(o);
        }
        let behaviour = &o.settings.behaviour;
        if let Some(listener) =
            self.listener.as_ref().filter(|_| behaviour.ars_listener_binding == ListenerBinding::Checked)
        {
            // It fits, as its own spec did not change (an account was replaced), and would undo the drain at every answer.
            let key = listener.metadata.key();
            return self.delete(Step::AfterListenerDeleted, Kind::AutoscalingListener, key);
        }
        let replicas = (latest.spec.replicas != 0).then_some(0);
        let patch_id = (behaviour.ars_drain == Drain::ResetsId && latest.spec.patch_id != 0).then_some(0);
        let body = match (replicas, patch_id) {
            // Nothing to change: an empty patch all the same (recorded: a_update_ev/0.14.2).
            (None, None) => Body::None,
            (replicas, patch_id) => Body::ErsSpec { replicas, patch_id },
        };
        if body == Body::None && behaviour.gone_objects == GoneObjects::Fine {
            return self.write_status(o);
        }
        let (key, patch) = (latest.metadata.key(), Patch::body(body));
        self.patch_object(Step::AfterRunnerSetDrained, Kind::EphemeralRunnerSet, key, Sub::Main, patch)
    }

    /// Step 15.
    pub(super) fn delete_old_runner_sets(
        &mut self,
        o: &mut Observed<'_>,
        latest: &Arc<EphemeralRunnerSet>,
    ) -> Decision {
        let old = |e: &&Arc<EphemeralRunnerSet>| e.metadata.name != latest.metadata.name && !e.metadata.is_deleting();
        self.doomed = o.caches.runner_sets(&self.key).filter(old).map(|e| e.metadata.key()).collect();
        self.delete_next_old_runner_set(o)
    }

    pub(super) fn delete_next_old_runner_set(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.doomed.pop() {
            Some(key) => self.delete(Step::AfterOldRunnerSetDeleted, Kind::EphemeralRunnerSet, key),
            None => self.listener_exists(o),
        }
    }

    /// Step 16.
    pub(super) fn listener_exists(&mut self, o: &mut Observed<'_>) -> Decision {
        let Some(latest) = self.latest.clone() else { return self.settle() };
        if self.listener.is_some() {
            return self.write_status(o);
        }
        let waits = o.settings.update_strategy == UpdateStrategy::Eventual
            && o.settings.behaviour.ars_eventual_listener == EventualListener::WaitsForRunners
            && build::is_working(&latest.status);
        if waits {
            // Nobody drains the set if its spec did not change: no listener for ever (Q-EVENTUAL-DEADLOCK).
            o.info("Creating a new AutoscalingListener is waiting for the running and pending runners to finish");
            return self.settle();
        }
        let key = self.listener_key(o);
        match build::listener(key, self.ars(), &latest, self.identity.offers_jobs(), o.settings) {
            Ok(listener) => self.kube(Step::AfterListenerCreated, KubeRequest::Create(listener.into())),
            Err(why) => self.fail(o, ("Failed to build the AutoscalingListener", "ListenerBuild"), why),
        }
    }

    pub(super) fn create_runner_set(&mut self, o: &mut Observed<'_>) -> Decision {
        if o.settings.behaviour.ars_ers_name == ErsName::Derived {
            // The cache may not show what was created a moment ago: the server is asked.
            let list = self.runner_sets_request();
            return self.kube(Step::AfterRunnerSetsListed, list);
        }
        self.request_runner_set(o, None)
    }

    /// Asks the server for the set's runner sets.
    pub(super) fn runner_sets_request(&self) -> KubeRequest {
        let labels = vec![
            (labels::SCALE_SET_NAME.into(), self.key.name.clone()),
            (labels::SCALE_SET_NAMESPACE.into(), self.key.namespace.clone()),
        ];
        let namespace = Some(self.key.namespace.clone());
        KubeRequest::List { kind: Kind::EphemeralRunnerSet, namespace, labels }
    }

    pub(super) fn request_runner_set(&mut self, o: &mut Observed<'_>, name: Option<Str>) -> Decision {
        match build::runner_set(self.ars(), name, &self.identity, o.settings) {
            Ok(set) => self.kube(Step::AfterRunnerSetCreated, KubeRequest::Create(set.into())),
            Err(why) => self.fail(o, ("Failed to build the EphemeralRunnerSet", "RunnerSetBuild"), why),
        }
    }

    pub(super) fn after_runner_sets_listed(&mut self, o: &mut Observed<'_>) -> Decision {
        let items = match o.take_reply().into_list() {
            Ok(items) => items,
            Err(e) => return self.fail(o, ("Failed to list EphemeralRunnerSets", "ApiServer"), e.text()),
        };
        let own =
            |s: &&Arc<EphemeralRunnerSet>| s.metadata.controller().is_some_and(|c| c.uid == self.ars().metadata.uid);
        let fits = |s: &Arc<EphemeralRunnerSet>| {
            !s.metadata.is_deleting() && build::runner_set_fits(s, self.ars(), &self.identity, o.settings)
        };
        if items.iter().filter_map(EphemeralRunnerSet::unwrap).filter(own).any(fits) {
            // It is there and the cache will show it.
            return Decision::End(Outcome::After(CACHE_LAG));
        }
        let name = build::free_name(self.ars(), &items, &self.identity, o.settings);
        self.request_runner_set(o, Some(name))
    }

    pub(super) fn after_created(&mut self, o: &mut Observed<'_>, failure: Failure) -> Decision {
        match self.take_done(o) {
            Ok(()) => self.settle(),
            Err(e) if e.is_already_exists() && o.settings.behaviour.gone_objects == GoneObjects::Fine => {
                Decision::End(Outcome::After(CACHE_LAG))
            }
            Err(e) => self.fail(o, failure, e.text()),
        }
    }
}
