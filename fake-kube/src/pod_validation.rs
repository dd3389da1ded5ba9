//! Validation of pods as the API server of each Kubernetes version does it. Never changes a pod; what is silently dropped is
//! dropped before, in [`crate::pod_defaults`].
//!
//! Source: kubernetes-api.md §4.2, §4.3; pkg/apis/core/validation/validation.go; golden pod-validation. The order of problems is
//! the order of the real validation: volumes, containers, init containers, restart policy.
//! Differs: host aliases, affinity, port names and other members that are kept as JSON are not judged.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_api::pod::{Container, Pod, PodSpec, Probe, Resources, Toleration};
use arc_api::{Str, format_smolstr};

use crate::names;
use crate::quantity::Quantity;
use crate::settings::ApiSettings;
use crate::status::Problems;

/// Field paths the downward API knows.
const FIELD_PATHS: [&str; 11] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels",
    "metadata.annotations",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// From here on the text says which limit a request exceeds; 1.20 does not, 1.34 does, the version in between is a guess.
const NAMES_LIMIT_SINCE: u32 = 27;

type Rest = Option<Arc<serde_json::Map<String, serde_json::Value>>>;

fn text_member<'a>(rest: &'a Rest, member: &str) -> Option<&'a str> {
    rest.as_ref()?.get(member)?.as_str()
}

/// Adds the problems of a new pod.
pub(crate) fn pod(pod: &Pod, settings: &ApiSettings, problems: &mut Problems) {
    let spec = &*pod.spec;
    volumes(spec, problems);
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    if spec.containers.is_empty() {
        problems.add("spec.containers", "Required value");
    }
    for (i, container) in spec.containers.iter().enumerate() {
        let at = Place { list: "containers", index: i };
        common(at, container, spec, settings, problems);
        if !container.name.is_empty() && !seen.insert(&container.name) {
            duplicate(at, &container.name, problems);
        }
        if container.restart_policy.is_some() && !settings.container_restart_rules {
            problems.add(at.field("restartPolicy"), "Forbidden: may not be set for non-init containers");
        }
        probes(at, container, problems);
    }
    for (i, container) in spec.init_containers.iter().enumerate() {
        let at = Place { list: "initContainers", index: i };
        common(at, container, spec, settings, problems);
        if !container.name.is_empty() && !seen.insert(&container.name) {
            duplicate(at, &container.name, problems);
        }
        init_container(at, container, settings, problems);
    }
    if !matches!(spec.restart_policy.as_str(), "Always" | "OnFailure" | "Never") {
        let text = "supported values: \"Always\", \"OnFailure\", \"Never\"";
        problems.add("spec.restartPolicy", format_smolstr!("Unsupported value: \"{}\": {text}", spec.restart_policy));
    }
    if let Some(policy) = text_member(&spec.rest, "dnsPolicy")
        && !matches!(policy, "ClusterFirstWithHostNet" | "ClusterFirst" | "Default" | "None")
    {
        let text = "supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"";
        problems.add("spec.dnsPolicy", format_smolstr!("Unsupported value: \"{policy}\": {text}"));
    }
    let deadline = spec.rest.as_ref().and_then(|r| r.get("activeDeadlineSeconds")?.as_i64());
    if let Some(seconds) = deadline.filter(|s| !(1..=i64::from(i32::MAX)).contains(s)) {
        let text = format_smolstr!("Invalid value: {seconds}: must be between 1 and 2147483647, inclusive");
        problems.add("spec.activeDeadlineSeconds", text);
    }
    if let Some(node) = &pod.node_name
        && !names::is_subdomain(node)
    {
        for fault in names::subdomain(node) {
            problems.add("spec.nodeName", format_smolstr!("Invalid value: \"{node}\": {fault}"));
        }
    }
    for value in spec.node_selector.values() {
        for fault in names::label_value(value) {
            problems.add("spec.nodeSelector", format_smolstr!("Invalid value: \"{value}\": {fault}"));
        }
    }
    for (i, toleration) in spec.tolerations.iter().enumerate() {
        tolerates(i, toleration, problems);
    }
}

/// A container's place in the pod, from which field paths are written when they are needed.
#[derive(Clone, Copy)]
struct Place {
    list: &'static str,
    index: usize,
}

impl Place {
    fn field(self, member: &str) -> Str {
        format_smolstr!("spec.{}[{}].{member}", self.list, self.index)
    }
}

fn duplicate(at: Place, name: &str, problems: &mut Problems) {
    problems.add(at.field("name"), format_smolstr!("Duplicate value: \"{name}\""));
}

fn volumes(spec: &PodSpec, problems: &mut Problems) {
    for (i, volume) in spec.volumes.iter().enumerate() {
        let field = |member: &str| format_smolstr!("spec.volumes[{i}].{member}");
        if volume.name.is_empty() {
            problems.add(field("name"), "Required value");
        } else if !names::is_label_name(&volume.name) {
            for fault in names::label(&volume.name) {
                problems.add(field("name"), format_smolstr!("Invalid value: \"{}\": {fault}", volume.name));
            }
        } else if spec.volumes[..i].iter().any(|v| v.name == volume.name) {
            problems.add(field("name"), format_smolstr!("Duplicate value: \"{}\"", volume.name));
        }
        let typed = [
            volume.empty_dir.is_some().then_some("emptyDir"),
            volume.secret.is_some().then_some("secret"),
            volume.persistent_volume_claim.is_some().then_some("persistentVolumeClaim"),
            volume.config_map.is_some().then_some("configMap"),
            volume.ephemeral.is_some().then_some("ephemeral"),
        ];
        let other = volume.rest.iter().flat_map(|r| r.keys().map(String::as_str));
        for extra in typed.into_iter().flatten().chain(other).skip(1) {
            problems.add(field(extra), "Forbidden: may not specify more than 1 volume type");
        }
    }
}

fn common(at: Place, container: &Container, spec: &PodSpec, settings: &ApiSettings, problems: &mut Problems) {
    if container.name.is_empty() {
        problems.add(at.field("name"), "Required value");
    } else if !names::is_label_name(&container.name) {
        for fault in names::label(&container.name) {
            problems.add(at.field("name"), format_smolstr!("Invalid value: \"{}\": {fault}", container.name));
        }
    }
    if container.image.is_empty() {
        problems.add(at.field("image"), "Required value");
    } else if container.image.trim().len() != container.image.len() {
        let text = "must not have leading or trailing whitespace";
        problems.add(at.field("image"), format_smolstr!("Invalid value: \"{}\": {text}", container.image));
    }
    environment(at, container, settings, problems);
    for (i, mount) in container.volume_mounts.iter().enumerate() {
        let field = |member: &str| at.field(&format!("volumeMounts[{i}].{member}"));
        if mount.name.is_empty() {
            problems.add(field("name"), "Required value");
        }
        if mount.mount_path.is_empty() {
            problems.add(field("mountPath"), "Required value");
        }
        if !spec.volumes.iter().any(|v| v.name == mount.name) && !mount.name.is_empty() {
            problems.add(field("name"), format_smolstr!("Not found: \"{}\"", mount.name));
        }
        if container.volume_mounts[..i].iter().any(|m| m.mount_path == mount.mount_path) {
            problems
                .add(field("mountPath"), format_smolstr!("Invalid value: \"{}\": must be unique", mount.mount_path));
        }
        if mount.sub_path.split('/').any(|part| part == "..") {
            let text = format_smolstr!("Invalid value: \"{}\": must not contain '..'", mount.sub_path);
            problems.add(at.field("volumeMounts.subPath"), text);
        }
    }
    ports(at, container, spec, problems);
    if let Some(policy) = text_member(&container.rest, "imagePullPolicy")
        && !matches!(policy, "Always" | "IfNotPresent" | "Never")
    {
        let text = "supported values: \"Always\", \"IfNotPresent\", \"Never\"";
        problems.add(at.field("imagePullPolicy"), format_smolstr!("Unsupported value: \"{policy}\": {text}"));
    }
    resources(at, &container.resources, settings, problems);
    if let Some(context) = &container.security_context {
        let denied = context.rest.as_ref().and_then(|r| r.get("allowPrivilegeEscalation")?.as_bool()) == Some(false);
        if context.privileged && denied {
            let text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            problems.add(at.field("securityContext"), format_smolstr!("Invalid value: privileged: {text}"));
        }
    }
}

fn ports(at: Place, container: &Container, spec: &PodSpec, problems: &mut Problems) {
    let list = container.rest.as_ref().and_then(|r| r.get("ports")?.as_array());
    for (i, port) in list.into_iter().flatten().enumerate() {
        let field = at.field(&format!("ports[{i}].containerPort"));
        let number = |member: &str| port.get(member).and_then(serde_json::Value::as_i64).unwrap_or(0);
        match (number("containerPort"), number("hostPort")) {
            (0, _) => problems.add(field, "Required value"),
            (n, _) if !(1..=65535).contains(&n) => {
                problems.add(field, format_smolstr!("Invalid value: {n}: must be between 1 and 65535, inclusive"));
            }
            (n, host) if spec.host_network && host != 0 && host != n => {
                let text = format_smolstr!("Invalid value: {n}: must match `hostPort` when `hostNetwork` is true");
                problems.add(field, text);
            }
            _ => {}
        }
    }
}

fn environment(at: Place, container: &Container, settings: &ApiSettings, problems: &mut Problems) {
    for (i, variable) in container.env.iter().enumerate() {
        let field = |member: &str| at.field(&format!("env[{i}].{member}"));
        if variable.name.is_empty() {
            problems.add(field("name"), "Required value");
        } else {
            for fault in names::env_name(&variable.name, settings.minor) {
                problems.add(field("name"), format_smolstr!("Invalid value: \"{}\": {fault}", variable.name));
            }
        }
        let Some(source) = &variable.value_from else { continue };
        if variable.value.as_ref().is_some_and(|v| !v.is_empty()) {
            problems.add(field("valueFrom"), "Invalid value: \"\": may not be specified when `value` is not empty");
        }
        if let Some(reference) = &source.field_ref {
            let path = &reference.field_path;
            let known = FIELD_PATHS.contains(&path.as_str())
                || path.starts_with("metadata.labels['")
                || path.starts_with("metadata.annotations['");
            if !known {
                let text = format_smolstr!("error converting fieldPath: field label not supported: {path}");
                problems
                    .add(field("valueFrom.fieldRef.fieldPath"), format_smolstr!("Invalid value: \"{path}\": {text}"));
            }
        }
    }
}

/// Malformed quantities are refused while the body is decoded; what arrives here is a quantity or was never JSON.
fn resources(at: Place, resources: &Resources, settings: &ApiSettings, problems: &mut Problems) {
    for (list, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        for (name, text) in amounts {
            let Some(amount) = Quantity::parse(text) else {
                let field = at.field(&format!("resources.{list}[{name}]"));
                problems.add(
                    field,
                    format_smolstr!("Invalid value: \"{text}\": quantities must match the regular expression"),
                );
                continue;
            };
            if amount.is_negative() {
                let field = at.field(&format!("resources.{list}[{name}]"));
                problems.add(field, format_smolstr!("Invalid value: \"{text}\": must be greater than or equal to 0"));
            }
            let limit = resources.limits.get(name).filter(|_| list == "requests");
            if let Some(limit) = limit
                && Quantity::parse(limit).is_some_and(|l| amount > l)
            {
                let of =
                    if settings.minor >= NAMES_LIMIT_SINCE { format_smolstr!(" of {limit}") } else { Str::default() };
                let text =
                    format_smolstr!("Invalid value: \"{amount}\": must be less than or equal to {name} limit{of}");
                problems.add(at.field("resources.requests"), text);
            }
        }
    }
}

fn probes(at: Place, container: &Container, problems: &mut Problems) {
    let all = [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    for (member, probe) in all {
        if let Some(probe) = probe {
            handlers(&at.field(member), probe, problems);
        }
    }
}

fn handlers(field: &str, probe: &Probe, problems: &mut Problems) {
    let others = probe.rest.iter().flat_map(|r| r.keys().map(String::as_str));
    let named = others.filter(|k| matches!(*k, "httpGet" | "tcpSocket" | "grpc"));
    let list: Vec<&str> = probe.exec.iter().map(|_| "exec").chain(named).collect();
    match list.as_slice() {
        [] => problems.add(field, "Required value: must specify a handler type"),
        [_] => {}
        [_, more @ ..] => {
            for extra in more {
                problems.add(format_smolstr!("{field}.{extra}"), "Forbidden: may not specify more than 1 handler type");
            }
        }
    }
    if probe.exec.as_ref().is_some_and(|e| e.command.is_empty()) {
        problems.add(format_smolstr!("{field}.exec.command"), "Required value");
    }
}

/// Source: kubernetes-api.md §4.3. Values that a version drops silently are gone before validation.
fn init_container(at: Place, container: &Container, settings: &ApiSettings, problems: &mut Problems) {
    let sidecar = container.restart_policy.as_deref() == Some("Always");
    if let Some(policy) = &container.restart_policy {
        let known = sidecar || settings.container_restart_rules && matches!(policy.as_str(), "OnFailure" | "Never");
        if !known {
            let supported =
                if settings.container_restart_rules { "\"Always\", \"OnFailure\", \"Never\"" } else { "\"Always\"" };
            let text = format_smolstr!("Unsupported value: \"{policy}\": supported values: {supported}");
            problems.add(at.field("restartPolicy"), text);
        }
    }
    if sidecar {
        probes(at, container, problems);
        return;
    }
    let set = [
        ("lifecycle", container.lifecycle.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
    ];
    for (member, _) in set.into_iter().filter(|(_, set)| *set) {
        let text = if settings.minor >= 28 {
            "Forbidden: may not be set for init containers without restartPolicy=Always"
        } else {
            "Invalid value: set: must not be set for init containers"
        };
        problems.add(at.field(member), text);
    }
}

fn tolerates(index: usize, toleration: &Toleration, problems: &mut Problems) {
    if toleration.operator == "Exists" && !toleration.value.is_empty() {
        let text = "value must be empty when `operator` is 'Exists'";
        problems.add(
            format_smolstr!("spec.tolerations[{index}].operator"),
            format_smolstr!("Invalid value: \"{}\": {text}", toleration.value),
        );
    }
}

/// Adds the problems of changing a pod: nearly everything is fixed at creation (§2.6).
pub(crate) fn change(old: &Pod, new: &Pod, problems: &mut Problems) {
    if Arc::ptr_eq(&old.spec, &new.spec) && old.node_name == new.node_name {
        return;
    }
    let (before, after) = (&*old.spec, &*new.spec);
    if before.containers.len() != after.containers.len() {
        problems.add("spec.containers", "Forbidden: pod updates may not add or remove containers");
        return;
    }
    if before.init_containers.len() != after.init_containers.len() {
        problems.add("spec.initContainers", "Forbidden: pod updates may not add or remove containers");
        return;
    }
    let deadline = |spec: &PodSpec| spec.rest.as_ref().and_then(|r| r.get("activeDeadlineSeconds")?.as_i64());
    match (deadline(before), deadline(after)) {
        (Some(was), Some(is)) if is > was => {
            let text = format_smolstr!("Invalid value: {is}: must be less than or equal to previous value");
            problems.add("spec.activeDeadlineSeconds", text);
            return;
        }
        (Some(_), None) => {
            let text = "Invalid value: \"null\": must not update from a positive integer to nil value";
            problems.add("spec.activeDeadlineSeconds", text);
            return;
        }
        _ => {}
    }
    // What may change is put back; whatever still differs may not.
    let mut allowed = after.clone();
    allowed.rest.clone_from(&before.rest);
    if let (Some(was), Some(is)) = (&before.rest, &after.rest) {
        let without = |m: &serde_json::Map<String, serde_json::Value>| {
            let mut m = m.clone();
            m.remove("activeDeadlineSeconds");
            m
        };
        if without(was) != without(is) {
            allowed.rest.clone_from(&after.rest);
        }
    }
    let pairs = before.containers.iter().zip(&mut allowed.containers);
    for (was, is) in pairs.chain(before.init_containers.iter().zip(&mut allowed.init_containers)) {
        is.image.clone_from(&was.image);
    }
    if before.tolerations.iter().all(|t| after.tolerations.contains(t)) {
        allowed.tolerations.clone_from(&before.tolerations);
    }
    if allowed != *before || old.node_name != new.node_name {
        let text = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,\
                    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
                    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        problems.add("spec", text);
    }
}
