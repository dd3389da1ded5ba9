//! How Helm combines JSON: values over defaults, and the patches it computes between two manifests and a live object.
//!
//! Source: kubernetes-api.md §9.4 (Helm 3.18, recorded). Works on the JSON form of the API types; never sends anything.

use serde_json::{Map, Value};

/// A user's values over a chart's defaults: maps merge, everything else replaces, `null` removes a default.
pub fn coalesce(defaults: &Value, user: &Value) -> Value {
    let (Value::Object(defaults), Value::Object(user)) = (defaults, user) else { return user.clone() };
    let mut out = Map::new();
    for (key, value) in defaults {
        match user.get(key) {
            None => _ = out.insert(key.clone(), value.clone()),
            Some(Value::Null) => {}
            Some(over) if value.is_object() && over.is_object() => _ = out.insert(key.clone(), coalesce(value, over)),
            Some(over) => _ = out.insert(key.clone(), over.clone()),
        }
    }
    for (key, value) in user {
        if !defaults.contains_key(key) {
            out.insert(key.clone(), value.clone());
        }
    }
    Value::Object(out)
}

/// The merge patch that turns `old` into `new`; `None` if they are equal. What Helm sends for a custom resource: the live
/// object is not looked at, so what somebody else changed stays as long as the chart's text does.
pub fn two_way(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for key in before.keys().filter(|k| !after.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        match before.get(key) {
            None => _ = patch.insert(key.clone(), value.clone()),
            Some(old) => {
                if let Some(change) = two_way(old, value) {
                    patch.insert(key.clone(), change);
                }
            }
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The merge patch that brings `live` to `target` and removes what `last` had and `target` has no more; `None` if there is
/// nothing to do. What Helm does to a built-in kind: members that only `live` has are left alone.
pub fn three_way(last: &Value, target: &Value, live: &Value) -> Option<Value> {
    let Value::Object(target) = target else {
        return (!covers(live, target)).then(|| target.clone());
    };
    let mut patch = Map::new();
    let nothing = Value::Null;
    for (key, value) in target {
        let change = match live.get(key) {
            None => Some(value.clone()),
            Some(live) => three_way(last.get(key).unwrap_or(&nothing), value, live),
        };
        if let Some(change) = change {
            patch.insert(key.clone(), change);
        }
    }
    for key in last.as_object().into_iter().flat_map(Map::keys) {
        if !target.contains_key(key) && live.get(key).is_some() {
            patch.insert(key.clone(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Whether `live` says everything that `target` says: lists element by element, maps member by member.
fn covers(live: &Value, target: &Value) -> bool {
    match (live, target) {
        (Value::Object(l), Value::Object(t)) => t.iter().all(|(k, v)| l.get(k).is_some_and(|l| covers(l, v))),
        (Value::Array(l), Value::Array(t)) => l.len() == t.len() && l.iter().zip(t).all(|(l, t)| covers(l, t)),
        _ => live == target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn null_in_the_values_removes_a_default() {
        let merged =
            coalesce(&json!({ "a": { "x": 1, "y": 2 }, "l": [1, 2] }), &json!({ "a": { "x": null }, "l": [3] }));
        assert_eq!(merged, json!({ "a": { "y": 2 }, "l": [3] }));
    }

    #[test]
    fn a_two_way_patch_has_only_differences_and_replaces_lists() {
        let (old, new) =
            (json!({ "a": 1, "b": { "c": 1, "d": 2 }, "l": [1] }), json!({ "b": { "c": 1, "e": 3 }, "l": [1, 2] }));
        assert_eq!(two_way(&old, &new), Some(json!({ "a": null, "b": { "d": null, "e": 3 }, "l": [1, 2] })));
        assert_eq!(two_way(&new, &new), None);
    }

    #[test]
    fn a_three_way_patch_undoes_drift_and_keeps_what_others_added() {
        let (last, target) = (json!({ "replicas": 1, "gone": true }), json!({ "replicas": 1 }));
        assert_eq!(
            three_way(&last, &target, &json!({ "replicas": 3, "gone": true, "other": 1 })),
            Some(json!({ "replicas": 1, "gone": null }))
        );
        assert_eq!(three_way(&last, &target, &json!({ "replicas": 1, "other": 1 })), None);
        let (target, live) = (json!([{ "name": "a" }]), json!([{ "name": "a", "defaulted": 1 }]));
        assert_eq!(three_way(&json!([]), &target, &live), None);
    }
}
