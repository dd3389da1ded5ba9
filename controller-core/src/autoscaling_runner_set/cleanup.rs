//! Taking a scale set down: listener, then runner sets, then the registration; one stage per pass. Never waits; an
//! incomplete stage ends the pass.
//!
//! Source: arc-controllers.md §3.2; orders of d_uninstall and a_delete.

use arc_api::crd::{AutoscalingListener, AutoscalingRunnerSet, EphemeralRunnerSet};
use arc_api::kube::{KubeRequest, Patch};
use arc_api::service::{Op, ServiceOk};
use arc_api::{Duration, Kind, Resource, ScaleSetId, Str};
use std::sync::Arc;

use super::scale_set::is_missing;
use super::{ArsPass, Cleaning, Purpose, Step};
use crate::behaviour::*;
use crate::names;
use crate::reconcile::{Decision, Observed, Outcome};

impl ArsPass {
    pub(super) fn clean_up(&mut self, o: &mut Observed<'_>, why: Cleaning) -> Decision {
        self.cleaning = why;
        let own = o.caches.get::<AutoscalingListener>(&self.listener_key(o));
        let stray = match o.settings.behaviour.ars_listener_binding {
            // A listener under another name is not found and stays (Q-LISTENER-ORPHAN-RENAME).
            ListenerBinding::Ignored => None,
            ListenerBinding::Checked => {
                self.strays(o).find(|l| !l.metadata.is_deleting()).or_else(|| self.strays(o).next())
            }
        };
        let live = [own, stray].into_iter().flatten().find(|l| !l.metadata.is_deleting());
        if let Some(listener) = live {
            return self.delete(Step::AfterListenerCleaned, Kind::AutoscalingListener, listener.metadata.key());
        }
        if own.or(stray).is_some() {
            return self.incomplete(o);
        }
        let sets: Vec<&Arc<EphemeralRunnerSet>> = o.caches.runner_sets(&self.key).collect();
        if !sets.is_empty() {
            self.doomed = sets.iter().filter(|s| !s.metadata.is_deleting()).map(|s| s.metadata.key()).collect();
            return self.clean_next_runner_set(o);
        }
        match o.settings.behaviour.ars_stale_object {
            ArsStaleObject::Believed => self.delete_scale_set(o),
            ArsStaleObject::Read => self.kube(
                Step::AfterLiveSetRead,
                KubeRequest::Get { kind: Kind::AutoscalingRunnerSet, key: self.key.clone() },
            ),
        }
    }

    /// The cache may not show the registration that a pass has just noted on the set, nor what the set was used for since.
    pub(super) fn after_live_set_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let live = match o.take_reply().into_found::<AutoscalingRunnerSet>() {
            Ok(found) => found,
            Err(e) => return self.fail_cleaning(o, e.text()),
        };
        match live.filter(|live| live.metadata.uid == self.ars().metadata.uid) {
            Some(live) => self.ars = Some(live),
            None => return Decision::End(Outcome::Settled),
        }
        let list = self.runner_sets_request();
        self.kube(Step::AfterLeftRunnerSetsListed, list)
    }

    /// With the set go the manager's rights in its namespace: a runner set that the cache does not show would stay for ever.
    pub(super) fn after_left_runner_sets_listed(&mut self, o: &mut Observed<'_>) -> Decision {
        let items = match o.take_reply().into_list() {
            Ok(items) => items,
            // The rights went in a pass that came to nothing after it had looked.
            Err(e) if e.status().is_some_and(|s| s.is_forbidden()) => Vec::new(),
            Err(e) => return self.fail_cleaning(o, e.text()),
        };
        let uid = self.ars().metadata.uid;
        let own = |s: &&Arc<EphemeralRunnerSet>| s.metadata.controller().is_some_and(|c| c.uid == uid);
        let left: Vec<_> = items.iter().filter_map(EphemeralRunnerSet::unwrap).filter(own).collect();
        if left.is_empty() {
            return self.delete_scale_set(o);
        }
        self.doomed = left.iter().filter(|s| !s.metadata.is_deleting()).map(|s| s.metadata.key()).collect();
        self.clean_next_runner_set(o)
    }

    fn delete_scale_set(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.scale_set_id() {
            Some(_) => self.with_client(Purpose::Delete),
            // One that is found gets its id noted, and the next pass deletes it.
            None if self.is_announced(o) => self.with_client(Purpose::Find),
            None => self.cleaned(o),
        }
    }

    pub(super) fn clean_next_runner_set(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.doomed.pop() {
            Some(key) => self.delete(Step::AfterRunnerSetCleaned, Kind::EphemeralRunnerSet, key),
            None => self.incomplete(o),
        }
    }

    /// Something is still there; its disappearance from the cache brings the next pass.
    pub(super) fn incomplete(&mut self, o: &Observed<'_>) -> Decision {
        let waits =
            self.cleaning == Cleaning::Outdated || o.settings.behaviour.ars_delete_wait == ArsDeleteWait::After5s;
        Decision::End(if waits { Outcome::After(Duration::from_secs(5)) } else { Outcome::Settled })
    }

    pub(super) fn fail_cleaning(&mut self, o: &mut Observed<'_>, error: Str) -> Decision {
        self.fail(o, ("Failed to clean up resources during deletion", "Cleanup"), error)
    }

    pub(super) fn after_scale_set_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_service() {
            Ok(_) => self.forget_scale_set(o),
            // Anything on the way can say 404: once more, from another side, before the only one who knows of the set goes.
            Err(e) if is_missing(&e) && o.settings.behaviour.ars_scale_set_gone == ScaleSetGone::Fine => {
                let id = self.scale_set_id().unwrap_or_default();
                self.service(Step::AfterGoneScaleSetRead, Op::GetScaleSetById(id))
            }
            Err(e) => self.fail_scale_set(o, e.text()),
        }
    }

    pub(super) fn after_gone_scale_set_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let why = match o.take_reply().into_service() {
            Ok(ServiceOk::ScaleSet(None)) => return self.forget_scale_set(o),
            Err(e) if is_missing(&e) => return self.forget_scale_set(o),
            Ok(_) => "the service says both that the scale set exists and that it does not".into(),
            Err(e) => e.text(),
        };
        self.fail_scale_set(o, why)
    }

    fn fail_scale_set(&mut self, o: &mut Observed<'_>, why: Str) -> Decision {
        o.error("Failed to delete runner scale set", why.clone());
        self.fail_cleaning(o, why)
    }

    fn forget_scale_set(&mut self, o: &Observed<'_>) -> Decision {
        let mut annotations = vec![(names::SCALE_SET_ID.into(), None)];
        if self.is_announced(o) {
            annotations.push((names::scale_set_name_key(&o.settings.behaviour).into(), None));
        }
        self.patch(Step::AfterScaleSetIdRemoved, Patch { annotations, ..Patch::default() })
    }

    pub(super) fn cleaned(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.cleaning {
            Cleaning::Outdated => Decision::End(Outcome::Settled),
            Cleaning::Deletion => self.remove_protection(o),
        }
    }

    /// The id in the annotation, if it is one.
    pub(super) fn scale_set_id(&self) -> Option<ScaleSetId> {
        let text = self.ars().metadata.annotation(names::SCALE_SET_ID)?;
        text.parse().ok().filter(|id| *id > 0).map(ScaleSetId)
    }
}
