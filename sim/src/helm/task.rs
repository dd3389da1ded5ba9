//! The commands of people at a cluster, as values: which objects, and what is done to each. Never carries one out.
//!
//! Source: field-bugs.md §1 (operator actions).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::kube::Sub;
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Duration, Kind, Object, Str, Time, format_smolstr};
use controller_core::Release;
use serde_json::{Value, json};

use crate::plan::Glob;
use crate::plan::fault::PodTarget;

/// Objects, as somebody at a command line chooses them.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// Kinds.
    pub kinds: Vec<Kind>,
    /// Names.
    pub name: Glob,
    /// Namespaces.
    pub namespace: Glob,
    /// Labels that must be equal.
    pub labels: Vec<(Str, Str)>,
    /// Labels that must be there.
    pub has_labels: Vec<Str>,
    /// Pods on this node only.
    pub node: Option<Str>,
    /// Runners (or their pods) that have a job, or have none, by the status of the EphemeralRunner of that name.
    pub busy: Option<bool>,
    /// How many, oldest first.
    pub count: Option<usize>,
}

impl Select {
    /// One object.
    pub fn one(kind: Kind, key: &Key) -> Select {
        Select {
            kinds: vec![kind],
            name: Glob(key.name.clone()),
            namespace: Glob(key.namespace.clone()),
            ..Select::default()
        }
    }
    /// Pods of a component, of one scale set if stated (workflow pods: those of its runners, whose names begin with its name).
    pub fn pods(target: PodTarget, scale_set: Option<&str>) -> Select {
        let (label, value) = match target {
            PodTarget::Runner => ("actions-ephemeral-runner", "True"),
            PodTarget::Listener => ("app.kubernetes.io/component", "runner-scale-set-listener"),
            PodTarget::Controller => ("app.kubernetes.io/component", "controller-manager"),
            PodTarget::Workflow | PodTarget::Any => ("", ""),
        };
        let mut select = Select { kinds: vec![Kind::Pod], ..Select::default() };
        if !label.is_empty() {
            select.labels.push((label.into(), value.into()));
        }
        match (target, scale_set) {
            (PodTarget::Workflow, set) => {
                select.has_labels.push("runner-pod".into());
                select.name = set.map_or_else(Glob::default, |set| Glob(format_smolstr!("{set}-*")));
            }
            (PodTarget::Controller, _) | (_, None) => {}
            (_, Some(set)) => select.labels.push(("actions.github.com/scale-set-name".into(), set.into())),
        }
        select
    }
    /// All kinds that a text names, as kind or resource, in any case; `*` stands for any text.
    pub fn kinds(text: &Glob) -> Vec<Kind> {
        let wanted = Glob(text.0.to_lowercase().into());
        let fits = |k: &&Kind| wanted.matches(&k.as_str().to_lowercase()) || wanted.matches(k.plural());
        Kind::ALL.iter().filter(fits).copied().collect()
    }
    /// Whether an object is meant, given which runners have a job.
    pub(super) fn fits(&self, object: &Object, with_job: &BTreeMap<Key, bool>) -> bool {
        let meta = object.meta();
        let on_node = || match (&self.node, object.get::<Pod>()) {
            (Some(node), Some(pod)) => pod.node_name.as_ref() == Some(node),
            (Some(_), None) => false,
            (None, _) => true,
        };
        self.name.matches(&meta.name)
            && (meta.namespace.is_empty() || self.namespace.matches(&meta.namespace))
            && self.has_labels.iter().all(|l| meta.label(l).is_some())
            && self.busy.is_none_or(|busy| with_job.get(&meta.key()) == Some(&busy))
            && on_node()
    }
}

/// What is done to each chosen object.
#[derive(Clone, Debug)]
pub enum Verb {
    /// DELETE.
    Delete {
        /// Grace period; `None`: the object's own.
        grace: Option<Duration>,
        /// Dependents stay.
        orphan: bool,
    },
    /// Takes finalizers off.
    Strip(Glob),
    /// A merge patch.
    Patch(Sub, Arc<Value>),
    /// Replaces the members of a Secret.
    SetData(Arc<BTreeMap<Str, Str>>),
    /// POST `eviction`, again every 5 s while it is refused with 429.
    Evict,
    /// A pause.
    Wait(Duration),
    /// Makes the object anew as it was: new identity. A Secret may get other members.
    Recreate(Option<Arc<BTreeMap<Str, Str>>>),
}

/// A command.
#[derive(Clone, Debug)]
pub enum Task {
    /// Does things to chosen objects.
    Each(Select, Vec<Verb>),
    /// Cordons a node and evicts its pods.
    Drain {
        /// Node.
        node: Str,
        /// Grace period instead of the pods' own: the pods are deleted, which no disruption budget refuses.
        grace: Option<Duration>,
        /// When the node is uncordoned.
        uncordon_after: Option<Duration>,
    },
    /// Deletes the pod that holds a lease.
    DeposeLeader {
        /// The lease.
        lease: Key,
    },
    /// Replaces the four CRDs by those of a release.
    ReplaceCrds(Release),
    /// `kubectl create`.
    Create(Object),
}

impl Task {
    /// `kubectl delete`.
    pub fn delete(select: Select, grace: Option<Duration>, orphan: bool) -> Task {
        Task::Each(select, vec![Verb::Delete { grace, orphan }])
    }
    /// Strips finalizers by hand.
    pub fn force_finalize(select: Select, finalizer: Glob) -> Task {
        Task::Each(select, vec![Verb::Strip(finalizer)])
    }
    /// `kubectl delete namespace`.
    pub fn delete_namespace(name: &Str) -> Task {
        Task::delete(Select::one(Kind::Namespace, &Key::new("", name.clone())), None, false)
    }
    /// `kubectl patch --type=merge`.
    pub fn patch(kind: Kind, key: &Key, patch: Value) -> Task {
        Task::Each(Select::one(kind, key), vec![Verb::Patch(Sub::Main, Arc::new(patch))])
    }
    /// Patches `status` by hand; without a patch it is emptied.
    pub fn reset_status(select: Select, status: Option<Value>) -> Task {
        let patch = json!({ "status": status.unwrap_or(Value::Null) });
        Task::Each(select, vec![Verb::Patch(Sub::Status, Arc::new(patch))])
    }
    /// Changes what a Secret holds.
    pub fn rotate_secret(key: &Key, data: BTreeMap<Str, Str>) -> Task {
        Task::Each(Select::one(Kind::Secret, key), vec![Verb::SetData(Arc::new(data))])
    }
    /// Removes a Secret, its finalizers too, and perhaps makes it again later, with the old members unless others are given.
    pub fn delete_secret(key: &Key, recreate: Option<(Duration, Option<BTreeMap<Str, Str>>)>) -> Task {
        let mut verbs = vec![Verb::Delete { grace: None, orphan: false }, Verb::Strip(Glob::default())];
        if let Some((after, data)) = recreate {
            verbs.extend([Verb::Wait(after), Verb::Recreate(data.map(Arc::new))]);
        }
        Task::Each(Select::one(Kind::Secret, key), verbs)
    }
    /// Replaces an identity object for good (new identity, old tokens are refused at once), or only deletes it, which leaves it
    /// Terminating if a finalizer holds it.
    pub fn recreate(kind: Kind, key: &Key, replace: bool) -> Task {
        let mut verbs = vec![Verb::Delete { grace: None, orphan: false }];
        if replace {
            verbs.extend([Verb::Strip(Glob::default()), Verb::Recreate(None)]);
        }
        Task::Each(Select::one(kind, key), verbs)
    }
    /// `kubectl scale deployment`.
    pub fn scale(key: &Key, replicas: u32) -> Task {
        Task::patch(Kind::Deployment, key, json!({ "spec": { "replicas": replicas } }))
    }
    /// `kubectl rollout restart deployment`.
    pub fn restart(key: &Key, now: Time) -> Task {
        let stamp = json!({ "kubectl.kubernetes.io/restartedAt": now.to_rfc3339() });
        Task::patch(Kind::Deployment, key, json!({ "spec": { "template": { "metadata": { "annotations": stamp } } } }))
    }
}
