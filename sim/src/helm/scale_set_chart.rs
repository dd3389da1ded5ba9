//! The chart `gha-runner-scale-set`, release by release: from values to the objects in the order Helm installs them.
//!
//! Source: arc-controllers.md §1.1, §3.3, §8, §9.1; templates of 0.7.0 to 0.14.2; recorded: a_basic, a_update2, b_kube_mode.
//! Never talks to a cluster: what the chart looks up (the controller's Deployment) is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::{Deployment, Role, RoleBinding, RoleRef, Secret, ServiceAccount, Subject};
use arc_api::meta::Labels;
use arc_api::{Kind, Meta, Object, Str, json as wire};
use controller_core::Release;
use controller_core::names::ARS_FINALIZER;
use serde_json::{Map, Value, json};

use super::names::{CLEANUP_PROTECTION, SetNames, set_meta};
use super::pod_shapes;
use super::rbac;
use super::values::{ChartError, ContainerMode, GithubSecret, ScaleSetValues, refuse, text, truthy};

/// The controller's ServiceAccount, whose rights in the set's namespace the chart grants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ControllerAccount {
    /// Namespace.
    pub namespace: Str,
    /// Name.
    pub name: Str,
}

const PART_OF: &str = "app.kubernetes.io/part-of";
pub(super) const ACCOUNT_NAME: &str = "actions.github.com/controller-service-account-name";
pub(super) const ACCOUNT_NAMESPACE: &str = "actions.github.com/controller-service-account-namespace";
pub(super) const WATCHES_ONE: &str = "actions.github.com/controller-watch-single-namespace";

/// Whether the chart has to look for the controller's Deployment in the cluster.
pub fn needs_lookup(values: &ScaleSetValues) -> bool {
    values.controller_name.is_none() || values.controller_namespace.is_none()
}

/// The controller's account: from the values, else from the one Deployment of a controller in the cluster.
///
/// # Errors
/// When there is none, or more than one.
pub fn controller_account(
    values: &ScaleSetValues,
    set_namespace: &str,
    deployments: &[Arc<Deployment>],
) -> Result<ControllerAccount, ChartError> {
    let mut account = ControllerAccount::default();
    let parts = [
        (&mut account.name, &values.controller_name, ACCOUNT_NAME, "name"),
        (&mut account.namespace, &values.controller_namespace, ACCOUNT_NAMESPACE, "namespace"),
    ];
    for (slot, given, label, member) in parts {
        *slot = match given {
            Some(given) => given.clone(),
            None => find(set_namespace, deployments, label, member)?,
        };
    }
    Ok(account)
}

fn find(set_namespace: &str, deployments: &[Arc<Deployment>], label: &str, member: &str) -> Result<Str, ChartError> {
    let hint = format!(
        "onsider setting controllerServiceAccount.{member} in values.yaml to be explicit if you think the discovery is wrong."
    );
    let part_of = "(app.kubernetes.io/part-of=gha-rs-controller)";
    let mine = || deployments.iter().filter(|d| d.metadata.label(PART_OF).is_some_and(|v| v == "gha-rs-controller"));
    let (single, multi): (Vec<_>, Vec<_>) = mine().partition(|d| d.metadata.label(WATCHES_ONE).is_some());
    let chosen = match (&*multi, &*single) {
        ([], []) => return refuse(format!("No gha-rs-controller deployment found using label {part_of}. C{hint}")),
        ([_, ..], [_, ..]) => {
            return refuse(format!(
                "Found both gha-rs-controller installed with flags.watchSingleNamespace set and unset in cluster, this is \
                 not supported. C{hint}"
            ));
        }
        ([_, _, ..], _) => {
            return refuse(format!("More than one gha-rs-controller deployment found using label {part_of}. C{hint}"));
        }
        ([one], []) => *one,
        ([], single) => {
            let watching =
                single.iter().rev().find(|d| d.metadata.label(WATCHES_ONE).is_some_and(|v| v == set_namespace));
            match watching {
                Some(one) => *one,
                None => {
                    return refuse(format!(
                        "No gha-rs-controller deployment that watch this namespace found using label ({WATCHES_ONE}). C{hint}"
                    ));
                }
            }
        }
    };
    match chosen.metadata.label(label) {
        Some(value) if !value.is_empty() => Ok(value.clone()),
        _ => refuse(format!(
            "No service account {member} found for gha-rs-controller deployment using label ({label}), c{hint}"
        )),
    }
}

/// Renders the chart: what `helm template` prints, in the order of installation.
///
/// # Errors
/// What the chart's templates refuse.
pub fn render(
    release: Release,
    values: &ScaleSetValues,
    release_name: &str,
    namespace: &str,
    server_minor: &str,
    controller: &ControllerAccount,
) -> Result<Vec<Object>, ChartError> {
    let names = SetNames::new(release, values, release_name, namespace);
    if names.scale_set.is_empty() || names.scale_set.len() > 45 {
        return refuse("Name must have up to 45 characters");
    }
    if names.namespace.len() > 63 {
        return refuse("Namespace must have up to 63 characters");
    }
    let chart = Chart { release, values, names };
    let mut out = Vec::new();
    let kube_mode = values.mode.is_kubernetes() && values.service_account().is_none();
    if kube_mode {
        let metadata = chart.protected(chart.names.kube_mode_account(), "kubernetesModeServiceAccount", "");
        out.push(ServiceAccount { metadata, ..ServiceAccount::default() }.into());
    }
    if chart.makes_no_permission_account() {
        let metadata = chart.protected(chart.names.no_permission(), "noPermissionServiceAccount", "");
        out.push(ServiceAccount { metadata, ..ServiceAccount::default() }.into());
    }
    if let GithubSecret::Made(data) = &values.github_secret {
        let metadata = chart.protected(chart.names.github_secret(), "githubConfigSecret", "");
        out.push(Secret { metadata, type_: "Opaque".into(), data: Arc::new(data.clone()), immutable: false }.into());
    }
    let kube = (chart.names.kube_mode(), chart.names.kube_mode_account());
    if kube_mode {
        let jobs = values.mode == ContainerMode::Kubernetes;
        let own_rules = release >= Release::V0_13_1;
        let more = own_rules.then(|| values.all["containerMode"]["kubernetesModeAdditionalRoleRules"].clone());
        let metadata = chart.hook_rights("kubernetesModeRole");
        out.push(Role { metadata, rules: rbac::kube_mode(jobs, &more.unwrap_or(Value::Null)) }.into());
    }
    let metadata = chart.protected(chart.names.manager(), "managerRole", "manager-role");
    out.push(Role { metadata, rules: rbac::set_manager(values.get("githubServerTLS").is_some()) }.into());
    if kube_mode {
        let metadata = chart.hook_rights("kubernetesModeRoleBinding");
        out.push(binding(metadata, &kube.0, &kube.1, &chart.names.namespace));
    }
    let metadata = chart.protected(chart.names.manager(), "managerRoleBinding", "manager-role-binding");
    out.push(binding(metadata, &chart.names.manager(), &controller.name, &controller.namespace));
    out.push(chart.runner_set(server_minor)?);
    Ok(out)
}

/// A RoleBinding of a ServiceAccount.
pub(super) fn binding(metadata: Meta, role: &Str, account: &Str, account_namespace: &Str) -> Object {
    let subject =
        Subject { kind: "ServiceAccount".into(), name: account.clone(), namespace: account_namespace.clone() };
    let role_ref = RoleRef { kind: "Role".into(), name: role.clone() };
    RoleBinding { metadata, role_ref, subjects: vec![subject] }.into()
}

struct Chart<'a> {
    release: Release,
    values: &'a ScaleSetValues,
    names: SetNames,
}

impl Chart<'_> {
    fn protected(&self, name: Str, which: &str, component: &str) -> Meta {
        let meta = set_meta(self.release, self.values, &self.names, name, which, component);
        Meta { finalizers: [Str::from(CLEANUP_PROTECTION)].into(), ..meta }
    }

    /// Role and RoleBinding of the hooks have the set's labels only from 0.11.0 on (recorded: b_kube_mode).
    fn hook_rights(&self, which: &str) -> Meta {
        let mut meta = self.protected(self.names.kube_mode(), which, "");
        if self.release <= Release::V0_10_1 {
            meta.labels = Labels::default();
        }
        meta
    }

    /// In novolume mode 0.13.0 to 0.14.1 make this account too, and the set's annotations do not name it: it stays for ever.
    fn makes_no_permission_account(&self) -> bool {
        let forgotten = self.values.mode == ContainerMode::KubernetesNovolume && self.release <= Release::V0_14_1;
        self.values.service_account().is_none() && (!self.values.mode.is_kubernetes() || forgotten)
    }

    /// The annotations that tell the controller whose finalizers to take off at the end.
    fn cleanup_annotations(&self) -> BTreeMap<Str, Str> {
        let (names, mut out) = (&self.names, BTreeMap::new());
        let mut put =
            |what: &str, name: Str| _ = out.insert(Str::from(format!("actions.github.com/cleanup-{what}")), name);
        if matches!(self.values.github_secret, GithubSecret::Made(_)) {
            put("github-secret-name", names.github_secret());
        }
        put("manager-role-binding", names.manager());
        put("manager-role-name", names.manager());
        if self.values.service_account().is_none() {
            if self.values.mode.is_kubernetes() {
                put("kubernetes-mode-role-binding-name", names.kube_mode());
                put("kubernetes-mode-role-name", names.kube_mode());
                put("kubernetes-mode-service-account-name", names.kube_mode_account());
            } else {
                put("no-permission-service-account-name", names.no_permission());
            }
        }
        out
    }

    fn runner_set(&self, server_minor: &str) -> Result<Object, ChartError> {
        let kind = Kind::AutoscalingRunnerSet;
        let component = "autoscaling-runner-set";
        let mut meta =
            set_meta(self.release, self.values, &self.names, self.names.ars.clone(), "autoscalingRunnerSet", component);
        let annotations: &mut BTreeMap<Str, Str> = Labels::make_mut(&mut meta.annotations);
        if self.release >= Release::V0_9_0 {
            annotations.insert("actions.github.com/values-hash".into(), self.values.hash());
        }
        annotations.extend(self.cleanup_annotations());
        if self.release == Release::Next {
            // A set that is deleted before any controller has seen it goes at once in every release, and takes along who its
            // protected objects wait for. Differs: released charts leave the finalizer to the controller.
            meta.finalizers = [Str::from(ARS_FINALIZER)].into();
        }
        let body = json!({
            "apiVersion": kind.api_version().as_str(),
            "kind": kind.as_str(),
            "metadata": meta,
            "spec": self.spec(server_minor),
        });
        wire::from_json(kind, &body)
            .or_else(|why| refuse(format!("the rendered AutoscalingRunnerSet is not one: {why}")))
    }

    fn spec(&self, server_minor: &str) -> Value {
        let values = self.values;
        let secret = match &values.github_secret {
            GithubSecret::Named(name) => name.clone(),
            GithubSecret::Made(_) => self.names.github_secret(),
        };
        let mut spec = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                spec.insert(key.to_owned(), value);
            }
        };
        put("githubConfigUrl", Some(json!(values.github_config_url)));
        put("githubConfigSecret", Some(json!(secret)));
        for key in ["runnerGroup", "runnerScaleSetName"] {
            put(key, values.get(key).map(|v| json!(text(v))));
        }
        put("proxy", values.get("proxy").map(proxy));
        put("githubServerTLS", values.get("githubServerTLS").map(tls));
        put("minRunners", values.min_runners.map(|n| json!(n)));
        put("maxRunners", values.max_runners.map(|n| json!(n)));
        put("listenerTemplate", values.get("listenerTemplate").cloned());
        if self.release >= Release::V0_11_0 {
            put("listenerMetrics", values.get("listenerMetrics").cloned());
        }
        if self.release >= Release::V0_12_0 {
            put("vaultConfig", values.get("keyVault").filter(|v| truthy(&v["type"])).map(vault));
        }
        if self.release >= Release::V0_14_0 {
            put("runnerScaleSetLabels", values.get("scaleSetLabels").filter(|v| v.is_array()).cloned());
            for (from, to) in OVERLAYS {
                let meta = &values.all["resourceMeta"][*from];
                put(to, truthy(meta).then(|| pick(meta, &["labels", "annotations"])));
            }
        }
        let (kube, plain) = (self.names.kube_mode_account(), self.names.no_permission());
        put("template", Some(pod_shapes::template(self.release, values, server_minor, &kube, &plain)));
        Value::Object(spec)
    }
}

/// Members of `resourceMeta` that become metadata overlays of generated objects (0.14.0 on).
const OVERLAYS: &[(&str, &str)] = &[
    ("autoscalingListener", "autoscalingListener"),
    ("listenerServiceAccount", "listenerServiceAccountMetadata"),
    ("listenerRole", "listenerRoleMetadata"),
    ("listenerRoleBinding", "listenerRoleBindingMetadata"),
    ("listenerConfigSecret", "listenerConfigSecretMetadata"),
    ("ephemeralRunnerSet", "ephemeralRunnerSetMetadata"),
    ("ephemeralRunner", "ephemeralRunnerMetadata"),
    ("ephemeralRunnerConfigSecret", "ephemeralRunnerConfigSecretMetadata"),
];

/// The named members that are not empty.
fn pick(value: &Value, keys: &[&str]) -> Value {
    let kept = keys.iter().filter(|k| truthy(&value[**k])).map(|k| ((*k).to_owned(), value[*k].clone()));
    Value::Object(kept.collect())
}

fn proxy(value: &Value) -> Value {
    let mut out = pick(value, &["noProxy"]);
    for key in ["http", "https"] {
        if truthy(&value[key]) {
            out[key] = pick(&value[key], &["url", "credentialSecretRef"]);
        }
    }
    out
}

fn tls(value: &Value) -> Value {
    let reference = &value["certificateFrom"]["configMapKeyRef"];
    if !truthy(&value["certificateFrom"]) {
        return json!({});
    }
    json!({ "certificateFrom": { "configMapKeyRef": pick(reference, &["name", "key"]) } })
}

fn vault(value: &Value) -> Value {
    let members = ["url", "tenantId", "clientId", "certificatePath", "secretKey"];
    let mut out = pick(value, &["type", "proxy"]);
    out["azureKeyVault"] = pick(&value["azureKeyVault"], &members);
    out
}
