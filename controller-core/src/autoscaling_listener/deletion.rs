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

/// How long the corrected controller waits for parts that are on their way, when nothing is heard of them.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What a listener consists of, in the order in which it is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Pod,
    Config,
    Proxy,
    RoleBinding,
    Role,
    /// What lets the corrected listener write its own status.
    StatusRoleBinding,
    StatusRole,
    Account,
}

const PARTS: [Part; 8] = [
    Part::Pod,
    Part::Config,
    Part::Proxy,
    Part::RoleBinding,
    Part::Role,
    Part::StatusRoleBinding,
    Part::StatusRole,
    Part::Account,
];

impl Part {
    fn kind(self) -> Kind {
        match self {
            Part::Pod => Kind::Pod,
            Part::Config | Part::Proxy => Kind::Secret,
            Part::RoleBinding | Part::StatusRoleBinding => Kind::RoleBinding,
            Part::Role | Part::StatusRole => Kind::Role,
            Part::Account => Kind::ServiceAccount,
        }
    }
}

impl AlPass {
    fn part_key(&self, part: Part, o: &Observed<'_>) -> Key {
        let name = &self.key.name;
        let identity = || names::listener_identity(name, &self.set(), &o.settings.behaviour);
        match part {
            Part::Pod => self.key.clone(),
            Part::Config => self.beside_us(names::listener_config(name)),
            Part::Proxy => self.beside_us(names::listener_proxy(name)),
            Part::RoleBinding | Part::Role => self.beside_runners(identity()),
            Part::StatusRoleBinding | Part::StatusRole => self.beside_us(names::listener_status_rights(name)),
            Part::Account => self.beside_us(identity()),
        }
    }

    /// Whether such a listener has this part at all.
    fn has_part(&self, part: Part, o: &Observed<'_>) -> bool {
        match part {
            Part::Proxy => self.listener().spec.proxy.is_some(),
            Part::StatusRoleBinding | Part::StatusRole => o.settings.behaviour.conditions == ConditionsRule::Reported,
            _ => true,
        }
    }

    /// The next part that is still there.
    pub(super) fn remove_parts(&mut self, o: &Observed<'_>) -> Decision {
        while let Some(part) = PARTS.get(self.part).copied() {
            let (kind, key) = (part.kind(), self.part_key(part, o));
            if self.has_part(part, o) {
                if kind == Kind::Secret {
                    return self.get(Step::AfterPartRead, kind, key);
                }
                if let Some(object) = o.caches.of(kind).get(&key) {
                    return self.remove(kind, object.meta().is_deleting(), key, o);
                }
            }
            self.part += 1;
        }
        if self.remains {
            // The end of each part wakes the listener. Whose cache lags sees parts that are gone: not to be asked for every second.
            let again = if Self::is_corrected(o) { LOOK_AGAIN } else { Duration::from_secs(1) };
            return Decision::End(Outcome::After(again));
        }
        let patch = Patch::finalizers(self.listener().metadata.finalizers_without(names::AL_FINALIZER));
        self.patch(Step::AfterFinalizerRemoved, Sub::Main, patch)
    }

    fn remove(&mut self, kind: Kind, is_deleting: bool, key: Key, o: &Observed<'_>) -> Decision {
        if is_deleting {
            self.remains = true;
            return self.next_part(o);
        }
        self.delete(Step::AfterPartDeleted, kind, key)
    }

    /// A part is on its way: stepwise releases stop here, and every such stop doubles the key's delay.
    fn next_part(&mut self, o: &Observed<'_>) -> Decision {
        match o.settings.behaviour.al_deletion {
            ListenerDeletion::Stepwise => Decision::End(Outcome::Requeue),
            ListenerDeletion::OnePass => self.skip_part(o),
        }
    }

    fn skip_part(&mut self, o: &Observed<'_>) -> Decision {
        self.part += 1;
        self.remove_parts(o)
    }

    pub(super) fn after_part_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => {
                self.remains = true;
                self.next_part(o)
            }
            // Gone, whatever the cache says: nothing to wait for.
            Err(e) if e.is_not_found() && Self::is_corrected(o) => self.skip_part(o),
            Err(e) => self.fail(o, ("Failed to cleanup listener resources before deletion", "Cleanup"), e.text()),
        }
    }

    pub(super) fn after_part_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_object() {
            Ok(object) => {
                let is_deleting = object.is_some_and(|s| s.meta().is_deleting());
                let key = self.part_key(PARTS[self.part], o);
                self.remove(Kind::Secret, is_deleting, key, o)
            }
            Err(e) if e.is_not_found() => self.skip_part(o),
            Err(e) => self.fail(o, ("Failed to cleanup listener resources before deletion", "Cleanup"), e.text()),
        }
    }
}
