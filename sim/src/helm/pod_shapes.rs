//! The runner pod of each container mode, release and server version: what the set chart makes of the user's template.
//!
//! Source: field-bugs.md seed-dind-socket-not-ready (table of shapes), arc-controllers.md §9.1, 11.I; recorded: b_kube_mode,
//! a_basic. Never looks at a cluster: the server's minor version is a text, as the server reports it.

use controller_core::Release;
use serde_json::{Map, Value, json};

use super::values::{ContainerMode, ScaleSetValues, text, truthy};

/// How the docker daemon runs beside the runner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DindShape {
    /// Two ordinary containers, socket in `/run/docker` (0.8.3 and older).
    TwoContainersRunDocker,
    /// Two ordinary containers, socket in `/var/run` (0.9.0 on; later ones on servers before 1.29).
    TwoContainers,
    /// The same of the corrected chart: the runner waits for the daemon for an hour instead of two minutes.
    PatientTwoContainers,
    /// A native sidecar whose probe numbers are written inside `exec` (0.12.0).
    SidecarMisplacedProbe,
    /// A native sidecar, probed 24 times every 5 s (0.12.1 on).
    Sidecar,
}

impl DindShape {
    /// The shape that the chart of `release` renders for a server whose `/version` says `minor`. A minor of `29+` is not a
    /// number to the chart.
    pub fn of(release: Release, minor: &str) -> DindShape {
        let sidecar = release >= Release::V0_12_0 && minor.parse::<u32>().is_ok_and(|m| m >= 29);
        match (sidecar, release) {
            (true, Release::V0_12_0) => DindShape::SidecarMisplacedProbe,
            (true, _) => DindShape::Sidecar,
            (false, r) if r <= Release::V0_8_3 => DindShape::TwoContainersRunDocker,
            (false, Release::Next) => DindShape::PatientTwoContainers,
            (false, _) => DindShape::TwoContainers,
        }
    }
    /// Whether the daemon is a native sidecar.
    pub const fn is_sidecar(self) -> bool {
        matches!(self, DindShape::SidecarMisplacedProbe | DindShape::Sidecar)
    }
    const fn socket_dir(self) -> &'static str {
        match self {
            DindShape::TwoContainersRunDocker => "/run/docker",
            _ => "/var/run",
        }
    }
}

/// `spec.template` of the AutoscalingRunnerSet. `kube_account` and `plain_account` are the ServiceAccounts of the chart.
pub fn template(
    release: Release,
    values: &ScaleSetValues,
    minor: &str,
    kube_account: &str,
    plain_account: &str,
) -> Value {
    let user = values.template_spec();
    let shape = DindShape::of(release, minor);
    let mut spec = user.as_object().cloned().unwrap_or_default();
    spec.retain(|key, value| key != "volumes" && key != "initContainers" && !value.is_null());
    if !user.get("restartPolicy").is_some_and(truthy) {
        spec.insert("restartPolicy".into(), json!("Never"));
    }
    let account = if values.mode.is_kubernetes() { kube_account } else { plain_account };
    let account = values.service_account().unwrap_or_else(|| account.into());
    spec.insert("serviceAccountName".into(), json!(account));
    insert_list(&mut spec, "initContainers", init_containers(release, values, shape));
    spec.insert("containers".into(), Value::Array(containers(values, shape)));
    insert_list(&mut spec, "volumes", volumes(values));
    let mut template = Map::new();
    let metadata = &values.all["template"]["metadata"];
    let kept: Map<String, Value> = ["labels", "annotations"]
        .into_iter()
        .filter(|key| truthy(&metadata[*key]))
        .map(|key| (key.to_owned(), metadata[key].clone()))
        .collect();
    if !kept.is_empty() {
        template.insert("metadata".into(), Value::Object(kept));
    }
    template.insert("spec".into(), Value::Object(spec));
    Value::Object(template)
}

fn insert_list(spec: &mut Map<String, Value>, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        spec.insert(key.to_owned(), Value::Array(list));
    }
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn init_containers(release: Release, values: &ScaleSetValues, shape: DindShape) -> Vec<Value> {
    let user: Vec<Value> = list(values.template_spec(), "initContainers").cloned().collect();
    let dind = values.mode == ContainerMode::Dind;
    let mut out = Vec::new();
    if dind {
        out.push(copy_externals(release, values));
    }
    // 0.12.0 asks only for the server's version here, so every template with init containers gets the daemon, without volumes.
    if shape.is_sidecar() && (dind || (shape == DindShape::SidecarMisplacedProbe && !user.is_empty())) {
        out.push(daemon(shape));
    }
    out.extend(user);
    out
}

fn copy_externals(release: Release, values: &ScaleSetValues) -> Value {
    let runner = list(values.template_spec(), "containers").find(|c| c["name"] == "runner");
    let Some(runner) = runner else { return json!({ "name": "init-dind-externals" }) };
    let (from, to) = ("/home/runner/externals/.", "/home/runner/tmpDir/");
    let verbose = release <= Release::V0_10_1;
    let args = if verbose { json!(["-r", "-v", from, to]) } else { json!(["-r", from, to]) };
    let mut out = json!({
        "name": "init-dind-externals", "command": ["cp"], "args": args,
        "volumeMounts": [{ "name": "dind-externals", "mountPath": "/home/runner/tmpDir" }],
    });
    if let Some(image) = runner.get("image") {
        out["image"] = image.clone();
    }
    out
}

fn daemon(shape: DindShape) -> Value {
    let socket_dir = shape.socket_dir();
    let mut out = json!({
        "name": "dind", "image": "docker:dind",
        "args": ["dockerd", format!("--host=unix://{socket_dir}/docker.sock"), "--group=$(DOCKER_GROUP_GID)"],
        "env": [{ "name": "DOCKER_GROUP_GID", "value": "123" }],
        "securityContext": { "privileged": true },
        "volumeMounts": [
            { "name": "work", "mountPath": "/home/runner/_work" },
            { "name": "dind-sock", "mountPath": socket_dir },
            { "name": "dind-externals", "mountPath": "/home/runner/externals" },
        ],
    });
    let exec = json!(["docker", "info"]);
    let probe = match shape {
        DindShape::Sidecar => json!({
            "exec": { "command": exec }, "initialDelaySeconds": 0, "failureThreshold": 24, "periodSeconds": 5,
        }),
        DindShape::SidecarMisplacedProbe => json!({
            "exec": { "command": exec, "initialDelaySeconds": 0, "failureThreshold": 24, "periodSeconds": 5 },
        }),
        DindShape::TwoContainers | DindShape::TwoContainersRunDocker | DindShape::PatientTwoContainers => return out,
    };
    out["restartPolicy"] = json!("Always");
    out["startupProbe"] = probe;
    out
}

/// Adds entries whose name the user did not use.
fn add_missing(user: &Value, additions: Vec<Value>) -> Vec<Value> {
    let mut out: Vec<Value> = user.as_array().cloned().unwrap_or_default();
    for entry in additions {
        if !out.iter().any(|e| e["name"] == entry["name"]) {
            out.push(entry);
        }
    }
    out
}

fn env(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": value })
}

fn containers(values: &ScaleSetValues, shape: DindShape) -> Vec<Value> {
    let user: Vec<&Value> = list(values.template_spec(), "containers").collect();
    let runner = |c: &Value| {
        let (env, mounts) = runner_additions(values, shape, c);
        with_additions(c, env, mounts)
    };
    if values.mode == ContainerMode::None {
        return user.into_iter().map(|c| if c["name"] == "runner" { runner(c) } else { c.clone() }).collect();
    }
    let own = user.iter().find(|c| c["name"] == "runner");
    let mut out = vec![own.map_or_else(|| json!({ "name": "runner" }), |c| runner(c))];
    let dind = values.mode == ContainerMode::Dind;
    if dind && !shape.is_sidecar() {
        out.push(daemon(shape));
    }
    out.extend(user.into_iter().filter(|c| c["name"] != "runner" && !(dind && c["name"] == "dind")).cloned());
    out
}

fn with_additions(container: &Value, env: Vec<Value>, mounts: Vec<Value>) -> Value {
    let mut out = container.clone();
    for (key, additions) in [("env", env), ("volumeMounts", mounts)] {
        let all = add_missing(&container[key], additions);
        match &mut out {
            Value::Object(map) if all.is_empty() => _ = map.remove(key),
            Value::Object(map) => _ = map.insert(key.to_owned(), Value::Array(all)),
            _ => {}
        }
    }
    out
}

/// What the chart adds to the runner container, in its order.
fn runner_additions(values: &ScaleSetValues, shape: DindShape, runner: &Value) -> (Vec<Value>, Vec<Value>) {
    let (mut vars, mut mounts) = (Vec::new(), Vec::new());
    let work = json!({ "name": "work", "mountPath": "/home/runner/_work" });
    let hooks = |path: &str| {
        vec![
            env("ACTIONS_RUNNER_CONTAINER_HOOKS", path),
            json!({ "name": "ACTIONS_RUNNER_POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }),
            env("ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER", "true"),
        ]
    };
    match values.mode {
        ContainerMode::None => {}
        ContainerMode::Dind => {
            let dir = shape.socket_dir();
            vars.push(env("DOCKER_HOST", &format!("unix://{dir}/docker.sock")));
            let wait = if shape == DindShape::PatientTwoContainers { "3600" } else { "120" };
            vars.push(env("RUNNER_WAIT_FOR_DOCKER_IN_SECONDS", wait));
            mounts.push(work);
            mounts.push(match shape {
                DindShape::TwoContainersRunDocker => json!({ "name": "dind-sock", "mountPath": dir, "readOnly": true }),
                _ => json!({ "name": "dind-sock", "mountPath": dir }),
            });
        }
        ContainerMode::Kubernetes => {
            vars.extend(hooks("/home/runner/k8s/index.js"));
            mounts.push(work);
        }
        ContainerMode::KubernetesNovolume => {
            vars.extend(hooks("/home/runner/k8s-novolume/index.js"));
            vars.push(env("ACTIONS_RUNNER_IMAGE", &text(&runner["image"])));
        }
    }
    if let Some((path, key)) = tls_path(values) {
        vars.push(env("NODE_EXTRA_CA_CERTS", &path));
        vars.push(env("RUNNER_UPDATE_CA_CERTS", "1"));
        mounts.push(json!({ "name": TLS_VOLUME, "mountPath": path, "subPath": key }));
    }
    (vars, mounts)
}

const TLS_VOLUME: &str = "github-server-tls-cert";

/// Where the root CA is mounted in the runner, and its key, if the user wants it there.
fn tls_path(values: &ScaleSetValues) -> Option<(String, String)> {
    let tls = values.get("githubServerTLS")?;
    let dir = text(&tls["runnerMountPath"]);
    let key = text(&tls["certificateFrom"]["configMapKeyRef"]["key"]).to_string();
    (!dir.is_empty()).then(|| (format!("{}/{key}", dir.trim_end_matches('/')), key))
}

fn volumes(values: &ScaleSetValues) -> Vec<Value> {
    let user: Vec<&Value> = list(values.template_spec(), "volumes").collect();
    let mut out = Vec::new();
    if let Some((_, key)) = tls_path(values) {
        let name = &values.all["githubServerTLS"]["certificateFrom"]["configMapKeyRef"]["name"];
        out.push(json!({ "name": TLS_VOLUME, "configMap": { "name": name, "items": [{ "key": key, "path": key }] } }));
    }
    let work = user.iter().find(|v| v["name"] == "work").map(|v| (*v).clone());
    let default_work = match values.mode {
        ContainerMode::None | ContainerMode::KubernetesNovolume => {
            out.extend(user.into_iter().cloned());
            return out;
        }
        ContainerMode::Dind => {
            out.push(json!({ "name": "dind-sock", "emptyDir": {} }));
            out.push(json!({ "name": "dind-externals", "emptyDir": {} }));
            json!({ "name": "work", "emptyDir": {} })
        }
        ContainerMode::Kubernetes => {
            let claim = values.all["containerMode"]["kubernetesModeWorkVolumeClaim"].clone();
            json!({ "name": "work", "ephemeral": { "volumeClaimTemplate": { "spec": claim } } })
        }
    };
    out.push(work.unwrap_or(default_work));
    out.extend(user.into_iter().filter(|v| v["name"] != "work").cloned());
    out
}
