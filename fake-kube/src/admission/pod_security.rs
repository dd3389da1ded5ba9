//! Pod Security: a namespace's label `pod-security.kubernetes.io/enforce` refuses pods that ask for too much. dind needs
//! `privileged`; `baseline` refuses it.
//!
//! Source: kubernetes-api.md §4.6 (`[kn]`); pod-security-admission policy checks. Differs: `warn` and `audit` are silent, and
//! the checks for AppArmor, SELinux, sysctls, Windows and proc mounts are left out.

use std::sync::Arc;

use arc_api::core::Namespace;
use arc_api::meta::Key;
use arc_api::pod::{Container, Pod, Volume};
use arc_api::{Kind, Str, format_smolstr};
use serde_json::{Map, Value};

use crate::api::ApiServer;
use crate::status::{self, Refusal};

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
/// GA, and on by default before that, from here on.
const SINCE: u32 = 23;
/// Capabilities that `baseline` lets a container add.
const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Volume sources that `restricted` allows, beside those with a typed field.
const ALLOWED_SOURCES: [&str; 3] = ["projected", "downwardAPI", "csi"];

type Rest = Option<Arc<Map<String, Value>>>;

fn member<'a>(rest: &'a Rest, path: &[&str]) -> Option<&'a Value> {
    let (first, more) = path.split_first()?;
    more.iter().try_fold(rest.as_ref()?.get(*first)?, |value, key| value.get(key))
}

fn of_context<'a>(container: &'a Container, path: &[&str]) -> Option<&'a Value> {
    member(&container.security_context.as_ref()?.rest, path)
}

fn all(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.init_containers.iter().chain(&pod.spec.containers)
}

/// `container "a"` or `containers "a", "b"`.
fn named(what: &str, names: &[&str]) -> String {
    let list = names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>().join(", ");
    if names.len() == 1 { format!("{what} {list}") } else { format!("{what}s {list}") }
}

fn failing(pod: &Pod, wrong: impl Fn(&Container) -> bool) -> Vec<&str> {
    all(pod).filter(|c| wrong(c)).map(|c| c.name.as_str()).collect()
}

fn baseline(pod: &Pod, found: &mut Vec<String>) {
    let host = |key: &str| member(&pod.spec.rest, &[key]).and_then(Value::as_bool) == Some(true);
    let shared: Vec<&str> = [
        pod.spec.host_network.then_some("hostNetwork=true"),
        host("hostPID").then_some("hostPID=true"),
        host("hostIPC").then_some("hostIPC=true"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !shared.is_empty() {
        found.push(format!("host namespaces ({})", shared.join(", ")));
    }
    let paths: Vec<&str> =
        pod.spec.volumes.iter().filter(|v| member(&v.rest, &["hostPath"]).is_some()).map(|v| v.name.as_str()).collect();
    if !paths.is_empty() {
        found.push(format!("hostPath volumes ({})", named("volume", &paths)));
    }
    let privileged = failing(pod, |c| c.security_context.as_ref().is_some_and(|s| s.privileged));
    if !privileged.is_empty() {
        let who = named("container", &privileged);
        found.push(format!("privileged ({who} must not set securityContext.privileged=true)"));
    }
    let extra = |c: &Container| -> Vec<Str> {
        let list = of_context(c, &["capabilities", "add"]).and_then(Value::as_array);
        let added = list.into_iter().flatten().filter_map(Value::as_str);
        added.filter(|name| !DEFAULT_CAPABILITIES.contains(name)).map(Str::from).collect()
    };
    let adding = failing(pod, |c| !extra(c).is_empty());
    if !adding.is_empty() {
        let mut list: Vec<String> = all(pod).flat_map(extra).map(|n| format!("{:?}", n.as_str())).collect();
        list.sort();
        list.dedup();
        let (who, list) = (named("container", &adding), list.join(", "));
        found.push(format!(
            "non-default capabilities ({who} must not include {list} in securityContext.capabilities.add)"
        ));
    }
}

fn restricted(pod: &Pod, found: &mut Vec<String>) {
    let escalating =
        failing(pod, |c| of_context(c, &["allowPrivilegeEscalation"]).and_then(Value::as_bool) != Some(false));
    if !escalating.is_empty() {
        let who = named("container", &escalating);
        found.push(format!(
            "allowPrivilegeEscalation != false ({who} must set securityContext.allowPrivilegeEscalation=false)"
        ));
    }
    let capable = failing(pod, |c| {
        let dropped = of_context(c, &["capabilities", "drop"]).and_then(Value::as_array);
        !dropped.is_some_and(|list| list.iter().any(|v| v == "ALL"))
    });
    if !capable.is_empty() {
        let who = named("container", &capable);
        found.push(format!("unrestricted capabilities ({who} must set securityContext.capabilities.drop=[\"ALL\"])"));
    }
    let foreign =
        |v: &&Volume| v.rest.as_ref().is_some_and(|r| r.keys().any(|k| !ALLOWED_SOURCES.contains(&k.as_str())));
    let volumes: Vec<&str> = pod.spec.volumes.iter().filter(foreign).map(|v| v.name.as_str()).collect();
    if !volumes.is_empty() {
        found.push(format!("restricted volume types ({} uses restricted volume type)", named("volume", &volumes)));
    }
    let pod_level = |path: &[&str]| member(&pod.spec.rest, path).cloned();
    let root_pod = pod_level(&["securityContext", "runAsNonRoot"]) == Some(Value::Bool(true));
    let rooted = failing(pod, |c| match of_context(c, &["runAsNonRoot"]).and_then(Value::as_bool) {
        Some(non_root) => !non_root,
        None => !root_pod,
    });
    if !rooted.is_empty() {
        let who = named("container", &rooted);
        found.push(format!("runAsNonRoot != true (pod or {who} must set securityContext.runAsNonRoot=true)"));
    }
    let confined = |v: Option<&Value>| matches!(v.and_then(Value::as_str), Some("RuntimeDefault" | "Localhost"));
    let seccomp_pod = confined(pod_level(&["securityContext", "seccompProfile", "type"]).as_ref());
    let unconfined = failing(pod, |c| match of_context(c, &["seccompProfile", "type"]) {
        Some(own) => !confined(Some(own)),
        None => !seccomp_pod,
    });
    if !unconfined.is_empty() {
        let who = named("container", &unconfined);
        found.push(format!(
            "seccompProfile (pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
        ));
    }
}

impl ApiServer {
    pub(super) fn check_pod_security(&self, pod: &Pod) -> Result<(), Refusal> {
        let Some(namespace) = self.store.typed::<Namespace>(&Key::new("", pod.metadata.namespace.clone())) else {
            return Ok(());
        };
        let Some(level) = namespace.metadata.labels.get(ENFORCE) else { return Ok(()) };
        if self.settings.minor < SINCE || !matches!(level.as_str(), "baseline" | "restricted") {
            return Ok(());
        }
        let mut found = Vec::new();
        baseline(pod, &mut found);
        if level == "restricted" {
            restricted(pod, &mut found);
        }
        if found.is_empty() {
            return Ok(());
        }
        let version = namespace.metadata.labels.get("pod-security.kubernetes.io/enforce-version");
        let version = version.map_or("latest", |v| v.as_str());
        let why = format_smolstr!("violates PodSecurity \"{level}:{version}\": {}", found.join(", "));
        Err(status::forbidden(Kind::Pod, &pod.metadata.name, &why))
    }
}
