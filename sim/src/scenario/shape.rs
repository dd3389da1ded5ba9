//! Checks a tree against the published schema and gives the JSON value it stands for. Never stops at the first problem.
//!
//! The schema is generated from the Rust types, so what is published, what is checked and what is read cannot differ. This
//! is not a general validator: it knows the forms that `schemars` makes of our types, and the `format`s of our scalars.

use std::sync::LazyLock;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Number, Value};

use super::diagnostic::{Problem, nearest, suggestion};
use super::source::{Node, NodeKind};
use crate::plan::values::check_format;

/// The schema of a type, with its definitions.
pub fn schema_of<T: JsonSchema>() -> Value {
    SchemaGenerator::new(SchemaSettings::draft2020_12()).into_root_schema_for::<T>().to_value()
}

/// Reads a tree as the schema says.
///
/// # Errors
/// All problems of shape.
pub fn read(root: &Node, schema: &Value) -> Result<Value, Vec<Problem>> {
    let mut shape = Shape { defs: schema.get("$defs").unwrap_or(&Value::Null), problems: Vec::new() };
    let value = shape.value(root, schema, "file");
    if shape.problems.is_empty() { Ok(value) } else { Err(shape.problems) }
}

struct Shape<'s> {
    defs: &'s Value,
    problems: Vec<Problem>,
}

static ANY: Value = Value::Bool(true);
static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl<'s> Shape<'s> {
    fn resolve(&self, mut schema: &'s Value) -> &'s Value {
        while let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            schema = name.rsplit('/').next().and_then(|name| self.defs.get(name)).unwrap_or(&ANY);
        }
        schema
    }
    fn value(&mut self, node: &Node, schema: &'s Value, what: &str) -> Value {
        let schema = self.resolve(schema);
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            let inner = options.iter().find(|s| s.get("type").and_then(Value::as_str) != Some("null"));
            return match inner {
                Some(inner) if !node.is_null() => self.value(node, inner, what),
                _ => Value::Null,
            };
        }
        if let Some(branches) = schema.get("oneOf").and_then(Value::as_array)
            && schema.get("x-choices").is_none()
        {
            return self.choice(node, branches, what);
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            return self.word(node, &words, what);
        }
        let has = |name: &str| match schema.get("type") {
            Some(Value::String(one)) => one == name,
            Some(Value::Array(many)) => many.iter().any(|t| t == name),
            _ => false,
        };
        if schema.get("type").is_none() {
            return plain(node);
        }
        if has("null") && node.is_null() {
            return Value::Null;
        }
        if has("string") {
            return self.text(node, schema, what);
        }
        if has("integer") {
            return self.integer(node, schema, what);
        }
        if has("boolean") {
            return match &node.kind {
                NodeKind::Scalar { text, plain: true } if text == "true" => Value::Bool(true),
                NodeKind::Scalar { text, plain: true } if text == "false" => Value::Bool(false),
                _ => self.wrong(node, "`true` or `false`", what),
            };
        }
        if has("array") {
            let NodeKind::List(items) = &node.kind else { return self.wrong(node, "a list", what) };
            if items.is_empty() && schema.get("minItems").is_some() {
                self.problems.push(
                    Problem::new(node.span.clone(), format!("`{what}` is empty")).label("at least one is needed"),
                );
            }
            let item = schema.get("items").unwrap_or(&ANY);
            return Value::Array(items.iter().map(|node| self.value(node, item, what)).collect());
        }
        self.object(node, schema, what)
    }
    fn object(&mut self, node: &Node, schema: &'s Value, what: &str) -> Value {
        let NodeKind::Map(entries) = &node.kind else { return self.wrong(node, "a mapping of keys to values", what) };
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&NONE);
        let choices = schema.get("x-choices").and_then(Value::as_str);
        let is_choice = |key: &str| properties.get(key).is_some_and(|p| p.get("x-choice").is_some());
        let mut out = Map::new();
        let mut chosen: Option<&str> = None;
        for (key, value) in entries {
            if let Some(property) = properties.get(&key.text) {
                if is_choice(&key.text) {
                    if let (Some(first), Some(noun)) = (chosen, choices) {
                        self.problems.push(
                            Problem::new(key.span.clone(), format!("a second {noun} in one entry"))
                                .label(format!("`{first}` is already stated"))
                                .hint(format!("give each {noun} an entry of its own")),
                        );
                    }
                    chosen.get_or_insert(&key.text);
                }
                let read = self.value(value, property, &key.text);
                out.insert(key.text.clone(), read);
                continue;
            }
            match schema.get("additionalProperties") {
                Some(Value::Bool(false)) => {
                    let what_is = choices.map_or_else(|| "key".to_owned(), |noun| format!("{noun} or key"));
                    let names = properties.keys().map(String::as_str);
                    self.problems.push(
                        Problem::new(key.span.clone(), format!("unknown {what_is} `{}`", key.text))
                            .label(format!("not a key of `{what}`"))
                            .hint(suggestion(&key.text, "keys here", names)),
                    );
                }
                Some(inner @ Value::Object(_)) => {
                    let read = self.value(value, inner, &key.text);
                    out.insert(key.text.clone(), read);
                }
                _ => {
                    out.insert(key.text.clone(), plain(value));
                }
            }
        }
        if let (None, Some(noun)) = (chosen, choices) {
            let names = properties.keys().map(String::as_str).filter(|k| is_choice(k));
            let known = entries.iter().all(|(key, _)| properties.contains_key(&key.text));
            if known {
                self.problems.push(
                    Problem::new(node.span.clone(), format!("an entry without {noun}"))
                        .label(format!("states no {noun}"))
                        .hint(format!("add one of: {}", names.collect::<Vec<_>>().join(", "))),
                );
            }
        }
        for key in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            // A key that was only mistyped has been reported already.
            let unknown = entries.iter().map(|(k, _)| k.text.as_str()).filter(|k| !properties.contains_key(*k));
            let mistyped = unknown.into_iter().any(|k| nearest(k, properties.keys().map(String::as_str)) == Some(key));
            if node.get(key).is_none() && !mistyped {
                let about = properties.get(key).and_then(|p| self.resolve_doc(p)).unwrap_or_default();
                self.problems.push(
                    Problem::new(node.span.clone(), format!("missing key `{key}`"))
                        .label(format!("`{what}` needs `{key}`"))
                        .hint(format!(
                            "add `{key}: …`{}",
                            if about.is_empty() { String::new() } else { format!(" ({about})") }
                        )),
                );
            }
        }
        Value::Object(out)
    }
    fn resolve_doc(&self, schema: &Value) -> Option<String> {
        let text = schema.get("description").and_then(Value::as_str)?;
        let sentence = text.lines().next().unwrap_or("").trim().trim_end_matches('.');
        Some(sentence.to_owned())
    }
    /// One of several forms: words, and mappings with one key that names the form.
    fn choice(&mut self, node: &Node, branches: &'s [Value], what: &str) -> Value {
        let mut words = Vec::new();
        let mut forms: Vec<(&str, &Value)> = Vec::new();
        for branch in branches {
            if let Some(word) = branch.get("const").and_then(Value::as_str) {
                words.push(word);
            }
            words.extend(branch.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str));
            if let Some(properties) = branch.get("properties").and_then(Value::as_object) {
                forms.extend(properties.iter().map(|(name, schema)| (name.as_str(), schema)));
            }
        }
        match &node.kind {
            NodeKind::Map(entries) if !forms.is_empty() => {
                let names = || forms.iter().map(|(name, _)| *name);
                let [(key, value)] = entries.as_slice() else {
                    self.problems.push(
                        Problem::new(node.span.clone(), format!("`{what}` takes exactly one key"))
                            .label(format!("{} keys here", entries.len()))
                            .hint(format!("keep one of: {}", names().collect::<Vec<_>>().join(", "))),
                    );
                    return Value::Null;
                };
                match forms.iter().find(|(name, _)| *name == key.text) {
                    Some((name, schema)) => {
                        let read = self.value(value, schema, name);
                        Value::Object(Map::from_iter([(key.text.clone(), read)]))
                    }
                    None => {
                        self.problems.push(
                            Problem::new(key.span.clone(), format!("unknown key `{}`", key.text))
                                .label(format!("not a form of `{what}`"))
                                .hint(suggestion(&key.text, "keys here", names())),
                        );
                        Value::Null
                    }
                }
            }
            _ if !words.is_empty() => self.word(node, &words, what),
            _ => self.wrong(node, &format!("a mapping with one of {}", names_of(&forms)), what),
        }
    }
    fn word(&mut self, node: &Node, words: &[&str], what: &str) -> Value {
        let NodeKind::Scalar { text, .. } = &node.kind else {
            return self.wrong(node, &format!("one of {}", words.join(", ")), what);
        };
        if words.contains(&text.as_str()) {
            return Value::String(text.clone());
        }
        self.problems.push(
            Problem::new(node.span.clone(), format!("unknown {} `{text}`", spaced(what)))
                .label(format!("not a value of `{what}`"))
                .hint(suggestion(text, "values", words.iter().copied())),
        );
        Value::Null
    }
    fn text(&mut self, node: &Node, schema: &Value, what: &str) -> Value {
        let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
        let NodeKind::Scalar { text, .. } = &node.kind else {
            return self.wrong(node, if format.is_empty() { "text" } else { "one value" }, what);
        };
        if node.is_null() {
            return self.wrong(node, "a value", what);
        }
        if let Err(not) = check_format(format, text) {
            let grammar = schema.get("description").and_then(Value::as_str).unwrap_or("");
            let names: Vec<&str> = match format {
                "release" => {
                    controller_core::Release::ALL.iter().map(|r| r.as_str()).chain(["run", "previous"]).collect()
                }
                "actor" => crate::plan::Role::ALL.iter().map(|(_, name, _)| *name).collect(),
                _ => Vec::new(),
            };
            let hint = if names.is_empty() {
                format!("write `{what}: …` as {}", lower_first(grammar.trim_end_matches('.')))
            } else {
                suggestion(text.split('/').next().unwrap_or(text), "known", names)
            };
            self.problems.push(
                Problem::new(node.span.clone(), format!("`{text}` is not {not}"))
                    .label(format!("value of `{what}`"))
                    .hint(hint),
            );
        }
        Value::String(text.clone())
    }
    fn integer(&mut self, node: &Node, schema: &Value, what: &str) -> Value {
        let number = match &node.kind {
            NodeKind::Scalar { text, plain: true } => text.parse::<i128>().ok(),
            _ => None,
        };
        let Some(number) = number else { return self.wrong(node, "a whole number", what) };
        let (low, high) = match schema.get("format").and_then(Value::as_str) {
            Some("uint8") => (0, i128::from(u8::MAX)),
            Some("uint16") => (0, i128::from(u16::MAX)),
            Some("uint32") => (0, i128::from(u32::MAX)),
            Some("uint64") => (0, i128::from(u64::MAX)),
            Some("int32") => (i128::from(i32::MIN), i128::from(i32::MAX)),
            _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
        };
        let bound = |name: &str| schema.get(name).and_then(Value::as_i64).map(i128::from);
        let (low, high) = (bound("minimum").unwrap_or(low).max(low), bound("maximum").unwrap_or(high).min(high));
        if number < low || number > high {
            let side = if number < low { format!("at least {low}") } else { format!("at most {high}") };
            self.problems.push(
                Problem::new(node.span.clone(), format!("{number} is out of range"))
                    .label(format!("`{what}` is {side}"))
                    .hint(format!("write a number from {low} to {high}")),
            );
            return Value::Null;
        }
        i64::try_from(number)
            .map(|n| Value::Number(n.into()))
            .or_else(|_| u64::try_from(number).map(|n| Value::Number(n.into())))
            .unwrap_or(Value::Null)
    }
    fn wrong(&mut self, node: &Node, expected: &str, what: &str) -> Value {
        let found = match &node.kind {
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a mapping",
            NodeKind::Scalar { .. } if node.is_null() => "nothing",
            NodeKind::Scalar { text, plain: true } if text.parse::<f64>().is_ok() => "a number",
            NodeKind::Scalar { .. } => "text",
        };
        self.problems.push(
            Problem::new(node.span.clone(), format!("expected {expected}, found {found}"))
                .label(format!("value of `{what}`"))
                .hint(format!("write `{what}` as {expected}")),
        );
        Value::Null
    }
}

fn names_of(forms: &[(&str, &Value)]) -> String {
    forms.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// A tree without schema, by the rules of YAML's core schema.
fn plain(node: &Node) -> Value {
    match &node.kind {
        NodeKind::List(items) => Value::Array(items.iter().map(plain).collect()),
        NodeKind::Map(entries) => Value::Object(entries.iter().map(|(k, v)| (k.text.clone(), plain(v))).collect()),
        NodeKind::Scalar { .. } if node.is_null() => Value::Null,
        NodeKind::Scalar { text, plain: false } => Value::String(text.clone()),
        NodeKind::Scalar { text, plain: true } => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            number if number.starts_with(|c: char| c.is_ascii_digit() || c == '-') => number
                .parse::<i64>()
                .map(Number::from)
                .ok()
                .or_else(|| number.parse().ok().and_then(Number::from_f64))
                .map_or_else(|| Value::String(text.clone()), Value::Number),
            _ => Value::String(text.clone()),
        },
    }
}
