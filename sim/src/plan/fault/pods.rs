//! Parameters of the faults of nodes, pods, containers and processes. Never carries one out.

use std::collections::BTreeMap;

use arc_api::Str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::*;
use super::*;

params! {
    /// A node is drained, short of resources, powered off or gone.
    NodeFault {
        /// How.
        mode: NodeMode,
        /// A node (`n2`), or the node of a component (`listener/linux`).
        target: NodeTarget,
        /// Grace of the evictions (`drain`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Dur>,
        /// Whether eviction comes before any container status exists (`pressure_eviction`).
        #[serde(default, skip_serializing_if = "is_false")]
        before_status: bool,
        /// When the Node object is removed (`power_off`); absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        object_removed_after: Option<Dur>,
        /// When the node is back; absent: at the end of the window, or never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        returns_after: Option<Dur>,
    }
    /// The kubelet refuses a pod after it was scheduled: phase Failed, no container status.
    PodReject {
        /// The pod's status.reason.
        reason: RejectReason,
        /// Which pods.
        #[serde(default = "PodTarget::runner")]
        target: PodTarget,
        /// Share of the pods.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Pods of one scale set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
    }
    /// A pod does not start.
    PodDelay {
        /// What it waits for.
        mode: PodDelayMode,
        /// How long each pod waits; absent: while the fault lasts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Delay>,
        /// Which pods.
        #[serde(default = "PodTarget::runner")]
        target: PodTarget,
        /// Share of the pods.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Pods of one scale set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
    }
    /// An init container fails or never ends.
    InitFail {
        /// How.
        mode: InitMode,
        /// Exit code (`exit`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        /// Which init containers.
        #[serde(default = "all_names")]
        container: Glob,
        /// Share of the pods.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Pods of one scale set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
    }
    /// A container ends.
    ContainerExit {
        /// Which container.
        target: ContainerTarget,
        /// Exit code.
        code: i32,
        /// Why, as the kubelet says it.
        #[serde(default = "ExitReason::error")]
        reason: ExitReason,
        /// When in the life of a runner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<ExitPhase>,
        /// How long after that phase began, or after the container's start.
        #[serde(default)]
        after: Delay,
        /// How many containers; absent: all while the fault lasts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        times: Option<u32>,
        /// Share of the containers.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// Pods by name.
        #[serde(default = "all_names")]
        pod: Glob,
        /// Containers of one scale set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
    }
    /// A helper container is late, dies, or outlives the main one.
    SidecarFault {
        /// Which helper.
        target: SidecarTarget,
        /// How.
        mode: SidecarMode,
        /// Container start to readiness (`ready_delay`), or the phase's beginning to the crash.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delay: Option<Delay>,
        /// Exit code of a crash.
        #[serde(default = "sigkill")]
        code: i32,
        /// Share of the pods.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Pods of one scale set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
    }
    /// A volume is late, unbound, attached elsewhere or full.
    VolumeFault {
        /// How.
        mode: VolumeMode,
        /// How late (`slow_attach`); absent: while the fault lasts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Delay>,
        /// Whose volumes.
        #[serde(default = "PodTarget::workflow")]
        target: PodTarget,
        /// Share of the volumes.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// Volumes of one scale set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
    }
    /// A Kubernetes exec stream is cut.
    ExecCut {
        /// How.
        mode: ExecMode,
        /// Streams without output for so long; absent: every open stream when the fault begins.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after_idle: Option<Dur>,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Streams of one scale set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
    }
    /// A process is killed (SIGKILL).
    ActorCrash {
        /// Which.
        target: Actor,
        /// With what.
        #[serde(default = "EndSignal::kill", skip_serializing_if = "EndSignal::is_kill")]
        signal: EndSignal,
        /// When its container is started again; absent: as its owner does it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart_after: Option<Dur>,
        /// How likely the request in flight is carried out all the same.
        #[serde(default)]
        in_flight_applied: Ratio,
        /// Whether the whole pod goes, not only the container.
        #[serde(default, skip_serializing_if = "is_false")]
        pod: bool,
        /// Whether only the leader is meant, so that another replica takes over.
        #[serde(default, skip_serializing_if = "is_false")]
        leader: bool,
    }
    /// A process is slow or paused.
    ActorSlow {
        /// Which.
        target: Actor,
        /// Workers per reconciler, by kind or for all (`*`).
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        workers: BTreeMap<Str, u32>,
        /// Extra latency of each request to the API server.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kube_latency: Option<Delay>,
        /// Extra latency of each request to GitHub.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        github_latency: Option<Delay>,
        /// Client-side requests per second.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        qps: Option<u32>,
        /// Client-side burst.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        burst: Option<u32>,
        /// Stops the world at the beginning of the fault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pause: Option<Delay>,
        /// Shuffles the order of ready work.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order_seed: Option<u64>,
    }
}
