//! The built-in kinds, as far as the world acts on them. Everything else of a wire object stays in [`Meta::rest`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::object::Kind;
use crate::pod::PodTemplate;
use crate::{Meta, Str, Time};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            /// Metadata.
            pub metadata: Meta,
            $($(#[$fdoc])* pub $field: $type,)*
        }
    )*};
}

kinds! {
    /// A Secret. Values are plain text here, base64 on the wire.
    Secret {
        /// `Opaque`, `kubernetes.io/dockerconfigjson`, … Empty means `Opaque`.
        #[serde(rename = "type")] type_: Str,
        /// Key to value.
        data: Arc<BTreeMap<Str, Str>>,
        /// Data cannot be changed any more.
        immutable: bool,
    }
    /// A ConfigMap.
    ConfigMap {
        /// Key to value.
        data: Arc<BTreeMap<Str, Str>>,
    }
    /// A ServiceAccount.
    ServiceAccount {
        /// Pull secrets it lends to pods.
        image_pull_secrets: Vec<crate::pod::LocalRef>,
    }
    /// A Role.
    Role {
        /// What it grants.
        rules: Arc<[PolicyRule]>,
    }
    /// A ClusterRole.
    ClusterRole {
        /// What it grants.
        rules: Arc<[PolicyRule]>,
    }
    /// A RoleBinding.
    RoleBinding {
        /// What is granted; immutable.
        role_ref: RoleRef,
        /// To whom.
        subjects: Vec<Subject>,
    }
    /// A ClusterRoleBinding.
    ClusterRoleBinding {
        /// What is granted; immutable.
        role_ref: RoleRef,
        /// To whom.
        subjects: Vec<Subject>,
    }
    /// A Namespace.
    Namespace {
        /// `Active` or `Terminating`.
        phase: Str,
        /// Why a deletion does not end, if it does not.
        conditions: Vec<crate::crd::Condition>,
    }
    /// A Node.
    Node {
        /// Cordoned.
        unschedulable: bool,
        /// Taints.
        taints: Vec<Taint>,
        /// What pods may request; `pods`, `cpu`, `memory`.
        allocatable: Arc<BTreeMap<Str, Str>>,
        /// `Ready` condition: `True`, `False` or `Unknown`.
        ready: Str,
        /// Last heartbeat.
        last_heartbeat: Option<Time>,
    }
    /// A ResourceQuota.
    ResourceQuota {
        /// Limits by resource (`pods`, `requests.cpu`, `count/ephemeralrunners.actions.github.com`).
        hard: Arc<BTreeMap<Str, Str>>,
        /// Charged now.
        used: Arc<BTreeMap<Str, Str>>,
    }
    /// A PriorityClass.
    PriorityClass {
        /// Priority.
        value: i32,
    }
    /// A Lease (leader election, node heartbeats).
    Lease {
        /// Holder.
        holder_identity: Str,
        /// Seconds.
        lease_duration_seconds: i32,
        /// Last renewal.
        renew_time: Option<Time>,
        /// Number of hand-overs.
        lease_transitions: i32,
    }
    /// An Event.
    Event {
        /// `Normal` or `Warning`.
        #[serde(rename = "type")] type_: Str,
        /// One word.
        reason: Str,
        /// Sentence.
        message: Str,
        /// About which kind.
        involved_kind: Option<Kind>,
        /// About which object.
        involved_name: Str,
        /// Repeats.
        count: i32,
        /// Last time.
        last_timestamp: Option<Time>,
    }
    /// A Deployment, rolled with maxSurge 25 % and maxUnavailable 25 % (one replica: new before old).
    Deployment {
        /// Desired pods.
        replicas: i32,
        /// The pod.
        template: Arc<PodTemplate>,
        /// Pods that are ready, of the current template.
        updated_ready: i32,
    }
    /// A PersistentVolumeClaim.
    PersistentVolumeClaim {
        /// `Pending` or `Bound`.
        phase: Str,
        /// Class.
        storage_class_name: Str,
    }
    /// A CustomResourceDefinition of one of ARC's four kinds. Its schema version decides what is pruned.
    CustomResourceDefinition {
        /// The kind it defines.
        defines: Option<Kind>,
        /// The ARC release whose schema this is, e.g. `0.9.0`.
        schema: Str,
    }
    /// A ValidatingAdmissionPolicy with its binding: refuses matching creations.
    AdmissionPolicy {
        /// Kind it refuses.
        resource: Option<Kind>,
        /// Label that the object must carry to be refused; empty matches every object.
        match_labels: BTreeMap<Str, Str>,
        /// `Forbidden` answers 403; empty answers 422.
        reason: Str,
        /// Text in the refusal.
        message: Str,
    }
}

/// A rule of a role.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// `get`, `list`, … or `*`.
    pub verbs: Vec<Str>,
    /// `""` is core.
    pub api_groups: Vec<Str>,
    /// `pods`, `pods/log`, `*`, `*/status`.
    pub resources: Vec<Str>,
    /// Restricts the rule to these names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<Str>,
}

impl PolicyRule {
    /// A rule from plain words.
    pub fn new(verbs: &[&str], group: &str, resources: &[&str]) -> PolicyRule {
        let words = |w: &[&str]| w.iter().map(|w| Str::from(*w)).collect();
        PolicyRule {
            verbs: words(verbs),
            api_groups: vec![group.into()],
            resources: words(resources),
            resource_names: vec![],
        }
    }
}

/// The role a binding grants.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: Str,
    /// Name.
    pub name: Str,
}

/// Who gets it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `ServiceAccount`, `User` or `Group`.
    pub kind: Str,
    /// Name.
    pub name: Str,
    /// Of a ServiceAccount.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub namespace: Str,
}

/// A taint of a node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Taint {
    /// Key.
    pub key: Str,
    /// Value.
    pub value: Str,
    /// `NoSchedule`, `NoExecute`.
    pub effect: Str,
}
