//! What Helm sends for an object that exists: the difference, as a typed patch. Never sends it.
//!
//! Source: kubernetes-api.md §9.4 (recorded: every `helm` PATCH of the recordings). A custom resource gets the difference of the
//! last manifest to the new one, whatever the live object says; a built-in kind gets what brings the live object to the manifest.

use std::sync::Arc;

use arc_api::kube::{Body, Patch};
use arc_api::{Object, Str, json as wire};
use serde_json::{Map, Value};

use super::merge::{three_way, two_way};

/// The patch that Helm sends; `None` if there is nothing to send. `last` is the object in the manifest that was deployed.
pub fn helm_patch(last: &Object, target: &Object, live: &Object) -> Option<Patch> {
    let difference = if target.kind().is_custom() {
        two_way(&wire::to_json(last), &wire::to_json(target))
    } else {
        let (last, target) = (stated(last), stated(target));
        three_way(&last, &target, &wire::to_json(live))
    };
    let mut patch = typed(difference?);
    if let Some(wanted) = patch.finalizers.take() {
        // The list is merged, not replaced: what others hold stays.
        let missing = wanted.iter().filter(|f| !live.meta().has_finalizer(f));
        let all: Arc<[Str]> = live.meta().finalizers.iter().chain(missing).cloned().collect();
        patch.finalizers = (all.len() != live.meta().finalizers.len()).then_some(all);
    }
    (patch != Patch::default()).then_some(patch)
}

/// What a chart states about a built-in object: no status, nothing empty, and of the metadata only what it can set.
fn stated(object: &Object) -> Value {
    let Value::Object(mut all) = wire::to_json(object) else { return Value::Null };
    all.retain(|key, value| {
        let empty = match &*value {
            Value::Array(list) => list.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Bool(on) => !on,
            _ => value.is_null(),
        };
        !empty && key != "status"
    });
    if let Some(Value::Object(meta)) = all.get_mut("metadata") {
        meta.retain(|key, _| matches!(key.as_str(), "labels" | "annotations" | "finalizers"));
    }
    Value::Object(all)
}

/// A JSON merge patch with its metadata as typed members.
pub fn typed(json: Value) -> Patch {
    let Value::Object(mut json) = json else { return Patch::default() };
    let meta = json.remove("metadata").unwrap_or_default();
    let entries = |key: &str| {
        let map = meta[key].as_object().into_iter().flatten();
        map.map(|(k, v)| (Str::from(k), v.as_str().map(Str::from))).collect::<Vec<_>>()
    };
    let finalizers = match meta.get("finalizers") {
        Some(Value::Array(list)) => Some(list.iter().filter_map(Value::as_str).map(Str::from).collect()),
        Some(Value::Null) => Some(Arc::default()),
        _ => None,
    };
    Patch {
        finalizers,
        labels: entries("labels"),
        annotations: entries("annotations"),
        resource_version: None,
        body: body(json),
    }
}

fn body(json: Map<String, Value>) -> Body {
    if json.is_empty() { Body::None } else { Body::Json(Arc::new(Value::Object(json))) }
}
