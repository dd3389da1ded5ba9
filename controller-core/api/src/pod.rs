//! Pods: the template and spec as ARC, its charts and the kubelet use them, and the status the kubelet reports.
//!
//! Fields that no decision of ARC, the API server or the kubelet depends on are kept in `rest` at the JSON edge.

mod status;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Labels, Meta, Str, Time};

pub use status::*;

/// A pod template: metadata overlay and spec.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PodTemplate {
    /// Labels and annotations of the pod.
    pub metadata: TemplateMeta,
    /// The pod's spec.
    pub spec: Arc<PodSpec>,
}

/// Labels and annotations of a template.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TemplateMeta {
    /// Labels.
    #[serde(skip_serializing_if = "labels_are_empty")]
    pub labels: Labels,
    /// Annotations.
    #[serde(skip_serializing_if = "labels_are_empty")]
    pub annotations: Labels,
}

fn labels_are_empty(l: &Labels) -> bool {
    l.is_empty()
}
fn is_false(b: &bool) -> bool {
    !*b
}

/// The spec of a pod. Shared and immutable; the node binding is beside it in [`Pod::node_name`].
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Ordinary init containers and native sidecars, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_containers: Vec<Container>,
    /// Main containers.
    pub containers: Vec<Container>,
    /// Volumes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// `Always`, `OnFailure`, `Never`; any text can be submitted, so it is text. Empty means not stated.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub restart_policy: Str,
    /// Empty means `default`.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub service_account_name: Str,
    /// Whether the token volume is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Seconds; `None` is 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
    /// Node labels that must match.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<Str, Str>,
    /// A node that was asked for in the spec (bypasses the scheduler).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<Str>,
    /// Priority class.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub priority_class_name: Str,
    /// Tolerations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Pull secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalRef>,
    /// Whether the pod shares the node's network (Pod Security).
    #[serde(skip_serializing_if = "is_false")]
    pub host_network: bool,
    /// Unmodelled members of the spec.
    #[serde(flatten, skip_serializing_if = "Option::is_none", deserialize_with = "crate::json::rest")]
    pub rest: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
}

impl PodSpec {
    /// The main container called `name`.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|c| c.name == name)
    }
}

/// `{name}`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalRef {
    /// Name in the same namespace.
    pub name: Str,
}

/// A toleration.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Taint key; empty with `Exists` tolerates all.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub key: Str,
    /// `Exists` or `Equal`.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub operator: Str,
    /// Taint value.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub value: Str,
    /// Empty tolerates all effects.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub effect: Str,
    /// Seconds a NoExecute taint is tolerated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

/// One container.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Name, unique in the pod.
    pub name: Str,
    /// Image.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub image: Str,
    /// Entry point.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<Str>,
    /// Arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Str>,
    /// Environment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Environment from whole Secrets or ConfigMaps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFrom>,
    /// Working directory; the runner's becomes `workFolder` of its registration (0.9.3 on).
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub working_dir: Str,
    /// Mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Requests and limits.
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// `Always` makes an init container a native sidecar, from Kubernetes 1.29 on. Any text can be submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_policy: Option<Str>,
    /// Startup probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Probe>,
    /// Readiness probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Probe>,
    /// Liveness probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Probe>,
    /// Hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Security context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// Unmodelled members.
    #[serde(flatten, skip_serializing_if = "Option::is_none", deserialize_with = "crate::json::rest")]
    pub rest: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
}

impl Container {
    /// The plain value of an environment variable.
    pub fn env_value(&self, name: &str) -> Option<&Str> {
        self.env.iter().find(|e| e.name == name).and_then(|e| e.value.as_ref())
    }
    /// Whether the variable is set at all, by value or reference.
    pub fn has_env(&self, name: &str) -> bool {
        self.env.iter().any(|e| e.name == name)
    }
}

/// One environment variable.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Name.
    pub name: Str,
    /// Value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Str>,
    /// Reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvSource>,
}

impl EnvVar {
    /// `name=value`.
    pub fn value(name: &str, value: impl Into<Str>) -> EnvVar {
        EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
    }
}

/// Where an environment variable's value comes from.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvSource {
    /// A key of a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// A key of a ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
    /// A field of the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field_ref: Option<FieldRef>,
}

/// A key of a named object.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyRef {
    /// Object.
    pub name: Str,
    /// Key.
    pub key: Str,
    /// Missing is fine.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// A field path of the pod.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldRef {
    /// E.g. `metadata.name`.
    pub field_path: Str,
}

/// A whole Secret or ConfigMap as environment.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvFrom {
    /// Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalRef>,
    /// ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<LocalRef>,
}

/// A mount of a volume.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// The volume.
    pub name: Str,
    /// Where.
    pub mount_path: Str,
    /// Path inside the volume.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub sub_path: Str,
    /// Read-only.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
}

/// A volume, by its source.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Name, unique in the pod.
    pub name: Str,
    /// A Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolume>,
    /// A ConfigMap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<LocalRef>,
    /// Scratch space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<Arc<serde_json::Value>>,
    /// A generic ephemeral claim (`kubernetes` mode's `work`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<Arc<serde_json::Value>>,
    /// An existing claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimRef>,
    /// Any other source.
    #[serde(flatten, skip_serializing_if = "Option::is_none", deserialize_with = "crate::json::rest")]
    pub rest: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
}

/// A Secret as a volume.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretVolume {
    /// Secret.
    pub secret_name: Str,
    /// Missing is fine.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// An existing claim.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimRef {
    /// Claim.
    pub claim_name: Str,
}

/// Requests and limits by resource name; quantities as written.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Requests.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::json::quantities")]
    pub requests: BTreeMap<Str, Str>,
    /// Limits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "crate::json::quantities")]
    pub limits: BTreeMap<Str, Str>,
}

impl Resources {
    /// Neither stated.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty() && self.limits.is_empty()
    }
}

/// A probe. The handler says *what* is asked ("docker info"), the process model of the container answers.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Probe {
    /// Command; other handlers are in `rest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// Seconds; `None` is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_delay_seconds: Option<i64>,
    /// Seconds; `None` is 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_seconds: Option<i64>,
    /// Seconds; `None` is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i64>,
    /// `None` is 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<i64>,
    /// `None` is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_threshold: Option<i64>,
    /// Other handlers.
    #[serde(flatten, skip_serializing_if = "Option::is_none", deserialize_with = "crate::json::rest")]
    pub rest: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
}

/// A command run in a container.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecAction {
    /// Command.
    pub command: Vec<Str>,
    /// Members that do not belong here: 0.12.0's chart writes the probe's numbers inside `exec`, the server prunes them.
    #[serde(flatten, skip_serializing_if = "Option::is_none", deserialize_with = "crate::json::rest")]
    pub rest: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
}

/// Hooks of a container.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle {
    /// After start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_start: Option<Handler>,
    /// Before SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<Handler>,
}

/// What a hook does.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Handler {
    /// A command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecAction>,
    /// A pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep: Option<SleepAction>,
}

/// A pause.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SleepAction {
    /// Seconds.
    pub seconds: i64,
}

/// Security context of a container.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SecurityContext {
    /// dind needs it.
    #[serde(skip_serializing_if = "is_false")]
    pub privileged: bool,
    /// Unmodelled members.
    #[serde(flatten, skip_serializing_if = "Option::is_none", deserialize_with = "crate::json::rest")]
    pub rest: Option<Arc<serde_json::Map<String, serde_json::Value>>>,
}

/// A pod. On the wire `node_name` is `spec.nodeName`; it stands outside so that the spec stays shared when it is bound.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Pod {
    /// Metadata.
    pub metadata: Meta,
    /// Immutable here.
    pub spec: Arc<PodSpec>,
    /// The node it is bound to.
    #[serde(skip)]
    pub node_name: Option<Str>,
    /// What the kubelet reports.
    #[serde(default)]
    pub status: PodStatus,
}
