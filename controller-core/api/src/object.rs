//! One enum over all kinds: what the store holds, a watch delivers and a request carries.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::*;
use crate::crd::*;
use crate::pod::Pod;
use crate::{Meta, Str};

/// A kind with its resource.
pub trait Resource: Clone + Default + Send + Sync + 'static {
    /// Which kind this type is.
    const KIND: Kind;
    /// Metadata.
    fn meta(&self) -> &Meta;
    /// Metadata, to change.
    fn meta_mut(&mut self) -> &mut Meta;
    /// As an [`Object`].
    fn wrap(this: Arc<Self>) -> Object;
    /// Back from an [`Object`] of this kind.
    fn unwrap(object: &Object) -> Option<&Arc<Self>>;
    /// As an [`Object`], from a value.
    fn into_object(self) -> Object {
        Self::wrap(Arc::new(self))
    }
}

macro_rules! objects {
    ($($kind:ident, $plural:literal, $group:literal, $version:literal, $namespaced:literal;)*) => {
        /// The kinds that exist.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[allow(missing_docs)]
        pub enum Kind { $($kind),* }

        impl Kind {
            /// All of them.
            pub const ALL: &'static [Kind] = &[$(Kind::$kind),*];
            /// `Pod`.
            pub const fn as_str(self) -> &'static str { match self { $(Kind::$kind => stringify!($kind)),* } }
            /// `pods`.
            pub const fn plural(self) -> &'static str { match self { $(Kind::$kind => $plural),* } }
            /// API group; empty for core.
            pub const fn group(self) -> &'static str { match self { $(Kind::$kind => $group),* } }
            /// `v1`.
            pub const fn version(self) -> &'static str { match self { $(Kind::$kind => $version),* } }
            /// Lives in a namespace.
            pub const fn is_namespaced(self) -> bool { match self { $(Kind::$kind => $namespaced),* } }
        }

        /// An API object of any kind. Cloning is one reference count.
        #[derive(Clone, PartialEq, Debug)]
        #[allow(missing_docs)]
        pub enum Object { $($kind(Arc<$kind>)),* }

        impl Object {
            /// Its kind.
            pub const fn kind(&self) -> Kind { match self { $(Object::$kind(_) => Kind::$kind),* } }
            /// Its metadata.
            pub fn meta(&self) -> &Meta { match self { $(Object::$kind(o) => &o.metadata),* } }
            /// Its metadata, to change: copies the object unless this is the only reference.
            pub fn meta_mut(&mut self) -> &mut Meta { match self { $(Object::$kind(o) => &mut Arc::make_mut(o).metadata),* } }
            /// Whether both are the same allocation (nothing changed).
            pub fn same(&self, other: &Object) -> bool {
                match (self, other) { $((Object::$kind(a), Object::$kind(b)) => Arc::ptr_eq(a, b),)* _ => false }
            }
        }

        $(impl Resource for $kind {
            const KIND: Kind = Kind::$kind;
            fn meta(&self) -> &Meta { &self.metadata }
            fn meta_mut(&mut self) -> &mut Meta { &mut self.metadata }
            fn wrap(this: Arc<Self>) -> Object { Object::$kind(this) }
            fn unwrap(object: &Object) -> Option<&Arc<Self>> {
                match object { Object::$kind(o) => Some(o), _ => None }
            }
        }
        impl From<$kind> for Object { fn from(o: $kind) -> Object { Object::$kind(Arc::new(o)) } }
        impl From<Arc<$kind>> for Object { fn from(o: Arc<$kind>) -> Object { Object::$kind(o) } }
        )*
    };
}

objects! {
    AutoscalingRunnerSet, "autoscalingrunnersets", "actions.github.com", "v1alpha1", true;
    AutoscalingListener, "autoscalinglisteners", "actions.github.com", "v1alpha1", true;
    EphemeralRunnerSet, "ephemeralrunnersets", "actions.github.com", "v1alpha1", true;
    EphemeralRunner, "ephemeralrunners", "actions.github.com", "v1alpha1", true;
    Pod, "pods", "", "v1", true;
    Secret, "secrets", "", "v1", true;
    ConfigMap, "configmaps", "", "v1", true;
    ServiceAccount, "serviceaccounts", "", "v1", true;
    Role, "roles", "rbac.authorization.k8s.io", "v1", true;
    RoleBinding, "rolebindings", "rbac.authorization.k8s.io", "v1", true;
    ClusterRole, "clusterroles", "rbac.authorization.k8s.io", "v1", false;
    ClusterRoleBinding, "clusterrolebindings", "rbac.authorization.k8s.io", "v1", false;
    Namespace, "namespaces", "", "v1", false;
    Node, "nodes", "", "v1", false;
    ResourceQuota, "resourcequotas", "", "v1", true;
    PriorityClass, "priorityclasses", "scheduling.k8s.io", "v1", false;
    Lease, "leases", "coordination.k8s.io", "v1", true;
    Event, "events", "", "v1", true;
    Deployment, "deployments", "apps", "v1", true;
    PersistentVolumeClaim, "persistentvolumeclaims", "", "v1", true;
    CustomResourceDefinition, "customresourcedefinitions", "apiextensions.k8s.io", "v1", false;
    AdmissionPolicy, "validatingadmissionpolicies", "admissionregistration.k8s.io", "v1", false;
}

impl Kind {
    /// `pods`, or `ephemeralrunners.actions.github.com`: the resource as error messages name it.
    pub fn resource(self) -> Str {
        match self.group() {
            "" => self.plural().into(),
            group => crate::format_smolstr!("{}.{group}", self.plural()),
        }
    }
    /// `Pod`, or `EphemeralRunner.actions.github.com`: the kind as validation messages name it.
    pub fn qualified(self) -> Str {
        match self.group() {
            "" => self.as_str().into(),
            group => crate::format_smolstr!("{}.{group}", self.as_str()),
        }
    }
    /// `v1`, or `actions.github.com/v1alpha1`.
    pub fn api_version(self) -> Str {
        match self.group() {
            "" => self.version().into(),
            group => crate::format_smolstr!("{group}/{}", self.version()),
        }
    }
    /// One of ARC's four kinds.
    pub const fn is_custom(self) -> bool {
        matches!(
            self,
            Kind::AutoscalingRunnerSet | Kind::AutoscalingListener | Kind::EphemeralRunnerSet | Kind::EphemeralRunner
        )
    }
    /// From the resource name, e.g. `ephemeralrunners`.
    pub fn from_plural(plural: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|k| k.plural() == plural)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Object {
    /// The typed object, if it is of that kind.
    pub fn get<T: Resource>(&self) -> Option<&Arc<T>> {
        T::unwrap(self)
    }
    /// `namespace/name`.
    pub fn key(&self) -> crate::meta::Key {
        self.meta().key()
    }
}
