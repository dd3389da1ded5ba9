//! Taking `cleanup-protection` off the chart's objects once a set is clean, then the set's own finalizer. Never deletes them:
//! their deletion was asked for before.
//!
//! Source: arc-controllers.md §3.3; recorded orders: d_uninstall, d_uninstall2. Items 6 and 7 take the controller's own rights
//! away, so they come last.

use arc_api::kube::{KubeRequest, Patch, Sub};
use arc_api::meta::Key;
use arc_api::{Kind, Meta};

use super::{ArsPass, Step};
use crate::behaviour::*;
use crate::names;
use crate::reconcile::{Decision, Observed, Outcome};

/// Annotation with the name of the kubernetes-mode RoleBinding.
pub(super) const KUBE_MODE_ROLE_BINDING: &str = "actions.github.com/cleanup-kubernetes-mode-role-binding-name";
/// Annotation with the name of the kubernetes-mode Role.
pub(super) const KUBE_MODE_ROLE: &str = "actions.github.com/cleanup-kubernetes-mode-role-name";
/// Annotation with the name of the kubernetes-mode ServiceAccount.
pub(super) const KUBE_MODE_ACCOUNT: &str = "actions.github.com/cleanup-kubernetes-mode-service-account-name";
/// Annotation with the name of the ServiceAccount that may do nothing.
pub(super) const NO_PERMISSION_ACCOUNT: &str = "actions.github.com/cleanup-no-permission-service-account-name";

/// What is protected, in the order in which it is let go, and the annotation that names it.
const PROTECTED: [(Kind, &str); 7] = [
    (Kind::RoleBinding, KUBE_MODE_ROLE_BINDING),
    (Kind::Role, KUBE_MODE_ROLE),
    (Kind::ServiceAccount, KUBE_MODE_ACCOUNT),
    (Kind::ServiceAccount, NO_PERMISSION_ACCOUNT),
    (Kind::Secret, "actions.github.com/cleanup-github-secret-name"),
    (Kind::RoleBinding, "actions.github.com/cleanup-manager-role-binding"),
    (Kind::Role, "actions.github.com/cleanup-manager-role-name"),
];

impl ArsPass {
    /// The next protected object, or, when all are done, the set's own finalizer.
    pub(super) fn remove_protection(&mut self, o: &mut Observed<'_>) -> Decision {
        // First, because the manager's own rights in the namespace are among what follows.
        if let Some((kind, meta)) = self.last_stray(o) {
            return self.unprotect(kind, &meta);
        }
        while let Some((kind, annotation)) = PROTECTED.get(self.protected) {
            let name = self.ars().metadata.annotation(annotation).filter(|n| !n.is_empty());
            if let Some(key) = name.map(|n| Key::new(self.key.namespace.clone(), n.clone())) {
                if *kind == Kind::Secret {
                    return self.kube(Step::AfterProtectedSecretRead, KubeRequest::Get { kind: *kind, key });
                }
                let held = o.caches.of(*kind).get(&key).map(|object| object.meta());
                if let Some(meta) = held.filter(|m| m.has_finalizer(names::PROTECTION)) {
                    return self.unprotect(*kind, meta);
                }
            }
            self.protected += 1;
        }
        let patch = Patch::finalizers(self.ars().metadata.finalizers_without(names::ARS_FINALIZER));
        self.patch(Step::AfterFinalizerRemoved, patch)
    }

    fn unprotect(&mut self, kind: Kind, meta: &Meta) -> Decision {
        let patch = Patch::finalizers(meta.finalizers_without(names::PROTECTION));
        self.patch_object(Step::AfterProtectionRemoved, kind, meta.key(), Sub::Main, patch)
    }

    pub(super) fn after_protected_secret_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_object() {
            Ok(Some(secret)) if secret.meta().has_finalizer(names::PROTECTION) => {
                self.unprotect(Kind::Secret, secret.meta())
            }
            Ok(_) => self.next_protected(o),
            // Forbidden too: a trailing pass on a stale copy has lost its rights already (recorded: d_uninstall/0.9.1).
            Err(e) if e.is_not_found() || e.status().is_some_and(|s| s.is_forbidden()) => self.next_protected(o),
            Err(e) => self.fail(o, ("Failed to remove finalizers on dependent resources", "Protection"), e.text()),
        }
    }

    pub(super) fn after_protection_removed(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = self.take_deleted(o) {
            // 404 of the patch is an error, seen once and tried again (recorded: d_uninstall/0.9.1).
            return self.fail(o, ("Failed to remove finalizers on dependent resources", "Protection"), e.text());
        }
        match o.settings.behaviour.ars_protection_removal {
            ProtectionRemoval::OnePerPass => Decision::End(Outcome::Requeue),
            ProtectionRemoval::OnePass => self.next_protected(o),
        }
    }

    fn next_protected(&mut self, o: &mut Observed<'_>) -> Decision {
        self.protected += 1;
        self.remove_protection(o)
    }
}
