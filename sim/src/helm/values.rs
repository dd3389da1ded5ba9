//! The values of a scale set: a user's `values.yaml` over the chart's defaults, read with the chart's own rules and refusals.
//! Never renders anything.
//!
//! Source: values.yaml and templates of the chart `gha-runner-scale-set`, 0.7.0 to 0.14.2.
//! What a chart does not know is kept (it is part of the values hash) and reported as a warning, since Helm says nothing.

use std::collections::BTreeMap;
use std::fmt;

use arc_api::{Str, format_smolstr};
use controller_core::Release;
use serde_json::{Map, Value, json};

use super::digest::{go_json, go_text, sha256_hex};
use super::merge::coalesce;

/// A chart refused its values, or cannot be rendered in this cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChartError(pub Str);

impl fmt::Display for ChartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ChartError {}

pub(super) fn refuse<T>(text: impl Into<Str>) -> Result<T, ChartError> {
    Err(ChartError(text.into()))
}

/// `containerMode.type`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum ContainerMode {
    /// The template as given.
    #[default]
    None,
    /// Docker in docker.
    Dind,
    /// Hooks that start workflow pods and share a volume with them.
    Kubernetes,
    /// Hooks without a shared volume (0.13.0 on).
    KubernetesNovolume,
}

impl ContainerMode {
    /// Whether the runner's ServiceAccount needs the rights of the hooks.
    pub const fn is_kubernetes(self) -> bool {
        matches!(self, ContainerMode::Kubernetes | ContainerMode::KubernetesNovolume)
    }
}

/// `githubConfigSecret`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GithubSecret {
    /// A Secret that exists already.
    Named(Str),
    /// The chart makes a Secret with these members.
    Made(BTreeMap<Str, Str>),
}

/// The values of one scale set.
#[derive(Clone, PartialEq, Debug)]
pub struct ScaleSetValues {
    /// Everything, defaults included.
    pub all: Value,
    /// `githubConfigUrl` without a slash at its end.
    pub github_config_url: Str,
    /// `githubConfigSecret`.
    pub github_secret: GithubSecret,
    /// `minRunners`, if it is a number.
    pub min_runners: Option<i32>,
    /// `maxRunners`, if it is a number.
    pub max_runners: Option<i32>,
    /// `runnerScaleSetName`; empty: the Helm release's name.
    pub scale_set_name: Str,
    /// `namespaceOverride` (0.11.0 on).
    pub namespace: Option<Str>,
    /// `containerMode.type`.
    pub mode: ContainerMode,
    /// `controllerServiceAccount.name`.
    pub controller_name: Option<Str>,
    /// `controllerServiceAccount.namespace`.
    pub controller_namespace: Option<Str>,
    /// What the chart ignores, misreads or does not know.
    pub warnings: Vec<String>,
}

/// The chart's own values.
fn scale_set_defaults(release: Release) -> Value {
    let mut all = json!({
        "githubConfigUrl": "",
        "githubConfigSecret": { "github_token": "" },
        "template": { "spec": { "containers": [{
            "name": "runner", "image": "ghcr.io/actions/actions-runner:latest", "command": ["/home/runner/run.sh"],
        }] } },
    });
    if release >= Release::V0_11_0 {
        all["namespaceOverride"] = json!("");
    }
    if release >= Release::V0_14_0 {
        all["scaleSetLabels"] = json!([]);
    }
    all
}

const SCALE_SET_KEYS: &[(&str, Release)] = &[
    ("githubConfigUrl", Release::V0_7_0),
    ("githubConfigSecret", Release::V0_7_0),
    ("minRunners", Release::V0_7_0),
    ("maxRunners", Release::V0_7_0),
    ("runnerGroup", Release::V0_7_0),
    ("runnerScaleSetName", Release::V0_7_0),
    ("proxy", Release::V0_7_0),
    ("githubServerTLS", Release::V0_7_0),
    ("containerMode", Release::V0_7_0),
    ("template", Release::V0_7_0),
    ("listenerTemplate", Release::V0_7_0),
    ("controllerServiceAccount", Release::V0_7_0),
    ("namespaceOverride", Release::V0_11_0),
    ("annotations", Release::V0_11_0),
    ("labels", Release::V0_11_0),
    ("resourceMeta", Release::V0_11_0),
    ("listenerMetrics", Release::V0_11_0),
    ("keyVault", Release::V0_12_0),
    ("scaleSetLabels", Release::V0_14_0),
    ("global", Release::V0_7_0),
];

impl ScaleSetValues {
    /// Reads a user's values for the chart of `release`.
    ///
    /// # Errors
    /// What the chart's templates refuse.
    pub fn parse(release: Release, user: &Value) -> Result<ScaleSetValues, ChartError> {
        let user = if user.is_null() { &json!({}) } else { user };
        let Value::Object(given) = user else { return refuse("the values are not a map") };
        let all = coalesce(&scale_set_defaults(release), user);
        let mut warnings = unknown(given, SCALE_SET_KEYS, release, "gha-runner-scale-set");
        let url = text(&all["githubConfigUrl"]);
        if url.is_empty() {
            return refuse(".Values.githubConfigUrl is required");
        }
        let (min_runners, max_runners) = bounds(&all, &mut warnings)?;
        let values = ScaleSetValues {
            github_config_url: url.strip_suffix('/').unwrap_or(&url).into(),
            github_secret: github_secret(&all["githubConfigSecret"])?,
            min_runners,
            max_runners,
            scale_set_name: text(&all["runnerScaleSetName"]),
            namespace: Some(text(&all["namespaceOverride"])).filter(|n| !n.is_empty() && release >= Release::V0_11_0),
            mode: container_mode(release, &all["containerMode"], &mut warnings),
            controller_name: Some(text(&all["controllerServiceAccount"]["name"])).filter(|n| !n.is_empty()),
            controller_namespace: Some(text(&all["controllerServiceAccount"]["namespace"])).filter(|n| !n.is_empty()),
            warnings,
            all,
        };
        values.check(release)?;
        Ok(values)
    }

    fn check(&self, release: Release) -> Result<(), ChartError> {
        let containers = &self.all["template"]["spec"]["containers"];
        if !containers.as_array().is_some_and(|list| list.iter().all(Value::is_object)) {
            return refuse("template.spec.containers is not a list of containers");
        }
        let labels = self.all["scaleSetLabels"].as_array().filter(|_| release >= Release::V0_14_0);
        for label in labels.into_iter().flatten().map(text) {
            if label.is_empty() || label.len() >= 256 {
                let what = if label.is_empty() { "an empty string" } else { "a label that is 256 characters or more" };
                return refuse(format_smolstr!(
                    "scaleSetLabels contains {what}, each label must be a non-empty string of less than 256 characters"
                ));
            }
        }
        let vault = &self.all["keyVault"]["type"];
        if release >= Release::V0_12_0 && truthy(vault) && *vault != "azure_key_vault" {
            return refuse(format_smolstr!("Unsupported keyVault type: {}", text(vault)));
        }
        Ok(())
    }

    /// A member of the values, if it is there and not empty.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.all.get(key).filter(|v| truthy(v))
    }

    /// `template.spec`.
    pub fn template_spec(&self) -> &Value {
        &self.all["template"]["spec"]
    }

    /// The ServiceAccount the user chose for the runner.
    pub fn service_account(&self) -> Option<Str> {
        Some(text(&self.template_spec()["serviceAccountName"])).filter(|n| !n.is_empty())
    }

    /// The text of the `values-hash` annotation: 63 of the 64 digits of the hash over all values, so any change counts.
    pub fn hash(&self) -> Str {
        sha256_hex(go_json(&self.all).as_bytes())[..63].into()
    }
}

/// Keys a chart does not know.
pub(super) fn unknown(
    given: &Map<String, Value>,
    known: &[(&str, Release)],
    release: Release,
    chart: &str,
) -> Vec<String> {
    let mut out = Vec::new();
    for key in given.keys() {
        match known.iter().find(|(k, _)| k == key) {
            None => out.push(format!("`{key}` is not a value of {chart}")),
            Some((_, since)) if *since > release => {
                out.push(format!("`{key}` is a value of {chart} only from {since} on; {release} ignores it"));
            }
            Some(_) => {}
        }
    }
    out
}

fn bounds(all: &Value, warnings: &mut Vec<String>) -> Result<(Option<i32>, Option<i32>), ChartError> {
    let mut number = |key: &str| match &all[key] {
        Value::Number(n) => n.as_f64().map(|f| f as i32),
        Value::Null => None,
        other => {
            warnings.push(format!("`{key}` is {other}, not a number: the chart leaves it out"));
            None
        }
    };
    let (min, max) = (number("minRunners"), number("maxRunners"));
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        return refuse("maxRunners has to be greater or equal to minRunners");
    }
    for (bound, name) in [(max, "maxRunners"), (min, "minRunners")] {
        if bound.is_some_and(|b| b < 0) {
            return refuse(format_smolstr!("{name} has to be greater or equal to 0"));
        }
    }
    Ok((min, max))
}

fn github_secret(value: &Value) -> Result<GithubSecret, ChartError> {
    let members = match value {
        Value::String(name) if !name.is_empty() => return Ok(GithubSecret::Named(name.into())),
        Value::Object(members) if !members.is_empty() => members,
        _ => return refuse("Values.githubConfigSecret is required for setting auth with GitHub server."),
    };
    let data: BTreeMap<Str, Str> =
        members.iter().filter(|(_, v)| truthy(v)).map(|(k, v)| (Str::from(k), Str::from(go_text(v)))).collect();
    let has = |key: &str| data.contains_key(key);
    if !has("github_token") && !has("github_app_id") {
        return refuse(
            "A valid .Values.githubConfigSecret is required for setting auth with GitHub server, provide \
             .Values.githubConfigSecret.github_token or .Values.githubConfigSecret.github_app_id.",
        );
    }
    if has("github_app_id") && !(has("github_app_installation_id") && has("github_app_private_key")) {
        return refuse(
            "A valid .Values.githubConfigSecret is required for setting auth with GitHub server, provide \
             .Values.githubConfigSecret.github_app_installation_id and .Values.githubConfigSecret.github_app_private_key.",
        );
    }
    Ok(GithubSecret::Made(data))
}

fn container_mode(release: Release, value: &Value, warnings: &mut Vec<String>) -> ContainerMode {
    match &*text(&value["type"]) {
        "" => ContainerMode::None,
        "dind" => ContainerMode::Dind,
        "kubernetes" => ContainerMode::Kubernetes,
        "kubernetes-novolume" if release >= Release::V0_13_0 => ContainerMode::KubernetesNovolume,
        other => {
            warnings.push(format!(
                "containerMode.type `{other}` means nothing to {release}: the template is used as it is"
            ));
            ContainerMode::None
        }
    }
}

/// Go templates' truth.
pub(super) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

/// The text of a scalar; empty for everything else.
pub(super) fn text(value: &Value) -> Str {
    match value {
        Value::String(s) => s.into(),
        Value::Number(_) | Value::Bool(_) => go_text(value).into(),
        Value::Null | Value::Array(_) | Value::Object(_) => Str::default(),
    }
}
