//! The chart `gha-runner-scale-set-controller`, release by release, with the CRDs that Helm installs once.
//!
//! Source: arc-controllers.md §2.1, §9.2; templates of 0.7.0 to 0.14.2; recorded: a_basic (RBAC bodies, the manager's argument
//! list). Never talks to a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::{
    ClusterRole, ClusterRoleBinding, CustomResourceDefinition, Deployment, Role, RoleRef, ServiceAccount, Subject,
};
use arc_api::meta::labels;
use arc_api::pod::{Container, EnvVar, PodSpec, PodTemplate, TemplateMeta, Volume, VolumeMount};
use arc_api::{Kind, Meta, Object, Str, format_smolstr};
use controller_core::Release;
use serde_json::{Map, Value, json};

use super::controller_values::ControllerValues;
use super::names::{MANAGED_BY, entries, truncated};
use super::rbac;
use super::scale_set_chart::{ACCOUNT_NAME, ACCOUNT_NAMESPACE, WATCHES_ONE, binding};
use super::values::{ChartError, refuse, text, truthy};

/// Name of the manager's container.
pub const MANAGER: &str = "manager";

/// The four CRDs in the order Helm creates them.
pub fn crds(release: Release) -> Vec<Object> {
    use Kind::{AutoscalingListener, AutoscalingRunnerSet, EphemeralRunner, EphemeralRunnerSet};
    [AutoscalingListener, AutoscalingRunnerSet, EphemeralRunner, EphemeralRunnerSet]
        .map(|kind| {
            let metadata = Meta::named("", kind.resource());
            CustomResourceDefinition { metadata, defines: Some(kind), schema: release.as_str().into() }.into()
        })
        .into()
}

/// The name that most of the controller's objects carry.
pub fn full_name(values: &ControllerValues, release_name: &str) -> Str {
    let over = text(&values.all["fullnameOverride"]);
    if !over.is_empty() {
        return truncated(&over);
    }
    let base = chart_name(values);
    if release_name.contains(&*base) { truncated(release_name) } else { truncated(&format!("{release_name}-{base}")) }
}

fn chart_name(values: &ControllerValues) -> Str {
    let over = text(&values.all["nameOverride"]);
    if over.is_empty() { "gha-rs-controller".into() } else { truncated(&over) }
}

/// A member of the values' `global`, which Helm hands down unread: whose rights an older chart gives its manager.
pub const RIGHTS: &str = "simulatedRights";

/// Renders the chart: what `helm template` prints (without CRDs), in the order of installation.
///
/// # Errors
/// What the chart's templates refuse.
pub fn render(
    release: Release,
    values: &ControllerValues,
    release_name: &str,
    namespace: &str,
) -> Result<Vec<Object>, ChartError> {
    let account_name = text(&values.all["serviceAccount"]["name"]);
    let full = full_name(values, release_name);
    let chart = Chart {
        release,
        values,
        release_name: release_name.into(),
        namespace: values.namespace.clone().unwrap_or_else(|| namespace.into()),
        account: if account_name.is_empty() { full.clone() } else { account_name },
        full,
    };
    let mut out: Vec<Object> = Vec::new();
    if truthy(&values.all["serviceAccount"]["create"]) {
        let annotations = Arc::new(entries(&values.all["serviceAccount"]["annotations"]).collect());
        let name = Meta::named(chart.namespace.clone(), chart.account.clone());
        let metadata = Meta { labels: Arc::new(chart.labels()), annotations, ..name };
        out.push(ServiceAccount { metadata, ..ServiceAccount::default() }.into());
    }
    chart.rights(&mut out);
    out.push(chart.deployment()?);
    Ok(out)
}

struct Chart<'a> {
    release: Release,
    values: &'a ControllerValues,
    release_name: Str,
    namespace: Str,
    account: Str,
    full: Str,
}

impl Chart<'_> {
    fn named(&self, suffix: &str) -> Meta {
        Meta::named(self.namespace.clone(), format_smolstr!("{}{suffix}", self.full))
    }

    fn selector(&self) -> BTreeMap<Str, Str> {
        BTreeMap::from([
            ("app.kubernetes.io/name".into(), chart_name(self.values)),
            ("app.kubernetes.io/namespace".into(), self.namespace.clone()),
            ("app.kubernetes.io/instance".into(), self.release_name.clone()),
        ])
    }

    fn labels(&self) -> BTreeMap<Str, Str> {
        let mut out = self.selector();
        out.insert("helm.sh/chart".into(), truncated(&format!("gha-rs-controller-{}", self.release)));
        out.insert("app.kubernetes.io/version".into(), self.release.as_str().into());
        out.insert("app.kubernetes.io/part-of".into(), "gha-rs-controller".into());
        out.insert(MANAGED_BY.into(), "Helm".into());
        out.extend(entries(&self.values.all["labels"]));
        out
    }

    /// Roles and bindings, each kind in the order of the chart's files.
    fn rights(&self, out: &mut Vec<Object>) {
        let single = self.values.watch_namespace.as_ref();
        if single.is_none() {
            let metadata = Meta::named("", self.full.clone());
            out.push(ClusterRole { metadata: metadata.clone(), rules: rbac::manager_cluster() }.into());
            let kind = Str::from("ServiceAccount");
            let subject = Subject { kind, name: self.account.clone(), namespace: self.namespace.clone() };
            let role_ref = RoleRef { kind: "ClusterRole".into(), name: self.full.clone() };
            out.push(ClusterRoleBinding { metadata, role_ref, subjects: vec![subject] }.into());
        }
        let mut roles = Vec::new();
        if self.values.replicas > 1 {
            roles.push((self.named("-leader-election"), rbac::leader_election(self.release)));
        }
        // In a run for `next` older managers behave like it, and need the rights that go with it ([`RIGHTS`]).
        let next = self.values.all["global"][RIGHTS] == "next";
        let rights = if next { Release::Next } else { self.release };
        roles.push((self.named("-listener"), rbac::manager_listener(rights)));
        if let Some(watched) = single {
            roles.push((self.named("-single-namespace"), rbac::single_namespace()));
            let metadata = Meta { namespace: watched.clone(), ..self.named("-single-namespace-watch") };
            roles.push((metadata, rbac::single_namespace_watch()));
        }
        let bindings: Vec<Object> =
            roles.iter().map(|(meta, _)| binding(meta.clone(), &meta.name, &self.account, &self.namespace)).collect();
        out.extend(roles.into_iter().map(|(metadata, rules)| Object::from(Role { metadata, rules })));
        out.extend(bindings);
    }

    /// `repository:tag`, which listeners run as well.
    fn image(&self) -> Str {
        let image = &self.values.all["image"];
        let tag = text(&image["tag"]);
        let tag = if tag.is_empty() { self.release.as_str() } else { &tag };
        format_smolstr!("{}:{tag}", text(&image["repository"]))
    }

    fn args(&self) -> Vec<Str> {
        let (values, release) = (self.values, self.release);
        let mut out: Vec<Str> = vec!["--auto-scaling-runner-set-only".into()];
        if values.replicas > 1 {
            out.push("--enable-leader-election".into());
            out.push(format_smolstr!("--leader-election-id={}", self.full));
        }
        let secrets: Vec<Str> = names(&values.all["imagePullSecrets"]).collect();
        if release >= Release::V0_13_0 {
            out.extend(secrets.iter().map(|s| format_smolstr!("--auto-scaler-image-pull-secrets={s}")));
        } else if !secrets.is_empty() {
            out.push(format_smolstr!("--auto-scaler-image-pull-secrets={}", secrets.join(",")));
        }
        let mut flag = |value: Option<&Value>, name: &str| {
            out.extend(value.filter(|v| truthy(v)).map(|v| format_smolstr!("--{name}={}", text(v))));
        };
        flag(values.flag("logLevel"), "log-level");
        flag(values.flag("logFormat"), "log-format");
        flag(values.flag("watchSingleNamespace"), "watch-single-namespace");
        let workers = "runnerMaxConcurrentReconciles";
        match release {
            r if r < Release::V0_10_0 => {}
            // 0.10.0 looked for the flag in the wrong place.
            Release::V0_10_0 => flag(values.all.get(workers), "runner-max-concurrent-reconciles"),
            _ => flag(values.flag(workers), "runner-max-concurrent-reconciles"),
        }
        flag(values.flag("updateStrategy"), "update-strategy");
        let metrics = values.all.get("metrics").filter(|m| truthy(m));
        let metric = |key: &str| metrics.map_or_else(Str::default, |m| text(&m[key]));
        let off = if metrics.is_some() { None } else { Some(Str::from("0")) };
        out.push(format_smolstr!("--listener-metrics-addr={}", off.clone().unwrap_or_else(|| metric("listenerAddr"))));
        out.push(format_smolstr!("--listener-metrics-endpoint={}", metric("listenerEndpoint")));
        out.push(format_smolstr!("--metrics-addr={}", off.unwrap_or_else(|| metric("controllerManagerAddr"))));
        let mut flag = |value: Option<&Value>, name: &str| {
            out.extend(value.filter(|v| truthy(v)).map(|v| format_smolstr!("--{name}={}", text(v))));
        };
        if release >= Release::V0_14_2 {
            flag(values.all["pprof"].get("addr"), "pprof-addr");
        }
        if release >= Release::V0_9_3 {
            for prefix in values.flag("excludeLabelPropagationPrefixes").and_then(Value::as_array).into_iter().flatten()
            {
                flag(Some(prefix), "exclude-label-propagation-prefix");
            }
        }
        if release >= Release::V0_10_0 {
            flag(values.flag("k8sClientRateLimiterQPS"), "k8s-client-rate-limiter-qps");
            flag(values.flag("k8sClientRateLimiterBurst"), "k8s-client-rate-limiter-burst");
        }
        if release >= Release::V0_14_2 {
            flag(values.flag("rateLimiter").and_then(|r| r.get("name")), "workqueue-rate-limiter");
            flag(values.flag("healthProbeBindAddress"), "health-probe-bind-address");
        }
        out
    }

    fn manager(&self) -> Result<Container, ChartError> {
        let all = &self.values.all;
        let pod_namespace = json!({
            "name": "CONTROLLER_MANAGER_POD_NAMESPACE", "valueFrom": { "fieldRef": { "fieldPath": "metadata.namespace" } },
        });
        let mut env = vec![EnvVar::value("CONTROLLER_MANAGER_CONTAINER_IMAGE", self.image()), parse(&pod_namespace)?];
        for var in all["env"].as_array().into_iter().flatten() {
            env.push(parse(var)?);
        }
        let tmp = VolumeMount { name: "tmp".into(), mount_path: "/tmp".into(), ..VolumeMount::default() };
        let mut volume_mounts = vec![tmp];
        if self.release >= Release::V0_8_3 {
            for mount in all["volumeMounts"].as_array().into_iter().flatten() {
                volume_mounts.push(parse(mount)?);
            }
        }
        Ok(Container {
            name: MANAGER.into(),
            image: self.image(),
            command: vec!["/manager".into()],
            args: self.args(),
            env,
            volume_mounts,
            resources: parse(&all["resources"])?,
            security_context: parse(filled(&all["securityContext"]))?,
            ..Container::default()
        })
    }

    fn deployment(&self) -> Result<Object, ChartError> {
        let all = &self.values.all;
        let mut own = self.labels();
        own.insert(ACCOUNT_NAMESPACE.into(), self.namespace.clone());
        own.insert(ACCOUNT_NAME.into(), self.account.clone());
        if let Some(watched) = &self.values.watch_namespace {
            own.insert(WATCHES_ONE.into(), watched.clone());
        }
        let mut pod_labels = self.selector();
        pod_labels.insert("app.kubernetes.io/part-of".into(), "gha-rs-controller".into());
        pod_labels.insert("app.kubernetes.io/component".into(), "controller-manager".into());
        pod_labels.insert("app.kubernetes.io/version".into(), self.release.as_str().into());
        pod_labels.extend(entries(&all["podLabels"]));
        let mut annotations = labels([("kubectl.kubernetes.io/default-container", MANAGER)]);
        Arc::make_mut(&mut annotations).extend(entries(&all["podAnnotations"]));
        let scratch = Volume { name: "tmp".into(), empty_dir: Some(Arc::new(json!({}))), ..Volume::default() };
        let mut volumes = vec![scratch];
        if self.release >= Release::V0_8_3 {
            for volume in all["volumes"].as_array().into_iter().flatten() {
                volumes.push(parse(volume)?);
            }
        }
        let spec = PodSpec {
            containers: vec![self.manager()?],
            volumes,
            service_account_name: self.account.clone(),
            termination_grace_period_seconds: Some(10),
            node_selector: entries(&all["nodeSelector"]).collect(),
            priority_class_name: text(&all["priorityClassName"]),
            tolerations: parse(&all["tolerations"])?,
            image_pull_secrets: parse(&all["imagePullSecrets"])?,
            rest: unmodelled(all),
            ..PodSpec::default()
        };
        let metadata = TemplateMeta { labels: Arc::new(pod_labels), annotations };
        let template = Arc::new(PodTemplate { metadata, spec: Arc::new(spec) });
        let metadata = Meta { labels: Arc::new(own), ..self.named("") };
        Ok(Deployment { metadata, replicas: self.values.replicas, template, updated_ready: 0 }.into())
    }
}

/// Parts of the pod that nobody acts on, kept as they are.
fn unmodelled(all: &Value) -> Option<Arc<Map<String, Value>>> {
    let parts = [
        ("podSecurityContext", "securityContext"),
        ("affinity", "affinity"),
        ("topologySpreadConstraints", "topologySpreadConstraints"),
    ];
    let kept =
        parts.iter().filter(|(from, _)| truthy(&all[*from])).map(|(from, to)| ((*to).to_owned(), all[*from].clone()));
    let map: Map<String, Value> = kept.collect();
    (!map.is_empty()).then(|| Arc::new(map))
}

/// The value, or null if it is empty.
fn filled(value: &Value) -> &Value {
    if truthy(value) { value } else { &Value::Null }
}

fn names(list: &Value) -> impl Iterator<Item = Str> + '_ {
    list.as_array().into_iter().flatten().map(|entry| text(&entry["name"]))
}

fn parse<T: serde::de::DeserializeOwned + Default>(value: &Value) -> Result<T, ChartError> {
    if value.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(value.clone()).or_else(|why| refuse(format_smolstr!("the controller's Deployment: {why}")))
}
