//! What must hold at the end: nothing is left without its owner, and nothing is still wrong.

use arc_api::core::RoleBinding;
use arc_api::crd::{AutoscalingRunnerSet, EphemeralRunner};
use arc_api::{Kind, Object, Str, format_smolstr};
use fake_kube::Cluster;

use super::Invariants;
use super::ledger::SetKey;
use crate::world::SiteId;

/// Something left behind: what, and whose fault it is.
pub(crate) struct Orphan {
    /// Object.
    pub(crate) about: Str,
    /// Sentence.
    pub(crate) said: Str,
}

/// Whether a set's annotations name a protected object: then its clean-up takes the protection off.
pub(crate) fn is_named_by(ars: &AutoscalingRunnerSet, object: &Object) -> bool {
    let meta = object.meta();
    ars.metadata.namespace == meta.namespace
        && ars.metadata.annotations.iter().any(|(k, v)| k.starts_with("actions.github.com/cleanup-") && *v == meta.name)
}

/// Whether a set's runners live on an identity object: their account, a binding of it, or the role that such a binding gives.
pub(crate) fn is_used_by(ars: &AutoscalingRunnerSet, object: &Object, cluster: &Cluster) -> bool {
    let (account, meta) = (&ars.spec.template.spec.service_account_name, object.meta());
    let binds = |b: &RoleBinding| b.subjects.iter().any(|s| s.kind == "ServiceAccount" && s.name == *account);
    ars.metadata.namespace == meta.namespace
        && match object {
            Object::ServiceAccount(_) => meta.name == *account,
            Object::RoleBinding(b) => binds(b),
            Object::Role(_) => (cluster.api().iter(Kind::RoleBinding).filter_map(|o| o.get::<RoleBinding>()))
                .any(|b| b.metadata.namespace == meta.namespace && binds(b) && b.role_ref.name == meta.name),
            _ => false,
        }
}

/// Objects of a cluster that nobody will ever remove.
pub(crate) fn orphans(site: SiteId, cluster: &Cluster, invariants: &Invariants) -> Vec<Orphan> {
    let mut found = Vec::new();
    let api = cluster.api();
    let protected = [Kind::ServiceAccount, Kind::Role, Kind::RoleBinding, Kind::Secret];
    for object in protected.iter().flat_map(|k| api.iter(*k)) {
        let meta = object.meta();
        if !meta.is_deleting() || !meta.has_finalizer("actions.github.com/cleanup-protection") {
            continue;
        }
        let sets = api.iter(Kind::AutoscalingRunnerSet).filter_map(|o| o.get::<AutoscalingRunnerSet>());
        let answered = sets
            .into_iter()
            .any(|a| is_named_by(a, object) || (!a.metadata.is_deleting() && is_used_by(a, object, cluster)));
        if !answered && !invariants.ledger.is_left_by_helm(site, object) {
            found.push(Orphan {
                about: format_smolstr!("{} {}", object.kind(), meta.key()),
                said: "is being deleted and nobody will take its finalizer off".into(),
            });
        }
    }
    for pod in api.iter(Kind::Pod) {
        let Some(owner) = pod.meta().controller() else { continue };
        if owner.kind == Kind::EphemeralRunner && api.by_uid(owner.uid).is_none() && !pod.meta().is_deleting() {
            found.push(Orphan { about: format_smolstr!("Pod {}", pod.key()), said: "has no EphemeralRunner".into() });
        }
    }
    found
}

/// Registrations and scale sets of the service that nobody will ever remove.
pub(crate) fn service_orphans(
    github: &fake_github::GitHub,
    clusters: &[&Cluster],
    invariants: &Invariants,
) -> Vec<Orphan> {
    let mut found = Vec::new();
    for runner in github.runners().filter(|r| r.is_registered) {
        let owned = clusters.iter().any(|c| {
            c.api()
                .iter(Kind::EphemeralRunner)
                .filter_map(|o| o.get::<EphemeralRunner>())
                .any(|e| e.metadata.name == runner.name)
        });
        if !owned && !invariants.ledger.unheard.contains(&runner.id) {
            found.push(Orphan {
                about: format_smolstr!("runner {}", runner.name),
                said: "is registered at the service and has no EphemeralRunner".into(),
            });
        }
    }
    for set in github.scale_sets() {
        let owner: Option<&SetKey> = invariants.ledger.scale_sets.get(&set.id);
        let exists = owner.is_some_and(|k| invariants.ledger.sets.get(k).is_some_and(|s| s.ars.is_some()));
        if !exists && !invariants.ledger.unheard_sets.contains(&set.id) {
            found.push(Orphan {
                about: format_smolstr!("scale set {} ({})", set.id, set.name),
                said: "exists at the service and has no AutoscalingRunnerSet".into(),
            });
        }
        let denied = |m: &arc_api::MessageId| invariants.ledger.denied.contains(&(set.id, *m));
        if let Some(message) = github.undeleted(set.id).find(|m| !denied(m)) {
            found.push(Orphan {
                about: format_smolstr!("scale set {} ({})", set.id, set.name),
                said: format_smolstr!("message {message} was handled and never deleted"),
            });
        }
    }
    found
}
