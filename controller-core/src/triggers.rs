//! Which reconcile keys an object's event wakes, and when. What changed is looked at only by `next`, and only for the when.
//!
//! Source: arc-controllers.md §2.3. The same mapping in every release; `next` adds timers, and one mapping ([`users`]).

use arc_api::crd::AutoscalingRunnerSet;
use arc_api::meta::Key;
use arc_api::{Duration, Kind, Meta, Object, Resource, Str};

use crate::autoscaling_runner_set::names_identity;
use crate::behaviour::{Behaviour, IdentityCheck, OwnStatus};
use crate::caches::Caches;

/// How long a runner set leaves a report of its own status alone (`next`).
const STATUS_WAIT: Duration = Duration::from_secs(2);

/// How soon a set looks at its runners' account, role or binding after one of them changed (`next`). Who replaces them deletes
/// and creates them one after the other, and half of that is not worth another listener; their tokens are accepted for 60 s.
pub const IDENTITY_WAIT: Duration = Duration::from_secs(5);

/// Labels by which a Role or RoleBinding in the runner namespace names its AutoscalingListener.
pub const LISTENER_NAME: &str = "auto-scaling-listener-name";
/// Its namespace.
pub const LISTENER_NAMESPACE: &str = "auto-scaling-listener-namespace";

/// The controllers (by the kind they reconcile) and keys that an event of `object` wakes: at most two.
pub fn enqueue(object: &Object) -> impl Iterator<Item = (Kind, Key)> {
    let meta = object.meta();
    let (first, second) = match object {
        Object::AutoscalingRunnerSet(_) => (Some((Kind::AutoscalingRunnerSet, meta.key())), None),
        Object::AutoscalingListener(listener) => (
            Some((Kind::AutoscalingListener, meta.key())),
            Some((
                Kind::AutoscalingRunnerSet,
                Key::new(
                    listener.spec.autoscaling_runner_set_namespace.clone(),
                    listener.spec.autoscaling_runner_set_name.clone(),
                ),
            )),
        ),
        Object::EphemeralRunnerSet(_) => {
            (Some((Kind::EphemeralRunnerSet, meta.key())), owner(meta, &[Kind::AutoscalingRunnerSet]))
        }
        Object::EphemeralRunner(_) => {
            (Some((Kind::EphemeralRunner, meta.key())), owner(meta, &[Kind::EphemeralRunnerSet]))
        }
        Object::Pod(_) => (owner(meta, &[Kind::EphemeralRunner, Kind::AutoscalingListener]), None),
        Object::ServiceAccount(_) => (owner(meta, &[Kind::AutoscalingListener]), None),
        Object::Role(_) | Object::RoleBinding(_) => (labelled(meta), None),
        _ => (None, None),
    };
    first.into_iter().chain(second)
}

/// How long the object's own controller may wait with an update. A report is looked at to correct it, which is not urgent:
/// during a roll two managers may see different runners, and each would answer the other's report at once.
pub fn patience(old: &Object, new: &Object, behaviour: &Behaviour) -> Duration {
    let (was, is) = (old.meta(), new.meta());
    let same = was.generation == is.generation
        && was.deletion_timestamp == is.deletion_timestamp
        && was.finalizers == is.finalizers
        && was.labels == is.labels
        && was.annotations == is.annotations
        && was.owner_references == is.owner_references;
    let reports = matches!(new.kind(), Kind::EphemeralRunnerSet | Kind::AutoscalingRunnerSet);
    let later = behaviour.ers_own_status == OwnStatus::Later && reports;
    if same && later { STATUS_WAIT } else { Duration::ZERO }
}

/// The sets whose runners live on this account, role or binding, and which therefore look at it after [`IDENTITY_WAIT`]: nobody
/// else would tell a quiet set that its runners' tokens are worth nothing (`next`; field-bugs.md, seed-kube-mode-hook-forbidden).
pub fn users(object: &Object, caches: &Caches, behaviour: &Behaviour) -> Vec<Key> {
    let identity = matches!(object.kind(), Kind::ServiceAccount | Kind::Role | Kind::RoleBinding);
    if !identity || behaviour.ars_identity == IdentityCheck::Ignored {
        return Vec::new();
    }
    let sets = caches.of(Kind::AutoscalingRunnerSet).iter().filter_map(AutoscalingRunnerSet::unwrap);
    let users = sets.filter(|set| !set.metadata.is_deleting() && names_identity(set, object));
    users.map(|set| set.metadata.key()).collect()
}

/// The managing owner, by name as upstream's handler does it: an owner re-created under its name is woken too.
fn owner(meta: &Meta, kinds: &[Kind]) -> Option<(Kind, Key)> {
    let owner = meta.controller().filter(|o| kinds.contains(&o.kind))?;
    Some((owner.kind, Key::new(meta.namespace.clone(), owner.name.clone())))
}

fn labelled(meta: &Meta) -> Option<(Kind, Key)> {
    let value = |key| meta.label(key).filter(|v| !v.is_empty()).cloned();
    let (name, namespace): (Str, Str) = (value(LISTENER_NAME)?, value(LISTENER_NAMESPACE)?);
    Some((Kind::AutoscalingListener, Key::new(namespace, name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_api::OwnerRef;
    use arc_api::core::Role;
    use arc_api::crd::{AlSpec, AutoscalingListener};
    use arc_api::meta::labels;
    use arc_api::pod::Pod;
    use std::sync::Arc;

    #[test]
    fn a_listener_wakes_itself_and_the_set_its_spec_names() {
        let spec = AlSpec {
            autoscaling_runner_set_namespace: "runners".into(),
            autoscaling_runner_set_name: "demo".into(),
            ..AlSpec::default()
        };
        let listener =
            AutoscalingListener { metadata: Meta::named("arc", "l"), spec: Arc::new(spec), ..Default::default() };
        let woken: Vec<_> = enqueue(&listener.into()).collect();
        assert_eq!(
            woken,
            [
                (Kind::AutoscalingListener, Key::new("arc", "l")),
                (Kind::AutoscalingRunnerSet, Key::new("runners", "demo")),
            ]
        );
    }

    #[test]
    fn only_the_corrected_controller_lets_a_report_of_a_runner_set_wait() {
        use crate::Release;
        let old = arc_api::crd::EphemeralRunnerSet { metadata: Meta::named("ns", "s"), ..Default::default() };
        let mut reported = old.clone();
        reported.metadata.resource_version = 2;
        reported.status.current_replicas = 1;
        let mut asked = reported.clone();
        asked.metadata.generation = 2;
        let wait = |new: &arc_api::crd::EphemeralRunnerSet, release| {
            patience(&old.clone().into(), &new.clone().into(), &Behaviour::of(release))
        };
        assert_eq!(wait(&reported, Release::Next), STATUS_WAIT);
        assert_eq!(wait(&asked, Release::Next), Duration::ZERO);
        assert_eq!(wait(&reported, Release::V0_14_2), Duration::ZERO);
        // Two managers count for the user as well.
        let old = AutoscalingRunnerSet { metadata: Meta::named("ns", "s"), ..Default::default() };
        let mut counted = old.clone();
        counted.metadata.resource_version = 2;
        counted.status.current_runners = 1;
        let wait = |release| patience(&old.clone().into(), &counted.clone().into(), &Behaviour::of(release));
        assert_eq!((wait(Release::Next), wait(Release::V0_14_2)), (STATUS_WAIT, Duration::ZERO));
    }

    #[test]
    fn a_pod_wakes_its_managing_owner_only() {
        let runner = Meta::named("ns", "r");
        let mut pod = Pod { metadata: Meta::named("ns", "r"), ..Pod::default() };
        assert_eq!(enqueue(&pod.clone().into()).count(), 0);
        pod.metadata.owner_references = [OwnerRef::controller(Kind::EphemeralRunner, &runner)].into();
        assert_eq!(enqueue(&pod.into()).collect::<Vec<_>>(), [(Kind::EphemeralRunner, Key::new("ns", "r"))]);
    }

    #[test]
    fn an_account_is_looked_at_by_the_live_sets_whose_runners_use_it_in_next_only() {
        use crate::Release;
        use arc_api::core::{RoleBinding, ServiceAccount};
        let mut caches = Caches::default();
        let mut add = |namespace: &str, name: &str, account: &str, gone: bool| {
            let mut set = AutoscalingRunnerSet { metadata: Meta::named(namespace, name), ..Default::default() };
            let template = &mut Arc::make_mut(&mut set.spec).template;
            Arc::make_mut(&mut Arc::make_mut(template).spec).service_account_name = account.into();
            let binding = "actions.github.com/cleanup-kubernetes-mode-role-binding-name";
            set.metadata.annotations = labels([(binding, "bound")]);
            set.metadata.deletion_timestamp = gone.then_some(arc_api::Time::from_secs(1));
            caches.of_mut(Kind::AutoscalingRunnerSet).insert(set.into());
        };
        add("ns", "user", "own", false);
        add("ns", "other", "another", false);
        add("ns", "going", "own", true);
        add("elsewhere", "user", "own", false);
        let account = ServiceAccount { metadata: Meta::named("ns", "own"), ..Default::default() };
        let asked = |object: Object, release| users(&object, &caches, &Behaviour::of(release));
        assert_eq!(asked(account.clone().into(), Release::Next), [Key::new("ns", "user")]);
        assert!(asked(account.into(), Release::V0_14_2).is_empty());
        let binding = RoleBinding { metadata: Meta::named("ns", "bound"), ..Default::default() };
        assert_eq!(asked(binding.into(), Release::Next), [Key::new("ns", "other"), Key::new("ns", "user")]);
        let role = Role { metadata: Meta::named("ns", "bound"), ..Role::default() };
        assert!(asked(role.into(), Release::Next).is_empty());
    }

    #[test]
    fn a_role_wakes_the_listener_its_labels_name() {
        let mut role = Role { metadata: Meta::named("ns", "r"), ..Role::default() };
        assert_eq!(enqueue(&role.clone().into()).count(), 0);
        role.metadata.labels = labels([(LISTENER_NAME, "l"), (LISTENER_NAMESPACE, "arc")]);
        assert_eq!(enqueue(&role.into()).collect::<Vec<_>>(), [(Kind::AutoscalingListener, Key::new("arc", "l"))]);
    }
}
