//! What a kubelet reports of a pod. Decides nothing.

use serde::{Deserialize, Serialize};

use super::*;

/// Pod phase.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum PodPhase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

impl PodPhase {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            PodPhase::Pending => "Pending",
            PodPhase::Running => "Running",
            PodPhase::Succeeded => "Succeeded",
            PodPhase::Failed => "Failed",
            PodPhase::Unknown => "Unknown",
        }
    }
    /// Succeeded or Failed.
    pub const fn is_terminal(self) -> bool {
        matches!(self, PodPhase::Succeeded | PodPhase::Failed)
    }
}

/// Pod status.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Phase.
    pub phase: PodPhase,
    /// `Evicted`, `OutOfcpu`, …
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub reason: Str,
    /// Sentence.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub message: Str,
    /// When the kubelet took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// Conditions, newest state per type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<PodCondition>,
    /// One per main container, once the kubelet knows them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub container_statuses: Vec<ContainerStatus>,
    /// One per init container.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub init_container_statuses: Vec<ContainerStatus>,
}

impl PodStatus {
    /// Status of the main container `name`.
    pub fn container(&self, name: &str) -> Option<&ContainerStatus> {
        self.container_statuses.iter().find(|c| c.name == name)
    }
    /// A condition's status; `None` if it is not there.
    pub fn condition(&self, which: PodConditionType) -> Option<bool> {
        self.conditions.iter().find(|c| c.type_ == which).map(|c| c.status)
    }
    /// `Ready` is `True`.
    pub fn is_ready(&self) -> bool {
        self.condition(PodConditionType::Ready) == Some(true)
    }
}

/// The pod conditions that anybody looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum PodConditionType {
    PodScheduled,
    PodReadyToStartContainers,
    Initialized,
    ContainersReady,
    Ready,
    DisruptionTarget,
}

/// One condition of a pod.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCondition {
    /// Type.
    #[serde(rename = "type")]
    pub type_: PodConditionType,
    /// True or False.
    #[serde(with = "crate::crd::condition_status")]
    pub status: bool,
    /// Reason.
    #[serde(default, skip_serializing_if = "Str::is_empty")]
    pub reason: Str,
    /// Message.
    #[serde(default, skip_serializing_if = "Str::is_empty")]
    pub message: Str,
    /// Last change.
    pub last_transition_time: Time,
}

/// Status of a container.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Container.
    pub name: Str,
    /// Now.
    pub state: ContainerState,
    /// The end before the current start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_terminated: Option<Terminated>,
    /// Counts for pod readiness.
    pub ready: bool,
    /// Start-up is over (startup probe passed).
    pub started: bool,
    /// Restarts.
    pub restart_count: i32,
}

/// State of a container.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerState {
    /// Not running yet, or between restarts.
    Waiting {
        /// `ContainerCreating`, `PodInitializing`, `CrashLoopBackOff`, `ErrImagePull`, `CreateContainerConfigError`, …
        reason: Str,
        /// Sentence.
        message: Str,
    },
    /// Running.
    Running {
        /// Since.
        started_at: Time,
    },
    /// Ended.
    Terminated(Terminated),
}

impl Default for ContainerState {
    fn default() -> Self {
        ContainerState::Waiting { reason: Str::default(), message: Str::default() }
    }
}

impl ContainerState {
    /// The exit code, if it ended.
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            ContainerState::Terminated(t) => Some(t.exit_code),
            ContainerState::Waiting { .. } | ContainerState::Running { .. } => None,
        }
    }
    /// Running now.
    pub fn is_running(&self) -> bool {
        matches!(self, ContainerState::Running { .. })
    }
}

/// How a container ended.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// 0–255; 143 SIGTERM, 137 SIGKILL.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, …
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub reason: Str,
    /// Sentence.
    #[serde(skip_serializing_if = "Str::is_empty")]
    pub message: Str,
    /// When.
    pub finished_at: Time,
}
