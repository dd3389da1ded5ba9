//! Where the wire keeps what the lean structs hold flat: `spec` and `status` of built-in kinds, base64 of Secrets, `nodeName`,
//! API versions of owners. Pure rearrangement of JSON; [`crate::json`] is the only user.
//!
//! Source: the published OpenAPI of Kubernetes 1.34 for the members named here; golden create, lease, quota.

use serde_json::{Map, Value, json};

use crate::object::Kind;

/// Flat member → path on the wire, for kinds whose struct has no `spec` and `status`.
fn shape(kind: Kind) -> &'static [(&'static str, &'static [&'static str])] {
    match kind {
        Kind::Namespace => &[("phase", &["status", "phase"]), ("conditions", &["status", "conditions"])],
        Kind::Node => &[
            ("unschedulable", &["spec", "unschedulable"]),
            ("taints", &["spec", "taints"]),
            ("allocatable", &["status", "allocatable"]),
        ],
        Kind::ResourceQuota => &[("hard", &["spec", "hard"]), ("used", &["status", "used"])],
        Kind::Lease => &[
            ("holderIdentity", &["spec", "holderIdentity"]),
            ("leaseDurationSeconds", &["spec", "leaseDurationSeconds"]),
            ("renewTime", &["spec", "renewTime"]),
            ("leaseTransitions", &["spec", "leaseTransitions"]),
        ],
        Kind::Event => &[("involvedKind", &["involvedObject", "kind"]), ("involvedName", &["involvedObject", "name"])],
        Kind::Deployment => &[
            ("replicas", &["spec", "replicas"]),
            ("template", &["spec", "template"]),
            ("updatedReady", &["status", "updatedReplicas"]),
        ],
        Kind::PersistentVolumeClaim => {
            &[("phase", &["status", "phase"]), ("storageClassName", &["spec", "storageClassName"])]
        }
        Kind::CustomResourceDefinition => {
            &[("defines", &["spec", "names", "kind"]), ("schema", &["metadata", "annotations", "arc-sim/schema"])]
        }
        _ => &[],
    }
}

/// `null` members mean "absent" to a typed server.
pub(crate) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
        }
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

fn set(value: &mut Value, path: &[&str], new: Value) {
    let mut at = value;
    for key in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[*key];
    }
    *at = new;
}

fn take(value: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut at = value;
    for key in parents {
        at = at.get_mut(*key)?;
    }
    at.as_object_mut()?.remove(*last)
}

/// What a server stores of a submitted body before it is typed: no `null`, and `stringData` of a Secret merged into `data`.
///
/// # Errors
/// Data of a Secret that is not base64.
pub(crate) fn submitted(kind: Kind, value: &Value) -> Result<Value, String> {
    let mut value = without_nulls(value);
    if kind != Kind::Secret {
        return Ok(value);
    }
    for (_, text) in value.get("data").and_then(Value::as_object).into_iter().flatten() {
        decode(text.as_str().unwrap_or_default())?;
    }
    if let Some(Value::Object(plain)) = take(&mut value, &["stringData"]) {
        for (key, text) in plain {
            let text = text.as_str().unwrap_or_default().to_owned();
            set(&mut value, &["data", &key], Value::String(encode(text.as_bytes())));
        }
    }
    Ok(value)
}

/// The flat form that the structs read.
pub(crate) fn to_flat(kind: Kind, wire: &Value) -> Value {
    let mut flat = wire.clone();
    for (member, path) in shape(kind) {
        if let Some(value) = take(&mut flat, path) {
            flat[*member] = value;
        }
    }
    match kind {
        Kind::Pod => {
            // The binding stands beside the spec.
            take(&mut flat, &["spec", "nodeName"]);
        }
        Kind::Secret => {
            if let Some(Value::Object(data)) = flat.get_mut("data") {
                // Bytes that are no text stay with the untyped rest.
                let texts = data.iter().filter_map(|(k, v)| {
                    let bytes = decode(v.as_str()?).ok()?;
                    Some((k.clone(), Value::String(String::from_utf8(bytes).ok()?)))
                });
                *data = texts.collect();
            }
        }
        Kind::Node => {
            let ready =
                flat["status"]["conditions"].as_array().and_then(|l| l.iter().find(|c| c["type"] == "Ready")).cloned();
            if let Some(ready) = ready {
                flat["ready"] = ready["status"].clone();
                if let Some(at) = ready.get("lastHeartbeatTime") {
                    flat["lastHeartbeat"] = at.clone();
                }
            }
        }
        _ => {}
    }
    flat
}

/// The wire form of what the structs render.
pub(crate) fn to_wire(kind: Kind, flat: &mut Value) {
    for (member, path) in shape(kind) {
        if let Some(value) = take(flat, &[member]) {
            let unset = value.is_null() || value == "" || *path == ["spec", "unschedulable"] && value == false;
            if !unset {
                set(flat, path, value);
            }
        }
    }
    if let Some(Value::Array(owners)) = flat.get_mut("metadata").and_then(|m| m.get_mut("ownerReferences")) {
        for owner in owners {
            let of = |k: &&Kind| owner["kind"] == k.as_str();
            if let Some(kind) = Kind::ALL.iter().find(of) {
                owner["apiVersion"] = Value::from(kind.api_version().as_str());
            }
        }
    }
    match kind {
        Kind::Secret => {
            if let Some(Value::Object(data)) = flat.get_mut("data") {
                for text in data.values_mut() {
                    *text = Value::String(encode(text.as_str().unwrap_or_default().as_bytes()));
                }
            }
        }
        Kind::Lease => {
            // MicroTime: clients of a Lease refuse a time without fraction (golden lease-time-no-fraction).
            if let Some(text) = flat["spec"]["renewTime"].as_str().and_then(|t| t.strip_suffix('Z')) {
                flat["spec"]["renewTime"] = Value::String(format!("{text}.000000Z"));
            }
        }
        Kind::Node => {
            let (ready, beat) = (take(flat, &["ready"]), take(flat, &["lastHeartbeat"]));
            if let Some(ready) = ready.filter(|r| *r != "") {
                let mut condition = json!({ "type": "Ready", "status": ready });
                if let Some(beat) = beat.filter(|b| !b.is_null()) {
                    condition["lastHeartbeatTime"] = beat;
                }
                set(flat, &["status", "conditions"], json!([condition]));
            }
        }
        _ => {}
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 of RFC 4648 with padding.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let index = word >> (18 - 6 * i) & 63;
            out.push(if i <= chunk.len() { ALPHABET[index as usize] as char } else { '=' });
        }
    }
    out
}

/// The bytes of a base64 text.
///
/// # Errors
/// The text of the real decoder, with the first offending position.
pub fn decode(text: &str) -> Result<Vec<u8>, String> {
    let body = text.trim_end_matches('=');
    let wrong = |at: usize| format!("illegal base64 data at input byte {at}");
    if !text.len().is_multiple_of(4) || text.len() - body.len() > 2 {
        return Err(wrong(body.len()));
    }
    let (mut out, mut word, mut bits) = (Vec::with_capacity(body.len() * 3 / 4), 0u32, 0);
    for (at, byte) in body.bytes().enumerate() {
        let index = ALPHABET.iter().position(|a| *a == byte).ok_or_else(|| wrong(at))?;
        word = word << 6 | index as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits & 0xff) as u8);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{from_json, to_json};

    #[track_caller]
    fn check_round_trip(kind: Kind, wire: Value) {
        let object = from_json(kind, &wire).expect("reads");
        let mut back = to_json(&object);
        back["metadata"].as_object_mut().expect("map").retain(|k, _| wire["metadata"].get(k).is_some());
        assert_eq!(back, wire);
    }

    #[test]
    fn base64_is_the_real_one() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded), Ok(plain.as_bytes().to_vec()));
        }
        assert_eq!(decode("%%%%"), Err("illegal base64 data at input byte 0".into()));
    }

    #[test]
    fn built_in_kinds_have_the_shape_of_the_wire() {
        let meta = json!({ "name": "x", "namespace": "n" });
        let head = |kind: Kind, more: Value| {
            let mut wire =
                json!({ "kind": kind.as_str(), "apiVersion": kind.api_version().as_str(), "metadata": meta });
            wire.as_object_mut().expect("map").extend(more.as_object().cloned().expect("map"));
            wire
        };
        check_round_trip(
            Kind::ResourceQuota,
            head(
                Kind::ResourceQuota,
                json!({ "spec": { "hard": { "pods": "2" } }, "status": { "used": { "pods": "0" } } }),
            ),
        );
        check_round_trip(
            Kind::Lease,
            head(
                Kind::Lease,
                json!({ "spec": { "holderIdentity": "a", "leaseDurationSeconds": 15, "leaseTransitions": 1,
                    "renewTime": "2030-01-01T00:00:05.000000Z" } }),
            ),
        );
        let secret =
            head(Kind::Secret, json!({ "type": "Opaque", "immutable": false, "data": { "k": "dg==", "b": "/w==" } }));
        let object = from_json(Kind::Secret, &secret).expect("reads");
        assert_eq!(object.get::<crate::core::Secret>().expect("secret").data["k"], "v");
        check_round_trip(Kind::Secret, secret);
    }
}
