//! From the settings of a scenario to the Helm values a user would have written. Pure; knows no release.

use arc_api::Str;
use serde_json::{Map, Value, json};

use crate::helm::merge;
use crate::plan::Wait;
use crate::plan::operator::SetChange;
use crate::plan::world::{
    ContainerMode, ControllerSpec, CredentialKind, CredentialSpec, DindLayout, OrgSpec, ScaleSetSpec, SecretKind,
};

/// Keys and values of a GitHub secret that holds this credential.
pub(crate) fn secret_data(org: &OrgSpec, credential: &CredentialSpec) -> Vec<(Str, Str)> {
    let value = arc_api::format_smolstr!("{}-{}", org.name, credential.name);
    match credential.kind {
        CredentialKind::Pat => vec![("github_token".into(), value)],
        CredentialKind::App => vec![
            ("github_app_id".into(), "1".into()),
            ("github_app_installation_id".into(), "2".into()),
            ("github_app_private_key".into(), value),
        ],
    }
}

/// The credential that a set's secret holds.
pub(crate) fn credential<'a>(org: &'a OrgSpec, name: &str) -> Option<&'a CredentialSpec> {
    if name.is_empty() { org.credentials.first() } else { org.credentials.iter().find(|c| c.name == name) }
}

/// Values of the controller chart.
pub(crate) fn controller_values(spec: &ControllerSpec) -> Value {
    let mut flags = Map::new();
    if spec.update_strategy.as_str() != "immediate" {
        flags.insert("updateStrategy".into(), json!(spec.update_strategy.as_str()));
    }
    for (key, value) in [
        ("runnerMaxConcurrentReconciles", spec.runner_workers),
        ("k8sClientRateLimiterQPS", spec.qps),
        ("k8sClientRateLimiterBurst", spec.burst),
    ] {
        if let Some(value) = value {
            flags.insert(key.into(), json!(value));
        }
    }
    if !spec.watch_namespace.is_empty() {
        flags.insert("watchSingleNamespace".into(), json!(spec.watch_namespace));
    }
    if !spec.excluded_label_prefixes.is_empty() {
        flags.insert("excludeLabelPropagationPrefixes".into(), json!(spec.excluded_label_prefixes));
    }
    let mut values = json!({ "replicaCount": spec.replicas });
    if !flags.is_empty() {
        values["flags"] = Value::Object(flags);
    }
    if spec.metrics {
        values["metrics"] =
            json!({ "controllerManagerAddr": ":8080", "listenerAddr": ":8080", "listenerEndpoint": "/metrics" });
    }
    if !spec.node.is_empty() {
        values["nodeSelector"] = json!({ "kubernetes.io/hostname": spec.node });
    }
    match &spec.values {
        Some(more) => merge::coalesce(&values, more),
        None => values,
    }
}

/// Values of the scale-set chart.
pub(crate) fn scale_set_values(spec: &ScaleSetSpec, org: &OrgSpec) -> Value {
    let mut v = json!({ "githubConfigUrl": if spec.url.is_empty() { org.config_url() } else { spec.url.clone() } });
    v["githubConfigSecret"] = match spec.secret.kind {
        SecretKind::External => json!(spec.secret.name),
        SecretKind::Chart => {
            let data = credential(org, &spec.secret.credential).map(|c| secret_data(org, c)).unwrap_or_default();
            Value::Object(data.into_iter().map(|(k, v)| (k.to_string(), json!(v))).collect())
        }
    };
    if let Some(n) = spec.min_runners {
        v["minRunners"] = json!(n);
    }
    if let Some(n) = spec.max_runners {
        v["maxRunners"] = json!(n);
    }
    if spec.runner_group != "default" && !spec.runner_group.is_empty() {
        v["runnerGroup"] = json!(spec.runner_group);
    }
    if !spec.runner_scale_set_name.is_empty() {
        v["runnerScaleSetName"] = json!(spec.runner_scale_set_name);
    }
    if !spec.labels.is_empty() {
        v["scaleSetLabels"] = json!(spec.labels);
    }
    if let Some(proxy) = &spec.proxy {
        v["proxy"] = json!({ "http": { "url": proxy.url }, "https": { "url": proxy.url }, "noProxy": proxy.no_proxy });
    }
    if let Some(template) = &spec.listener_template {
        v["listenerTemplate"] = template.clone();
    }
    if !spec.metadata_labels.is_empty() {
        v["labels"] = json!(spec.metadata_labels);
    }
    if !spec.annotations.is_empty() {
        v["annotations"] = json!(spec.annotations);
    }
    let image = if spec.image.is_empty() { "ghcr.io/actions/actions-runner:latest".into() } else { spec.image.clone() };
    let mut template =
        json!({ "spec": { "containers": [{ "name": "runner", "image": image, "command": ["/home/runner/run.sh"] }] } });
    if !spec.service_account.is_empty() {
        template["spec"]["serviceAccountName"] = json!(spec.service_account);
    }
    if let Some(grace) = spec.grace {
        template["spec"]["terminationGracePeriodSeconds"] = json!(grace.0.as_secs());
    }
    if spec.resources.cpu.0 > 0 || spec.resources.memory.0 > 0 {
        template["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": spec.resources.cpu.to_string(), "memory": spec.resources.memory.to_string() } });
    }
    if spec.container_mode == ContainerMode::Dind {
        dind(spec, &mut v, &mut template);
    } else if spec.container_mode != ContainerMode::None {
        v["containerMode"] = json!({ "type": spec.container_mode.as_str() });
        if spec.container_mode == ContainerMode::Kubernetes {
            v["containerMode"]["kubernetesModeWorkVolumeClaim"] = json!({
                "accessModes": [spec.hooks.work_volume.as_str()], "storageClassName": "standard",
                "resources": { "requests": { "storage": "1Gi" } },
            });
        }
    }
    if let Some(more) = &spec.template {
        merge_template(&mut template, more);
    }
    v["template"] = template;
    match &spec.values {
        Some(more) => merge::coalesce(more, &v),
        None => v,
    }
}

/// dind: by the chart, with the user's own environment where it differs; or a pod expanded by hand.
fn dind(spec: &ScaleSetSpec, values: &mut Value, template: &mut Value) {
    let d = &spec.dind;
    let mut env = Vec::new();
    if !d.docker_host.is_empty() {
        env.push(json!({ "name": "DOCKER_HOST", "value": format!("unix://{}", d.docker_host) }));
    }
    match d.wait {
        Wait::Chart => {}
        Wait::Unset => env.push(json!({ "name": "RUNNER_WAIT_FOR_DOCKER_IN_SECONDS", "value": "0" })),
        Wait::For(wait) => {
            env.push(json!({ "name": "RUNNER_WAIT_FOR_DOCKER_IN_SECONDS", "value": wait.0.as_secs().to_string() }));
        }
    }
    let by_hand = d.layout != DindLayout::Chart || d.pre_stop || !d.socket_path.is_empty();
    if !by_hand {
        values["containerMode"] = json!({ "type": "dind" });
        if !env.is_empty() {
            template["spec"]["containers"][0]["env"] = json!(env);
        }
        return;
    }
    let socket = if d.socket_path.is_empty() { "/var/run/docker.sock" } else { d.socket_path.as_str() };
    let host = if d.docker_host.is_empty() { socket } else { d.docker_host.as_str() };
    let mut own = vec![json!({ "name": "DOCKER_HOST", "value": format!("unix://{host}") })];
    if d.wait == Wait::Chart {
        own.push(json!({ "name": "RUNNER_WAIT_FOR_DOCKER_IN_SECONDS", "value": "120" }));
    }
    own.extend(env.into_iter().filter(|e| e["name"] != "DOCKER_HOST"));
    let mounts = json!([{ "name": "work", "mountPath": "/home/runner/_work" }, { "name": "dind-sock", "mountPath": "/var/run" }]);
    let hook = json!({ "preStop": { "exec": { "command": ["/bin/sh", "-c", "while pgrep Runner.Worker; do sleep 1; done"] } } });
    let runner = &mut template["spec"]["containers"][0];
    runner["env"] = json!(own);
    runner["volumeMounts"] = mounts.clone();
    let mut daemon = json!({
        "name": "dind", "image": "docker:dind", "args": ["dockerd", format!("--host=unix://{socket}"), "--group=$(DOCKER_GROUP_GID)"],
        "securityContext": { "privileged": true }, "volumeMounts": mounts,
    });
    if d.pre_stop {
        runner["lifecycle"] = hook.clone();
        daemon["lifecycle"] = hook;
    }
    if d.layout == DindLayout::NativeSidecar {
        daemon["restartPolicy"] = json!("Always");
        daemon["startupProbe"] =
            json!({ "exec": { "command": ["docker", "info"] }, "periodSeconds": 5, "failureThreshold": 24 });
        template["spec"]["initContainers"] = json!([daemon]);
    } else if let Value::Array(all) = &mut template["spec"]["containers"] {
        all.push(daemon);
    }
    template["spec"]["volumes"] = json!([{ "name": "work", "emptyDir": {} }, { "name": "dind-sock", "emptyDir": {} }]);
}

/// Merges a pod template over another: maps by key, containers, volumes and environments by name, `null` removes.
pub(crate) fn merge_template(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(t), Value::Object(p)) => {
            for (key, value) in p {
                if value.is_null() {
                    t.remove(key);
                } else {
                    merge_template(t.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(t), Value::Array(p)) if p.iter().all(|e| e.get("name").is_some()) => {
            for element in p {
                match t.iter_mut().find(|e| e.get("name") == element.get("name")) {
                    Some(found) => merge_template(found, element),
                    None => t.push(element.clone()),
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// A set's settings after a change; the change stays for later commands.
pub(crate) fn change(spec: &mut ScaleSetSpec, set: &SetChange) {
    for name in &set.unset {
        match name.as_str() {
            "min_runners" => spec.min_runners = None,
            "max_runners" => spec.max_runners = None,
            "service_account" => spec.service_account = Str::default(),
            "template" => spec.template = None,
            "container_mode" => spec.container_mode = ContainerMode::None,
            _ => {}
        }
    }
    if set.min_runners.is_some() {
        spec.min_runners = set.min_runners;
    }
    if set.max_runners.is_some() {
        spec.max_runners = set.max_runners;
    }
    if let Some(mode) = set.container_mode {
        spec.container_mode = mode;
    }
    if let Some(template) = &set.template {
        let mut base = spec.template.clone().unwrap_or_else(|| json!({}));
        merge_template(&mut base, template);
        spec.template = Some(base);
    }
    for (slot, value) in [
        (&mut spec.image, &set.image),
        (&mut spec.service_account, &set.service_account),
        (&mut spec.runner_group, &set.runner_group),
        (&mut spec.url, &set.url),
        (&mut spec.runner_scale_set_name, &set.runner_scale_set_name),
    ] {
        if let Some(value) = value {
            *slot = value.clone();
        }
    }
    if let Some(name) = &set.secret {
        spec.secret.kind = SecretKind::External;
        spec.secret.name = name.clone();
    }
    if let Some(name) = &set.credential {
        spec.secret.credential = name.clone();
    }
    if let Some(more) = &set.values {
        let base = spec.values.clone().unwrap_or_else(|| json!({}));
        spec.values = Some(merge::coalesce(&base, more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_merge_by_name_and_null_removes() {
        let mut t = json!({ "spec": { "containers": [{ "name": "runner", "image": "a", "env": [{ "name": "X", "value": "1" }] }] } });
        merge_template(
            &mut t,
            &json!({ "spec": { "containers": [{ "name": "runner", "image": null, "env": [{ "name": "Y", "value": "2" }] }, { "name": "side" }] } }),
        );
        assert_eq!(
            t["spec"]["containers"][0],
            json!({ "name": "runner", "env": [{ "name": "X", "value": "1" }, { "name": "Y", "value": "2" }] })
        );
        assert_eq!(t["spec"]["containers"][1]["name"], "side");
    }
}
