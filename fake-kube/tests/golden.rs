//! What real API servers answered, replayed against ours: `golden/cases.jsonl` holds the recorded cases that concern what is
//! modelled, one request or case head per line.
//!
//! Compared: HTTP status, the text and reason of refusals, and every recorded member of objects (versions, uids and names by
//! order of appearance, as the recordings have them). `<*>` in a recorded text matches anything. Not compared: `kind` and
//! `apiVersion`, the QoS class, warnings, headers, `details`.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::kube::*;
use arc_api::meta::Key;
use arc_api::*;
use common::*;
use serde_json::{Value, json};

const CASES: &str = include_str!("golden/cases.jsonl");

/// What the placeholders of a case stand for.
#[derive(Default)]
struct Names {
    saved: BTreeMap<String, String>,
    seen: BTreeMap<String, String>,
}

impl Names {
    fn fill(&self, text: &str) -> String {
        let mut out = text.replace("{{ns}}", NS).replace("{{ns2}}", "ns2").replace("{{u}}", "abcdefgh");
        for (name, value) in &self.saved {
            out = out.replace(&format!("{{{{{name}}}}}"), value);
        }
        while let Some(at) = out.find("{{rep:") {
            let end = at + out[at..].find("}}").expect("closed");
            let mut parts = out[at + 6..end].split(':');
            let (letter, count) = (parts.next().expect("letter"), parts.next().expect("count"));
            let long = letter.repeat(count.parse().expect("number"));
            out.replace_range(at..end + 2, &long);
        }
        out
    }
    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(list) => list.iter().map(|v| self.fill_value(v)).collect(),
            Value::Object(map) => map.iter().map(|(k, v)| (self.fill(k), self.fill_value(v))).collect(),
            other => other.clone(),
        }
    }
    /// Whether `text` is what was recorded as `wanted`, placeholders being equal where they are equal.
    fn matches(&mut self, wanted: &str, text: &str) -> bool {
        let wanted = self.fill(wanted);
        if wanted == text {
            return true;
        }
        let Some(start) = wanted.find('<') else { return false };
        let Some(end) = wanted[start..].find('>').map(|e| start + e + 1) else { return false };
        let (head, mark, tail) = (&wanted[..start], &wanted[start..end], wanted[end..].to_owned());
        let Some(rest) = text.strip_prefix(head) else { return false };
        // The shortest text for this placeholder with which the rest matches.
        (0..=rest.len()).filter(|n| rest.is_char_boundary(*n)).any(|n| {
            let value = &rest[..n];
            let named =
                mark.starts_with("<rv") && !mark.contains('+') || mark.starts_with("<uid") || mark.starts_with("<gen");
            if !named {
                return self.matches(&tail, &rest[n..]);
            }
            match self.seen.get(mark) {
                Some(known) => known == value && self.matches(&tail, &rest[n..]),
                None => {
                    let whole = value.len() >= 3 && !self.seen.values().any(|v| v == value);
                    if !(whole && self.matches(&tail, &rest[n..])) {
                        return false;
                    }
                    self.seen.insert(mark.to_owned(), value.to_owned());
                    true
                }
            }
        })
    }
    /// The first recorded member that `is` lacks or has differently.
    fn difference(&mut self, path: &str, wanted: &Value, is: &Value) -> Option<String> {
        let told = |is: &Value| Some(format!("{path}: recorded {wanted}, is {is}"));
        match (wanted, is) {
            (Value::Object(w), Value::Object(_)) => w.iter().find_map(|(key, value)| {
                let key = self.fill(key);
                let skipped = matches!(key.as_str(), "kind" | "apiVersion" | "qosClass");
                if skipped { None } else { self.difference(&format!("{path}.{key}"), value, &is[key]) }
            }),
            (Value::Array(w), Value::Array(i)) if w.len() == i.len() => {
                w.iter().zip(i).enumerate().find_map(|(n, (w, i))| self.difference(&format!("{path}[{n}]"), w, i))
            }
            (Value::String(w), Value::String(i)) => {
                if self.matches(w, i) {
                    None
                } else {
                    told(is)
                }
            }
            (Value::Null, Value::Null) => None,
            // An empty collection that is left out says the same.
            (Value::Object(w), Value::Null) if w.is_empty() => None,
            (Value::Array(w), Value::Null) if w.is_empty() => None,
            (wanted, is) if wanted == is => None,
            _ => told(is),
        }
    }
}

/// A path of the API, taken apart.
struct Target {
    kind: Kind,
    namespace: Str,
    name: Str,
    sub: Option<String>,
    query: BTreeMap<String, String>,
}

fn target(path: &str) -> Target {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let rest = if parts[0] == "api" { &parts[2..] } else { &parts[3..] };
    let (namespace, rest) = match rest {
        ["namespaces", ns, more @ ..] if !more.is_empty() && more[0] != "status" => (*ns, more),
        rest => ("", rest),
    };
    let kind = Kind::from_plural(rest[0]).expect("a modelled kind");
    let query = query
        .split('&')
        .filter_map(|p| p.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/")))
        .collect();
    Target {
        kind,
        namespace: namespace.into(),
        name: rest.get(1).copied().unwrap_or("").into(),
        sub: rest.get(2).map(|s| (*s).to_owned()),
        query,
    }
}

fn bad_request(text: String) -> Arc<Status> {
    Arc::new(Status::new(Reason::BadRequest, text))
}

/// The object of a body, as the face reads it.
fn object(target: &Target, body: &Value) -> Result<Object, Arc<Status>> {
    let mut body = body.clone();
    if !body["metadata"].is_object() {
        body["metadata"] = json!({});
    }
    let meta = body["metadata"].as_object_mut().expect("map");
    if !target.namespace.is_empty() {
        meta.entry("namespace").or_insert_with(|| json!(target.namespace));
    }
    let kind = target.kind;
    json::from_json(kind, &body).map_err(|why| {
        bad_request(format!("{kind} in version \"{}\" cannot be handled as a {kind}: {why}", kind.version()))
    })
}

fn options(target: &Target, body: &Value) -> DeleteOptions {
    let grace = target.query.get("gracePeriodSeconds").and_then(|g| g.parse().ok());
    let policy = body["propagationPolicy"].as_str().or(target.query.get("propagationPolicy").map(String::as_str));
    DeleteOptions {
        grace_period_seconds: body["gracePeriodSeconds"].as_i64().or(grace),
        uid: body["preconditions"]["uid"].as_str().and_then(|u| u.parse().ok()),
        resource_version: body["preconditions"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()),
        propagation: match policy {
            Some("Foreground") => Propagation::Foreground,
            Some("Orphan") => Propagation::Orphan,
            _ => Propagation::Background,
        },
    }
}

fn request(method: &str, target: &Target, body: &Value) -> Result<KubeRequest, Arc<Status>> {
    let key = Key::new(target.namespace.clone(), target.name.clone());
    let kind = target.kind;
    let sub = if target.sub.as_deref() == Some("status") { Sub::Status } else { Sub::Main };
    Ok(match (method, target.sub.as_deref()) {
        ("GET", _) if target.name.is_empty() => {
            let pairs = target.query.get("labelSelector").map(String::as_str).unwrap_or_default();
            let labels = pairs.split(',').filter_map(|p| p.split_once('='));
            KubeRequest::List {
                kind,
                namespace: (!target.namespace.is_empty()).then(|| target.namespace.clone()),
                labels: labels.map(|(k, v)| (k.into(), v.trim_start_matches('=').into())).collect(),
            }
        }
        ("GET", _) => KubeRequest::Get { kind, key },
        ("POST", Some("binding")) => {
            KubeRequest::Bind { key, node: body["target"]["name"].as_str().unwrap_or_default().into() }
        }
        ("POST", Some("eviction")) => KubeRequest::Evict { key },
        ("POST", Some("token")) => KubeRequest::CreateToken { key },
        ("POST", _) => KubeRequest::Create(object(target, body)?),
        ("PUT", _) => {
            let object = object(target, body)?;
            if object.meta().name != target.name {
                let (body, url) = (&object.meta().name, &target.name);
                return Err(bad_request(format!(
                    "the name of the object ({body}) does not match the name on the URL ({url})"
                )));
            }
            KubeRequest::Update(object, sub)
        }
        ("PATCH", _) => {
            let patch = Patch::body(Body::Json(Arc::new(body.clone())));
            KubeRequest::Patch { kind, key, sub, patch: Arc::new(patch) }
        }
        ("DELETE", _) => KubeRequest::Delete { kind, key, options: options(target, body) },
        other => panic!("{other:?}"),
    })
}

fn answer(ok: &KubeOk) -> Value {
    match ok {
        KubeOk::Object(o) => json::to_json(o),
        KubeOk::Deleted(o) => {
            let mut wire = json::to_json(o);
            wire["details"] = json!({ "kind": o.kind().plural(), "name": o.meta().name, "uid": o.meta().uid });
            if !o.kind().group().is_empty() {
                wire["details"]["group"] = json!(o.kind().group());
            }
            let returned = matches!(
                o.kind(),
                Kind::Namespace | Kind::Pod | Kind::ServiceAccount | Kind::ResourceQuota | Kind::PersistentVolumeClaim
            );
            if !returned {
                wire["status"] = json!("Success");
            }
            wire
        }
        KubeOk::List { items, resource_version } => json!({
            "items": items.iter().map(json::to_json).collect::<Vec<_>>(),
            "metadata": { "resourceVersion": resource_version.to_string() },
        }),
        KubeOk::Allowed(yes) => json!({ "status": { "allowed": yes } }),
        KubeOk::Token { .. } => json!({}),
        KubeOk::Done => json!({ "status": "Success", "code": 201, "metadata": {} }),
    }
}

/// The events of a watch from the version in the query.
fn stream(s: &Fixture, target: &Target) -> Value {
    let from = target.query["resourceVersion"].parse().expect("number");
    let events = s.api.events_after(target.kind, from).expect("history");
    let mine = events.filter(|e| target.namespace.is_empty() || e.object.meta().namespace == target.namespace);
    let event = |e: &WatchEvent| {
        let type_ = match e.type_ {
            WatchType::Added => "ADDED",
            WatchType::Modified => "MODIFIED",
            WatchType::Deleted => "DELETED",
        };
        json!({ "type": type_, "object": json::to_json(&e.object) })
    };
    mine.map(event).collect()
}

/// One step; the difference, if there is one.
fn step(s: &mut Fixture, names: &mut Names, line: &Value) -> Option<String> {
    let (method, path) = line["do"].as_str().expect("request").split_once(' ').expect("method and path");
    let target = target(&names.fill(path));
    let body = names.fill_value(&line["body"]);
    let expect = &line["expect"];
    if expect["events"].is_array() {
        return names.difference("events", &expect["events"], &stream(s, &target));
    }
    let reply = request(method, &target, &body).and_then(|request| s.handle(request));
    let (code, wire) = match &reply {
        Ok(ok) if method == "POST" => (201, answer(ok)),
        Ok(ok) => (200, answer(ok)),
        Err(status) => (status.code, json!({ "message": status.message, "reason": format!("{:?}", status.reason) })),
    };
    // A PUT that creates answers 201; the machine does not tell it from an update.
    let wanted = expect["status"].as_u64().expect("status");
    if u64::from(code) != wanted && !(method == "PUT" && wanted == 201 && code == 200) {
        return Some(format!("status: recorded {wanted}, is {code} {}", wire["message"]));
    }
    for (name, path) in line["save"].as_object().into_iter().flatten() {
        let pointer = format!("/{}", path.as_str().expect("path").replace('.', "/"));
        let value = wire.pointer(&pointer).and_then(Value::as_str).unwrap_or_default();
        names.saved.insert(name.clone(), value.to_owned());
    }
    let part = if reply.is_ok() { &expect["body"] } else { &expect["refusal"] };
    if part.is_null() { None } else { names.difference("", part, &wire) }
}

#[test]
fn the_recorded_cases_replay() {
    let mut failures = Vec::new();
    let (mut cases, mut steps) = (0, 0);
    let mut world: Option<(String, Fixture, Names)> = None;
    for line in CASES.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        if let Some(case) = line["case"].as_str() {
            let minor = if line["server"] == "1.20.2" { 20 } else { 36 };
            let mut s = server(minor);
            for name in ["ns2", "default", "kube-system", "kube-public"] {
                let metadata = Meta::named("", name);
                s.create(core::Namespace { metadata, ..Default::default() }, Time::ZERO);
            }
            world = Some((case.to_owned(), s, Names::default()));
            cases += 1;
            continue;
        }
        let Some((case, s, names)) = &mut world else { continue };
        steps += 1;
        if let Some(difference) = step(s, names, &line) {
            failures.push(format!("{case}: {}: {difference}", line["do"]));
            world = None;
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {cases} cases ({steps} steps) differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(cases > 270, "{cases} cases");
}
