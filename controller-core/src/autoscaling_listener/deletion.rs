//! Removing what a deleting listener made, in order: pod, config, proxy secret, RoleBinding, Role, ServiceAccount. Never
//! waits for anything in a pass.
//!
//! Source: arc-controllers.md §6.3, Q-LISTENER-DELETE-SLOW; orders of d_uninstall/0.9.1 (one a pass) and /0.14.2 (one pass).
//! The mirrored secret of old releases is left to the garbage collector (recorded: a_basic/0.11.0).

use arc_api::kube::{Patch, Sub};
use arc_api::meta::Key;
use arc_api::{Duration, Kind};

use super::{AlPass, Step};
use crate::behaviour::*;
use crate::names;
use crate::reconcile::{Decision, Observed, Outcome};

/// The kinds that are removed, in order; the first Secret is the config, the second the proxy.
const PARTS: [Kind; 6] = [Kind::Pod, Kind::Secret, Kind::Secret, Kind::RoleBinding, Kind::Role, Kind::ServiceAccount];
const PROXY: usize = 2;

impl AlPass {
    fn part_key(&self, part: usize, o: &Observed<'_>) -> Key {
        let name = &self.key.name;
        let identity = || names::listener_identity(name, &self.set(), &o.settings.behaviour);
        match PARTS[part] {
            Kind::Pod => self.key.clone(),
            Kind::Secret if part == PROXY => self.beside_us(names::listener_proxy(name)),
            Kind::Secret => self.beside_us(names::listener_config(name)),
            Kind::ServiceAccount => self.beside_us(identity()),
            _ => self.beside_runners(identity()),
        }
    }

    /// The next part that is still there.
    pub(super) fn remove_parts(&mut self, o: &Observed<'_>) -> Decision {
        while let Some(kind) = PARTS.get(self.part).copied() {
            let key = self.part_key(self.part, o);
            match kind {
                Kind::Secret if self.part == PROXY && self.listener().spec.proxy.is_none() => {}
                Kind::Secret => return self.get(Step::AfterPartRead, kind, key),
                _ => {
                    if let Some(object) = o.caches.of(kind).get(&key) {
                        return self.remove(kind, object.meta().is_deleting(), key, o);
                    }
                }
            }
            self.part += 1;
        }
        if self.remains {
            return Decision::End(Outcome::After(Duration::from_secs(1)));
        }
        let patch = Patch::finalizers(self.listener().metadata.finalizers_without(names::AL_FINALIZER));
        self.patch(Step::AfterFinalizerRemoved, Sub::Main, patch)
    }

    fn remove(&mut self, kind: Kind, is_deleting: bool, key: Key, o: &Observed<'_>) -> Decision {
        self.remains = true;
        if is_deleting { self.next_part(o) } else { self.delete(Step::AfterPartDeleted, kind, key) }
    }

    /// A part is on its way: stepwise releases stop here, and every such stop doubles the key's delay.
    fn next_part(&mut self, o: &Observed<'_>) -> Decision {
        match o.settings.behaviour.al_deletion {
            ListenerDeletion::Stepwise => Decision::End(Outcome::Requeue),
            ListenerDeletion::OnePass => {
                self.part += 1;
                self.remove_parts(o)
            }
        }
    }

    pub(super) fn after_part_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match Self::take_deleted(o) {
            Ok(()) => self.next_part(o),
            Err(e) => self.fail(o, ("Failed to cleanup listener resources before deletion", "Cleanup"), e.text()),
        }
    }

    pub(super) fn after_part_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_object() {
            Ok(object) => {
                let is_deleting = object.is_some_and(|s| s.meta().is_deleting());
                let key = self.part_key(self.part, o);
                self.remove(Kind::Secret, is_deleting, key, o)
            }
            Err(e) if e.is_not_found() => {
                self.part += 1;
                self.remove_parts(o)
            }
            Err(e) => self.fail(o, ("Failed to cleanup listener resources before deletion", "Cleanup"), e.text()),
        }
    }
}
