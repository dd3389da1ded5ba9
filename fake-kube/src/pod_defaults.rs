//! What the API server makes of a pod's spec before it judges it: members that its version does not know or silently drops,
//! and the defaults that decisions depend on.
//!
//! Source: kubernetes-api.md §4.1, §4.3 (1.34.4: dry runs and recordings).
//! Differs: defaults that no decision reads (DNS policy, termination message, probe numbers, pull policies) are not stored.

use std::sync::Arc;

use arc_api::pod::{Container, PodSpec, Toleration};
use arc_api::{Object, Str};

use crate::settings::ApiSettings;

/// Seconds a pod tolerates a node that is not ready or unreachable (DefaultTolerationSeconds).
const TOLERATED_SECONDS: i64 = 300;
const NODE_TAINTS: [Str; 2] =
    [Str::new_static("node.kubernetes.io/not-ready"), Str::new_static("node.kubernetes.io/unreachable")];

/// Whether this version drops a container's `restartPolicy` without a word.
fn drops_policy(policy: &str, init: bool, settings: &ApiSettings) -> bool {
    match settings.minor {
        // Unknown up to 1.27, known but gated off in 1.28; main containers are refused from 1.28 on.
        ..=27 => true,
        28 => init,
        29..=33 => false,
        _ => !(settings.container_restart_rules || init && policy == "Always"),
    }
}

/// Members beside `command` inside a probe's `exec` belong nowhere (0.12.0's chart writes the probe's numbers there).
fn prune_probes(container: &mut Container) -> bool {
    let mut pruned = false;
    let probes = [&mut container.startup_probe, &mut container.readiness_probe, &mut container.liveness_probe];
    for exec in probes.into_iter().flatten().filter_map(|p| p.exec.as_mut()) {
        pruned |= exec.rest.take().is_some();
    }
    pruned
}

fn has_misplaced(container: &Container) -> bool {
    [&container.startup_probe, &container.readiness_probe, &container.liveness_probe]
        .into_iter()
        .flatten()
        .any(|p| p.exec.as_ref().is_some_and(|e| e.rest.is_some()))
}

/// Drops what no schema knows from a pod template's containers; the spec is copied only if there is something to drop.
pub(crate) fn prune_spec(spec: &mut Arc<PodSpec>) {
    if spec.containers.iter().chain(&spec.init_containers).any(has_misplaced) {
        let spec = Arc::make_mut(spec);
        for container in spec.containers.iter_mut().chain(&mut spec.init_containers) {
            prune_probes(container);
        }
    }
}

/// Prepares the spec of a new pod.
pub(crate) fn prepare(object: &mut Object, settings: &ApiSettings) {
    let Object::Pod(pod) = object else { return };
    let pod = Arc::make_mut(pod);
    let spec = Arc::make_mut(&mut pod.spec);
    // `spec.nodeName` stands beside the spec, so that binding does not copy it.
    if let Some(node) = spec.node_name.take() {
        pod.node_name.get_or_insert(node);
    }
    for container in &mut spec.init_containers {
        prepare_container(container, true, settings);
    }
    for container in &mut spec.containers {
        prepare_container(container, false, settings);
    }
    if spec.restart_policy.is_empty() {
        spec.restart_policy = Str::new_static("Always");
    }
    for key in NODE_TAINTS {
        let covers = |t: &Toleration| {
            (t.key == key || t.key.is_empty() && t.operator == "Exists")
                && matches!(t.effect.as_str(), "" | "NoExecute")
        };
        if !spec.tolerations.iter().any(covers) {
            spec.tolerations.push(Toleration {
                key,
                operator: Str::new_static("Exists"),
                value: Str::default(),
                effect: Str::new_static("NoExecute"),
                toleration_seconds: Some(TOLERATED_SECONDS),
            });
        }
    }
}

fn prepare_container(container: &mut Container, init: bool, settings: &ApiSettings) {
    prune_probes(container);
    if container.restart_policy.as_ref().is_some_and(|p| drops_policy(p, init, settings)) {
        container.restart_policy = None;
    }
    let resources = &mut container.resources;
    for (name, limit) in &resources.limits {
        if !resources.requests.contains_key(name) {
            resources.requests.insert(name.clone(), limit.clone());
        }
    }
}
