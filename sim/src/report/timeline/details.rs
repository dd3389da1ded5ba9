//! What the page says of one event: a line, and what was sent or changed. Never formats for one kind of reader only.

use arc_api::Object;
use arc_api::kube::{KubeRequest, WatchType};
use serde_json::{Value, json};

/// Longest line of an event; all of it is in its details.
const LINE_MAX: usize = 200;
/// Longest value within a list of changes.
const VALUE_MAX: usize = 300;

/// A line without runs of spaces, cut where it gets too long.
pub(super) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LINE_MAX) + 4);
    for word in text.split_ascii_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
        if out.len() > LINE_MAX {
            return cut(&out, LINE_MAX);
        }
    }
    out
}

/// What became of an object, and the first of what changed: the lane says which object it is.
pub(super) fn commit(verb: WatchType, detail: Option<&Value>) -> String {
    let changes = detail.and_then(|d| d["changes"].as_array()).map_or(&[][..], Vec::as_slice);
    let word = match verb {
        WatchType::Added => "added",
        WatchType::Modified if changes.is_empty() => "modified",
        WatchType::Modified => "",
        WatchType::Deleted => "deleted",
    };
    let mut told: Vec<(u8, String)> = changes
        .iter()
        .map(|change| {
            let part = |n: usize| cut(change[n].as_str().unwrap_or(""), 60);
            (interest(change[0].as_str().unwrap_or("")), format!("{} {} → {}", part(0), part(1), part(2)))
        })
        .collect();
    told.sort_by_key(|(interest, _)| *interest);
    // What always changes along with something else is told only where nothing else changed.
    let best = told.first().map_or(0, |(interest, _)| *interest);
    let told: Vec<String> = told.into_iter().filter(|(n, _)| *n <= best.max(1)).map(|(_, text)| text).collect();
    line(&format!("{word} {}", told.join(", ")))
}

/// How much a change says of what happened: less is more.
fn interest(path: &str) -> u8 {
    const NOISE: [&str; 6] = ["conditions", "tatuses", "generation", "GracePeriod", "Time", "IP"];
    match path {
        "status.phase" | "status.reason" | "metadata.deletionTimestamp" => 0,
        _ if path.starts_with("metadata.labels") || path.starts_with("metadata.annotations") => 2,
        _ if NOISE.iter().any(|noise| path.contains(noise)) => 2,
        _ => 1,
    }
}

/// A service event without the punctuation of its type: `SessionRefused scale_set 1, holder 1, owner x`.
pub(super) fn happening(said: &str) -> String {
    let mut out = said.replace(" {", "").replace(" }", "").replace(": ", " ").replace(['"', ')'], "");
    for id in ["ScaleSetId(", "SessionId(", "MessageId(", "RunnerId(", "JobId(", "Token(", "RuleId("] {
        out = out.replace(id, "");
    }
    out
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// What a request to the API server carried; nothing if it says no more than its line.
pub(super) fn request(request: &KubeRequest) -> Option<Value> {
    match request {
        KubeRequest::Create(object) | KubeRequest::Update(object, _) => {
            Some(json!({ "body": arc_api::json::to_json(object) }))
        }
        KubeRequest::Patch { patch, .. } => Some(json!({ "patch": patch.to_json() })),
        KubeRequest::List { namespace, labels, .. } => {
            let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            Some(json!({ "namespace": namespace.as_ref().map_or("all", |n| n.as_str()), "labels": labels }))
        }
        KubeRequest::Delete { options, .. } => {
            let mut out = json!({ "propagation": format!("{:?}", options.propagation) });
            if let Some(seconds) = options.grace_period_seconds {
                out["gracePeriodSeconds"] = seconds.into();
            }
            if let Some(uid) = options.uid {
                out["uid"] = uid.to_string().into();
            }
            if let Some(version) = options.resource_version {
                out["resourceVersion"] = version.to_string().into();
            }
            Some(json!({ "options": out }))
        }
        KubeRequest::Bind { node, .. } => Some(json!({ "node": node.as_str() })),
        KubeRequest::Exec { container, .. } => Some(json!({ "container": container.as_str() })),
        KubeRequest::Get { .. }
        | KubeRequest::Evict { .. }
        | KubeRequest::CreateToken { .. }
        | KubeRequest::ReviewAccess(_) => None,
    }
}

/// An object as it is shown.
pub(super) fn object(object: &Object) -> Value {
    arc_api::json::to_json(object)
}

/// What differs between two versions of an object: path, value before, value after.
pub(super) fn changes(before: &Value, after: &Value) -> Option<Value> {
    let mut out = Vec::new();
    compare(&mut String::new(), before, after, &mut out);
    (!out.is_empty()).then(|| json!({ "changes": out }))
}

fn compare(path: &mut String, before: &Value, after: &Value, out: &mut Vec<[String; 3]>) {
    if before == after || matches!(path.as_str(), "metadata.resourceVersion" | "metadata.managedFields") {
        return;
    }
    let length = path.len();
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                compare(path, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), out);
                path.truncate(length);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (x, y)) in a.iter().zip(b).enumerate() {
                path.push_str(&format!("[{n}]"));
                compare(path, x, y, out);
                path.truncate(length);
            }
        }
        _ => out.push([path.clone(), shown(before), shown(after)]),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => cut(text, VALUE_MAX),
        other => cut(&other.to_string(), VALUE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_short_and_cut_between_characters() {
        assert_eq!(line("get    pods  a/b"), "get pods a/b");
        let long = line(&"ä".repeat(500));
        assert!(long.ends_with('…') && long.chars().count() == LINE_MAX + 1, "{long}");
    }

    #[test]
    fn changes_name_the_members_that_differ() {
        let before = json!({ "metadata": { "resourceVersion": "1" }, "status": { "phase": "Pending", "l": [1, 2] } });
        let after = json!({ "metadata": { "resourceVersion": "2" }, "status": { "phase": "Running", "l": [1, 3], "ready": true } });
        assert_eq!(
            changes(&before, &after),
            Some(json!({ "changes": [
                ["status.l[1]", "2", "3"],
                ["status.phase", "Pending", "Running"],
                ["status.ready", "–", "true"],
            ] }))
        );
        assert_eq!(changes(&before, &before), None);
        let told = changes(&before, &after);
        assert_eq!(
            commit(WatchType::Modified, told.as_ref()),
            "status.phase Pending → Running, status.l[1] 2 → 3, status.ready – → true"
        );
        assert_eq!(commit(WatchType::Deleted, None), "deleted");
        assert_eq!(
            happening("SessionRefused { scale_set: ScaleSetId(1), holder: SessionId(2), owner: \"x\" }"),
            "SessionRefused scale_set 1, holder 2, owner x"
        );
    }
}
