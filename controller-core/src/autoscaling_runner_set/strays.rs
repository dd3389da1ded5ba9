//! Identity objects of the set's own Helm release that nobody answers for any more: marked for deletion, held only by the chart's
//! protection finalizer, and not named in the set's annotations. Only the corrected controller looks for them.
//!
//! The decision: what the runners still use stays as it is (a Terminating Role and RoleBinding go on authorising); what they do
//! not use is let go a minute after its deletion, when no server accepts a token of it any more; a set that is deleted lets go
//! of all of them. Source: field-bugs.md, seed-kube-mode-hook-forbidden, "stay Terminating after uninstall too"
//! (recorded: b_kube_mode).

use arc_api::core::RoleBinding;
use arc_api::crd::AutoscalingRunnerSet;
use arc_api::kube::Patch;
use arc_api::{Duration, Kind, Meta, Object, Str};

use super::{ArsPass, Step};
use crate::behaviour::IdentityCheck;
use crate::caches::Caches;
use crate::names;
use crate::reconcile::{CACHE_LAG, Decision, Observed, Outcome};

/// As long as an API server may still accept tokens of a Terminating account.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a stray that is still too young is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(20);
const RELEASE: &str = "meta.helm.sh/release-name";
const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Whether an object was made by the Helm release that made the set, and is protected by the chart.
pub(super) fn is_of_release(ars: &AutoscalingRunnerSet, meta: &Meta) -> bool {
    let same = |name: &str| {
        meta.annotation(name).is_some_and(|v| !v.is_empty()) && meta.annotation(name) == ars.metadata.annotation(name)
    };
    meta.namespace == ars.metadata.namespace
        && meta.has_finalizer(names::PROTECTION)
        && same(RELEASE)
        && same(RELEASE_NAMESPACE)
}

/// Whether a binding gives rights to this account.
pub(super) fn binds(binding: &RoleBinding, account: &Str) -> bool {
    binding.subjects.iter().any(|s| s.kind == "ServiceAccount" && s.name == *account)
}

/// Whether the set's annotations name an object: then the ordinary clean-up answers for it.
fn is_named(ars: &AutoscalingRunnerSet, meta: &Meta) -> bool {
    ars.metadata.annotations.iter().any(|(k, v)| k.starts_with("actions.github.com/cleanup-") && *v == meta.name)
}

/// Whether the runners of the present template live on it.
fn is_used(ars: &AutoscalingRunnerSet, object: &Object, caches: &Caches) -> bool {
    let account = &ars.spec.template.spec.service_account_name;
    let meta = object.meta();
    match object {
        Object::ServiceAccount(_) => meta.name == *account,
        Object::RoleBinding(b) => binds(b, account),
        Object::Role(_) => caches
            .of(Kind::RoleBinding)
            .iter()
            .filter_map(|o| o.get::<RoleBinding>())
            .filter(|b| b.metadata.namespace == meta.namespace && binds(b, account))
            .any(|b| b.role_ref.kind == "Role" && b.role_ref.name == meta.name),
        _ => false,
    }
}

fn strays<'a>(ars: &'a AutoscalingRunnerSet, caches: &'a Caches) -> impl Iterator<Item = &'a Object> {
    [Kind::RoleBinding, Kind::Role, Kind::ServiceAccount].into_iter().flat_map(|kind| caches.of(kind).iter()).filter(
        |object| {
            let meta = object.meta();
            meta.is_deleting()
                && meta.finalizers.iter().all(|f| f == names::PROTECTION)
                && is_of_release(ars, meta)
                && !is_named(ars, meta)
        },
    )
}

impl ArsPass {
    /// The call that lets go of the next stray whose time has come; `None` when there is none.
    pub(super) fn release_stray(&mut self, o: &Observed<'_>) -> Option<Decision> {
        if o.settings.behaviour.ars_identity == IdentityCheck::Ignored {
            return None;
        }
        let ars = self.ars().clone();
        for stray in strays(&ars, o.caches).filter(|s| !is_used(&ars, s, o.caches)) {
            if stray.meta().deletion_timestamp.is_some_and(|at| o.now < at.after(PATIENCE)) {
                self.again.get_or_insert(LOOK_AGAIN);
                continue;
            }
            let patch = Patch::finalizers(stray.meta().finalizers_without(names::PROTECTION));
            let key = stray.meta().key();
            return Some(self.patch_object(
                Step::AfterStrayReleased,
                stray.kind(),
                key,
                arc_api::kube::Sub::Main,
                patch,
            ));
        }
        None
    }

    pub(super) fn after_stray_released(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.take_done(o) {
            Err(e) if !e.is_not_found() => {
                self.fail(o, ("Failed to let go of what the chart left behind", "Identity"), e.text())
            }
            _ => Decision::End(Outcome::After(CACHE_LAG)),
        }
    }

    /// The next object of this release that the deletion of the set has to let go besides those it names.
    pub(super) fn last_stray(&mut self, o: &Observed<'_>) -> Option<(Kind, Meta)> {
        if o.settings.behaviour.ars_identity == IdentityCheck::Ignored {
            return None;
        }
        let ars = self.ars().clone();
        let done = |s: &Object| self.let_go.contains(&(s.kind(), s.meta().key()));
        let found = strays(&ars, o.caches).find(|s| !done(s))?;
        let (kind, meta) = (found.kind(), found.meta().clone());
        self.let_go.push((kind, meta.key()));
        Some((kind, meta))
    }
}
