//! helm's command lines and results as values, and Helm's rules about lists of objects. Never steps anything.
//!
//! Source: kubernetes-api.md §9.4 (Helm 3.18); recorded: the order of every `helm uninstall`.

use std::sync::Arc;

use arc_api::core::Deployment;
use arc_api::kube::{DeleteOptions, KubeRequest};
use arc_api::{Kind, Object, Str, format_smolstr};
use serde_json::Value;

use super::controller_values::ControllerValues;
use super::releases::{Chart, ChartName};
use super::values::ScaleSetValues;
use super::{controller_chart, scale_set_chart};

/// A command line.
#[derive(Clone, Debug)]
pub enum Command {
    /// `helm install NAME CHART -n NAMESPACE --create-namespace -f values.yaml`.
    Install {
        /// Chart.
        chart: Chart,
        /// The user's values.
        values: Arc<Value>,
    },
    /// `helm upgrade NAME CHART -n NAMESPACE -f values.yaml`.
    Upgrade {
        /// Chart.
        chart: Chart,
        /// The user's values; `None`: those of the last revision.
        values: Option<Arc<Value>>,
        /// `--reuse-values`: the given values are merged over those of the last revision.
        reuse: bool,
        /// `--install`: installs a release that does not exist.
        install: bool,
    },
    /// `helm uninstall NAME -n NAMESPACE`.
    Uninstall,
}

/// What comes next.
#[derive(Clone, PartialEq, Debug)]
pub enum HelmStep {
    /// Exactly one request; step again with its reply.
    Call(KubeRequest),
    /// The command has returned.
    Done(HelmResult),
}

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HelmResult {
    /// Exit code 0, or the error text.
    pub outcome: Result<(), Str>,
    /// The revision that it made; 0 if none.
    pub revision: u32,
    /// What the chart ignored.
    pub warnings: Vec<String>,
}

/// `helm template`: the chart's objects in the order of installation, and what the chart ignored. `deployments` are those of
/// the cluster, for a set chart that looks for its controller.
///
/// # Errors
/// The text with which Helm gives up.
pub fn template(
    chart: Chart,
    values: &Value,
    name: &str,
    namespace: &str,
    server_minor: &str,
    deployments: &[Arc<Deployment>],
) -> Result<(Vec<Object>, Vec<String>), Str> {
    let release = chart.release;
    let rendered = match chart.name {
        ChartName::Controller => ControllerValues::parse(release, values)
            .and_then(|v| Ok((controller_chart::render(release, &v, name, namespace)?, v.warnings))),
        ChartName::ScaleSet => ScaleSetValues::parse(release, values).and_then(|v| {
            let target = v.namespace.as_deref().unwrap_or(namespace);
            let controller = scale_set_chart::controller_account(&v, target, deployments)?;
            Ok((scale_set_chart::render(release, &v, name, namespace, server_minor, &controller)?, v.warnings))
        }),
    };
    let chart = match chart.name {
        ChartName::Controller => "gha-runner-scale-set-controller",
        ChartName::ScaleSet => "gha-runner-scale-set",
    };
    rendered.map_err(|why| format_smolstr!("execution error at ({chart}): {why}"))
}

/// Whether rendering needs the cluster's Deployments.
pub(super) fn looks_up(chart: Chart, values: &Value) -> bool {
    let read = || ScaleSetValues::parse(chart.release, values);
    chart.name == ChartName::ScaleSet && read().is_ok_and(|v| scale_set_chart::needs_lookup(&v))
}

pub(super) fn new_crds(chart: Chart) -> Vec<Object> {
    match chart.name {
        ChartName::Controller => controller_chart::crds(chart.release),
        ChartName::ScaleSet => Vec::new(),
    }
}

pub(super) fn same_object(a: &Object, b: &Object) -> bool {
    a.kind() == b.kind() && a.meta().name == b.meta().name && a.meta().namespace == b.meta().namespace
}

pub(super) fn delete_request(object: &Object) -> KubeRequest {
    let key = object.key();
    KubeRequest::Delete { kind: object.kind(), key, options: DeleteOptions::default() }
}

/// Helm's order of kinds for removal; custom resources come last, as they do at installation.
pub(super) fn uninstall_order(manifest: &[Object]) -> Vec<Object> {
    let rank = |o: &Object| match o.kind() {
        Kind::Deployment => 0,
        Kind::RoleBinding => 1,
        Kind::Role => 2,
        Kind::ClusterRoleBinding => 3,
        Kind::ClusterRole => 4,
        Kind::Secret => 5,
        Kind::ServiceAccount => 6,
        _ => 7,
    };
    let mut all = manifest.to_vec();
    all.sort_by_key(rank);
    all
}
