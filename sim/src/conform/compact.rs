//! The compact form of a recording: the same lines, only those and of those only what is compared. Never changes a value.
//!
//! A compact recording reads and compares as the one it was made of. `line` keeps the number that a line had there; `like` names an
//! earlier line whose members this one shares but for those that it states, null for one that it has not; `but` is a merge patch of
//! that line's body. Bodies that differ in nothing but generated names are shared, too.

use arc_api::Kind;
use serde_json::{Map, Value, json};

use super::event::{Event, What};
use super::left::Item;
use super::normal::{Fields, fields, is_own};
use super::recording::{self, Recording};
use crate::scenario::Rejected;

/// Members that are kept of a line.
const KEPT: [&str; 19] = [
    "t",
    "actor",
    "verb",
    "resource",
    "subresource",
    "ns",
    "name",
    "code",
    "reason",
    "op",
    "status",
    "capacity",
    "lastMessageId",
    "event",
    "pod",
    "container",
    "mark",
    "runner",
    "runnerId",
];

/// A line that later ones may be like.
struct Base {
    line: u32,
    members: Map<String, Value>,
    said: Option<(Kind, Fields)>,
}

/// Makes the compact form.
///
/// # Errors
/// What is wrong with the recording.
pub fn compact(file: &str, text: &str) -> Result<String, Rejected> {
    let Recording { events, sources, ends_at, commands, left, .. } = recording::read(file, text)?;
    let mut out = String::new();
    let mut acted = Value::Null;
    let mut bases: Vec<Base> = Vec::new();
    let mut add = |value: Value| out.push_str(&format!("{value}\n"));
    for source in &sources {
        let value = &source.value;
        let Some(event) = source.event.map(|n| &events[n]) else {
            // When Helm is called counts, and for which release, not what else it is told.
            acted = Value::Null;
            let argv = value["argv"].as_array().map_or(&[] as &[Value], |a| &a[..a.len().min(3)]);
            add(json!({ "t": value["t"], "actor": value["actor"], "argv": argv }));
            continue;
        };
        let mut members = slim(value, event);
        if event.what == What::Acted {
            // What Helm wrote is not compared, only that it did something then, whether it only prepared, and which release's
            // first write it was.
            let begins = value["actor"] == "helm" && commands.contains(&event.at);
            members.retain(|key, _| {
                matches!(key.as_str(), "t" | "actor" | "verb" | "resource") || key == "name" && begins
            });
            let prepares = members.get("resource").filter(|r| recording::prepares(r));
            let did = json!([value["t"], value["actor"], prepares, members.get("name")]);
            if acted == did {
                continue;
            }
            acted = did;
            if members.get("resource").is_some_and(|r| !recording::prepares(r)) {
                members.remove("resource");
            }
        } else {
            acted = Value::Null;
        }
        let said = match &event.what {
            What::Kube(call) => Some((call.kind, fields(call.kind, &call.verb, &call.body))),
            _ => None,
        };
        let base = Base { line: event.line, members, said };
        add(shortest(&base, &bases));
        bases.push(base);
    }
    let left: Vec<Value> = left.iter().flatten().map(Item::to_json).collect();
    add(json!({ "t": ends_at.0 as f64 / 1e6, "actor": "script", "mark": "state", "left": left }));
    Ok(out)
}

/// A line as it stands, or as the difference from the earlier line that makes it shortest.
fn shortest(base: &Base, bases: &[Base]) -> Value {
    let mut whole = base.members.clone();
    whole.insert("line".into(), base.line.into());
    let mut best = Value::Object(whole);
    let mut length = best.to_string().len();
    let sort =
        |b: &Base| ["actor", "verb", "op", "event", "resource", "subresource"].map(|k| b.members.get(k).cloned());
    let own = sort(base);
    for earlier in bases.iter().rev().filter(|b| sort(b) == own).take(40) {
        let mut delta = Map::new();
        for (key, value) in &base.members {
            let same = key == "request" && base.said.is_some() && earlier.said == base.said;
            if key != "t" && (same || earlier.members.get(key) == Some(value)) {
                continue;
            }
            match earlier.members.get(key).filter(|_| key == "request").and_then(|from| changes(base, earlier, from)) {
                Some(but) => delta.insert("but".into(), but),
                None => delta.insert(key.clone(), value.clone()),
            };
        }
        for key in earlier.members.keys().filter(|key| !base.members.contains_key(*key)) {
            delta.insert(key.clone(), Value::Null);
        }
        delta.insert("line".into(), base.line.into());
        delta.insert("like".into(), earlier.line.into());
        let delta = Value::Object(delta);
        let shorter = delta.to_string().len();
        if shorter < length {
            (best, length) = (delta, shorter);
        }
    }
    best
}

/// What of a created object's body differs from an earlier one: parts of `metadata` and of the rest, whole; `None` if that is no
/// shorter way to say it.
fn changes(base: &Base, earlier: &Base, from: &Value) -> Option<Value> {
    let ((_, new), (_, old)) = (base.said.as_ref()?, earlier.said.as_ref()?);
    if base.members.get("verb")? != "create" {
        return None;
    }
    let to = base.members.get("request")?;
    let under = |fields: &Fields, path: &str| -> Fields {
        let inside = |p: &str| p.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        fields.iter().filter(|(p, _)| inside(p)).cloned().collect()
    };
    let mut but = Map::new();
    for part in ["metadata", "spec", "data"] {
        let (Some(to), from) = (to.get(part).and_then(Value::as_object), from.get(part).and_then(Value::as_object))
        else {
            continue;
        };
        let mut inner = Map::new();
        let keys = to.keys().chain(from.into_iter().flat_map(Map::keys));
        for key in keys {
            let path = format!("{part}.{key}");
            if under(new, &path) != under(old, &path) {
                inner.insert(key.clone(), to.get(key).cloned().unwrap_or(Value::Null));
            }
        }
        if !inner.is_empty() {
            but.insert(part.into(), Value::Object(inner));
        }
    }
    // Whatever is left over would be lost.
    let mut made = from.clone();
    arc_api::json::merge(&mut made, &Value::Object(but.clone()));
    (fields(base.said.as_ref()?.0, "create", &made) == *new).then_some(Value::Object(but))
}

fn slim(value: &Value, event: &Event) -> Map<String, Value> {
    let mut kept = Map::new();
    let service = matches!(event.what, What::Service(_));
    let more: &[&str] = match event.what {
        What::Service(_) => &["path", "scaleSet"],
        What::ScaleSet { .. } => &["id", "scaleSet"],
        _ => &[],
    };
    for key in KEPT.iter().chain(more) {
        if let Some(v) = value.get(*key) {
            kept.insert((*key).into(), v.clone());
        }
    }
    if service && let Some(path) = value["path"].as_str() {
        // What of a query is read: sessions come and go with every listener.
        let (place, query) = path.split_once('?').unwrap_or((path, ""));
        let mut read = vec!["name=", "agentName=", "groupName="];
        if value.get("lastMessageId").is_none() {
            read.push("lastMessageId=");
        }
        let pairs = query.split('&').filter(|p| read.iter().any(|k| p.starts_with(k)));
        let query: Vec<&str> = pairs.collect();
        let path = if query.is_empty() { place.to_owned() } else { format!("{place}?{}", query.join("&")) };
        kept.insert("path".into(), path.into());
    }
    let read = match &event.what {
        What::Kube(_) => true,
        What::Service(call) => matches!(call.op.as_str(), "E3" | "E4" | "E12" | "E14"),
        _ => false,
    };
    if let Some(request) = value.get("request").filter(|_| read) {
        let mut request = request.clone();
        strip(&mut request, "");
        // A patch that says nothing is one all the same.
        let says = value["verb"] == "patch" || request != Value::Object(Map::new());
        if !request.is_null() && says {
            kept.insert("request".into(), request);
        }
    }
    // Whether the store changed, not what in it.
    if let What::Kube(call) = &event.what
        && !call.changed
        && call.code < 300
    {
        kept.insert("changed".into(), Value::Object(Map::new()));
    }
    kept
}

/// Takes out what is never compared.
fn strip(value: &mut Value, path: &str) {
    let Value::Object(map) = value else { return };
    map.retain(|key, inner| {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        if is_own(&path) {
            return false;
        }
        if path == "metadata" {
            strip(inner, &path);
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::steer::normal;
    use arc_api::Time;

    const FULL: &str = r#"{"t":0.0,"actor":"script","mark":"phase: 1 install"}
{"t":0.5,"actor":"script","argv":["helm","install"],"output":"x"}
{"t":0.6,"actor":"manager","verb":"get","resource":"secrets","name":"s","ns":"a","code":200}
{"t":0.7,"actor":"manager","verb":"create","resource":"ephemeralrunners","name":"r","ns":"a","code":201,"request":{"kind":"EphemeralRunner","metadata":{"labels":{"a":"b"},"managedFields":[1]},"spec":{"runnerScaleSetId":1}}}
{"t":0.7,"actor":"manager","verb":"create","resource":"ephemeralrunners","name":"s","ns":"a","code":201,"request":{"kind":"EphemeralRunner","metadata":{"labels":{"a":"b"}},"spec":{"runnerScaleSetId":1}}}
{"t":0.8,"actor":"manager","verb":"patch","resource":"ephemeralrunners","name":"r","ns":"a","code":200,"request":{"spec":{}},"changed":{}}
{"t":0.8,"actor":"manager","verb":"patch","resource":"ephemeralrunners","name":"r","ns":"a","code":404,"reason":"NotFound","request":{"spec":{}}}
{"t":0.9,"actor":"listener","op":"E10","path":"/x/runnerscalesets/1/messages?sessionId=uid-4&api-version=6.0-preview&lastMessageId=3","status":200,"phase":"end","capacity":3,"lastMessageId":3}
{"t":0.9,"actor":"listener","op":"E11","path":"/x/runnerscalesets/1/messages/4?sessionId=uid-4&api-version=6.0-preview","status":204}
"#;

    #[test]
    fn a_compact_recording_tells_the_same_histories() {
        let compacted = compact("full.jsonl", FULL).unwrap_or_else(|r| panic!("{}", r.render(false)));
        assert!(compacted.len() < FULL.len() && compacted.contains("\"like\":4"), "{compacted}");
        assert_eq!(compacted.matches("runnerScaleSetId").count(), 1);
        let read = |text: &str| recording::read("r.jsonl", text).unwrap_or_else(|r| panic!("{}", r.render(false)));
        let (full, slim) = (read(FULL), read(&compacted));
        assert_eq!((full.commands, full.ends_at), (slim.commands, slim.ends_at));
        let (full, slim) = (normal(&full.events, Time::NEVER).0, normal(&slim.events, Time::NEVER).0);
        assert_eq!(full.of, slim.of);
        assert_eq!(full.acted, slim.acted);
        assert_eq!(compact("again.jsonl", &compacted).unwrap_or_default(), compacted);
    }
}
