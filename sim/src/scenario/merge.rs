//! Lays a variant's changes over its scenario. Never checks them.

use serde_json::Value;

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
