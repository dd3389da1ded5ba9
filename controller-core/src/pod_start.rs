//! What keeps a pod from starting, as its status tells it. Never decides what is done about it.
//!
//! Source: kubernetes-api.md §5.3 (reasons of waiting containers). Only the corrected controller looks (field-bugs.md, OBS-ERR).

use arc_api::pod::{ContainerState, ContainerStatus, Pod};
use arc_api::{Duration, Str, format_smolstr};

/// How long a pod may take to start before somebody says that it does not: images are large.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(180);

/// What a pod that does not start has got to.
pub(crate) fn why_not_started(pod: &Pod) -> Str {
    if pod.node_name.is_none() {
        return "no node has been found for the pod".into();
    }
    let sidecar = |name: &Str| {
        let spec = pod.spec.init_containers.iter().find(|c| c.name == *name);
        spec.is_some_and(|c| c.restart_policy.as_deref() == Some("Always"))
    };
    let running = |c: &&ContainerStatus| matches!(c.state, ContainerState::Running { .. });
    match pod.status.init_container_statuses.iter().find(running) {
        Some(c) if sidecar(&c.name) => format_smolstr!("sidecar {} has not started", c.name),
        Some(c) => format_smolstr!("init container {} does not end", c.name),
        None => "its containers have not been started".into(),
    }
}

/// Why a container waits, if it is not just starting.
pub(crate) fn waits_in_vain(pod: &Pod) -> Option<(&Str, &Str)> {
    let containers = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    containers
        .filter_map(|c| match &c.state {
            ContainerState::Waiting { reason, message } => Some((reason, message)),
            ContainerState::Running { .. } | ContainerState::Terminated(_) => None,
        })
        .find(|(reason, _)| !matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing"))
}
