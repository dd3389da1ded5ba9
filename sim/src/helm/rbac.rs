//! The rules of every Role and ClusterRole in ARC's two charts. The same text in all releases unless stated.
//!
//! Source: arc-controllers.md §9.2, kubernetes-api.md §1.6; recorded: a_basic (both charts), b_kube_mode. Never evaluates a rule.

use std::sync::Arc;

use arc_api::core::PolicyRule;
use controller_core::Release;
use serde_json::Value;

const ARC: &str = "actions.github.com";
const RBAC: &str = "rbac.authorization.k8s.io";

const ALL: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const STATUS: &[&str] = &["get", "patch", "update"];
const FINALIZERS: &[&str] = &["patch", "update"];
const READ: &[&str] = &["list", "watch"];
const POD: &[&str] = &["create", "delete", "get"];
const WRITE: &[&str] = &["create", "delete", "get", "patch", "update"];
const WRITE_LIST: &[&str] = &["create", "delete", "get", "list", "patch", "update"];
const HOOK: &[&str] = &["get", "list", "create", "delete"];

fn rule(verbs: &[&str], group: &str, resource: &str) -> PolicyRule {
    PolicyRule::new(verbs, group, &[resource])
}

fn custom(plural: &str, status_first: bool) -> [PolicyRule; 3] {
    let status = rule(STATUS, ARC, &format!("{plural}/status"));
    let finalizers = rule(FINALIZERS, ARC, &format!("{plural}/finalizers"));
    let main = rule(ALL, ARC, plural);
    if status_first { [main, status, finalizers] } else { [main, finalizers, status] }
}

fn cached_kinds(roles: &[&str]) -> [PolicyRule; 4] {
    [
        rule(READ, "", "pods"),
        rule(READ, "", "serviceaccounts"),
        rule(READ, RBAC, "rolebindings"),
        rule(roles, RBAC, "roles"),
    ]
}

/// The controller's ClusterRole.
pub fn manager_cluster() -> Arc<[PolicyRule]> {
    let mut out = Vec::new();
    out.extend(custom("autoscalingrunnersets", false));
    out.extend(custom("autoscalinglisteners", true));
    out.extend(custom("ephemeralrunnersets", true));
    out.extend(custom("ephemeralrunners", false));
    out.extend(cached_kinds(&["list", "watch", "patch"]));
    out.into()
}

/// The controller's Role for listener pods in its own namespace. In `next` it also makes the listener's right to write its
/// own status.
pub fn manager_listener(release: Release) -> Arc<[PolicyRule]> {
    let mut out = vec![
        rule(POD, "", "pods"),
        rule(&["get"], "", "pods/status"),
        rule(WRITE, "", "secrets"),
        rule(WRITE, "", "serviceaccounts"),
    ];
    if release == Release::Next {
        out.extend([rule(WRITE, RBAC, "rolebindings"), rule(WRITE, RBAC, "roles")]);
    }
    out.into()
}

/// With `watchSingleNamespace`: the controller's own namespace.
pub fn single_namespace() -> Arc<[PolicyRule]> {
    let mut out = Vec::from(custom("autoscalinglisteners", true));
    out.extend(cached_kinds(READ));
    out.extend(["autoscalingrunnersets", "ephemeralrunnersets", "ephemeralrunners"].map(|k| rule(READ, ARC, k)));
    out.into()
}

/// With `watchSingleNamespace`: the watched namespace.
pub fn single_namespace_watch() -> Arc<[PolicyRule]> {
    let mut out = Vec::new();
    out.extend(custom("autoscalingrunnersets", false));
    out.extend(custom("ephemeralrunnersets", true));
    out.extend(custom("ephemeralrunners", false));
    out.push(rule(READ, ARC, "autoscalinglisteners"));
    out.extend(cached_kinds(&["list", "watch", "patch"]));
    out.into()
}

/// Leader election; the right to write Events came with 0.11.0.
pub fn leader_election(release: Release) -> Arc<[PolicyRule]> {
    let leases = rule(&["get", "watch", "list", "delete", "update", "create"], "coordination.k8s.io", "leases");
    let events = (release >= Release::V0_11_0).then(|| rule(&["create", "patch"], "", "events"));
    std::iter::once(leases).chain(events).collect()
}

/// The controller's Role in a scale set's namespace.
pub fn set_manager(tls: bool) -> Arc<[PolicyRule]> {
    let mut out = vec![
        rule(POD, "", "pods"),
        rule(&["get"], "", "pods/status"),
        rule(WRITE_LIST, "", "secrets"),
        rule(WRITE_LIST, "", "serviceaccounts"),
        rule(WRITE, RBAC, "rolebindings"),
        rule(WRITE, RBAC, "roles"),
    ];
    if tls {
        out.push(rule(&["get"], "", "configmaps"));
    }
    out.into()
}

/// The container hooks' Role; `more` are the user's own rules (0.13.1 on).
pub fn kube_mode(with_jobs: bool, more: &Value) -> Arc<[PolicyRule]> {
    let mut out = vec![
        rule(HOOK, "", "pods"),
        rule(&["get", "create"], "", "pods/exec"),
        rule(&["get", "list", "watch"], "", "pods/log"),
    ];
    if with_jobs {
        out.push(rule(HOOK, "batch", "jobs"));
    }
    out.push(rule(HOOK, "", "secrets"));
    let more = more.as_array().into_iter().flatten();
    out.extend(more.filter_map(|r| serde_json::from_value::<PolicyRule>(r.clone()).ok()));
    out.into()
}
