//! The one form of names and bodies that both sides are compared in. Never decides whether two of them belong together.

use arc_api::{Kind, Str};
use serde_json::Value;

/// A body as its leaves: path and value, in order of the paths.
pub type Fields = Vec<(String, String)>;

/// A name without what differs between two runs: generated suffixes are `*`, hashes of names `#`.
pub fn role(name: &str) -> Str {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("<suffix-") {
        out.push_str(&rest[..at]);
        out.push('*');
        rest = rest[at..].split_once('>').map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    // An object whose CREATE nobody answered keeps the name that the server gave it.
    if let Some((_, suffix)) = out.rsplit_once("-runner-")
        && is_generated(suffix)
    {
        let at = out.len() - suffix.len();
        out.replace_range(at.., "*");
    }
    for end in ["-listener", "-runner-proxy"] {
        if let Some(at) = out.find(end)
            && let Some(dash) = out[..at].rfind('-')
            && is_hash(&out[dash + 1..at])
        {
            out.replace_range(dash + 1..at, "#");
        }
    }
    out.into()
}

/// What an API server appends to `generateName` (kubernetes-api.md §2.1).
fn is_generated(part: &str) -> bool {
    part.len() == 5 && part.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))
}

fn is_hash(part: &str) -> bool {
    (6..=10).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit())
}

/// What a body of a create may leave out, as Go's `omitempty` does, and what the server fills in for everybody.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_i64() == Some(0),
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.iter().all(is_empty),
        Value::Object(m) => m.values().all(is_empty),
    }
}

/// The leaves of a body. A patch keeps its nulls and zeros: there they say something.
pub fn fields(kind: Kind, verb: &str, body: &Value) -> Fields {
    let mut out = Vec::new();
    walk(kind, verb == "patch", String::new(), body, &mut out);
    out.sort();
    out
}

/// Members that say nothing about what a writer decided: identity of the run, or known from the call itself.
const OWN: [&str; 12] = [
    "kind",
    "apiVersion",
    "metadata.name",
    "metadata.namespace",
    "metadata.generateName",
    "metadata.uid",
    "metadata.resourceVersion",
    "metadata.generation",
    "metadata.creationTimestamp",
    "metadata.selfLink",
    "metadata.managedFields",
    "metadata.deletionTimestamp",
];

/// Whether a member of a body is never compared.
pub fn is_own(path: &str) -> bool {
    OWN.contains(&path)
}

/// What the server fills in before the audit log sees a body, so that nobody can tell who wrote it. Last part of the path, and
/// the value if only that is a default. Custom resources have no defaults of this kind.
const DEFAULTS: [(&str, &str); 20] = [
    ("imagePullPolicy", ""),
    ("terminationMessagePath", "/dev/termination-log"),
    ("terminationMessagePolicy", "File"),
    ("dnsPolicy", "ClusterFirst"),
    ("enableServiceLinks", "true"),
    ("schedulerName", "default-scheduler"),
    ("serviceAccount", ""),
    ("defaultMode", "420"),
    ("terminationGracePeriodSeconds", "30"),
    ("restartPolicy", "Always"),
    ("protocol", "TCP"),
    ("type", "Opaque"),
    ("apiGroup", "rbac.authorization.k8s.io"),
    ("preemptionPolicy", "PreemptLowerPriority"),
    ("fieldRef.apiVersion", "v1"),
    ("volumeMode", "Filesystem"),
    ("Probe.timeoutSeconds", "1"),
    ("Probe.periodSeconds", "10"),
    ("Probe.successThreshold", "1"),
    ("Probe.failureThreshold", "3"),
];

fn is_default(kind: Kind, path: &str, value: &str) -> bool {
    !kind.api_version().starts_with("actions.github.com")
        && DEFAULTS.iter().any(|(end, default)| {
            let at_end = path
                .strip_suffix(end)
                .is_some_and(|before| before.is_empty() || before.ends_with('.') || end.starts_with("Probe."));
            at_end && (default.is_empty() || *default == value)
        })
}

fn walk(kind: Kind, patch: bool, path: String, value: &Value, out: &mut Fields) {
    if is_own(&path) || (!patch && is_empty(value)) {
        return;
    }
    match (path.as_str(), value) {
        // Clients send no status when they create; what ours shows there are defaults of its type.
        ("status", _) if !patch => {}
        ("metadata.ownerReferences", Value::Array(list)) => {
            for (n, owner) in list.iter().enumerate() {
                let name = role(owner["name"].as_str().unwrap_or_default());
                let controller = if owner["controller"] == true { " (controller)" } else { "" };
                let text = format!("{} {name}{controller}", owner["kind"].as_str().unwrap_or_default());
                out.push((format!("{path}.{n}"), text));
            }
        }
        // The keys are uids of pods, the values times: how many there are is what the controller decided.
        ("status.failures", Value::Object(map)) => out.push((path, format!("{} pods", map.len()))),
        (_, Value::Object(map)) if !map.is_empty() => {
            for (key, inner) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(kind, patch, path, inner, out);
            }
        }
        (_, Value::Array(list)) if !list.is_empty() => {
            for (n, inner) in list.iter().enumerate() {
                let label = match inner["name"].as_str() {
                    Some(name) => format!("{path}[{name}]"),
                    None => format!("{path}.{n}"),
                };
                walk(kind, patch, label, inner, out);
            }
        }
        _ => {
            let text = leaf(&path, value);
            if patch || !is_default(kind, &path, &text) {
                out.push((path, text));
            }
        }
    }
}

fn leaf(path: &str, value: &Value) -> String {
    let last = path.rsplit('.').next().unwrap_or(path);
    if last.ends_with("hash") {
        return "<hash>".into();
    }
    const SECRETS: [&str; 4] = ["runnerJITConfig", "jitToken", "github_token", "token"];
    if SECRETS.contains(&last) {
        return if value.is_null() { "null".into() } else { "<token>".into() };
    }
    // Which of several waiting jobs a runner gets is the service's choice; 0 is the broker, which has no request ids.
    const JOBS: [&str; 4] = ["jobDisplayName", "jobRequestId", "workflowRunId", "jobId"];
    if JOBS.contains(&last) && !is_empty(value) {
        return "<job>".into();
    }
    // Numbers of registrations are given in the order in which runners happen to ask.
    if last == "runnerId" && !is_empty(value) {
        return "<runner>".into();
    }
    match value {
        Value::String(text) => role(text).to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn generated_parts_of_names_are_not_compared() {
        assert_eq!(role("demo-<suffix-2>-runner-<suffix-13>"), "demo-*-runner-*");
        assert_eq!(role("demo-754b578d-listener-config"), "demo-#-listener-config");
        assert_eq!(role("demo-listener"), "demo-listener");
        assert_eq!(role("arc-gha-rs-controller"), "arc-gha-rs-controller");
        assert_eq!(role("demo-<suffix-2>-runner-rnj5t"), "demo-*-runner-*");
        assert_eq!(role("demo-runner-proxy"), "demo-runner-proxy");
    }

    #[test]
    fn a_patch_keeps_its_null_and_a_create_does_not() {
        let body = json!({ "spec": { "patchID": 0, "replicas": null } });
        let patch = fields(Kind::EphemeralRunnerSet, "patch", &body);
        assert_eq!(patch, [("spec.patchID".into(), "0".into()), ("spec.replicas".into(), "null".into())]);
        assert_eq!(fields(Kind::EphemeralRunnerSet, "create", &body), []);
    }
}
