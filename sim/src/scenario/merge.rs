//! Lays a variant's changes over its scenario. Never checks them.

use serde_json::{Map, Value};

use crate::plan::world::{ClusterSpec, ControllerSpec, ScaleSetSpec};

/// Changes `base` to what `over` says: mappings key by key (null: back to the default), lists of named things by name,
/// everything else by replacement.
pub fn overlay(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                if value.is_null() {
                    base.remove(key);
                } else {
                    overlay(base.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (Value::Array(base), Value::Array(over)) if !over.is_empty() && over.iter().all(|item| item.is_object()) => {
            for item in over {
                let name = item.get("name");
                match base.iter_mut().find(|b| b.get("name") == name) {
                    Some(same) => overlay(same, item),
                    None => base.push(item.clone()),
                }
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// States the names that a file leaves to their defaults, so that things can be found by name; with `things`, also the
/// controller that a cluster has unless it says otherwise.
pub fn state_names(body: &mut Value, things: bool) {
    for cluster in body.get_mut("clusters").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(cluster) = cluster.as_object_mut() else { continue };
        cluster.entry("name").or_insert_with(|| ClusterSpec::default().name.as_str().into());
        if things && !cluster.contains_key("controllers") {
            cluster.insert("controllers".into(), Value::Array(vec![Value::Object(Map::new())]));
        }
        for (key, name) in
            [("controllers", ControllerSpec::default().name), ("scale_sets", ScaleSetSpec::default().name)]
        {
            for item in cluster.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(item) = item.as_object_mut() {
                    item.entry("name").or_insert_with(|| name.as_str().into());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn named_things_are_changed_by_name() {
        let mut base =
            json!({"clusters": [{"name": "a", "nodes": 1, "sets": [{"name": "x", "min": 1}]}, {"name": "b"}]});
        overlay(
            &mut base,
            &json!({"clusters": [{"name": "a", "nodes": null, "sets": [{"name": "x", "max": 2}]}, {"name": "c"}]}),
        );
        assert_eq!(
            base,
            json!({"clusters": [{"name": "a", "sets": [{"name": "x", "min": 1, "max": 2}]}, {"name": "b"}, {"name": "c"}]})
        );
    }
}
