//! The values of a controller: a user's `values.yaml` over the chart's defaults. Never renders anything.
//!
//! Source: values.yaml and templates of the chart `gha-runner-scale-set-controller`, 0.7.0 to 0.14.2.

use arc_api::Str;
use controller_core::Release;
use serde_json::{Value, json};

use super::merge::coalesce;
use super::values::{ChartError, refuse, text, truthy, unknown};

/// The values of a controller.
#[derive(Clone, PartialEq, Debug)]
pub struct ControllerValues {
    /// Everything, defaults included.
    pub all: Value,
    /// `replicaCount`; 0 means 1.
    pub replicas: i32,
    /// `flags.watchSingleNamespace`.
    pub watch_namespace: Option<Str>,
    /// `namespaceOverride` (0.11.0 on).
    pub namespace: Option<Str>,
    /// What the chart ignores or does not know.
    pub warnings: Vec<String>,
}

const CONTROLLER_KEYS: &[(&str, Release)] = &[
    ("labels", Release::V0_7_0),
    ("replicaCount", Release::V0_7_0),
    ("image", Release::V0_7_0),
    ("imagePullSecrets", Release::V0_7_0),
    ("nameOverride", Release::V0_7_0),
    ("fullnameOverride", Release::V0_7_0),
    ("env", Release::V0_7_0),
    ("serviceAccount", Release::V0_7_0),
    ("podAnnotations", Release::V0_7_0),
    ("podLabels", Release::V0_7_0),
    ("podSecurityContext", Release::V0_7_0),
    ("securityContext", Release::V0_7_0),
    ("resources", Release::V0_7_0),
    ("nodeSelector", Release::V0_7_0),
    ("tolerations", Release::V0_7_0),
    ("affinity", Release::V0_7_0),
    ("topologySpreadConstraints", Release::V0_9_1),
    ("volumes", Release::V0_8_3),
    ("volumeMounts", Release::V0_8_3),
    ("priorityClassName", Release::V0_7_0),
    ("metrics", Release::V0_7_0),
    ("pprof", Release::V0_14_2),
    ("flags", Release::V0_7_0),
    ("namespaceOverride", Release::V0_11_0),
    ("global", Release::V0_7_0),
];

const FLAGS: &[(&str, Release)] = &[
    ("logLevel", Release::V0_7_0),
    ("logFormat", Release::V0_7_0),
    ("watchSingleNamespace", Release::V0_7_0),
    ("updateStrategy", Release::V0_7_0),
    ("excludeLabelPropagationPrefixes", Release::V0_9_3),
    ("runnerMaxConcurrentReconciles", Release::V0_10_1),
    ("k8sClientRateLimiterQPS", Release::V0_10_0),
    ("k8sClientRateLimiterBurst", Release::V0_10_0),
    ("rateLimiter", Release::V0_14_2),
    ("healthProbeBindAddress", Release::V0_14_2),
];

fn controller_defaults(release: Release) -> Value {
    let mut all = json!({
        "labels": {}, "replicaCount": 1,
        "image": { "repository": "ghcr.io/actions/gha-runner-scale-set-controller", "pullPolicy": "IfNotPresent", "tag": "" },
        "imagePullSecrets": [], "nameOverride": "", "fullnameOverride": "",
        "serviceAccount": { "create": true, "annotations": {}, "name": "" },
        "podAnnotations": {}, "podLabels": {}, "podSecurityContext": {}, "securityContext": {}, "resources": {},
        "nodeSelector": {}, "tolerations": [], "affinity": {}, "priorityClassName": "",
        "flags": { "logLevel": "debug", "logFormat": "text", "updateStrategy": "immediate" },
    });
    if release >= Release::V0_10_0 {
        all["flags"]["runnerMaxConcurrentReconciles"] = json!(2);
    }
    all
}

impl ControllerValues {
    /// Reads a user's values for the chart of `release`.
    ///
    /// # Errors
    /// What the chart's templates refuse.
    pub fn parse(release: Release, user: &Value) -> Result<ControllerValues, ChartError> {
        let user = if user.is_null() { &json!({}) } else { user };
        let Value::Object(given) = user else { return refuse("the values are not a map") };
        let all = coalesce(&controller_defaults(release), user);
        let mut warnings = unknown(given, CONTROLLER_KEYS, release, "gha-runner-scale-set-controller");
        if let Some(flags) = given.get("flags").and_then(Value::as_object) {
            warnings.extend(unknown(flags, FLAGS, release, "gha-runner-scale-set-controller's flags"));
        }
        let account = &all["serviceAccount"];
        if account["name"] == "default" {
            return refuse("serviceAccount.name cannot be set to 'default'");
        }
        if !truthy(&account["create"]) && !truthy(&account["name"]) {
            return refuse("serviceAccount.name must be set if serviceAccount.create is false");
        }
        let replicas = all["replicaCount"].as_f64().map_or(1, |n| n as i32);
        Ok(ControllerValues {
            replicas: if replicas == 0 { 1 } else { replicas },
            watch_namespace: Some(text(&all["flags"]["watchSingleNamespace"])).filter(|n| !n.is_empty()),
            namespace: Some(text(&all["namespaceOverride"])).filter(|n| !n.is_empty() && release >= Release::V0_11_0),
            warnings,
            all,
        })
    }

    /// A flag, if it is set and not empty.
    pub fn flag(&self, key: &str) -> Option<&Value> {
        self.all["flags"].get(key).filter(|v| truthy(v))
    }
}
