//! The settings of scenario files by path (`clusters.scale_sets.min_runners`), from the published schema. Never lists what has
//! sections of its own: faults, workloads, operator actions.

use serde_json::Value;

use crate::scenario::file::Scenario;
use crate::scenario::shape::schema_of;

/// Keys whose parts are named elsewhere, or are the user's own.
const ELSEWHERE: [&str; 6] = ["faults", "operators", "workload", "marks", "variants", "expect"];

/// One setting, or a group of them.
pub(super) struct Setting {
    /// Keys from the top of the file on; items of a list have the list's path.
    pub(super) path: String,
    /// What it is.
    pub(super) doc: String,
    /// What it is if nothing is said; none for groups and for what has to be said.
    pub(super) default: Option<String>,
    /// How it is written, if it has a form of its own: a duration, one of some words.
    pub(super) form: String,
}

/// All of them, a group before its parts.
pub(super) fn settings() -> Vec<Setting> {
    let schema = schema_of::<Scenario>();
    let mut out = Vec::new();
    visit(&schema["$defs"], &schema, "", &mut Vec::new(), &mut out);
    out
}

/// Those with this path, and those that end with it.
pub(super) fn named(id: &str) -> Vec<Setting> {
    let end = format!(".{id}");
    settings().into_iter().filter(|s| s.path == id || s.path.ends_with(&end)).collect()
}

fn visit<'s>(defs: &'s Value, schema: &'s Value, path: &str, open: &mut Vec<&'s str>, out: &mut Vec<Setting>) {
    let Some(members) = schema["properties"].as_object() else { return };
    for (key, member) in members {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let (inner, name) = inside(defs, member);
        let words = |of: &Value| of["description"].as_str().map(|d| d.split_whitespace().collect::<Vec<_>>().join(" "));
        let group = inner["properties"].is_object();
        let default = member.get("default").filter(|d| !group && !d.is_null()).map(plain);
        let doc = words(member).or_else(|| words(inner)).unwrap_or_default();
        out.push(Setting { path: path.clone(), doc, default, form: form(inner) });
        if group && !ELSEWHERE.contains(&path.as_str()) && !open.contains(&name) {
            open.push(name);
            visit(defs, inner, &path, open, out);
            open.pop();
        }
    }
}

/// What a member is made of: behind references, options and lists.
fn inside<'s>(defs: &'s Value, mut schema: &'s Value) -> (&'s Value, &'s str) {
    let mut name = "";
    loop {
        let next = if let Some(reference) = schema["$ref"].as_str() {
            name = reference.rsplit('/').next().unwrap_or("");
            &defs[name]
        } else if let Some(options) = schema["anyOf"].as_array() {
            options.iter().find(|o| o["type"] != "null").unwrap_or(&Value::Null)
        } else if schema["items"].is_object() {
            &schema["items"]
        } else {
            return (schema, name);
        };
        schema = next;
    }
}

/// The words that may be written, or what a text has to look like.
fn form(schema: &Value) -> String {
    let branches = schema["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
    let listed = |s: &Value| {
        s["enum"].as_array().map_or(Vec::new(), |e| e.iter().filter_map(Value::as_str).map(String::from).collect())
    };
    let mut words: Vec<String> = listed(schema);
    for branch in branches {
        words.extend(branch["const"].as_str().map(String::from));
        words.extend(listed(branch));
    }
    if words.is_empty() { schema["format"].as_str().unwrap_or("").to_owned() } else { words.join(", ") }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Object(members) if members.is_empty() => "none".into(),
        other => other.to_string(),
    }
}
