//! The JSON edge: typed objects to and from wire JSON, losing nothing.
//!
//! What a typed struct has no field for goes into [`Meta::rest`](crate::Meta::rest) (the structural difference between the
//! submitted JSON and what the typed object renders to) and is merged back by [`to_json`].

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::object::{Kind, Object, Resource};
use crate::{Str, format_smolstr, wire};

/// For `#[serde(flatten)]` members that hold what is not modelled: `None` when nothing is left over.
pub fn rest<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Arc<Map<String, Value>>>, D::Error> {
    let map = Map::deserialize(d)?;
    Ok((!map.is_empty()).then(|| Arc::new(map)))
}

/// RFC 7386 merge patch: `null` removes, objects merge, everything else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Quantities by name; numbers are accepted as YAML authors write them, e.g. `cpu: 1`.
pub fn quantities<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<Str, Str>, D::Error> {
    let text = |(name, value): (Str, Value)| match value {
        Value::String(text) => Ok((name, text.into())),
        Value::Number(n) => Ok((name, format_smolstr!("{n}"))),
        other => Err(serde::de::Error::custom(format!("`{other}` is not a quantity"))),
    };
    BTreeMap::<Str, Value>::deserialize(d)?.into_iter().map(text).collect()
}

/// What is in `whole` and not in `part`: `None` when `part` says it all. Lists are compared as wholes.
fn difference(whole: &Value, part: &Value) -> Option<Value> {
    match (whole, part) {
        (Value::Object(w), Value::Object(p)) => {
            let left: Map<String, Value> = w
                .iter()
                .filter_map(|(k, v)| match p.get(k) {
                    None => Some((k.clone(), v.clone())),
                    Some(known) => difference(v, known).map(|d| (k.clone(), d)),
                })
                .collect();
            (!left.is_empty()).then_some(Value::Object(left))
        }
        (Value::Object(_), _) => Some(whole.clone()),
        _ => None,
    }
}

fn fill(target: &mut Value, rest: &Value) {
    if let (Value::Object(t), Value::Object(r)) = (target, rest) {
        for (k, v) in r {
            match t.get_mut(k) {
                Some(slot) => fill(slot, v),
                None => {
                    t.insert(k.clone(), v.clone());
                }
            }
        }
    }
}

macro_rules! by_kind {
    ($kind:expr, $f:ident, $($arg:expr),*) => {{
        use crate::{core::*, crd::*, pod::Pod};
        match $kind {
            Kind::AutoscalingRunnerSet => $f::<AutoscalingRunnerSet>($($arg),*),
            Kind::AutoscalingListener => $f::<AutoscalingListener>($($arg),*),
            Kind::EphemeralRunnerSet => $f::<EphemeralRunnerSet>($($arg),*),
            Kind::EphemeralRunner => $f::<EphemeralRunner>($($arg),*),
            Kind::Pod => $f::<Pod>($($arg),*),
            Kind::Secret => $f::<Secret>($($arg),*),
            Kind::ConfigMap => $f::<ConfigMap>($($arg),*),
            Kind::ServiceAccount => $f::<ServiceAccount>($($arg),*),
            Kind::Role => $f::<Role>($($arg),*),
            Kind::RoleBinding => $f::<RoleBinding>($($arg),*),
            Kind::ClusterRole => $f::<ClusterRole>($($arg),*),
            Kind::ClusterRoleBinding => $f::<ClusterRoleBinding>($($arg),*),
            Kind::Namespace => $f::<Namespace>($($arg),*),
            Kind::Node => $f::<Node>($($arg),*),
            Kind::ResourceQuota => $f::<ResourceQuota>($($arg),*),
            Kind::PriorityClass => $f::<PriorityClass>($($arg),*),
            Kind::Lease => $f::<Lease>($($arg),*),
            Kind::Event => $f::<Event>($($arg),*),
            Kind::Deployment => $f::<Deployment>($($arg),*),
            Kind::PersistentVolumeClaim => $f::<PersistentVolumeClaim>($($arg),*),
            Kind::CustomResourceDefinition => $f::<CustomResourceDefinition>($($arg),*),
            Kind::AdmissionPolicy => $f::<AdmissionPolicy>($($arg),*),
        }
    }};
}

fn render<T: Resource + serde::Serialize>(object: &Object) -> Value {
    T::unwrap(object).and_then(|o| serde_json::to_value(&**o).ok()).unwrap_or(Value::Null)
}

fn read<T: Resource + serde::de::DeserializeOwned>(value: &Value) -> Result<Object, String> {
    serde_json::from_value::<T>(value.clone()).map(T::into_object).map_err(|e| e.to_string())
}

/// The wire JSON of an object, with what it carried beyond the typed fields.
pub fn to_json(object: &Object) -> Value {
    let mut value = typed_json(object);
    if let Some(rest) = &object.meta().rest {
        fill(&mut value, rest);
    }
    value
}

fn typed_json(object: &Object) -> Value {
    let kind = object.kind();
    let mut value = by_kind!(kind, render, object);
    if let Value::Object(map) = &mut value {
        map.insert("kind".into(), kind.as_str().into());
        map.insert("apiVersion".into(), kind.api_version().as_str().into());
    }
    if let Object::Pod(pod) = object
        && let Some(node) = &pod.node_name
    {
        value["spec"]["nodeName"] = Value::from(node.as_str());
    }
    wire::to_wire(kind, &mut value);
    value
}

/// Reads an object of `kind`.
///
/// # Errors
/// A sentence naming the member that has the wrong type.
pub fn from_json(kind: Kind, value: &Value) -> Result<Object, String> {
    let value = &wire::submitted(kind, value)?;
    let flat = &wire::to_flat(kind, value);
    let mut object = by_kind!(kind, read, flat)?;
    if let Object::Pod(pod) = &mut object
        && let Some(node) = value["spec"]["nodeName"].as_str()
    {
        Arc::make_mut(pod).node_name = Some(node.into());
    }
    if let Object::EphemeralRunner(runner) = &mut object
        && runner.status.job.as_deref() == Some(&crate::crd::JobRef::default())
    {
        Arc::make_mut(runner).status.job = None;
    }
    object.meta_mut().rest = difference(value, &typed_json(&object)).map(Arc::new);
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_of_a_foreign_object_is_lost() {
        let wire = json!({
            "kind": "EphemeralRunner", "apiVersion": "actions.github.com/v1alpha1",
            "metadata": { "name": "r", "namespace": "n", "uid": "00000000-0000-4000-8000-000000000001", "resourceVersion": "7",
                "creationTimestamp": "2030-01-01T00:00:00Z", "managedFields": [{ "manager": "kubectl" }] },
            "spec": { "githubConfigUrl": "u", "githubConfigSecret": "s", "runnerScaleSetId": 1, "metadata": {},
                "spec": { "containers": [{ "name": "runner", "tty": true }], "affinity": { "x": 1 } } },
            "status": { "phase": "Running", "strange": 9_007_199_254_740_993_i64 },
        });
        let object = from_json(Kind::EphemeralRunner, &wire).expect("reads");
        assert_eq!(to_json(&object), wire);
        assert_eq!(object.get::<crate::crd::EphemeralRunner>().expect("kind").status.job, None);
    }

    #[test]
    fn merge_patch_null_removes_a_key() {
        let mut v = json!({ "spec": { "replicas": 3, "patchID": 1 } });
        merge(&mut v, &json!({ "spec": { "replicas": null, "patchID": 2 } }));
        assert_eq!(v, json!({ "spec": { "patchID": 2 } }));
    }
}
