//! ARC's four custom resources, group `actions.github.com/v1alpha1`, with their JSON names.
//!
//! Source: arc-controllers.md §1 (apis/actions.github.com/v1alpha1 at 0.8.0–0.14.2). Fields of the unreleased branch tip are
//! not modelled.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::pod::PodTemplate;
use crate::{JobId, Labels, Meta, RequestId, RunnerId, ScaleSetId, Str, Time, Uid};

/// The group and version of all four kinds.
pub const API_VERSION: &str = "actions.github.com/v1alpha1";

macro_rules! phase {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }
        impl $name {
            /// The text on the wire.
            pub const fn as_str(self) -> &'static str { match self { $($name::$variant => $text),* } }
            /// Whether the phase was ever written.
            pub fn is_empty(&self) -> bool { self.as_str().is_empty() }
        }
    };
}

phase! {
    /// `status.phase` of an AutoscalingRunnerSet (0.14.0 on).
    ArsPhase {
        /// Never written.
        #[default] Empty = "",
        /// The spec or label hash changed and the pass has not come to its end since.
        Pending = "Pending",
        /// The pass reached its end.
        Running = "Running",
        /// A runner of the set was too old for the service.
        Outdated = "Outdated",
    }
}
phase! {
    /// `status.phase` of an EphemeralRunnerSet (0.14.0 on).
    ErsPhase {
        /// Never written.
        #[default] Empty = "",
        /// Since the first status write.
        Running = "Running",
        /// At least one Outdated runner was seen; never left.
        Outdated = "Outdated",
    }
}
phase! {
    /// `status.phase` of an EphemeralRunner.
    ErPhase {
        /// Just created.
        #[default] Empty = "",
        /// The pod is Pending and its runner container has a status.
        Pending = "Pending",
        /// The pod is Running.
        Running = "Running",
        /// The runner exited 0 (0.12.1 and older; newer releases delete the object).
        Succeeded = "Succeeded",
        /// The pod can never be made, or (0.11.0 and older) failed more than five times.
        Failed = "Failed",
        /// The runner exited 7 (0.14.0 on).
        Outdated = "Outdated",
    }
}

impl ErPhase {
    /// Succeeded, Failed or Outdated: nothing is done any more but to clean up.
    pub fn is_done(self) -> bool {
        matches!(self, ErPhase::Succeeded | ErPhase::Failed | ErPhase::Outdated)
    }
}

/// A condition. Only the corrected controller (`next`) writes conditions; no released ARC has any.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// E.g. `SessionConflict`, `TemplateRejected`, `VersionSkew`.
    #[serde(rename = "type")]
    pub type_: Str,
    /// `"True"` while the condition holds.
    #[serde(with = "condition_status")]
    pub status: bool,
    /// One word.
    #[serde(default)]
    pub reason: Str,
    /// One sentence with the cause.
    #[serde(default)]
    pub message: Str,
    /// Since when it holds, where somebody waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

impl Condition {
    /// A condition that tells no time.
    pub fn new(type_: impl Into<Str>, status: bool, reason: impl Into<Str>, message: impl Into<Str>) -> Condition {
        let (type_, reason, message) = (type_.into(), reason.into(), message.into());
        Condition { type_, status, reason, message, last_transition_time: None }
    }
}

/// `"True"` or anything else.
pub(crate) mod condition_status {
    use serde::{Deserialize, Deserializer, Serializer};
    pub(crate) fn serialize<S: Serializer>(on: &bool, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(if *on { "True" } else { "False" })
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
        Ok(<std::borrow::Cow<'de, str>>::deserialize(d)? == "True")
    }
}

/// Conditions by type; empty in every released ARC.
pub type Conditions = Arc<[Condition]>;

fn no_conditions(c: &Conditions) -> bool {
    c.is_empty()
}
fn zero(n: &i32) -> bool {
    *n == 0
}
fn zero64(n: &i64) -> bool {
    *n == 0
}
fn no(b: &bool) -> bool {
    !*b
}

/// The user's object: one runner scale set.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct AutoscalingRunnerSet {
    /// Metadata.
    pub metadata: Meta,
    /// What the user wants.
    pub spec: Arc<ArsSpec>,
    /// What ARC reports.
    #[serde(default)]
    pub status: ArsStatus,
}

/// Spec of an AutoscalingRunnerSet.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArsSpec {
    /// Enterprise, organisation or repository URL.
    pub github_config_url: Str,
    /// Secret in the runner namespace.
    pub github_config_secret: Str,
    /// Empty means the group `Default` (id 1).
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub runner_group: Str,
    /// Empty means the object's name.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub runner_scale_set_name: Str,
    /// Extra scale-set labels (0.14.0).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runner_scale_set_labels: Vec<Str>,
    /// Proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Arc<Proxy>>,
    /// Root CA from a ConfigMap.
    #[serde(rename = "githubServerTLS", skip_serializing_if = "Option::is_none")]
    pub github_server_tls: Option<Arc<serde_json::Value>>,
    /// Credentials from a vault (0.12.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_config: Option<Arc<serde_json::Value>>,
    /// The runner pod.
    pub template: Arc<PodTemplate>,
    /// Overrides of the listener pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_template: Option<Arc<PodTemplate>>,
    /// Passed to the listener's configuration (0.11.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_metrics: Option<Arc<serde_json::Value>>,
    /// `None` is unlimited: 2147483647.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_runners: Option<i32>,
    /// `None` is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_runners: Option<i32>,
    /// Metadata overlays of generated objects (0.14.0), by JSON member name, e.g. `ephemeralRunnerMetadata`.
    #[serde(flatten, skip_serializing_if = "BTreeMap::is_empty")]
    pub overlays: BTreeMap<Str, Overlay>,
}

impl ArsSpec {
    /// `maxRunners`, or unlimited.
    pub fn max(&self) -> i32 {
        self.max_runners.unwrap_or(i32::MAX)
    }
    /// `minRunners`, or 0.
    pub fn min(&self) -> i32 {
        self.min_runners.unwrap_or(0)
    }
}

/// Labels and annotations that the user wants on a generated object.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Overlay {
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
}

/// Proxy settings.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Proxy {
    /// Proxy for http.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<ProxyServer>,
    /// Proxy for https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub https: Option<ProxyServer>,
    /// Hosts that are reached directly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<Str>,
}

/// One proxy server.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyServer {
    /// URL.
    pub url: Str,
    /// Secret in the runner namespace with `username` and `password`.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub credential_secret_ref: Str,
}

/// Status of an AutoscalingRunnerSet.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArsStatus {
    /// Copied from the newest EphemeralRunnerSet.
    #[serde(skip_serializing_if = "zero")]
    pub current_runners: i32,
    /// 0.14.0 on.
    #[serde(skip_serializing_if = "ArsPhase::is_empty")]
    pub phase: ArsPhase,
    /// Copied only when `currentRunners` or the phase changes.
    #[serde(skip_serializing_if = "zero")]
    pub pending_ephemeral_runners: i32,
    /// As above.
    #[serde(skip_serializing_if = "zero")]
    pub running_ephemeral_runners: i32,
    /// As above.
    #[serde(skip_serializing_if = "zero")]
    pub failed_ephemeral_runners: i32,
    /// `next` only.
    #[serde(skip_serializing_if = "no_conditions")]
    pub conditions: Conditions,
    /// Somebody wrote a status, if only an empty one: the first write is a change, and watchers are told.
    #[serde(skip)]
    pub written: bool,
}

/// One listener pod's owner. The spec is written once.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct AutoscalingListener {
    /// Metadata.
    pub metadata: Meta,
    /// Written at creation only.
    pub spec: Arc<AlSpec>,
    /// Empty in every released ARC.
    #[serde(default)]
    pub status: AlStatus,
}

/// Spec of an AutoscalingListener.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AlSpec {
    /// As in the AutoscalingRunnerSet.
    pub github_config_url: Str,
    /// As in the AutoscalingRunnerSet.
    pub github_config_secret: Str,
    /// The scale set that is listened to.
    pub runner_scale_set_id: ScaleSetId,
    /// The set this belongs to.
    pub autoscaling_runner_set_namespace: Str,
    /// The set this belongs to.
    pub autoscaling_runner_set_name: Str,
    /// The EphemeralRunnerSet that is patched; fixed at creation.
    pub ephemeral_runner_set_name: Str,
    /// 2147483647 when unlimited.
    pub max_runners: i32,
    /// Idle spares.
    pub min_runners: i32,
    /// Image of the controller that created this object.
    pub image: Str,
    /// Image pull secrets of the listener pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<Str>,
    /// Proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Arc<Proxy>>,
    /// Root CA.
    #[serde(rename = "githubServerTLS", skip_serializing_if = "Option::is_none")]
    pub github_server_tls: Option<Arc<serde_json::Value>>,
    /// Vault (0.12.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_config: Option<Arc<serde_json::Value>>,
    /// Metrics (0.11.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Arc<serde_json::Value>>,
    /// Overrides of the listener pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Arc<PodTemplate>>,
    /// Overlays (0.14.0) by JSON member name.
    #[serde(flatten, skip_serializing_if = "BTreeMap::is_empty")]
    pub overlays: BTreeMap<Str, Overlay>,
}

/// Status of an AutoscalingListener; only `next` writes it.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AlStatus {
    /// `next` only: e.g. `SessionConflict`.
    #[serde(skip_serializing_if = "no_conditions")]
    pub conditions: Conditions,
    /// `next` only: how often the listener pod was replaced since it last served, for the back-off.
    #[serde(skip_serializing_if = "zero")]
    pub restarts: i32,
    /// `next` only: when the listener pod was last replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_restart: Option<Time>,
}

/// The runners of one generation of an AutoscalingRunnerSet.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct EphemeralRunnerSet {
    /// Metadata.
    pub metadata: Meta,
    /// Desired.
    pub spec: ErsSpec,
    /// Reported.
    #[serde(default)]
    pub status: ErsStatus,
}

/// Spec of an EphemeralRunnerSet.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErsSpec {
    /// Desired total; 0 is absent on the wire.
    #[serde(skip_serializing_if = "zero")]
    pub replicas: i32,
    /// Since 0.9.0; 0 forces a comparison in both directions.
    #[serde(rename = "patchID")]
    pub patch_id: i64,
    /// What every runner gets.
    pub ephemeral_runner_spec: Arc<ErSpec>,
    /// 0.14.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_runner_metadata: Option<Arc<Overlay>>,
}

/// Status of an EphemeralRunnerSet.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErsStatus {
    /// pending + running + failed at the last pass.
    pub current_replicas: i32,
    /// Pending.
    #[serde(skip_serializing_if = "zero")]
    pub pending_ephemeral_runners: i32,
    /// Running.
    #[serde(skip_serializing_if = "zero")]
    pub running_ephemeral_runners: i32,
    /// Failed.
    #[serde(skip_serializing_if = "zero")]
    pub failed_ephemeral_runners: i32,
    /// 0.14.0 on.
    #[serde(skip_serializing_if = "ErsPhase::is_empty")]
    pub phase: ErsPhase,
    /// `next` only.
    #[serde(skip_serializing_if = "no_conditions")]
    pub conditions: Conditions,
    /// Somebody wrote a status, if only an empty one: the first write is a change, and watchers are told.
    #[serde(skip)]
    pub written: bool,
}

/// One runner, one registration, one pod, one job.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct EphemeralRunner {
    /// Metadata.
    pub metadata: Meta,
    /// Written at creation only.
    pub spec: Arc<ErSpec>,
    /// Reported.
    #[serde(default)]
    pub status: ErStatus,
}

/// Spec of an EphemeralRunner.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErSpec {
    /// As in the AutoscalingRunnerSet.
    pub github_config_url: Str,
    /// As in the AutoscalingRunnerSet.
    pub github_config_secret: Str,
    /// The scale set it registers with.
    pub runner_scale_set_id: ScaleSetId,
    /// Proxy (on the EphemeralRunnerSet's copy).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Arc<Proxy>>,
    /// Set iff the set has a proxy.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub proxy_secret_ref: Str,
    /// Root CA.
    #[serde(rename = "githubServerTLS", skip_serializing_if = "Option::is_none")]
    pub github_server_tls: Option<Arc<serde_json::Value>>,
    /// Vault (0.12.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault_config: Option<Arc<serde_json::Value>>,
    /// 0.14.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ephemeral_runner_config_secret_metadata: Option<Arc<Overlay>>,
    /// `metadata` and `spec` of the pod template, inlined on the wire.
    #[serde(flatten)]
    pub template: Arc<PodTemplate>,
}

/// Status of an EphemeralRunner.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErStatus {
    /// Pod readiness (0.11.0 on), sticky before.
    #[serde(skip_serializing_if = "no")]
    pub ready: bool,
    /// Phase.
    #[serde(skip_serializing_if = "ErPhase::is_empty")]
    pub phase: ErPhase,
    /// Why.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub reason: Str,
    /// Why, in a sentence.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub message: Str,
    /// Registration; 0 until it is known.
    #[serde(skip_serializing_if = "RunnerId::is_none")]
    pub runner_id: RunnerId,
    /// Registered name.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub runner_name: Str,
    /// Until 0.12.1 the JIT configuration lived here. Rendered as `<token>`.
    #[serde(rename = "runnerJITConfig", skip_serializing_if = "Option::is_none")]
    pub runner_jit_config: Option<Token>,
    /// Failed pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<Arc<BTreeMap<Uid, FailureMark>>>,
    /// Written by the listener at JobStarted.
    #[serde(flatten)]
    pub job: Option<Arc<JobRef>>,
    /// `next` only: `metadata.generation` of the EphemeralRunnerSet when this runner ended with its job. The runner counts as
    /// capacity until the set's spec changes again. -1, written by the listener: the spec does without it already.
    #[serde(skip_serializing_if = "zero64")]
    pub ended_generation: i64,
    /// `next` only: how often the API refused this runner's pod in a row.
    #[serde(skip_serializing_if = "zero")]
    pub rejections: i32,
    /// `next` only: when it refused last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_rejection: Option<Time>,
    /// `next` only.
    #[serde(skip_serializing_if = "no_conditions")]
    pub conditions: Conditions,
}

pub use crate::ids::Token;

impl RunnerId {
    /// No registration.
    pub fn is_none(&self) -> bool {
        self.0 == 0
    }
}

impl ErStatus {
    /// Number of recorded pod failures.
    pub fn failure_count(&self) -> usize {
        self.failures.as_ref().map_or(0, |f| f.len())
    }
    /// The latest recorded failure, if the release stores times.
    pub fn last_failure(&self) -> Option<Time> {
        self.failures.iter().flat_map(|f| f.values()).filter_map(|m| m.at()).max()
    }
    /// `jobRequestId > 0`: the only test for a job up to 0.12.1.
    pub fn has_job_request(&self) -> bool {
        self.job.as_ref().is_some_and(|j| j.job_request_id.0 > 0)
    }
    /// `jobId` is set: the test from 0.13.0 on. A job that another registration took is not this one's.
    pub fn has_job_id(&self) -> bool {
        let own = |j: &JobRef| j.job_runner_id.is_none() || j.job_runner_id == self.runner_id;
        self.job.as_ref().is_some_and(|j| j.job_id.is_some() && own(j))
    }
}

/// A value of `status.failures`: `true` up to 0.11.0, a time (whole seconds) from 0.12.0 on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FailureMark {
    /// 0.11.0 and older.
    Happened(bool),
    /// 0.12.0 and newer.
    At(Time),
}

impl FailureMark {
    /// When, if known.
    pub fn at(self) -> Option<Time> {
        match self {
            FailureMark::Happened(_) => None,
            FailureMark::At(t) => Some(t),
        }
    }
}

/// The job that the listener wrote on an EphemeralRunner.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobRef {
    /// 0 (absent) in the broker personality.
    #[serde(skip_serializing_if = "RequestId::is_none")]
    pub job_request_id: RequestId,
    /// `owner/name`.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub job_repository_name: Str,
    /// Workflow file and ref.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub job_workflow_ref: Str,
    /// Run.
    #[serde(skip_serializing_if = "zero64")]
    pub workflow_run_id: i64,
    /// Title.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub job_display_name: Str,
    /// Written from 0.13.0 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The registration that took it (corrected controller).
    #[serde(skip_serializing_if = "RunnerId::is_none")]
    pub job_runner_id: RunnerId,
}

impl RequestId {
    /// No request id.
    pub fn is_none(&self) -> bool {
        self.0 == 0
    }
}
