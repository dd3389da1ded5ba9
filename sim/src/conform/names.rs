//! Names that API servers generated, written as recordings write them: by the order in which their random parts appeared.

use std::collections::BTreeMap;

use arc_api::Str;
use serde_json::Value;

/// The random parts that were seen so far.
#[derive(Default)]
pub struct Suffixes(BTreeMap<Str, u32>);

impl Suffixes {
    /// Remembers a suffix that the server chose, so that it is written as recordings write it.
    pub fn learn(&mut self, base: &str, name: &str) {
        if let Some(suffix) = name.strip_prefix(base).filter(|s| !s.is_empty()) {
            let next = self.0.len() as u32 + 1;
            self.0.entry(suffix.into()).or_insert(next);
        }
    }

    /// A name with its generated parts numbered.
    pub fn rename(&self, text: &str) -> Str {
        let is_word = |c: char| c.is_ascii_alphanumeric();
        if !text.split(|c| !is_word(c)).any(|part| self.0.contains_key(part)) {
            return text.into();
        }
        // Names stand in messages as well, between quotes.
        let mut out = String::with_capacity(text.len() + 8);
        for piece in text.split_inclusive(|c| !is_word(c)) {
            let part = piece.trim_end_matches(|c| !is_word(c));
            match self.0.get(part) {
                Some(n) => out.push_str(&format!("<suffix-{n}>{}", &piece[part.len()..])),
                None => out.push_str(piece),
            }
        }
        out.into()
    }

    /// Does so in every text of a body.
    pub fn rename_all(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let renamed = self.rename(text);
                if renamed != *text {
                    *text = renamed.into();
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|v| self.rename_all(v)),
            Value::Object(map) => map.values_mut().for_each(|v| self.rename_all(v)),
            _ => {}
        }
    }
}
