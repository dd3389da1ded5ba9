//! What must hold at the end: nothing is left without its owner, and nothing is still wrong.

use arc_api::crd::{AutoscalingRunnerSet, EphemeralRunner};
use arc_api::{Kind, Str, format_smolstr};
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
        let named = api.iter(Kind::AutoscalingRunnerSet).filter_map(|o| o.get::<AutoscalingRunnerSet>()).any(|a| {
            a.metadata.annotations.iter().any(|(k, v)| k.starts_with("actions.github.com/cleanup-") && *v == meta.name)
        });
        if !named {
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
    let _ = (site, &invariants.ledger);
    found
}

/// Registrations and scale sets of the service that nobody will ever remove.
pub(crate) fn service_orphans(
    github: &fake_github::GitHub,
    clusters: &[&Cluster],
    invariants: &Invariants,
) -> Vec<Orphan> {
    let mut found = Vec::new();
    for runner in github.runners() {
        let owned = clusters.iter().any(|c| {
            c.api()
                .iter(Kind::EphemeralRunner)
                .filter_map(|o| o.get::<EphemeralRunner>())
                .any(|e| e.metadata.name == runner.name)
        });
        if !owned {
            found.push(Orphan {
                about: format_smolstr!("runner {}", runner.name),
                said: "is registered at the service and has no EphemeralRunner".into(),
            });
        }
    }
    for set in github.scale_sets() {
        let owner: Option<&SetKey> = invariants.ledger.scale_sets.get(&set.id);
        let exists = owner.is_some_and(|k| invariants.ledger.sets.get(k).is_some_and(|s| s.ars.is_some()));
        if !exists {
            found.push(Orphan {
                about: format_smolstr!("scale set {} ({})", set.id, set.name),
                said: "exists at the service and has no AutoscalingRunnerSet".into(),
            });
        }
    }
    found
}
