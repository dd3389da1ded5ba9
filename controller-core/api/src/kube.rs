//! The Kubernetes API as data: requests, typed patches, answers, and the `Status` of a refusal.
//!
//! Source: kubernetes-api.md §3. A patch is what ARC, its listener, Helm, a kubelet or a person changes, as a typed value;
//! [`Patch::to_json`] gives the merge patch that the real client would have sent.

mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::crd::*;
use crate::meta::Key;
use crate::object::{Kind, Object};
use crate::pod::PodStatus;
use crate::{Str, Time, Uid};

pub use status::*;

/// Which part of an object a write addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Sub {
    /// The object itself; its status is not touched (custom resources, pods).
    #[default]
    Main,
    /// `/status`.
    Status,
}

/// One request to the API server.
#[derive(Clone, PartialEq, Debug)]
pub enum KubeRequest {
    /// GET one object.
    Get {
        /// Kind.
        kind: Kind,
        /// Object.
        key: Key,
    },
    /// GET a collection, consistent.
    List {
        /// Kind.
        kind: Kind,
        /// `None`: all namespaces.
        namespace: Option<Str>,
        /// Labels that must be equal.
        labels: Vec<(Str, Str)>,
    },
    /// POST. An empty name with `generateName` lets the server choose.
    Create(Object),
    /// PUT. `metadata.resourceVersion` is the optimistic lock (0: none).
    Update(Object, Sub),
    /// PATCH.
    Patch {
        /// Kind.
        kind: Kind,
        /// Object.
        key: Key,
        /// Part.
        sub: Sub,
        /// What changes.
        patch: Arc<Patch>,
    },
    /// DELETE one object.
    Delete {
        /// Kind.
        kind: Kind,
        /// Object.
        key: Key,
        /// Options.
        options: DeleteOptions,
    },
    /// POST `pods/binding`.
    Bind {
        /// Pod.
        key: Key,
        /// Node.
        node: Str,
    },
    /// POST `pods/eviction`.
    Evict {
        /// Pod.
        key: Key,
    },
    /// POST `serviceaccounts/token`.
    CreateToken {
        /// ServiceAccount.
        key: Key,
    },
    /// POST `selfsubjectaccessreviews`.
    ReviewAccess(Access),
    /// Asks for an exec stream in a pod (`pods/exec`).
    Exec {
        /// Pod.
        key: Key,
        /// Container.
        container: Str,
    },
}

/// Options of a DELETE.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeleteOptions {
    /// Seconds; `Some(0)` removes a pod at once.
    pub grace_period_seconds: Option<i64>,
    /// Only this identity.
    pub uid: Option<Uid>,
    /// Only this version.
    pub resource_version: Option<u64>,
    /// What happens to dependents.
    pub propagation: Propagation,
}

/// `propagationPolicy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs)]
pub enum Propagation {
    #[default]
    Background,
    Foreground,
    Orphan,
}

/// A question to the authorizer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// `get`, `create`, …
    pub verb: Str,
    /// API group.
    pub group: Str,
    /// `pods`, `pods/exec`.
    pub resource: Str,
    /// Namespace.
    pub namespace: Str,
    /// One object, if stated.
    pub name: Option<Str>,
}

impl KubeRequest {
    /// The verb as the authorizer sees it.
    pub fn verb(&self) -> &'static str {
        match self {
            KubeRequest::Get { .. } | KubeRequest::Exec { .. } => "get",
            KubeRequest::List { .. } => "list",
            KubeRequest::Create(_)
            | KubeRequest::Bind { .. }
            | KubeRequest::Evict { .. }
            | KubeRequest::CreateToken { .. }
            | KubeRequest::ReviewAccess(_) => "create",
            KubeRequest::Update(..) => "update",
            KubeRequest::Patch { .. } => "patch",
            KubeRequest::Delete { .. } => "delete",
        }
    }
    /// The kind that is addressed.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            KubeRequest::Get { kind, .. }
            | KubeRequest::List { kind, .. }
            | KubeRequest::Patch { kind, .. }
            | KubeRequest::Delete { kind, .. } => Some(*kind),
            KubeRequest::Create(o) | KubeRequest::Update(o, _) => Some(o.kind()),
            KubeRequest::Bind { .. } | KubeRequest::Evict { .. } | KubeRequest::Exec { .. } => Some(Kind::Pod),
            KubeRequest::CreateToken { .. } => Some(Kind::ServiceAccount),
            KubeRequest::ReviewAccess(_) => None,
        }
    }
    /// The object that is addressed; the name is empty where the server will generate it.
    pub fn key(&self) -> Option<Key> {
        match self {
            KubeRequest::Get { key, .. }
            | KubeRequest::Patch { key, .. }
            | KubeRequest::Delete { key, .. }
            | KubeRequest::Bind { key, .. }
            | KubeRequest::Evict { key }
            | KubeRequest::Exec { key, .. }
            | KubeRequest::CreateToken { key } => Some(key.clone()),
            KubeRequest::Create(o) | KubeRequest::Update(o, _) => Some(o.key()),
            KubeRequest::List { .. } | KubeRequest::ReviewAccess(_) => None,
        }
    }
    /// The subresource, as RBAC names it.
    pub fn subresource(&self) -> Option<&'static str> {
        match self {
            KubeRequest::Update(_, Sub::Status) | KubeRequest::Patch { sub: Sub::Status, .. } => Some("status"),
            KubeRequest::Bind { .. } => Some("binding"),
            KubeRequest::Evict { .. } => Some("eviction"),
            KubeRequest::CreateToken { .. } => Some("token"),
            KubeRequest::Exec { .. } => Some("exec"),
            _ => None,
        }
    }
    /// Whether it can change the store.
    pub fn is_write(&self) -> bool {
        !matches!(
            self,
            KubeRequest::Get { .. }
                | KubeRequest::List { .. }
                | KubeRequest::ReviewAccess(_)
                | KubeRequest::Exec { .. }
                | KubeRequest::CreateToken { .. }
        )
    }
}

/// A typed patch. Members that are `None` (or empty) are not in the patch.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Patch {
    /// The whole list, as merge patches replace it; an empty list is sent as `null`.
    pub finalizers: Option<Arc<[Str]>>,
    /// `None` values remove the key.
    pub labels: Vec<(Str, Option<Str>)>,
    /// `None` values remove the key.
    pub annotations: Vec<(Str, Option<Str>)>,
    /// Optimistic lock.
    pub resource_version: Option<u64>,
    /// Spec or status members.
    pub body: Body,
}

/// What a patch changes outside metadata.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// The listener's and the drain's patch; `replicas: Some(0)` is sent as `null`.
    ErsSpec {
        /// New total.
        replicas: Option<i32>,
        /// New id.
        patch_id: Option<i64>,
    },
    /// Replaces `spec.ephemeralRunnerSpec`.
    ErsRunnerSpec(Arc<ErSpec>),
    /// Status members of an AutoscalingRunnerSet.
    ArsStatus(ArsStatusPatch),
    /// Replaces the spec (Helm, kubectl).
    ArsSpec(Arc<ArsSpec>),
    /// Status members of an EphemeralRunnerSet.
    ErsStatus(ErsStatusPatch),
    /// Status members of an EphemeralRunner.
    ErStatus(Box<ErStatusPatch>),
    /// Status of an AutoscalingListener (`next`).
    AlStatus(AlStatusPatch),
    /// The kubelet's whole status of a pod.
    PodStatus(Box<PodStatus>),
    /// Any merge patch, from people and foreign clients; applied at the JSON edge.
    Json(Arc<Value>),
}

macro_rules! status_patch {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, Default)]
        pub struct $name { $($(#[$fdoc])* pub $field: Option<$type>,)* }
        impl $name {
            /// Whether it changes nothing.
            pub fn is_empty(&self) -> bool { *self == $name::default() }
        }
    };
}

status_patch! {
    /// Members of [`ArsStatus`].
    ArsStatusPatch {
        /// `currentRunners`
        current_runners: i32,
        /// `phase`
        phase: ArsPhase,
        /// `pendingEphemeralRunners`
        pending: i32,
        /// `runningEphemeralRunners`
        running: i32,
        /// `failedEphemeralRunners`
        failed: i32,
        /// Replaces all conditions.
        conditions: Conditions,
    }
}
status_patch! {
    /// Members of [`ErsStatus`].
    ErsStatusPatch {
        /// `currentReplicas`
        current_replicas: i32,
        /// `pendingEphemeralRunners`
        pending: i32,
        /// `runningEphemeralRunners`
        running: i32,
        /// `failedEphemeralRunners`
        failed: i32,
        /// `phase`
        phase: ErsPhase,
        /// Replaces all conditions.
        conditions: Conditions,
    }
}
status_patch! {
    /// Members of [`AlStatus`].
    AlStatusPatch {
        /// Replaces all conditions.
        conditions: Conditions,
        /// `restarts`
        restarts: i32,
        /// `lastRestart`
        last_restart: Time,
    }
}
status_patch! {
    /// Members of [`ErStatus`].
    ErStatusPatch {
        /// `phase`
        phase: ErPhase,
        /// `ready`
        ready: bool,
        /// `reason`
        reason: Str,
        /// `message`
        message: Str,
        /// `runnerId`
        runner_id: crate::RunnerId,
        /// `runnerName`
        runner_name: Str,
        /// `runnerJITConfig`
        runner_jit_config: Token,
        /// Entries merged into `failures`.
        failures: BTreeMap<Uid, FailureMark>,
        /// Job members that are set; zero members are not sent.
        job: Arc<JobRef>,
        /// `endedGeneration`
        ended_generation: i64,
        /// `rejections`
        rejections: i32,
        /// `lastRejection`
        last_rejection: Time,
        /// Replaces all conditions.
        conditions: Conditions,
    }
}

impl Patch {
    /// A patch that only replaces the finalizers.
    pub fn finalizers(list: Arc<[Str]>) -> Patch {
        Patch { finalizers: Some(list), ..Patch::default() }
    }
    /// A patch of spec or status members.
    pub fn body(body: Body) -> Patch {
        Patch { body, ..Patch::default() }
    }
    /// The JSON merge patch the real client sends.
    pub fn to_json(&self) -> Value {
        let mut meta = Map::new();
        if let Some(list) = &self.finalizers {
            meta.insert("finalizers".into(), if list.is_empty() { Value::Null } else { json!(list) });
        }
        for (member, entries) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !entries.is_empty() {
                let map: Map<String, Value> = entries.iter().map(|(k, v)| (k.to_string(), json!(v))).collect();
                meta.insert(member.into(), Value::Object(map));
            }
        }
        if let Some(rv) = self.resource_version {
            meta.insert("resourceVersion".into(), json!(rv.to_string()));
        }
        let mut out = match self.body.to_json() {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        if !meta.is_empty() {
            out.insert("metadata".into(), Value::Object(meta));
        }
        Value::Object(out)
    }
}

fn members<const N: usize>(list: [(&str, Option<Value>); N]) -> Value {
    Value::Object(list.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect())
}

impl Body {
    fn to_json(&self) -> Value {
        let some = |v: &Option<i32>| v.map(|v| json!(v));
        match self {
            Body::None => json!({}),
            Body::ErsSpec { replicas, patch_id } => json!({ "spec": members([
                ("replicas", replicas.map(|r| if r == 0 { Value::Null } else { json!(r) })),
                ("patchID", patch_id.map(|p| json!(p))),
            ]) }),
            Body::ErsRunnerSpec(spec) => json!({ "spec": { "ephemeralRunnerSpec": spec } }),
            Body::ArsSpec(spec) => json!({ "spec": spec }),
            Body::ArsStatus(p) => json!({ "status": members([
                ("currentRunners", some(&p.current_runners)),
                ("phase", p.phase.map(|p| json!(p))),
                ("pendingEphemeralRunners", some(&p.pending)),
                ("runningEphemeralRunners", some(&p.running)),
                ("failedEphemeralRunners", some(&p.failed)),
                ("conditions", p.conditions.as_ref().map(|c| json!(c))),
            ]) }),
            Body::ErsStatus(p) => json!({ "status": members([
                ("currentReplicas", some(&p.current_replicas)),
                ("pendingEphemeralRunners", some(&p.pending)),
                ("runningEphemeralRunners", some(&p.running)),
                ("failedEphemeralRunners", some(&p.failed)),
                ("phase", p.phase.map(|p| json!(p))),
                ("conditions", p.conditions.as_ref().map(|c| json!(c))),
            ]) }),
            Body::AlStatus(p) => json!({ "status": members([
                ("conditions", p.conditions.as_ref().map(|c| json!(c))),
                ("restarts", some(&p.restarts)),
                ("lastRestart", p.last_restart.map(|t| json!(t))),
            ]) }),
            Body::ErStatus(p) => {
                let mut status = match p.job.as_ref().map(|j| json!(j)) {
                    Some(Value::Object(job)) => job,
                    _ => Map::new(),
                };
                let rest = members([
                    ("phase", p.phase.map(|v| json!(v))),
                    ("ready", p.ready.map(|v| json!(v))),
                    ("reason", p.reason.as_ref().map(|v| json!(v))),
                    ("message", p.message.as_ref().map(|v| json!(v))),
                    ("runnerId", p.runner_id.map(|v| json!(v))),
                    ("runnerName", p.runner_name.as_ref().map(|v| json!(v))),
                    ("runnerJITConfig", p.runner_jit_config.map(|_| json!("<token>"))),
                    (
                        "failures",
                        p.failures
                            .as_ref()
                            .map(|f| json!(f.iter().map(|(k, v)| (k.to_string(), *v)).collect::<BTreeMap<_, _>>())),
                    ),
                    ("endedGeneration", p.ended_generation.map(|v| json!(v))),
                    ("rejections", some(&p.rejections)),
                    ("lastRejection", p.last_rejection.map(|t| json!(t))),
                    ("conditions", p.conditions.as_ref().map(|c| json!(c))),
                ]);
                if let Value::Object(rest) = rest {
                    status.extend(rest);
                }
                json!({ "status": status })
            }
            Body::PodStatus(status) => json!({ "status": status }),
            Body::Json(value) => (**value).clone(),
        }
    }
}

/// A good answer.
#[derive(Clone, PartialEq, Debug)]
pub enum KubeOk {
    /// The object as stored after the request.
    Object(Object),
    /// A list, ordered by key.
    List {
        /// Items.
        items: Vec<Object>,
        /// The store's counter at the read.
        resource_version: u64,
    },
    /// DELETE of a kind that answers `Status` Success, or of an object that is gone now (its last state).
    Deleted(Object),
    /// Answer of an access review.
    Allowed(bool),
    /// A token of a ServiceAccount (identity of the account at issue).
    Token {
        /// Whose.
        account: Key,
        /// The account's identity at issue.
        uid: Uid,
    },
    /// Done, nothing to say (binding, eviction, exec).
    Done,
}

impl KubeOk {
    /// The object, if the answer carries one.
    pub fn object(&self) -> Option<&Object> {
        match self {
            KubeOk::Object(o) | KubeOk::Deleted(o) => Some(o),
            KubeOk::List { .. } | KubeOk::Allowed(_) | KubeOk::Token { .. } | KubeOk::Done => None,
        }
    }
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Identity {
    /// `system:masters`: people, Helm, scripts.
    Admin,
    /// A token of a ServiceAccount; `uid` is the account's identity when the token was issued.
    ServiceAccount {
        /// The account.
        account: Key,
        /// Its identity at issue.
        uid: Uid,
    },
    /// A node's kubelet.
    Kubelet(Str),
    /// A part of the control plane, e.g. `garbage-collector`.
    System(&'static str),
}

/// One change, as watches deliver it.
#[derive(Clone, PartialEq, Debug)]
pub struct WatchEvent {
    /// ADDED, MODIFIED or DELETED.
    pub type_: WatchType,
    /// The new state; for DELETED the last state, with the deletion's resource version.
    pub object: Object,
    /// When it was committed.
    pub at: Time,
}

/// Type of a watch event.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum WatchType {
    Added,
    Modified,
    Deleted,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listener_patch_to_zero_sends_null() {
        let patch = Patch::body(Body::ErsSpec { replicas: Some(0), patch_id: Some(7) });
        assert_eq!(patch.to_json().to_string(), r#"{"spec":{"patchID":7,"replicas":null}}"#);
    }

    #[test]
    fn removing_the_last_finalizer_sends_null() {
        assert_eq!(Patch::finalizers([].into()).to_json().to_string(), r#"{"metadata":{"finalizers":null}}"#);
    }

    #[test]
    fn a_status_patch_has_only_the_members_that_change() {
        let p = ErStatusPatch { phase: Some(ErPhase::Running), ready: Some(true), ..Default::default() };
        let json = Patch::body(Body::ErStatus(Box::new(p))).to_json();
        assert_eq!(json.to_string(), r#"{"status":{"phase":"Running","ready":true}}"#);
    }
}
