//! An entry of a scenario's list: when, how long, how often, and one thing of a vocabulary under its own name.
//!
//! `{ at: 5m, for: 90s, gh_error: { … } }`. Never says what the thing does.

use std::borrow::Cow;

use arc_api::Str;
use controller_core::Release;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Map, Value, json};

use super::ranges::{self, Releases};
use crate::plan::{Dur, Fault, Operator, Trigger};

/// When an entry takes place.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Head {
    /// Name of the entry, unique in the scenario; default: `f1`, `o1`, … by position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Str>,
    /// So long after the beginning; default: at the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Dur>,
    /// When something happens, instead of `at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Trigger>,
    /// How long a fault lasts.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Dur>,
    /// When a fault ends, instead of `for`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Dur>,
    /// A fault ends when the entry of this id begins, if not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_with: Option<Str>,
    /// It is repeated in this interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Dur>,
    /// How often it takes place in all, with `every`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Only on these releases, written as in `expect`: `0.12.0`, `0.9.0..=0.11.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub releases: Option<Str>,
    /// In which cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Str>,
}

impl Head {
    /// Whether the entry takes place on a release.
    pub fn is_for(&self, release: Release) -> bool {
        self.releases
            .as_ref()
            .is_none_or(|r| matches!(ranges::read(r), Ok(Releases::Listed(l)) if l.contains(&release)))
    }
}

/// When, and what.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry<T> {
    /// When.
    pub head: Head,
    /// What.
    pub what: T,
}

/// A vocabulary whose words are keys of an entry.
pub trait Vocabulary {
    /// What a word is called in messages.
    const NOUN: &'static str;
}

impl Vocabulary for Fault {
    const NOUN: &'static str = "fault";
}
impl Vocabulary for Operator {
    const NOUN: &'static str = "operator action";
}

/// A line in the trace.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum Say {
    /// The text, e.g. `phase: 2`.
    #[serde(rename = "mark")]
    Mark(Str),
}

impl Vocabulary for Say {
    const NOUN: &'static str = "mark";
}

const HEAD: [&str; 10] = ["id", "at", "when", "for", "until", "ends_with", "every", "times", "releases", "cluster"];

impl<'de, T: de::DeserializeOwned> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Entry<T>, D::Error> {
        let (head, what): (Map<_, _>, Map<_, _>) =
            Map::<String, Value>::deserialize(d)?.into_iter().partition(|(key, _)| HEAD.contains(&key.as_str()));
        let head = serde_json::from_value(Value::Object(head)).map_err(de::Error::custom)?;
        let what = serde_json::from_value(Value::Object(what)).map_err(de::Error::custom)?;
        Ok(Entry { head, what })
    }
}

impl<T: Serialize> Serialize for Entry<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut all = Map::new();
        for part in [serde_json::to_value(&self.head), serde_json::to_value(&self.what)] {
            if let Value::Object(part) = part.map_err(ser::Error::custom)? {
                all.extend(part);
            }
        }
        all.serialize(s)
    }
}

impl<T: JsonSchema + Vocabulary> JsonSchema for Entry<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Entry", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Head::json_schema(generator).to_value();
        let variants = T::json_schema(generator).to_value();
        let mut one_of = Vec::new();
        for variant in variants["oneOf"].as_array().into_iter().flatten() {
            for (name, inner) in variant["properties"].as_object().into_iter().flatten() {
                let mut inner = inner.clone();
                inner["x-choice"] = Value::Bool(true);
                inner["description"] = variant["description"].clone();
                schema["properties"][name] = inner;
                one_of.push(json!({ "required": [name] }));
            }
        }
        schema["oneOf"] = Value::Array(one_of);
        schema["x-choices"] = T::NOUN.into();
        schema["description"] = format!("When, how long, how often, and exactly one {}.", T::NOUN).into();
        Schema::try_from(schema).unwrap_or_default()
    }
}
